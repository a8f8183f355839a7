"""Log lines and metrics as Lambda's filter reads them: level, timestamp, and what no level drops."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest
from aws_lambda_powertools import Logger

from celonis_refresh.observability import count, to_line
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
def test_a_metric_is_dropped_at_no_level(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    count("ReconcileFailures", 3)
    (line,) = capsys.readouterr().out.splitlines()
    assert is_kept(line, "JSON", level)
    metric = json.loads(line)
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
