"""The documents match the code: every field, parameter, output, sender and error, and no others."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints
from xml.etree import ElementTree

import pytest
from msgspec import NODEFAULT, UNSET, Meta, Struct
from msgspec.structs import FieldInfo
from msgspec.structs import fields as fields_of

from celonis_refresh.celonis.connection import OAuthClient
from celonis_refresh.pipelines import definition
from celonis_refresh.responses import STATUS
from celonis_refresh.runs.records import RunStatus
from celonis_refresh.webhooks.events import MAX_EVENTS
from celonis_refresh.webhooks.request import MAX_BODY
from celonis_refresh.webhooks.senders import SENDERS, Sender
from celonis_refresh.webhooks.sources import _KINDS, Overrides, Rule, Source, parse_source
from celonis_refresh.webhooks.verification import Scheme
from celonis_refresh.workflow import listing, pipeline_check, source_test
from celonis_refresh.workflow import open as opening
from celonis_refresh.workflow import requests as requesting
from local import api_shapes as shapes
from refresh_cli.configuration.documents import read_yaml
from tests.template import documents, pages
from tests.template.test_error_names import raised

CONFIGURATION, RUNS, ERRORS, README = "docs/configuration.md", "docs/runs.md", "docs/errors.md", "README.md"
LIMITS, LOCAL, API = "docs/limits.md", "docs/local.md", "docs/api.md"
MAX_README_LINES = 200


def own(model: type[Struct], *without: type[Struct]) -> dict[str, FieldInfo]:
    """The fields of a model that are not those of others, by their names in a document."""
    elsewhere = {name for other in without for name in other.__struct_encode_fields__}
    return {field.encode_name: field for field in fields_of(model) if field.encode_name not in elsewhere}


MODELS = {
    "Pipeline": own(definition.Definition),
    "Job": own(definition.JobStep),
    "Load": own(definition.LoadStep),
    "Poll": own(definition.Polling),
    "Notify": own(definition.Notify),
    "Execution input": own(opening._NewRun),
    "Source": own(Source, Overrides),
    "Rule": own(Rule),
    "Scheme": own(Overrides),
}
REQUESTS = {
    "Body of POST /runs": own(requesting.StartRequest),
    "Body of POST /runs/{run_id}/cancel": own(requesting.CancelRequest),
    "Query of GET /runs": own(requesting.ListRequest),
    "Query of GET /runs/{run_id}": own(requesting.ShowRequest),
}
OPERATIONS = {
    "Body of POST /pipelines/{name}/pause": own(requesting.PauseRequest),
    "Body of POST /pipelines/{name}/check": own(pipeline_check.CheckRequest),
    "Body of POST /sources/{name}/test": own(source_test.SourceTestRequest),
    "Query of GET /pipelines": own(requesting.PipelinesRequest),
    "Query of GET /deliveries": own(requesting.DeliveriesRequest),
    "Query of GET /sources": own(requesting.SourcesRequest),
}


@pytest.mark.parametrize("title", MODELS)
def test_every_field_of_the_configuration_is_described(title: str) -> None:
    assert set(pages.table(CONFIGURATION, title)) == set(MODELS[title])


@pytest.mark.parametrize("title", REQUESTS)
def test_every_field_of_a_request_is_described(title: str) -> None:
    assert set(pages.table(RUNS, title)) == set(REQUESTS[title])


@pytest.mark.parametrize("title", OPERATIONS)
def test_every_field_of_an_operation_is_described(title: str) -> None:
    assert set(pages.table(API, title)) == set(OPERATIONS[title])


def test_every_result_of_an_event_and_every_action_of_a_rule_is_described() -> None:
    results, actions = (shapes.LoggedDelivery, "result"), (shapes.TestedRule, "action")
    for title, (shape, field) in {"Deliveries": results, "Try an event": actions}.items():
        assert set(pages.table(API, title)) == set(get_args(get_type_hints(shape)[field]))


def test_the_fields_of_special_inputs_are_described() -> None:
    inline = pages.tables(CONFIGURATION, "Pipeline")[1]
    assert set(inline) == set(own(definition.InlineDefinition, definition.Definition))
    assert set(pages.tables(CONFIGURATION, "Execution input")[1]) == set(own(opening._ExistingRun))


def written(field: FieldInfo) -> set[str]:
    """How the default of a field may be written in a table."""
    if field.required:
        return {"required"}
    default = field.default_factory() if field.default is NODEFAULT else field.default
    if field.name == "channels":
        return {"those of the stack"}
    if default is UNSET:
        default = definition.LoadStep(data_model=definition.ModelReference("any")).kind
    if default is None or default == "":
        return {
            *(['`""`'] if default == "" else []),
            "as defined",
            "any",
            "the sender's condition",
            "sender, event, delivery id",
            "all",
            "the newest",
            "none",
        }
    if isinstance(default, Struct):
        return {"`{}`"}
    return {f"`{json.dumps(default)}`", "any"} if default == () else {f"`{json.dumps(default)}`"}


@pytest.mark.parametrize(
    ("path", "title"),
    [(CONFIGURATION, title) for title in MODELS if title != "Scheme"] + [(RUNS, title) for title in REQUESTS],
)
def test_every_default_is_the_one_in_the_code(path: str, title: str) -> None:
    models = {**MODELS, **REQUESTS}[title]
    for name, row in pages.table(path, title).items():
        if name not in ("secret",):  # optional by its type, required by the scheme
            assert row[2] in written(models[name]), name


def bounds(field: FieldInfo) -> tuple[Any, Any] | None:
    """The minimum and maximum of a field."""
    kinds = [field.type, *get_args(field.type)]
    metas = [meta for kind in kinds for meta in getattr(kind, "__metadata__", ()) if isinstance(meta, Meta)]
    return next(((meta.ge, meta.le) for meta in metas if meta.ge is not None), None)


@pytest.mark.parametrize("title", ["Pipeline", "Job", "Load", "Poll", "Notify"])
def test_every_range_is_the_one_in_the_code(title: str) -> None:
    for name, row in pages.table(CONFIGURATION, title).items():
        limits = bounds(MODELS[title][name])
        if limits is not None:
            assert row[1] == f"{limits[0]} to {limits[1]}", name


def test_numbers_in_the_text_are_those_in_the_code() -> None:
    pipeline = pages.table(CONFIGURATION, "Pipeline")
    assert f"at most {definition.MAX_STEPS}" in pipeline["jobs"][3]
    assert f"at most {definition.MAX_STEPS}" in pipeline["loads"][3]
    assert f"at most {definition.MAX_TABLES}" in pages.table(CONFIGURATION, "Load")["tables"][3]


def test_the_largest_webhook_is_the_one_in_the_code() -> None:
    mebibytes, rest = divmod(MAX_BODY, 1024 * 1024)
    assert rest == 0
    size, events = f"{mebibytes} MiB", f"{MAX_EVENTS} events"
    (cells,) = (row for name, row in pages.table(LIMITS, "Limits").items() if name == "a webhook")
    for text in (cells[1], pages.table(ERRORS, "Errors")["TooLarge"][2], pages.page("docs/senders.md")):
        assert size in text
        assert events in text


def test_a_repeated_row_is_noticed() -> None:
    with pytest.raises(AssertionError, match="twice: a"):
        pages.rows(["| `a` | 1 |", "| `b` | 2 |", "| `a` | 3 |"])


def test_every_parameter_is_described_with_its_default() -> None:
    parameters = documents.template()["Parameters"]
    rows = pages.table(CONFIGURATION, "Template parameters")
    assert list(rows) == list(parameters)
    for name, row in rows.items():
        default = str(parameters[name]["Default"])
        assert row[1] == (f"`{default}`" if default else "empty"), name


def test_every_output_is_described() -> None:
    assert list(pages.table(CONFIGURATION, "Outputs")) == list(documents.template()["Outputs"])


def test_every_alarm_is_described() -> None:
    section = pages.section(CONFIGURATION, "Alarms")
    named = re.findall(r"`(\w+Alarm)`", section)
    assert sorted(named) == sorted(documents.resources("AWS::CloudWatch::Alarm"))


def test_the_fields_of_a_connection_are_those_that_are_read() -> None:
    """``connection.py`` refuses every field but those in the sets that it compares with."""
    tree = ast.parse((documents.PACKAGE / "celonis" / "connection.py").read_text(encoding="utf-8"))
    known = {
        ast.literal_eval(node) for each in ast.walk(tree) if isinstance(each, ast.Set) for node in each.elts
    }
    top, auth = pages.tables(CONFIGURATION, "Connection secret")
    assert set(top) | set(auth) == known
    defaults = {field.name: field.default for field in fields_of(OAuthClient)}
    assert auth["method"][2] == f"`{defaults['method']}`"
    assert auth["scope"][2] == f"`{defaults['scope']}`"


def test_the_fields_of_a_webhook_secret_are_those_that_are_read() -> None:
    source = (documents.PACKAGE / "aws" / "configuration.py").read_text(encoding="utf-8")
    names = list(pages.table(CONFIGURATION, "Webhook secret"))
    assert f"for key in {json.dumps(names).replace('[', '(').replace(']', ')')}" in source


def scheme_name(scheme: Scheme) -> str:
    return next(name for name, kind in _KINDS.items() if isinstance(scheme, kind))


def test_every_sender_is_described() -> None:
    rows = pages.table(CONFIGURATION, "Senders")
    assert set(rows) == set(SENDERS)
    for name, row in rows.items():
        assert row[1] == f"`{scheme_name(SENDERS[name].scheme)}`", name
        assert all(f"`{event}`" in row[3] for event in SENDERS[name].start.events), name
        says_any = row[3].startswith("any")
        assert says_any == (SENDERS[name].start == Sender(name="", scheme=SENDERS[name].scheme).start), name


def test_senders_without_a_delivery_id_are_named() -> None:
    without = {name for name, sender in SENDERS.items() if not sender.delivery_id}
    sentence = re.search(
        r"((?:`\w+`(?:, | and )?)+) have no delivery id", pages.section(CONFIGURATION, "Senders")
    )
    assert sentence is not None
    assert set(pages.NAME.findall(sentence[1])) == without


def test_every_parameter_of_a_scheme_names_its_scheme() -> None:
    rows = pages.table(CONFIGURATION, "Scheme")
    for name, row in rows.items():
        kinds = {kind for kind, model in _KINDS.items() if name in model.__struct_fields__}
        assert set(pages.NAME.findall(row[1])) == kinds or (not kinds and row[1] == "all"), name


def test_every_error_is_described_with_its_status() -> None:
    rows = pages.table(ERRORS, "Errors")
    assert set(rows) == raised()
    assert {name: int(row[1]) for name, row in rows.items() if row[1]} == dict(STATUS)


def test_every_error_name_that_is_no_class_is_described() -> None:
    named = {"Canceled", "Aborted", "ExecutionGone"}
    texts = " ".join(path.read_text(encoding="utf-8") for path in documents.sources(documents.PACKAGE))
    for name in named:
        assert f'"{name}"' in texts
        assert f"`{name}`" in pages.section(ERRORS, "Errors")


def test_every_status_is_described() -> None:
    assert set(pages.table(RUNS, "Status")) == set(RunStatus)


def test_every_route_is_described() -> None:
    (api,) = documents.translated_resources("AWS::ApiGatewayV2::Api").values()
    routes = {
        f"{method.upper()} {path}" for path, methods in api["Body"]["paths"].items() for method in methods
    }
    ours = {route for route in routes if "/webhooks/" not in route}
    assert set(pages.table(RUNS, "The runs API")) == ours


EXPECTED = {"expected_seconds", "expected_seconds_left", "expected_end"}
MADE_FOR_A_STEP = {
    *("id", "proven_by", "tables"),
    *("waiting_since", "started_at", "running_since", "poll_times", "expected_seconds"),
}
NOT_SHOWN_OF_STEP = {
    *("rev", "baseline", "evidence", "earlier", "sent_by", "answered_id", "answered_by", "shows_running"),
    *("two_spaces", "pace", "queued_at", "poll_refusals", "cancel_refused", "list_failing_since"),
    *("busy", "stood", "shown", "unknown", "rejected", "by_webhook", "listed_durations", "history_read"),
    "failing_since",
    "announced",
    "poll_seconds",
}
"""What the tasks record of a step for themselves."""


def test_every_field_of_a_record_is_described() -> None:
    described = set(pages.tables(RUNS, "The record")[0])
    assert described == {*listing.SHOWN, "steps", "definition", "can_retry", "retried_by", *EXPECTED}
    assert described == set(shapes.Record.__annotations__)


def test_every_field_of_a_step_is_described() -> None:
    assert set(pages.tables(RUNS, "The record")[1]) == {*listing.SHOWN_OF_STEP, *MADE_FOR_A_STEP}


def test_every_field_that_is_recorded_of_a_step_is_shown_or_known_not_to_be() -> None:
    written = {name for path in documents.sources(documents.PACKAGE) for name in recorded(path)}
    assert {"began", "answered", "rounds", "stopping", "held", "posts"} <= written
    assert written - NOT_SHOWN_OF_STEP <= set(listing.SHOWN_OF_STEP)
    assert set(listing.SHOWN_OF_STEP) - written == {"job", "data_model", "mode", "kind"}, (
        "facts of the target"
    )


def test_every_field_of_a_run_that_waits_is_described() -> None:
    text = pages.section(RUNS, "Status")
    for name in set(shapes.Waiting.__annotations__) - {"run_id", "pipeline", "status"}:
        assert f"`{name}`" in text


def recorded(path: Path) -> Iterator[str]:
    """The names that a module puts into the state of a step."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[ast.expr | None] = []
        match node:
            case ast.Assign(targets=[ast.Subscript(value=into, slice=name)]) if is_state(into):
                names = [name]
            case ast.AugAssign(target=into, value=ast.Dict(keys=keys)) if is_state(into):
                names = list(keys)
            case ast.Call(func=ast.Attribute(value=into, attr="setdefault"), args=[name, _]) if is_state(
                into
            ):
                names = [name]
        yield from (str(name.value) for name in names if isinstance(name, ast.Constant))


def is_state(into: ast.expr) -> bool:
    return ast.unparse(into).rpartition(".")[2] == "state"


def test_every_command_is_one_of_the_makefile() -> None:
    makefile = pages.page("Makefile")
    targets = set(re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE))
    named = {
        name
        for path in pages.pages()
        for name in re.findall(r"`make ([\w-]+)|^make ([\w-]+)", pages.page(path), re.M)
    }
    mentioned = {name for pair in named for name in pair if name}
    assert mentioned <= targets
    assert targets - {"help"} <= set(re.findall(r"make ([\w-]+)", pages.page(LOCAL)))


def test_ci_runs_the_documented_commands() -> None:
    commands = re.findall(r"^make (\w+)", pages.page(".ci/run"), re.MULTILINE)
    assert commands
    assert set(commands) <= set(re.findall(r"make ([\w-]+)", pages.page(LOCAL)))


def test_the_readme_is_short() -> None:
    assert len(pages.page(README).splitlines()) <= MAX_README_LINES


def test_the_readme_links_to_every_page() -> None:
    linked = set(re.findall(r"\((docs/[\w-]+\.md)", pages.page(README)))
    in_folders = {path for path in pages.pages() if path.count("/") > 1}
    assert set(pages.pages()) - {README} - in_folders == linked


@pytest.mark.parametrize("path", pages.pages())
def test_every_link_leads_somewhere(path: str) -> None:
    folder = (documents.ROOT / path).parent
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", pages.page(path)):
        file, _, anchor = target.partition("#")
        linked = (folder / file).resolve() if file else documents.ROOT / path
        assert linked.is_file(), target
        if anchor:
            assert anchor in pages.anchors(linked.relative_to(documents.ROOT).as_posix()), target


@pytest.mark.parametrize("path", pages.pages())
def test_every_json_in_the_pages_is_json(path: str) -> None:
    for block in re.findall(r"^```json\n(.*?)^```", pages.page(path), re.MULTILINE | re.DOTALL):
        json.loads(block)


def readme_pipelines() -> list[Any]:
    """The pipelines in README, which are YAML; its other blocks are sources and schedules."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", pages.page(README), re.MULTILINE | re.DOTALL)
    documents_read: list[Any] = [read_yaml(block).value for block in blocks]
    found = [each for each in documents_read if "data_pool" in each]
    assert len(found) == 1
    (source,) = [each for each in documents_read if "sender" in each]
    parse_source("example", source)
    return found


def test_the_examples_are_valid() -> None:
    blocks = [
        json.loads(block)
        for path in ("docs/deployment.md", CONFIGURATION)
        for block in re.findall(r"^```json\n(.*?)^```", pages.page(path), re.MULTILINE | re.DOTALL)
    ]
    pipelines = [block for block in blocks if "data_pool" in block]
    sources = [block for block in blocks if "sender" in block]
    assert len(pipelines) == 2
    assert len(sources) == 1
    for each in [*pipelines, *readme_pipelines()]:
        definition.read_definition("The example", definition.Definition, each)
    for each in sources:
        parse_source("example", each)


def test_the_examples_of_systems_that_wait_are_valid() -> None:
    text = pages.page("docs/waiting.md")
    blocks = {
        language: re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        for language in ("json", "python", "xml")
    }
    (source,) = (block for block in map(json.loads, blocks["json"]) if "sender" in block)
    assert parse_source("mule", source).rules[0].callback is not None
    for block in blocks["python"]:
        compile(block, "docs/waiting.md", "exec")
    for block in blocks["xml"]:
        whole = f'<mule xmlns:http="http://www.mulesoft.org/schema/mule/http">{block}</mule>'
        ElementTree.fromstring(whole)  # noqa: S314 - a document of this repository
    assert [len(found) for found in blocks.values()] == [3, 2, 1]
