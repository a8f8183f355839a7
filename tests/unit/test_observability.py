"""Log lines and metrics as Lambda's filter reads them: level, timestamp, and what no level drops."""

from __future__ import annotations

import io
import json
import logging
import socket
from collections import Counter
from contextlib import redirect_stdout
from threading import Thread
from typing import Any

import pytest
import requests
from aws_lambda_powertools import Logger
from hypothesis import given
from hypothesis import strategies as st

from celonis_refresh.metrics import METRICS
from celonis_refresh.observability import collecting_metrics, count, log_scope, logger, measure, to_line
from local.aws.runtime.log_levels import is_kept

LEVELS = ["DEBUG", "INFO", "WARN", "ERROR"]


def logged(level: str, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """One line of each level, as a logger writes them in a function with this ApplicationLogLevel."""
    monkeypatch.setenv("AWS_LAMBDA_LOG_LEVEL", level)
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = Logger(
        service=f"test-{level}", use_rfc3339=True, utc=True, json_serializer=to_line, logger_handler=handler
    )
    for write in (logger.debug, logger.info, logger.warning, logger.error):
        write("line")
    lines = stream.getvalue().splitlines()
    assert all(is_kept(line, "JSON", level) for line in lines)
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("level", LEVELS)
def test_the_lines_from_a_level_on_are_written_and_pass_lambdas_filter(
    level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = logged(level, monkeypatch)
    assert [line["level"] for line in lines] == LEVELS[LEVELS.index(level) :]


def test_libraries_do_not_log_their_debug_lines() -> None:
    assert not logging.getLogger("botocore.parsers").isEnabledFor(logging.DEBUG)


@pytest.mark.parametrize("level", LEVELS)
def test_a_metric_is_dropped_at_no_level_and_is_no_error(
    level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = logger.log_level
    logger.setLevel(logging.getLevelNamesMapping()[level])
    count("ReconcileFailures", 3)
    logger.setLevel(before)
    (line,) = capsys.readouterr().out.splitlines()
    assert is_kept(line, "JSON", level)
    metric = json.loads(line)
    assert metric["level"] == ("INFO" if level == "DEBUG" else level)
    (described,) = metric["_aws"]["CloudWatchMetrics"]
    assert (described["Namespace"], described["Dimensions"]) == ("CelonisRefresh", [["service"]])
    assert metric["ReconcileFailures"] == [3.0]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('{"level": "ERROR", "timestamp": "2026-11-01T10:00:00.123+00:00"}', True),
        ('{"level": "warn", "timestamp": "2026-11-01T10:00:00Z"}', True),
        ('{"level": "INFO", "timestamp": "2026-11-01T10:00:00Z"}', False),
        ('{"level": "WARNING", "timestamp": "2026-11-01T10:00:00Z"}', False),
        ('{"level": "ERROR", "timestamp": "2026-11-01 10:00:00,123+0000"}', False),
        ('{"level": "ERROR"}', False),
        ('{"timestamp": "2026-11-01T10:00:00Z"}', False),
        ("[1]", False),
        ("plain text", False),
    ],
)
def test_a_line_without_a_level_that_lambda_can_read_counts_as_info(text: str, *, kept: bool) -> None:
    assert is_kept(text, "JSON", "WARN") is kept
    assert is_kept(text, "JSON", "")
    assert is_kept(text, "Text", "")


@pytest.fixture(autouse=True)
def _no_keys() -> None:
    """As at the beginning of an invocation."""
    logger.clear_state()


def metrics_of(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The lines that were written, each with its dimensions as ``by``."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [{**line, "by": line["_aws"]["CloudWatchMetrics"][0]["Dimensions"]} for line in lines]


def test_an_invocation_adds_counts_and_writes_the_values_of_durations(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @collecting_metrics
    def handler() -> None:
        for status in ("200", "200", "429"):
            count("CelonisRequests", call="get_job", status=status)
        measure("JobDuration", 3.0)
        measure("JobDuration", 5.0)
        assert capsys.readouterr().out == ""

    handler()
    twice, once = metrics_of(capsys)
    assert (twice["CelonisRequests"], twice["call"], twice["status"]) == ([2.0], "get_job", "200")
    assert (once["CelonisRequests"], once["status"]) == ([1.0], "429")
    assert once["by"] == [["service", "call", "status"]]
    assert (twice["JobDuration"], described(twice)["JobDuration"]) == ([3.0, 5.0], ("Seconds", ["service"]))


def described(line: dict[str, Any]) -> dict[str, tuple[str, list[str]]]:
    """The units and dimensions of the metrics of a line, by name."""
    return {
        metric["Name"]: (metric["Unit"], dimensions)
        for directive in line["_aws"]["CloudWatchMetrics"]
        for metric in directive["Metrics"]
        for dimensions in directive["Dimensions"]
    }


def test_metrics_with_different_dimensions_are_one_line_if_no_field_has_two_values(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @collecting_metrics
    def handler() -> None:
        count("Deliveries", source="shop", result="accepted")
        count("ConfigurationErrors", source="shop")
        for pipeline, seconds in (("otc", 3.0), ("p2p", 5.0)):
            measure("RunDuration", seconds, pipeline=pipeline)
            count("RunsEnded", pipeline=pipeline, outcome="SUCCEEDED")
        count("ReconcileFindings", finding="closed")

    handler()
    one, other = metrics_of(capsys)
    assert described(one) == {
        "Deliveries": ("Count", ["service", "source", "result"]),
        "ConfigurationErrors": ("Count", ["service"]),
        "RunDuration": ("Seconds", ["service", "pipeline"]),
        "RunsEnded": ("Count", ["service", "pipeline", "outcome"]),
        "ReconcileFindings": ("Count", ["service", "finding"]),
    }
    assert (one["source"], one["result"], one["pipeline"], one["finding"]) == (
        *("shop", "accepted", "otc", "closed"),
    )
    assert (one["RunDuration"], other["RunDuration"], other["pipeline"]) == ([3.0], [5.0], "p2p")
    assert set(described(other)) == {"RunDuration", "RunsEnded"}


COMBINATIONS: list[tuple[str, dict[str, str]]] = [
    ("JobDuration", {}),
    ("CelonisThrottledTime", {}),
    *(("RunDuration", {"pipeline": each}) for each in "ab"),
    *(("SecondsSinceSuccess", {"pipeline": each}) for each in "ab"),
    *(("CelonisRequests", {"call": each, "status": status}) for each in "xy" for status in ("200", "429")),
]


@given(recorded=st.lists(st.tuples(st.sampled_from(COMBINATIONS), st.integers(1, 9)), max_size=40))
def test_cloudwatch_reads_from_the_lines_what_was_recorded(
    recorded: list[tuple[tuple[str, dict[str, str]], int]],
) -> None:
    @collecting_metrics
    def handler() -> None:
        for (name, dimensions), value in recorded:
            measure(name, value, **dimensions)

    out = io.StringIO()
    with redirect_stdout(out):
        handler()
    sums: Counter[tuple[str, ...]] = Counter()
    for line in map(json.loads, out.getvalue().splitlines()):
        for name, (unit, names) in described(line).items():
            assert unit == METRICS[name].unit
            sums[(name, *(line[each] for each in names[1:]))] += sum(line[name])
    expected: Counter[tuple[str, ...]] = Counter()
    for (name, dimensions), value in recorded:
        expected[(name, *(dimensions[each] for each in METRICS[name].dimensions))] += value
    assert sums == expected


def test_metrics_with_the_same_dimensions_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    @collecting_metrics
    def handler() -> None:
        count("NotificationsSent")
        count("ReconcileFailures", 2)

    handler()
    (line,) = metrics_of(capsys)
    assert (line["NotificationsSent"], line["ReconcileFailures"]) == ([1.0], [2.0])


def test_the_metrics_of_an_invocation_that_fails_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    @collecting_metrics
    def handler() -> None:
        count("NotificationsFailed")
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        handler()
    (line,) = metrics_of(capsys)
    assert line["NotificationsFailed"] == [1.0]


@pytest.mark.parametrize("number", [99, 100, 101, 250])
def test_no_value_is_lost_or_written_twice_if_there_are_many(
    number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    @collecting_metrics
    def handler() -> None:
        for value in range(number):
            measure("JobDuration", value)

    handler()
    assert [value for line in metrics_of(capsys) for value in line["JobDuration"]] == list(range(number))


def test_a_line_with_metrics_has_the_ids_that_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    with log_scope(run_id="otc-1", pipeline="otc", step="job-0"):
        count("RunsEnded", pipeline="p2p", outcome="FAILED")
    count("NotificationsSent")
    within, without = metrics_of(capsys)
    assert (within["run_id"], within["step"], within["pipeline"]) == ("otc-1", "job-0", "p2p")
    assert "run_id" not in without


def test_what_a_scope_adds_ends_with_it_and_what_it_hides_returns() -> None:
    with log_scope(run_id="otc-1"):
        with log_scope(run_id="otc-2"):
            logger.append_keys(step="job-0")
        keys = logger.get_current_keys()
        assert (keys["run_id"], "step" in keys) == ("otc-1", False)
    assert "run_id" not in logger.get_current_keys()


@pytest.mark.enable_socket
def test_a_malformed_answer_does_not_put_the_address_of_its_request_into_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nno header\r\nContent-Length: 0\r\n\r\n")

        receiver = Thread(target=answer)
        receiver.start()
        requests.post(f"http://127.0.0.1:{server.getsockname()[1]}/?token=secret", timeout=5)
        receiver.join()
    assert "secret" not in caplog.text
