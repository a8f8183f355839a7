"""Invalid input: refused with the field and what was expected; nothing is started at Celonis."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from local.wait import until
from tests.stack.runs.celonis import POOL, CelonisControls, Json
from tests.stack.runs.service import DeployedService, definition, is_sentence

SECRET = "Zx9f8Kq2LmN4pR7tV0wY3aB6cD1eF5gH"
"""Invalid names."""
JOB = "0b8a1f2e-7c4d-4f6a-8e21-3a9d5c7b1e10"
ELSEWHERE = "https://acme.eu-1.celonis.cloud/integration/ui/pools/another-pool"

DEFINITIONS: list[tuple[str, object, str]] = [
    ("neither jobs nor loads", definition(), "at least one job or one load"),
    ("no data pool", {"jobs": [{"job": JOB}]}, "data_pool: is required"),
    ("an unknown field", definition(jobs=[JOB], schedule="daily"), "schedule: is not a known field"),
    ("an unknown field of a job", definition(jobs=[{"job": JOB, "model": "x"}]), "jobs.0.model: is not a"),
    ("a job that is no text", definition(jobs=[{"job": 5}]), "jobs.0.job: expected a text"),
    ("a mode that is none", definition(jobs=[{"job": JOB, "mode": "BOTH"}]), "jobs.0.mode"),
    ("an empty group", definition(jobs=[[]]), "jobs.0"),
    ("a job twice in a group", definition(jobs=[[JOB, JOB]]), "same job appears twice"),
    ("a kind that is none", definition(loads=[{"data_model": "m", "kind": "half"}]), "loads.0.kind"),
    ("partial without tables", definition(loads=[{"data_model": "m", "kind": "partial"}]), "needs tables"),
    ("tables that are no list", definition(loads=[{"data_model": "m", "tables": "VBAK"}]), "loads.0.tables"),
    ("a model twice", definition(loads=["m", "m"]), "same data model appears twice"),
    ("a time-out too short", definition(jobs=[{"job": JOB, "timeout": 1}]), "jobs.0.timeout"),
    ("a time-out that is no number", definition(jobs=[{"job": JOB, "timeout": "60"}]), "jobs.0.timeout"),
    (
        "an unknown field of poll",
        definition(jobs=[JOB], poll={"every": 5}),
        "poll.every: is not a known field",
    ),
    (
        "a secret as connection",
        definition(jobs=[JOB], connection=SECRET),
        "connection: expected a connection",
    ),
    ("an id that leaves its place", definition(jobs=["../../jobs"]), "jobs.0.job"),
    ("another pool's job", definition(jobs=[f"{ELSEWHERE}/data-jobs?jobId={JOB}"]), "another data pool"),
    ("a list", [definition(jobs=[JOB])], "expected a JSON object"),
]


def test_a_definition_that_makes_no_sense_fails_the_execution_and_the_request(
    service: DeployedService, celonis: CelonisControls
) -> None:
    stored, inline = {}, {}
    for what, document, _ in DEFINITIONS:
        name = service.name("pipeline")
        service.parameter(f"pipelines/{name}", json.dumps(document))
        stored[what] = (name, service.execute({"pipeline": name}))
        if isinstance(document, dict):
            inline[what] = service.execute({"pipeline": {"name": service.name("inline"), **document}})
    for what, _, expected in DEFINITIONS:
        pipeline, execution = stored[what]
        _assert_refused(service, execution, "InvalidDefinition", expected)
        answer = service.call("POST", "/runs", {"pipeline": pipeline})
        assert (answer.status_code, answer.json()["error"]) == (422, "InvalidDefinition"), what
        assert expected in answer.json()["message"]
        assert answer.json()["fields"]
        assert SECRET not in answer.text
        if what in inline:
            _assert_refused(service, inline[what], "InvalidDefinition", expected)
    assert celonis.starts() == []
    assert celonis.requests("job") == []


def test_a_parameter_that_is_no_json_is_reported(service: DeployedService, celonis: CelonisControls) -> None:
    texts = ["{'data_pool': 'p'}", '{"data_pool": ', " ", "[" * 5000, '"text"', "NaN", "5"]
    names = []
    for text in texts:
        name = service.name("pipeline")
        service.parameter(f"pipelines/{name}", text)
        names.append((name, service.execute({"pipeline": name})))
    for name, execution in names:
        _assert_refused(service, execution, "InvalidDefinition", "JSON")
        webhook = service.webhook(service.source({"pipeline": name}))
        assert (webhook.status_code, webhook.json()["error"]) == (422, "InvalidDefinition")
    assert celonis.starts() == []


SOME = "some-pipeline"
INPUTS: list[tuple[object, str, str]] = [
    ([], "InvalidTrigger", "expected a JSON object"),
    ("order-to-cash", "InvalidTrigger", "expected a JSON object"),
    (None, "InvalidTrigger", "expected a JSON object"),
    ({}, "InvalidTrigger", "pipeline: is required"),
    ({"pipeline": 5}, "InvalidTrigger", "pipeline: expected the name of a pipeline"),
    ({"pipeline": ""}, "InvalidTrigger", "pipeline: expected the name of a pipeline"),
    ({"pipeline": "a/../b"}, "InvalidTrigger", "pipeline: expected the name of a pipeline"),
    ({"pipeline": SOME, "table": ["VBAK"]}, "InvalidTrigger", "table: is not a known field"),
    ({"pipeline": SOME, "mode": "delta"}, "InvalidTrigger", 'mode: expected "FULL" or "DELTA"'),
    ({"pipeline": SOME, "mode": ["FULL"]}, "InvalidTrigger", 'mode: expected "FULL" or "DELTA"'),
    ({"pipeline": SOME, "tables": []}, "InvalidTrigger", "tables: expected a list"),
    ({"pipeline": SOME, "tables": "VBAK"}, "InvalidTrigger", "tables: expected a list"),
    ({"pipeline": SOME, "tables": [5]}, "InvalidTrigger", "tables: expected every table"),
    ({"pipeline": SOME, "tables": {"VBAK": 1}}, "InvalidTrigger", "tables: expected a list"),
    ({"pipeline": SOME, "reason": 5}, "InvalidTrigger", "reason: expected a text"),
    ({"pipeline": SOME, "reason": "x" * 300}, "InvalidTrigger", "reason"),
    ({"pipeline": "no-such-pipeline"}, "UnknownPipeline", "no-such-pipeline"),
]
BY_EXECUTION: list[tuple[object, str, str]] = [
    ({"run_id": "another-run"}, "InvalidTrigger", "run_id: must be the name of the execution"),
    ({"run_id": 5}, "InvalidTrigger", "run_id: expected a text"),
    ({"run_id": "x", "mode": "FULL"}, "InvalidTrigger", "mode: is not a known field"),
    ({"pipeline": {"data_pool": POOL, "jobs": [{"job": JOB}]}}, "InvalidDefinition", "name: is required"),
    (
        {"pipeline": {"name": "Bad name!", "data_pool": POOL, "jobs": [{"job": JOB}]}},
        "InvalidDefinition",
        "name: expected a letter",
    ),
]


def test_an_execution_with_a_malformed_input_fails_with_the_reason(
    service: DeployedService, celonis: CelonisControls
) -> None:
    service.define(SOME, jobs=[celonis.job()])
    cases = [*INPUTS, *BY_EXECUTION]
    names = [service.execute(json.dumps(document)) for document, _, _ in cases]
    by_cause: dict[str, list[str]] = {}
    for name, (document, error, expected) in zip(names, cases, strict=True):
        _assert_refused(service, name, error, expected, document)
        is_of_some = isinstance(document, dict) and document.get("pipeline") == SOME
        by_cause.setdefault(f"{SOME}: {error}" if is_of_some else name, []).append(name)
    assert sum(map(len, by_cause.values())) - len(by_cause) == 8  # further mistakes of one pipeline
    for executions in by_cause.values():
        until(partial(_notices, service, executions), f"a notice about one of {executions}")
    for name, (_, error, _) in zip(names, cases, strict=True):
        assert all(error in text for text in service.notices_about(name))
    for executions in by_cause.values():
        assert len(set(_notices(service, executions))) == 1, executions
    assert celonis.starts() == []
    assert service.is_free(SOME)


def test_a_request_with_a_malformed_body_is_refused_with_the_reason(
    service: DeployedService, celonis: CelonisControls
) -> None:
    service.define(SOME, jobs=[celonis.job()])
    cases: list[tuple[object, str, str]] = [
        *INPUTS,
        ({"pipeline": definition(jobs=[JOB])}, "InvalidTrigger", "pipeline: expected the name of a pipeline"),
        ({"pipeline": SOME, "delivery": "x"}, "InvalidTrigger", "delivery: is not a known field"),
        (b"", "InvalidTrigger", "expected a JSON object"),
        (b'{"pipeline": ', "InvalidTrigger", "expected a JSON object"),
        (b"\xff\xfe\x00", "InvalidTrigger", "expected a JSON object"),
        (b"[" * 20_000, "InvalidTrigger", "expected a JSON object"),
    ]
    for document, error, expected in cases:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        answer = service.call("POST", "/runs", body)
        assert answer.status_code == (404 if error == "UnknownPipeline" else 400), (document, answer.text)
        assert answer.headers["content-type"] == "application/json"
        reported: Json = answer.json()
        assert reported["error"] == error
        assert expected.lower().removesuffix("the name of a pipeline") in reported["message"].lower(), (
            document
        )
        assert is_sentence(reported["message"])
        if error == "InvalidTrigger":
            assert all(set(field) == {"field", "expected"} for field in reported["fields"])
    assert celonis.starts() == []
    assert service.is_free(SOME)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1000", "limit"),
        ("limit=many", "limit"),
        ("status=DONE", "status"),
        ("colour=red", "colour"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(service: DeployedService, query: str, field: str) -> None:
    answer = service.call("GET", f"/runs?{query}")
    assert (answer.status_code, answer.json()["error"]) == (400, "InvalidTrigger")
    assert [problem["field"] for problem in answer.json()["fields"]] == [field]


def test_what_is_wrong_with_a_source_is_in_the_log_alone_and_without_its_secret(
    service: DeployedService, celonis: CelonisControls
) -> None:
    pipeline = service.pipeline(jobs=[celonis.job()])
    rule = {"pipeline": pipeline}
    documents: list[tuple[object, str]] = [
        ({"sender": "github", "secret": SECRET * 2, "rules": [rule]}, "secret"),
        ({"sender": "github", "secret": "github", "rules": []}, "rules"),
        ({"sender": "nobody", "secret": "github", "rules": [rule]}, "sender"),
        ({"sender": "github", "secret": "github", "rules": [{**rule, "when": "[broken"}]}, "rules.0.when"),
        ({"sender": "github", "secret": "github", "rules": [{**rule, "tabels": []}]}, "rules.0.tabels"),
        ("no object", "the whole document"),
        ({"sender": "github", "secret": "no-such-secret", "rules": [rule]}, "does not exist"),
    ]
    for document, expected in documents:
        name = service.name("source")
        service.parameter(f"sources/{name}", json.dumps(document))
        answer = service.webhook(name)
        assert (answer.status_code, answer.json()["error"]) == (401, "NotAuthentic"), answer.text
        assert is_sentence(answer.json()["message"])
        line = until(partial(_why, service, name), "the reason in the log")
        assert expected in line
        assert SECRET not in answer.text + line
    assert celonis.starts() == []


def _why(service: DeployedService, source: str) -> str | None:
    """The reason in the log why a request to a source was refused."""
    lines = [json.loads(line.text) for line in service.stack.logs("Trigger") if line.text.startswith("{")]
    return next((str(line["why"]) for line in lines if line.get("source") == source and "why" in line), None)


def _notices(service: DeployedService, executions: list[str]) -> list[str]:
    """The notifications about any of these executions; one that is sent twice has the same text."""
    return [text for name in executions for text in service.notices_about(name)]


def _assert_refused(
    service: DeployedService, execution: str, error: str, expected: str, document: Any = None
) -> None:
    described = service.ended(execution)
    assert (described["status"], described["error"]) == ("FAILED", error), (document, described.get("cause"))
    assert expected in described["cause"], (document, described["cause"])
    assert is_sentence(described["cause"]), described["cause"]
    assert SECRET not in described["cause"]
    assert service.states(execution)[-1] == "RunFailed"
