"""Pipeline definitions: what is accepted and refused; errors name the field, not the value."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celonis_refresh.pipelines.definition import (
    HOUR,
    MAX_DOCUMENT,
    MAX_STEPS,
    MAX_TABLES,
    Definition,
    InlineDefinition,
    LoadKind,
    Mode,
    Polling,
    parse_definition,
    parse_inline,
)
from celonis_refresh.pipelines.errors import InvalidDefinition
from celonis_refresh.validation.convert import to_json

PAGE = "https://acme.eu-1.celonis.cloud/integration/ui/pools/pool-1"
FULL: dict[str, Any] = {
    "data_pool": f"{PAGE}/",
    "connection": "second-team",
    "jobs": [
        [{"job": "job-a", "mode": "DELTA"}, {"job": "job-b", "timeout": 3600}],
        {"job": f"{PAGE}/data-configuration/data-jobs?jobId=job-c"},
    ],
    "loads": [
        {"data_model": "model-a", "kind": "partial", "tables": ["VBAK", "VBAP"], "on_warning": "fail"},
        {"data_model": f"{PAGE}/data-configuration/process-data-models/model-b", "started_by": "job"},
    ],
    "settle": 60,
    "poll": {"floor": 2, "ceiling": 30},
    "cancel_on_stop": False,
    "when_busy": "fail",
    "when_running": "skip",
    "paused": True,
}


def parse(**fields: Any) -> Definition:
    """The definition with one load, or with these fields."""
    return parse_definition("otc", json.dumps({"data_pool": "p", "loads": [{"data_model": "m"}], **fields}))


UUID = "a1b2c3d4-0001-4e5f-8a9b-0c1d2e3f4a5b"


def refused(document: object, name: str = "otc") -> InvalidDefinition:
    with pytest.raises(InvalidDefinition) as caught:
        parse_definition(name, json.dumps(document))
    return caught.value


def fields_of(error: InvalidDefinition) -> list[str]:
    return [problem.field for problem in error.problems]


def changed(path: str, value: object) -> dict[str, Any]:
    """The full definition with another value at the dotted path."""
    document = deepcopy(FULL)
    *parents, last = path.split(".")
    place: Any = document
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place[part]
    place[int(last) if isinstance(place, list) else last] = value
    return document


def test_what_is_left_out_has_the_documented_defaults() -> None:
    definition = parse(jobs=[{"job": "j"}])
    ((job,),), (load,) = definition.stages(), definition.loads
    assert (job.mode, job.timeout) == (Mode.FULL, 6 * HOUR)
    assert (load.kind, load.tables, load.timeout) == (LoadKind.COMPLETE, (), 6 * HOUR)
    assert (load.on_warning, load.started_by) == ("succeed", "run")
    assert (definition.connection, definition.settle, definition.poll) == ("default", 120, Polling())
    assert (definition.poll.floor, definition.poll.ceiling) == (2, None)
    assert (definition.cancel_on_stop, definition.paused) == (True, False)
    assert (definition.when_busy, definition.when_running) == ("wait", "join")


def test_every_field_is_read() -> None:
    definition = parse_definition("otc", json.dumps(FULL))
    jobs = [
        (Mode.DELTA, 21600),
        (Mode.FULL, 3600),
        (Mode.FULL, 21600),
    ]
    assert [(job.mode, job.timeout) for stage in definition.stages() for job in stage] == jobs
    partial, by_job = definition.loads
    assert (partial.kind, partial.tables, partial.on_warning) == (LoadKind.PARTIAL, ("VBAK", "VBAP"), "fail")
    assert (by_job.kind, by_job.tables, by_job.started_by) == (LoadKind.COMPLETE, (), "job")
    assert (definition.connection, definition.settle) == ("second-team", 60)
    assert definition.poll == Polling(floor=2, ceiling=30)
    assert (definition.cancel_on_stop, definition.paused) == (False, True)
    assert (definition.when_busy, definition.when_running) == ("fail", "skip")


def test_the_text_of_a_definition_is_the_definition_without_its_defaults() -> None:
    definition = parse_definition("otc", json.dumps(FULL))
    text = to_json(definition)
    assert json.loads(text) == {**FULL, "poll": {"ceiling": 30}}
    assert parse_definition("otc", text) == definition


def test_ids_are_read_out_of_page_addresses() -> None:
    definition = parse_definition("otc", json.dumps(FULL))
    assert definition.data_pool_id == "pool-1"
    assert [[job.job_id for job in stage] for stage in definition.stages()] == [["job-a", "job-b"], ["job-c"]]
    assert [load.data_model_id for load in definition.loads] == ["model-a", "model-b"]


@pytest.mark.parametrize(
    ("fields", "host"),
    [
        ({}, None),
        ({"data_pool": PAGE.replace("/pool-1", "/p")}, "acme.eu-1.celonis.cloud"),
        (
            {"jobs": [{"job": f"{PAGE}/data-configuration/data-jobs?jobId=j"}], "data_pool": "pool-1"},
            "acme.eu-1.celonis.cloud",
        ),
    ],
)
def test_the_host_is_the_one_that_any_page_address_names(fields: dict[str, Any], host: str | None) -> None:
    assert parse(**fields).host() == host


WRONG_PLACES = [
    ("data_pool", 1, "data_pool"),
    ("data_pool", "a pool/with?signs", "data_pool"),
    ("connection", "Secret Value", "connection"),
    ("connection", "a" * 33, "connection"),
    ("jobs", {}, "jobs"),
    ("jobs.1", "job-a", "jobs.1"),
    ("jobs.1.job", "a/b", "jobs.1.job"),
    ("jobs.1.mode", "full", "jobs.1.mode"),
    ("jobs.1.mode", None, "jobs.1.mode"),
    ("jobs.1.name", "", "jobs.1.name"),
    ("jobs.1.name", "a" * 129, "jobs.1.name"),
    ("jobs.1.name", "two\nlines", "jobs.1.name"),
    ("loads.0.name", 1, "loads.0.name"),
    ("jobs.1.timeout", 9, "jobs.1.timeout"),
    ("jobs.1.timeout", 604_801, "jobs.1.timeout"),
    ("jobs.1.timeout", 60.0, "jobs.1.timeout"),
    ("jobs.1.timeout", "60", "jobs.1.timeout"),
    ("jobs.1.timeout", True, "jobs.1.timeout"),
    ("jobs.0", [], "jobs.0"),
    ("jobs.0.1", "job-a", "jobs.0.1"),
    ("jobs.0.1.job", "", "jobs.0.1.job"),
    ("jobs.0.1.jobs", [], "jobs.0.1.jobs"),
    ("loads.0.data_model", "x y", "loads.0.data_model"),
    ("loads.0.kind", "COMPLETE", "loads.0.kind"),
    ("loads.0.tables", "VBAK", "loads.0.tables"),
    ("loads.0.tables", [], "loads.0"),
    ("loads.0.tables", ["VBAK", ""], "loads.0.tables.1"),
    ("loads.0.tables", ["a" * 257], "loads.0.tables.0"),
    ("loads.0.tables", ["a"] * (MAX_TABLES + 1), "loads.0.tables"),
    ("loads.0.kind", "complete", "loads.0"),
    ("loads.0.kind", "from_cache", "loads.0"),
    ("loads.0.on_warning", "ignore", "loads.0.on_warning"),
    ("loads.0.started_by", "nobody", "loads.0.started_by"),
    ("loads.1.kind", "complete", "loads.1"),
    ("settle", 0, "settle"),
    ("settle", HOUR + 1, "settle"),
    ("poll.floor", 31, "poll"),
    ("poll.floor", 0, "poll.floor"),
    ("poll.ceiling", 7 * 24 * HOUR + 1, "poll.ceiling"),
    ("poll", [1, 2], "poll"),
    ("cancel_on_stop", "yes", "cancel_on_stop"),
    ("paused", 1, "paused"),
    ("when_busy", "queue", "when_busy"),
    ("when_running", "", "when_running"),
    ("pausd", True, "pausd"),
    ("<paused", True, "(unnamed)"),
    ("poll.max", 5, "poll.max"),
]


@pytest.mark.parametrize(("path", "value", "field"), WRONG_PLACES)
def test_a_wrong_value_is_refused_with_its_field(path: str, value: object, field: str) -> None:
    error = refused(changed(path, value))
    assert fields_of(error) == [field]
    assert f"{field}: " in str(error)


@pytest.mark.parametrize(("path", "value", "field"), WRONG_PLACES)
def test_what_was_expected_is_said_in_words_of_json(path: str, value: object, field: str) -> None:
    words = " ".join(problem.expected for problem in refused(changed(path, value)).problems).lower().split()
    assert not {"tuple", "dict", "instance", "bool", "nonetype", "str", "msgspec", "enum"} & set(words)


def test_all_problems_are_reported_at_once_in_the_order_of_the_document() -> None:
    error = refused({"jobs": [{"mode": "FULL"}], "loads": [{"data_model": 1}], "settle": "1"})
    assert error.problems == (
        ("data_pool", "is required"),
        ("jobs.0.job", "is required"),
        ("loads.0.data_model", "expected a text"),
        ("settle", "expected a whole number from 1 to 3600"),
    )
    assert str(error) == (
        "The definition of pipeline 'otc' is not valid: data_pool: is required; jobs.0.job: is required; "
        "loads.0.data_model: expected a text; settle: expected a whole number from 1 to 3600."
    )


ELSEWHERE = PAGE.replace("acme", "other")
ANOTHER_POOL = PAGE.replace("pool-1", "pool-2")
GROUP = [{"job": f"job-{number}"} for number in range(11)]
DISAGREEMENTS: list[tuple[dict[str, Any], list[str]]] = [
    ({"jobs": []}, ["(the whole document)"]),
    ({"jobs": [[{"job": "job-a"}, {"job": "job-a"}]]}, ["jobs.0"]),
    ({"jobs": [{"job": "j"}, [{"job": "x"}, {"job": "y"}, {"job": "x"}]]}, ["jobs.1"]),
    ({"jobs": [GROUP, GROUP]}, ["jobs"]),
    ({"jobs": [], "loads": [{"data_model": "m", "started_by": "job"}]}, ["loads.0.started_by"]),
    ({"loads": [{"data_model": "m"}, {"data_model": "n"}, {"data_model": "m"}]}, ["loads"]),
    ({"jobs": [{"job": f"{ANOTHER_POOL}/data-configuration/data-jobs?jobId=j"}]}, ["jobs.0.job"]),
    (
        {"jobs": [[{"job": "i"}, {"job": f"{ANOTHER_POOL}/data-configuration/data-jobs?jobId=j"}]]},
        ["jobs.0.1.job"],
    ),
    (
        {
            "jobs": [{"job": f"{ANOTHER_POOL}/data-configuration/data-jobs?jobId=j"}],
            "loads": [
                {"data_model": f"{ANOTHER_POOL}/data-configuration/process-data-models/m"},
                {"data_model": f"{ELSEWHERE}/data-configuration/process-data-models/n"},
                {"data_model": f"{PAGE}/data-configuration/process-data-models/o"},
            ],
        },
        ["jobs.0.job", "loads.0.data_model", "loads.1.data_model"],
    ),
]


@pytest.mark.parametrize(("fields", "places"), DISAGREEMENTS)
def test_fields_that_do_not_go_together_are_refused_with_their_places(
    fields: dict[str, Any], places: list[str]
) -> None:
    error = refused({"data_pool": f"{PAGE}/", "jobs": [{"job": "j"}], "loads": [], **fields})
    assert fields_of(error) == places


def test_steps_of_two_teams_are_refused_also_where_the_pool_is_an_id() -> None:
    pages = [f"{page}/data-configuration/data-jobs?jobId=j" for page in (PAGE, ELSEWHERE)]
    document = {"data_pool": "pool-1", "jobs": [{"job": page} for page in pages]}
    assert fields_of(refused(document)) == ["jobs.1.job"]


def test_the_same_job_may_run_again_in_a_later_stage() -> None:
    assert len(list(parse(jobs=[{"job": "j", "mode": "DELTA"}, {"job": "j"}]).stages())) == 2


@pytest.mark.parametrize("field", ["jobs", "loads"])
def test_the_greatest_number_of_steps_is_allowed_and_one_more_is_not(field: str) -> None:
    kind = {"jobs": "job", "loads": "data_model"}[field]
    steps = [{kind: f"id-{number}"} for number in range(MAX_STEPS + 1)]
    assert len(getattr(parse(**{field: steps[:-1]}), field)) == MAX_STEPS
    assert fields_of(refused({"data_pool": "p", field: steps})) == [field]


def test_a_group_counts_as_many_steps_as_it_has() -> None:
    group = [{"job": f"id-{number}"} for number in range(MAX_STEPS)]
    assert len(next(parse(jobs=[group]).stages())) == MAX_STEPS
    assert fields_of(refused({"data_pool": "p", "jobs": [group, {"job": "one-more"}]})) == ["jobs"]


def test_the_greatest_number_of_tables_is_allowed() -> None:
    tables = [f"t-{number}" for number in range(MAX_TABLES)]
    (load,) = parse(loads=[{"data_model": "m", "kind": "partial", "tables": tables}]).loads
    assert list(load.tables) == tables


def test_a_document_may_be_as_long_as_the_limit_and_no_longer() -> None:
    text = '{"data_pool": "p", "loads": [{"data_model": "m"}]}'
    assert parse_definition("otc", text.ljust(MAX_DOCUMENT))
    with pytest.raises(InvalidDefinition, match="at most 65536 bytes"):
        parse_definition("otc", text.ljust(MAX_DOCUMENT + 1))


def inline_of(tables: int) -> dict[str, Any]:
    """An inline definition of about ``tables`` times 256 bytes, with signs that JSON could escape."""
    names = [f"{number:04}".ljust(128, "ü") for number in range(tables)]
    loads = [
        {"data_model": f"m-{start}", "kind": "partial", "tables": names[start : start + MAX_TABLES]}
        for start in range(0, tables, MAX_TABLES)
    ]
    return {"name": "x", "data_pool": "p", "loads": loads}


def test_an_inline_definition_has_the_same_limit() -> None:
    assert parse_inline(inline_of(250))
    with pytest.raises(InvalidDefinition, match="at most 65536 bytes") as caught:
        parse_inline(inline_of(260))
    assert caught.value.what == "The inline definition"
    assert fields_of(caught.value) == ["(the whole document)"]


@pytest.mark.parametrize("text", ["", "{", "nul", '{"a": 1}}', "[" * 60_000, "1" * 5000])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(InvalidDefinition, match=r"whole document\): must be JSON"):
        parse_definition("otc", text)


@pytest.mark.parametrize("document", [None, 1, "otc", [], [1]])
def test_what_is_no_object_is_refused(document: object) -> None:
    assert refused(document).problems == (("(the whole document)", "expected a JSON object"),)


def test_an_inline_definition_has_a_name() -> None:
    document = {"name": "adhoc", "data_pool": "p", "loads": [{"data_model": "m"}]}
    inline = parse_inline(document)
    assert isinstance(inline, InlineDefinition)
    assert inline.name == "adhoc"
    del document["name"]
    with pytest.raises(InvalidDefinition, match="name: is required"):
        parse_inline(document)


@pytest.mark.parametrize("name", ["", "1a", "-a", "a" * 49, "a b", "a\n", "ä", 7])
def test_a_name_that_an_execution_could_not_carry_is_refused(name: object) -> None:
    document = {"name": name, "data_pool": "p", "loads": [{"data_model": "m"}]}
    with pytest.raises(InvalidDefinition, match="name: expected"):
        parse_inline(document)


def test_a_definition_in_a_parameter_carries_no_name() -> None:
    assert fields_of(refused({"name": "x", "data_pool": "p", "loads": [{"data_model": "m"}]})) == ["name"]


PLACES = [
    *("data_pool", "connection", "settle", "poll", "poll.floor", "cancel_on_stop", "when_busy", "anything"),
    *("when_running", "paused", "jobs", "jobs.0", "jobs.0.0", "jobs.0.0.job", "jobs.0.0.mode", "jobs.1"),
    *("jobs.1.timeout", "loads", "loads.0", "loads.0.data_model", "loads.0.kind", "loads.0.tables"),
    *("loads.0.tables.0", "loads.0.timeout", "loads.0.on_warning", "loads.1.started_by"),
]
SHAPES: list[Callable[[str], object]] = [
    str,
    lambda secret: f"Bearer {secret}",
    lambda secret: [secret],
    lambda secret: [[f"{secret} /"]],
    lambda secret: {"job": f"{secret} /", "data_model": f"{secret} /", "tables": [{secret: 1}]},
    lambda secret: f"https://{secret}@{secret}.example/{secret}?{secret}={secret}",
]
secrets = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+=_", min_size=20, max_size=300).map("S3cr".__add__)


@given(st.sampled_from(PLACES), secrets, st.sampled_from(SHAPES))
def test_a_value_that_is_refused_is_never_repeated(
    path: str, secret: str, shape: Callable[[str], object]
) -> None:
    found: InvalidDefinition | None = None
    try:
        parse_definition("otc", json.dumps(changed(path, shape(secret))))
    except InvalidDefinition as error:
        found = error
    if found is None:
        # These take any text: the name of a table, an id.
        assert path.endswith((".job", ".data_model", "tables.0", "tables", "data_pool"))
        return
    assert secret not in f"{found} {found!r} {found.problems}"
    assert found.__cause__ is None
    assert found.__suppress_context__ or found.__context__ is None
    if path != "data_pool":  # with another pool it is the steps that do not fit
        assert all(field.startswith(path.split(".")[0]) for field in fields_of(found))


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ({"loads": [{"data_model": UUID}, {"data_model": UUID.upper()}]}, "loads"),
        ({"jobs": [[{"job": UUID.upper()}, {"job": UUID}]]}, "jobs.0"),
    ],
)
def test_a_uuid_in_capitals_is_the_same_one(field: dict[str, Any], wrong: str) -> None:
    assert fields_of(refused({"data_pool": "p", **field})) == [wrong]


def test_a_page_address_may_write_the_pool_in_capitals() -> None:
    page = PAGE.replace("pool-1", UUID.upper())
    job = f"{page}/data-configuration/data-jobs?jobId={UUID}"
    assert parse(data_pool=UUID, jobs=[{"job": job}]).data_pool_id == UUID


def test_ids_that_are_no_uuids_differ_in_capitals() -> None:
    assert len(parse(loads=[{"data_model": "m"}, {"data_model": "M"}]).loads) == 2
