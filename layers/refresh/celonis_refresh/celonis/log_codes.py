"""Reasons why Celonis cancelled or skipped an execution, by the codes in its log (``logTranslationCode``).

The codes are those of the public SDK; others are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from celonis_refresh.celonis.records import LogLine

AUTOMATIC = "EXECUTION_AUTOMATICALLY_CANCELLED_AFTER_X_MINUTES"
REASONS: Mapping[str, str] = {
    "DATA_CONSUMPTION_LIMIT_EXCEEDED": "the data consumption limit of the Celonis team is exceeded",
    AUTOMATIC: "Celonis cancels it automatically after {minutes} minutes",
    "EARLIER_JOB_IN_SCHEDULE_FAILED_OR_CANCELLED": "an earlier job of its schedule failed or was cancelled",
    "NO_RUNNABLE_EXTRACTIONS_OR_TRANSFORMATIONS": "it has nothing to extract or transform that is enabled",
    "NO_TABLE_IN_EXTRACTION": "its extraction has no table",
    "EXTRACTION_IS_SKIPPED": "its extraction was skipped",
    "JOB_ALREADY_RUNNING": "the job was running already",
    "JOB_ALREADY_RUNNING_CANNOT_EXECUTE_SCHEDULE": "the job was running already",
    "EXECUTION_CANCELED_AFTER_CONNECTOR_DISCONNECT": "the connection to its extractor was lost",
    "JOB_HAS_NO_DATA_SOURCE": "the job has no data source",
    "DATASOURCE_NOT_REACHABLE": "its data source cannot be reached",
    "EXECUTION_CANCELED_ON_REQUEST": "a user cancelled it",
}
"""The first of these codes that a log has is the cause; later ones may follow from it."""
NUMBER = re.compile(r"\b\d+\b")


def explain(lines: Iterable[LogLine]) -> str:
    """Return the cause for the end of a sentence; empty if the log has none of the codes."""
    by_code: dict[str, LogLine] = {}
    for line in lines:
        if line.code:
            by_code.setdefault(line.code, line)
    for code, reason in REASONS.items():
        if code in by_code:
            return reason.format(minutes=_minutes(by_code[code]))
    return ""


def _minutes(line: LogLine) -> str:
    """Return the number of minutes from the parameters or the text of the line."""
    matches = (NUMBER.search(text) for text in (*line.values, line.message or ""))
    return next((match[0] for match in matches if match), "some")
