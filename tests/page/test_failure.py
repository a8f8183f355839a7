"""What a failed run says on its page: the reason, and what to do, which are never mixed up."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
from playwright.sync_api import expect

from local.week.backend import HistoryBackend
from tests.page.conftest import View

LOST = "The connection to the source was lost. Read timed out. Start the gateway. Try later."
GRANT = "Permission needed in Celonis: EXECUTE on the data job."
RETRY = "To retry, send POST /runs/{}/retry: it skips job-a, which succeeded."


def failed_with(backend: HistoryBackend, outcome: str, hint: str) -> str:
    """Give the newest failed run of a job an outcome and a hint; return its id."""
    records = [copy.deepcopy(one) for one in backend.history.records if "retry_of" not in one]
    record = next(one for one in reversed(records) if one["status"] == "FAILED")
    record["outcome"] = outcome.format(record["run_id"])
    state = next(state for state in record["steps"].values() if state.get("outcome") == "FAILED")
    state.pop("hint", None)
    state |= {"hint": hint} if hint else {}
    backend.history = replace(backend.history, records=records)
    return str(record["run_id"])


@pytest.mark.parametrize(
    ("outcome", "hint", "reason", "actions"),
    [
        (f"Data job a failed: {LOST} {GRANT}", GRANT, f"Data job a failed: {LOST}", [GRANT]),
        (
            f"Data job a failed. {GRANT} {RETRY}",
            GRANT,
            "Data job a failed.",
            [GRANT, "Retry this run: it skips job-a, which succeeded."],
        ),
        (f"Data job a failed: {LOST}", "", f"Data job a failed: {LOST}", []),
        (f"Data job a failed: {LOST}…", GRANT, f"Data job a failed: {LOST}…", []),
    ],
    ids=["hint", "hint and retry", "no hint", "cut off"],
)
def test_reason_and_hint(
    outcome: str, hint: str, reason: str, actions: list[str], view: View, backend: HistoryBackend
) -> None:
    page = view().open(f"/runs/{failed_with(backend, outcome, hint)}")
    panel = page.locator(".failure")
    expect(panel.locator(".reason")).to_have_text(reason)
    expect(panel.get_by_role("listitem")).to_have_text(actions)
    expect(panel.get_by_role("heading", name="What to do")).to_have_count(1 if actions else 0)
