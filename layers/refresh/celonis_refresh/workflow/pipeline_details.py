"""The state of many pipelines at once: pauses, runs, freshness and expected durations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct

from celonis_refresh.pipelines.definition import Definition, DefinitionPage, parse_definition
from celonis_refresh.pipelines.errors import InvalidDefinition
from celonis_refresh.pipelines.plan import AS_DEFINED, Plan, make_plan
from celonis_refresh.runs.pipeline_state import PipelineState, shown_freshness
from celonis_refresh.runs.records import RunStatus
from celonis_refresh.runs.table import Table, pipeline_key, slot_key
from celonis_refresh.steps.expected import duration_keys, expected_end, known_seconds_left
from celonis_refresh.steps.polling.durations import usual_seconds
from celonis_refresh.timing import Clock, Deadline, epoch, iso
from celonis_refresh.workflow.listing import Listing

PAGES = 5
"""Requests for definitions for one answer: 50 pipelines."""


def usual_durations(table: Table, plans: Iterable[Plan], deadline: Deadline, now: float) -> dict[str, float]:
    """Return the usual seconds of the steps of plans by the key of their durations; 0 if not known."""
    keys = list(dict.fromkeys(key for plan in plans for key in duration_keys(plan)))
    items = table.get_all(keys, deadline)
    return {key: usual_seconds(items.get(key), now) for key in keys}


def expected_seconds(plan: Plan, usual: Mapping[str, float], now: float) -> int | None:
    """Return the seconds that a run with this plan usually takes; None without the duration of a step."""
    return _rounded(known_seconds_left(plan, usual, {}, now))


def run_expectation(
    plan: Plan, usual: Mapping[str, float], states: Mapping[str, Any], now: float
) -> dict[str, Any]:
    """Return what the API shows of the expected end of an open run. ``states``: of its steps."""
    end = expected_end(plan, usual, states, now)
    return {
        "expected_seconds": expected_seconds(plan, usual, now),
        "expected_seconds_left": _rounded(known_seconds_left(plan, usual, states, now)),
        "expected_end": None if end is None else iso(end),
    }


def _rounded(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds)


def shown_pipeline(
    name: str,
    definition: Definition | None,
    slot: Mapping[str, Any],
    state: PipelineState,
    now: float,
) -> dict[str, Any]:
    """Return what the API shows of the slot and the freshness of a pipeline.

    ``definition``: None if it is not valid; freshness is then that of the rule that was evaluated last.
    """
    return {
        "pipeline": name,
        "paused": (definition is not None and definition.paused) or "pause" in slot,
        "pause": slot.get("pause"),
        "active_run": slot.get("run_id"),
        "waiting": slot.get("pending"),
        "freshness": shown_freshness(state, state.rule(definition), now),
    }


class PipelineDetails(Struct, frozen=True):
    """Reads the state of pipelines. ``read_page``: ten definitions as texts, by the token of the page."""

    table: Table
    listing: Listing
    read_page: Callable[[str | None], DefinitionPage]
    clock: Clock

    def page(self, after: str | None, runs: int, deadline: Deadline) -> dict[str, Any]:
        """Return ``{"pipelines", "freshness", "next", "details"}`` of at most 50 pipelines.

        ``runs``: the number of last runs of each. One query for each pipeline with runs, and one more where
        the last success is not among them.
        """
        texts: dict[str, str] = {}
        for _ in range(PAGES):
            page = self.read_page(after)
            texts |= page.texts
            after = page.token
            if after is None:
                break
        details = self._details(dict(sorted(texts.items())), runs, deadline)
        freshness = {one["pipeline"]: one["freshness"] for one in details if one["freshness"]}
        return {"pipelines": sorted(texts), "freshness": freshness, "next": after, "details": details}

    def _details(self, texts: Mapping[str, str], runs: int, deadline: Deadline) -> list[dict[str, Any]]:
        now = self.clock()
        keys = [key for name in texts for key in (slot_key(name), pipeline_key(name))]
        items = self.table.get_all(keys, deadline)
        definitions = {name: _definition(name, text) for name, text in texts.items()}
        plans = {
            name: make_plan(found, AS_DEFINED)
            for name, found in definitions.items()
            if isinstance(found, Definition)
        }
        usual = usual_durations(self.table, plans.values(), deadline, now)
        expected = {name: expected_seconds(plan, usual, now) for name, plan in plans.items()}
        return [
            self._of_pipeline(name, found, items, runs) | {"expected_seconds": expected.get(name)}
            for name, found in definitions.items()
        ]

    def _of_pipeline(
        self,
        name: str,
        found: Definition | InvalidDefinition,
        items: Mapping[str, Mapping[str, Any]],
        runs: int,
    ) -> dict[str, Any]:
        """``found``: the definition, or what is wrong with it."""
        slot = items.get(slot_key(name), {})
        state = PipelineState(items.get(pipeline_key(name), {}))
        listed = self.listing.page(runs, name, None, None).runs if runs else []
        last, now = self._last_success(name, listed, state), self.clock()
        definition = found if isinstance(found, Definition) else None
        return {
            **shown_pipeline(name, definition, slot, state, now),
            "last_success": last,
            "seconds_since_last_success": round(now - epoch(last["ended_at"])) if last else None,
            "runs": listed,
        } | ({} if definition else {"invalid": str(found)})

    def _last_success(
        self, name: str, listed: Iterable[Mapping[str, Any]], state: PipelineState
    ) -> Mapping[str, Any] | None:
        """Return the newest run that succeeded: one of ``listed``, or by another query if there is one."""
        among = next((run for run in listed if run["status"] == RunStatus.SUCCEEDED), None)
        if among is not None or state.data_from is None:
            return among
        return next(iter(self.listing.page(1, name, RunStatus.SUCCEEDED, None).runs), None)


def _definition(name: str, text: str) -> Definition | InvalidDefinition:
    try:
        return parse_definition(name, text)
    except InvalidDefinition as error:
        return error
