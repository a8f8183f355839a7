"""The simulated history answers as the API does: everything that the page can ask for is compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from celonis_refresh.runs.deliveries import unexpired_runs
from celonis_refresh.runs.table import delivery_key
from celonis_refresh.timing import iso
from local.screenshots import NOW
from local.week.fill import items_of
from local.week.history import make_history
from local.week.plans import PLANS
from tests.page.conftest import CheckedBackend


def ask(backend: CheckedBackend, method: str, path: str, body: object = None, **query: str) -> Any:
    sent = b"" if body is None else json.dumps(body).encode()
    return json.loads(backend.api(method, path, query, {}, sent).body)


def all_runs(backend: CheckedBackend) -> Iterator[str]:
    """Every run of the lists, page by page."""
    before: dict[str, str] = {}
    while True:
        page = ask(backend, "GET", "/runs", limit="100", **before)
        yield from (run["run_id"] for run in page["runs"])
        if page["before"] is None:
            return
        before = {"before": page["before"]}


def test_every_run_and_every_pipeline(backend: CheckedBackend) -> None:
    runs = list(all_runs(backend))
    assert len(runs) > 500
    statuses = {ask(backend, "GET", f"/runs/{run}")["status"] for run in runs}
    assert statuses >= {"SUCCEEDED", "FAILED", "RUNNING"}
    for pending in backend.history.pending.values():
        assert ask(backend, "GET", f"/runs/{pending['run_id']}")["status"] == "WAITING"
    for name in ask(backend, "GET", "/pipelines", runs="14")["pipelines"]:
        assert ask(backend, "GET", f"/pipelines/{name}")["pipeline"] == name


def test_every_source(backend: CheckedBackend) -> None:
    sources = ask(backend, "GET", "/sources")["sources"]
    results = set()
    for source in sources:
        found = ask(backend, "GET", "/deliveries", source=source, limit="100")["deliveries"]
        results |= {each["result"] for each in found}
        for conclusion in ("success", "failure"):
            ask(backend, "POST", f"/sources/{source}/test", {"body": {"conclusion": conclusion}})
    assert results == {"started", "merged", "ignored", "duplicate"}


def test_changes_and_what_does_not_exist(backend: CheckedBackend) -> None:
    assert ask(backend, "POST", "/pipelines/inventory/pause", {"reason": "maintenance"})["paused"]
    assert not ask(backend, "POST", "/pipelines/inventory/resume")["paused"]
    assert ask(backend, "GET", "/runs/none")["error"] == "RunNotFound"
    assert ask(backend, "GET", "/pipelines/none")["error"] == "PipelineNotFound"


def test_an_answer_that_the_api_does_not_give_is_noticed(backend: CheckedBackend) -> None:
    pause = {"by": "m.keller", "at": "2026-09-17T08:00:00Z", "reason": "maintenance"}
    for number, (name, value) in enumerate((("reason", 1), ("until", "2026-09-18T08:00:00Z")), start=1):
        backend.paused["inventory"] = {**pause, name: value}
        ask(backend, "GET", "/pipelines/inventory")
        assert len(backend.problems) == number
    ask(backend, "GET", "/runs", colour="red")
    assert backend.problems.pop() == "GET /runs: the parameter colour is not known"
    backend.problems.clear()


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("hours", [0.0, 5.3, 31.7])
@pytest.mark.parametrize("seed", range(5))
def test_deliveries_triggers_and_runs_are_consistent(seed: int, hours: float, live: bool) -> None:
    """Whatever the time at which the history ends, every run that it names is in it."""
    now = NOW.timestamp() + hours * 3600
    history = make_history(seed, now, days=3, live=live)
    runs = {each["run_id"]: each for each in (*history.records, *history.running)}
    known = {*runs, *(each["run_id"] for each in history.pending.values())}
    named = {run["run_id"] for each in history.deliveries for run in each["runs"]}
    assert named <= known
    assert {each["retry_of"] for each in runs.values() if "retry_of" in each} <= known
    accepted = {each["delivery"] for each in history.deliveries if each["runs"]}
    assert {each["delivery"] for each in history.deliveries if each["result"] == "duplicate"} <= accepted
    assert max(each["received_at"] for each in history.deliveries) <= iso(now)
    waits = [step.get("waiting_for") for run in runs.values() for step in run["steps"].values()]
    assert {text.removeprefix("run ") for text in waits if text} <= known
    assert bool(history.running) is live


def test_a_written_week_names_the_retry_of_each_run() -> None:
    now = NOW.timestamp()
    history = make_history(7, now)
    items = {item["pk"]: item for item in items_of(history, PLANS, now)}
    retries = [each for each in history.records if "retry_of" in each]
    assert retries
    for retry in retries:
        runs = unexpired_runs(items[delivery_key("retry", retry["retry_of"])], now)
        assert runs[retry["pipeline"]]["run_id"] == retry["run_id"]
