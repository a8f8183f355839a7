"""Every line of a real handler has the ids that are known by then, and none of an earlier invocation."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from celonis_refresh.observability import logger
from tests.fakes.aws import AwsFailure
from tests.fakes.service import JOB, POOL
from tests.unit.functions_over_fakes import CONTEXT, Functions


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Everything that is logged, from DEBUG on."""
    (handler,) = [each for each in logger.handlers if isinstance(each, logging.StreamHandler)]
    stream, before, level = io.StringIO(), handler.stream, logger.log_level
    handler.setStream(stream)
    logger.setLevel(logging.DEBUG)
    yield stream
    handler.setStream(before)
    logger.setLevel(level)


def last(lines: io.StringIO) -> dict[str, Any]:
    """The last line, after which the stream is empty."""
    line: dict[str, Any] = json.loads(lines.getvalue().splitlines()[-1])
    lines.seek(0)
    lines.truncate()
    return line


def metric_lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]


def test_the_lines_of_a_webhook_name_its_source_and_delivery(
    functions: Functions, lines: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    functions.deliver()
    answered = last(lines)
    assert (answered["source"], answered["delivery_id"]) == ("shop", "d-1")
    assert "step" not in answered  # of the run that it has started, and that is over
    counted = metric_lines(capsys)
    assert len(counted) == 3, "one for each call to Celonis"
    assert {line["level"] for line in counted} == {"INFO"}
    (deliveries,) = [line for line in counted if "Deliveries" in line]
    assert (deliveries["source"], deliveries["result"], deliveries["Deliveries"]) == (
        "shop",
        "accepted",
        [1.0],
    )
    requests = {(line["call"], line["status"]) for line in counted if "CelonisRequests" in line}
    assert requests == {("get_job", "200"), ("get_executions", "200"), ("execute_job", "200")}


def test_the_lines_of_a_poll_name_run_pipeline_source_delivery_step_and_ids_of_celonis(
    functions: Functions, lines: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    functions.deliver()
    functions.open()
    capsys.readouterr()
    functions.poll()
    polled, (started,) = last(lines), functions.aws.attempts_of("StartExecution")
    known = {
        "run_id": started.body["name"],
        "pipeline": "otc",
        "source": "shop",
        "delivery_id": "d-1",
        "step": "job-0",
        "data_pool": POOL,
        "data_job": JOB,
        "execution_id": "e-2",
    }
    assert {key: polled.get(key) for key in known} == known
    (counted, *_) = metric_lines(capsys)
    assert {key: counted.get(key) for key in known if key != "execution_id"} == {
        key: value for key, value in known.items() if key != "execution_id"
    }


def ids_of(functions: Functions, *, ours: bool = True) -> dict[str, str]:
    """What every line about the step of the run must have."""
    ids = {
        "run_id": functions.run_id,
        "pipeline": "otc",
        "source": "shop",
        "delivery_id": "d-1",
        "step": "job-0",
    }
    return {**ids, "data_pool": POOL, "data_job": JOB} | ({"execution_id": "e-2"} if ours else {})


def every(lines: io.StringIO, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """All lines since the last call, and those with metrics."""
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    lines.seek(0)
    lines.truncate()
    return [*found, *metric_lines(capsys)]


def missing(lines: list[dict[str, Any]], known: Mapping[str, str]) -> list[tuple[str, str]]:
    assert lines
    return [
        (str(line.get("message") or sorted(line)), key)
        for line in lines
        for key, value in known.items()
        if line.get(key) != value
    ]


def test_a_webhook_that_starts_a_run_names_it(
    functions: Functions, lines: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    functions.deliver()
    found = every(lines, capsys)
    known = {"run_id": functions.run_id, "pipeline": "otc", "source": "shop", "delivery_id": "d-1"}
    assert missing(found, known) == []
    requests = [line for line in found if "CelonisRequests" in line]
    assert missing(requests, ids_of(functions, ours=False)) == []


@pytest.mark.parametrize("again", [False, True], ids=["runs", "has ended"])
def test_every_line_of_the_functions_of_a_step_names_all_ids(
    functions: Functions, lines: io.StringIO, capsys: pytest.CaptureFixture[str], *, again: bool
) -> None:
    functions.deliver()
    functions.open()
    functions.poll()
    if again:
        step = functions.aws.dynamodb.items[f"run#{functions.run_id}"]["steps"]["M"]["job-0"]["M"]
        step |= {"ended_at": {"S": "2026-11-28T02:00:00.000Z"}, "outcome": {"S": "SUCCEEDED"}}
    for handler in (functions.start_step, functions.check_step):
        every(lines, capsys)
        handler.handler({"run_id": functions.run_id, "step": "job-0"}, CONTEXT)
        assert missing(every(lines, capsys), ids_of(functions)) == []


@pytest.mark.parametrize("by", ["event", "reconcile"])
def test_every_line_about_the_end_of_a_run_names_it(
    functions: Functions,
    lines: io.StringIO,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    by: str,
) -> None:
    functions.aws.parameters["/stack/pipelines/otc"]["notify"] = {"channels": []}
    functions.deliver()
    functions.open()
    functions.end()
    every(lines, capsys)
    functions.aws.failures["PutEvents"] = [AwsFailure("InternalFailure", 500)] * 3
    if by == "event":
        functions.close()
    else:
        later = time.time() + 120.0
        monkeypatch.setattr(time, "time", lambda: later)
        functions.reconcile()
    found = [line for line in every(lines, capsys) if line.get("message") != "reconciled"]
    found = [line for line in found if not {"StalePipelines", "ReconcileFindings", "finding"} & set(line)]
    known = {"run_id": functions.run_id, "pipeline": "otc"}
    assert missing(found, known) == []
    assert {"run ended", "a message was not sent"} <= {line.get("message") for line in found}
    requests = [line for line in found if "CelonisRequests" in line]
    assert missing(requests, ids_of(functions, ours=False)) == []


def test_no_key_of_an_invocation_is_in_a_line_of_the_next(functions: Functions, lines: io.StringIO) -> None:
    functions.deliver()
    functions.open()
    functions.poll()
    before = functions.run_id
    functions.empty_table()
    functions.deliver()
    answered = last(lines)
    assert answered["run_id"] == functions.run_id != before
    assert not {"step", "data_job", "execution_id"} & set(answered)


def test_no_line_with_a_metric_has_a_secret(functions: Functions, capsys: pytest.CaptureFixture[str]) -> None:
    functions.deliver()
    functions.open()
    functions.poll()
    written = capsys.readouterr().out
    for secret in functions.aws.secrets.values():
        for value in (secret.get("current"), secret.get("auth", {}).get("key")):
            assert value is None or str(value) not in written
