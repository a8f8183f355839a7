"""The texts for the message codes of a log."""

from __future__ import annotations

import pytest

from celonis_refresh.celonis.log_codes import AUTOMATIC, REASONS, explain
from celonis_refresh.celonis.records import read_log_lines


def explained(*lines: dict[str, object]) -> str:
    return explain(read_log_lines({"logMessages": list(lines)}))


@pytest.mark.parametrize("code", sorted(REASONS))
def test_every_code_is_explained_in_one_clause(code: str) -> None:
    reason = explained(
        {"logTranslationCode": "STARTING_EXECUTION_OF_EXTRACTION"}, {"logTranslationCode": code}
    )
    assert reason
    assert not reason.endswith(".")
    assert "{" not in reason
    assert "\n" not in reason


@pytest.mark.parametrize(
    "line",
    [
        {"logTranslationParameters": [{"key": "name", "value": "Job"}, {"key": "minutes", "value": "720"}]},
        {"logTranslationParameters": [{"key": "0", "value": 720}]},
        {"logTranslationParameters": None, "logMessage": "Automatically cancelled after 720 minutes."},
        {"logTranslationParameters": [None, {"key": "minutes"}], "logMessage": "After 720 min"},
    ],
)
def test_the_minutes_come_from_the_parameters_or_the_text(line: dict[str, object]) -> None:
    assert explained({"logTranslationCode": AUTOMATIC, **line}).endswith("after 720 minutes")


def test_without_a_number_the_minutes_are_left_open() -> None:
    assert explained({"logTranslationCode": AUTOMATIC}).endswith("after some minutes")


def test_of_several_causes_the_first_is_reported() -> None:
    codes = ("EXECUTION_CANCELED_ON_REQUEST", "EXTRACTION_IS_SKIPPED", "DATA_CONSUMPTION_LIMIT_EXCEEDED")
    lines: list[dict[str, object]] = [{"logTranslationCode": code} for code in codes]
    assert "limit" in explained(*lines)


@pytest.mark.parametrize("line", [{}, {"logTranslationCode": None}, {"logTranslationCode": "WHATEVER"}])
def test_a_line_without_a_known_code_explains_nothing(line: dict[str, object]) -> None:
    assert explained(line) == ""
