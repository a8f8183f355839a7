"""The item of a pipeline: its last success, its last run, and whether its data is fresh.

The first two are written by the transaction that ends a run; the freshness, and how long a run is expected
to take, by reconcile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, convert
from msgspec.structs import asdict

from celonis_refresh.pipelines.definition import Definition
from celonis_refresh.pipelines.fresh_within import FreshWithin
from celonis_refresh.pipelines.freshness import Freshness, FreshnessState, decide, due_at
from celonis_refresh.runs.records import Run, RunStatus, data_from
from celonis_refresh.runs.table import Action, Table, pipeline_key
from celonis_refresh.timing import epoch, iso


def run_ended(table: Table, run: Run, facts: Mapping[str, Any]) -> Action:
    """Return the write of the end of a run, for the transaction that releases the slot of its pipeline.

    ``facts``: what that transaction sets in the record.
    """
    changes = {
        "last_run_id": run.run_id,
        "last_outcome": facts["status"],
        "last_run_at": facts["ended_at"],
        "last_error": facts.get("error", ""),
    }
    return table.set(pipeline_key(run.pipeline), changes | success_facts(run, facts), "")


def success_facts(run: Run, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the end of a run changes in the last success of its pipeline; empty after a failure."""
    if facts["status"] != RunStatus.SUCCEEDED:
        return {}
    return {"last_success_started_at": data_from(run.item), "last_success_at": facts["ended_at"]}


class StoredFreshness(Struct, frozen=True):
    """The freshness at the last change. ``seen_at``: the first evaluation with ``fresh_within``."""

    fresh_within: FreshWithin
    seen_at: float
    freshness: Freshness
    rev: int

    def to_json(self) -> dict[str, Any]:
        return {
            "fresh_within": self.fresh_within.to_json(),
            "seen_at": iso(self.seen_at),
            "state": self.freshness.state,
            "since": iso(self.freshness.since),
            "due_at": iso(self.freshness.due),
            "rev": self.rev,
        }

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> StoredFreshness:
        """Raises ValueError if the time zone of a stored deadline does not exist any more."""
        since, due = epoch(str(document["since"])), epoch(str(document["due_at"]))
        return StoredFreshness(
            FreshWithin.read(document["fresh_within"]),
            epoch(str(document["seen_at"])),
            Freshness(FreshnessState(document["state"]), since, due),
            int(document["rev"]),
        )


class ExpectedDuration(Struct, frozen=True):
    """How long a run with the plan of the definition is expected to take: ``seconds``, 0 if not known.

    ``run_id``: the last run that had ended; ``definition``: digest of the text; ``at``: epoch seconds.
    """

    seconds: float
    run_id: str
    definition: str
    at: float


class PipelineState(Struct, frozen=True):
    """``item``: the whole item as JSON values; empty if there is none yet."""

    item: Mapping[str, Any]

    @property
    def data_from(self) -> float | None:
        """When the last run that succeeded started; None if none has."""
        started = self.item.get("last_success_started_at")
        return None if started is None else epoch(str(started))

    @property
    def seconds(self) -> float | None:
        """How long the last run that succeeded took; None if none has."""
        return None if self.data_from is None else epoch(str(self.item["last_success_at"])) - self.data_from

    @property
    def succeeded_at(self) -> float | None:
        """When the last run that succeeded ended; None if none has."""
        ended = self.item.get("last_success_at")
        return None if ended is None else epoch(str(ended))

    @property
    def expected(self) -> ExpectedDuration | None:
        """The expected duration as it was read last; None if it never was."""
        found = self.item.get("expected")
        return None if found is None else convert(found, ExpectedDuration)

    @property
    def stored(self) -> StoredFreshness | None:
        """The stored freshness; None if the pipeline had no ``fresh_within`` at its last evaluation.

        None as well if its time zone does not exist any more: the next evaluation replaces it.
        """
        document = self.item.get("freshness")
        try:
            return None if document is None else StoredFreshness.from_json(document)
        except ValueError:
            return None

    def rule(self, definition: Definition | None) -> FreshWithin | None:
        """Return ``fresh_within`` of the definition; of one that is not valid (None), that evaluated last."""
        if definition is not None:
            return definition.fresh_within
        return self.stored.fresh_within if self.stored else None


def set_freshness(table: Table, name: str, state: PipelineState, stored: StoredFreshness | None) -> Action:
    """Return the write of the freshness of a pipeline; None removes it.

    Nothing is written if the freshness or the last success has changed since ``state`` was read.
    """
    rev = state.item.get("freshness", {}).get("rev")
    success = state.item.get("last_success_at")
    unmoved = " AND ".join(
        (
            "attribute_not_exists(#freshness)" if rev is None else "#freshness.#rev = :rev",
            "attribute_not_exists(#last_success_at)" if success is None else "#last_success_at = :success",
        )
    )
    known = {"rev": rev, "success": success}
    values = {each: value for each, value in known.items() if value is not None}
    if stored is None:
        return table.change(pipeline_key(name), "REMOVE #freshness", unmoved, values)
    return table.set(pipeline_key(name), {"freshness": stored.to_json()}, unmoved, values)


def set_expected(table: Table, name: str, expected: ExpectedDuration) -> Action:
    """Return the write of the expected duration of a run of a pipeline."""
    return table.set(pipeline_key(name), {"expected": asdict(expected)}, "")


def shown_freshness(state: PipelineState, rule: FreshWithin | None, now: float) -> dict[str, Any] | None:
    """Return the freshness as the API shows it; None without ``fresh_within``."""
    if rule is None:
        return None
    stored = state.stored
    due = due_at(rule.rule(), stored.seen_at if stored else now, state.data_from)
    freshness = decide(due, now, None, stored.freshness if stored else None, state.succeeded_at)
    return {
        "state": freshness.state,
        "since": iso(freshness.since),
        "due_at": iso(freshness.due),
        "fresh_within": rule.to_json(),
        "last_success_started_at": state.item.get("last_success_started_at"),
        "last_success_at": state.item.get("last_success_at"),
    }
