"""Simulates a week: triggers, runs that wait for each other, failures, retries. Pure, by a seed."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import exp, inf
from random import Random
from typing import Any, Final
from uuid import UUID

from celonis_refresh.pipelines.options import Reason, RunOptions
from celonis_refresh.pipelines.plan import labelled
from celonis_refresh.runs.records import RunStatus, new_record
from celonis_refresh.runs.table import make_run_id, webhook_key
from celonis_refresh.steps.polling.durations import add_duration
from celonis_refresh.steps.target import FAIL_HINT
from celonis_refresh.timing import iso
from local.week.plans import DAY, HOUR, PLANS, Failure, Plan, Target, Webhooks
from refresh_cli.page.schedule_times import next_times

USER: Final = "arn:aws:sts::123456789012:assumed-role/DataEngineer/m.keller"
LEARNED: Final = 20
KEPT_DAYS: Final = 90
ENDINGS: Final = {"LoadCanceled": "was cancelled", "LoadFailed": "failed"}
QUIET_MINUTES: Final = 45
LIVE: Final = (
    ("purchase-to-pay", 9.0),
    ("order-to-cash", 6.2),
    ("accounts-payable", 4.0),
    ("order-to-cash", 1.5),
)
"""The last triggers of a history that is live: pipeline, and minutes before now."""
LIVE_PIPELINES: Final = frozenset(name for name, _ in LIVE)
POLLS: Final = (0.15, 0.4, 0.62, 0.8, 0.9, 0.95, 0.98)
"""Shares of the usual duration at which a step is polled."""


@dataclass(frozen=True)
class Trigger:
    """What asks for a run. ``by``: a source, ``schedule`` or a user; ``delivery``: of a webhook."""

    at: float
    pipeline: str
    by: str
    text: str
    key: str
    delivery: str | None = None
    retry_of: str | None = None

    @property
    def reason(self) -> Reason:
        return Reason(iso(self.at), f"{self.key}#0", self.by, self.text)


@dataclass
class History:
    """``records``: items of runs that have ended, oldest first; ``running``: of those that have not.

    ``deliveries``: as the API shows them, oldest first. ``durations``: documents by target and variant.
    ``pending``: merged triggers of pipelines, by name.
    """

    records: list[dict[str, Any]] = field(default_factory=list)
    running: list[dict[str, Any]] = field(default_factory=list)
    deliveries: list[dict[str, Any]] = field(default_factory=list)
    durations: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    pending: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class _Waiting:
    run_id: str
    triggers: list[Trigger]


@dataclass
class Simulation:
    random: Random
    now: float
    begin: float
    plans: dict[str, Plan]
    history: History = field(default_factory=History)
    active: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, _Waiting] = field(default_factory=dict)
    free_at: dict[str, tuple[float, str]] = field(default_factory=dict)
    """When a job or model is free again, and the run that uses it until then."""
    queue: list[tuple[float, int, Trigger | str]] = field(default_factory=list)
    quiet_from: float = inf
    """From when only the live triggers count for the pipelines of these."""

    def run(self) -> History:
        for plan in self.plans.values():
            for trigger in self._triggers(plan):
                if trigger.at < self.quiet_from or plan.name not in LIVE_PIPELINES:
                    self.push(trigger.at, trigger)
        while self.queue and self.queue[0][0] <= self.now:
            at, _, event = heapq.heappop(self.queue)
            if isinstance(event, Trigger):
                self._trigger(event)
            else:
                self._ended(event, at)
        self._drop_duplicates_of_nothing()
        self.history.deliveries.sort(key=lambda one: str(one["received_at"]))
        for name, waiting in self.waiting.items():
            options = _options(waiting.triggers).to_json()
            self.history.pending[name] = {"run_id": waiting.run_id, "options": options}
        return self.history

    def _drop_duplicates_of_nothing(self) -> None:
        """Drop what lies after now, and the second deliveries of triggers that did not happen."""
        until = iso(self.now)
        kept = [one for one in self.history.deliveries if one["received_at"] <= until]
        accepted = {one["delivery"] for one in kept if one["runs"]}
        self.history.deliveries = [
            one for one in kept if one["result"] != "duplicate" or one["delivery"] in accepted
        ]

    def drop_running(self) -> None:
        """Drop the runs that have not ended, what waits for them, and their deliveries."""
        self.history.running = []
        self.history.pending = {
            name: one for name, one in self.history.pending.items() if self.plans[name].paused_days
        }
        known = {record["run_id"] for record in self.history.records}
        known |= {one["run_id"] for one in self.history.pending.values()}
        self.history.deliveries = [
            one for one in self.history.deliveries if all(run["run_id"] in known for run in one["runs"])
        ]
        self._drop_duplicates_of_nothing()

    def push(self, at: float, event: Trigger | str) -> None:
        heapq.heappush(self.queue, (at, len(self.queue) + self.random.getrandbits(30), event))

    def _triggers(self, plan: Plan) -> Iterator[Trigger]:
        for number, (expression, zone) in enumerate(plan.schedules):
            first, begin = _utc(self.begin - self.random.random() * HOUR), _utc(self.begin)
            for fires in next_times(expression, zone, first, begin, 2000) or ():
                if fires.timestamp() > self.now:
                    break
                key = f"schedule-{plan.name}-{number}-{fires:%Y%m%dT%H%M}"
                yield Trigger(fires.timestamp() + 0.4, plan.name, "schedule", "schedule", key)
        if plan.webhooks:
            yield from self._webhook_triggers(plan, plan.webhooks)
        for at in self._times(plan.by_hand_a_day, (7, 17)):
            yield Trigger(at, plan.name, USER, "after a correction in the source", f"trigger-{self._token()}")

    def _webhook_triggers(self, plan: Plan, webhooks: Webhooks) -> Iterator[Trigger]:
        for at in self._times(webhooks.a_day / webhooks.burst, webhooks.hours):
            for _ in range(self.random.randint(1, 2 * webhooks.burst - 1)):
                delivery = self._uuid()
                key = webhook_key(webhooks.source, delivery)
                yield Trigger(
                    at, plan.name, webhooks.source, f"{webhooks.event} {delivery[:8]}", key, delivery
                )
                if self.random.random() < 0.04:
                    self._deliver(
                        webhooks.source, delivery, at + 9, "duplicate", "this delivery was accepted before"
                    )
                at += self.random.expovariate(1 / 100)
        for at in self._times(webhooks.ignored_a_day, webhooks.hours):
            reason = self.random.choice(
                (
                    f"rule 1 ({plan.name}): its condition does not hold",
                    f"rule 1 ({plan.name}): the rule is for {webhooks.event.split()[0]}, the event is not",
                )
            )
            self._deliver(webhooks.source, self._uuid(), at, "ignored", reason)

    def _times(self, a_day: float, hours: tuple[float, float]) -> Iterator[float]:
        """Yield random times within ``hours`` of the day, ``a_day`` on average."""
        width = (hours[1] - hours[0]) * HOUR
        midnight = self.begin - self.begin % DAY
        while midnight < self.now and a_day > 0:
            at = midnight + hours[0] * HOUR
            while (at := at + self.random.expovariate(a_day / width)) < midnight + hours[1] * HOUR:
                if self.begin <= at < self.now:
                    yield at
            midnight += DAY

    def _trigger(self, trigger: Trigger) -> None:
        name, plan = trigger.pipeline, self.plans[trigger.pipeline]
        is_paused = trigger.at > self.now - plan.paused_days * DAY
        if trigger.retry_of and (name in self.active or is_paused):
            return
        if name in self.active or is_paused:
            waiting = self.waiting.setdefault(name, _Waiting(self._run_id(name, trigger.at), []))
            waiting.triggers.append(trigger)
            self._delivered(trigger, "merged", waiting.run_id, "joined")
            return
        run_id = self._run_id(name, trigger.at)
        self._delivered(trigger, "started", run_id, "started")
        self._start(run_id, trigger.at, [trigger])

    def _ended(self, pipeline: str, at: float) -> None:
        del self.active[pipeline]
        waiting = self.waiting.pop(pipeline, None)
        if waiting is not None:
            self._start(waiting.run_id, at, waiting.triggers)

    def _start(self, run_id: str, at: float, triggers: list[Trigger]) -> None:
        plan = self.plans[triggers[0].pipeline]
        record = new_record(run_id, plan.name, _options(triggers), iso(at))
        record["definition"] = json.dumps(plan.definition())
        opened = at + self.random.uniform(0.4, 1.6)
        record |= {"status": RunStatus.RUNNING, "started_at": iso(opened)}
        if triggers[0].retry_of:
            record["retry_of"] = triggers[0].retry_of
        record["execution_arn"] = (
            f"arn:aws:states:eu-central-1:123456789012:execution:celonis-refresh:{run_id}"
        )
        record["loads"] = {
            f"load-{at}": {"kind": plan.kind, "tables": {name: name for name in plan.tables}}
            for at, _ in enumerate(plan.loads)
        }
        failure = self._failure(plan, at)
        end, failed = self._steps(record, plan, opened, failure)
        self.active[plan.name] = run_id
        if end > self.now:
            self.history.running.append(record)
            return
        self._close(record, plan, end + self.random.uniform(0.3, 1.2), failed)
        self.history.records.append(record)
        self.push(end + 1.2, plan.name)
        if failed and self.random.random() < 0.45:
            text = f"retry of {run_id}"
            retry_at = end + self.random.uniform(6, 50) * 60
            self.push(
                retry_at, Trigger(retry_at, plan.name, USER, text, f"retry-{self._token()}", retry_of=run_id)
            )

    def _failure(self, plan: Plan, at: float) -> Failure | None:
        for failure in plan.failures:
            if (failure.days and at > self.now - failure.days * DAY) or self.random.random() < failure.share:
                return failure
        return None

    def _steps(
        self, record: dict[str, Any], plan: Plan, at: float, failure: Failure | None
    ) -> tuple[float, Failure | None]:
        """Add the steps of a run; return when the last one ends, and the failure that happened."""
        for number, job in enumerate(plan.jobs):
            failed = failure if failure and failure.step == f"job-{number}" else None
            at = self._step(record, f"job-{number}", job, plan.mode, at, failed)
            if failed:
                return at, failed
            at += self.random.uniform(0.2, 0.9)
        ends, happened = [at], None
        for number, model in enumerate(plan.loads):
            failed = failure if failure and failure.step == f"load-{number}" else None
            ends.append(self._step(record, f"load-{number}", model, plan.kind, at, failed))
            happened = happened or failed
        return max(ends), happened

    def _step(
        self,
        record: dict[str, Any],
        step: str,
        target: Target,
        variant: str,
        at: float,
        failed: Failure | None,
    ) -> float:
        """Add one step; return when it ends. What lies after now is not in the record yet."""
        if at > self.now:
            return at
        is_job = step.startswith("job-")
        free_at, holder = self.free_at.get(target.id, (0.0, ""))
        start = max(at, free_at + 1.0 if free_at > at else at)
        queued = self.random.choice((0.4, 0.9, 1.6, 6.0, 18.0))
        factor = exp(self.random.gauss(0, 0.09)) * (self.random.uniform(0.2, 0.7) if failed else 1)
        end: float = start + queued + target.seconds * factor
        self.free_at[target.id] = (end, record["run_id"])
        state: dict[str, Any] = (
            {"job": target.id, "mode": variant} if is_job else {"data_model": target.id, "kind": variant}
        )
        state |= {"began": round(at, 3), "rev": 4}
        if is_job:
            state["name"] = target.name
        if start > at + 1:
            state["waiting_for"] = f"run {holder}"
        record["steps"][step] = state
        if start > self.now:
            return end
        state |= {
            "noted_at": iso(start),
            "sent_by": start + 0.1,
            "posts": 1,
            "answered": True,
            "status": "QUEUED",
        }
        polls = self._polls(start + queued, target.seconds, min(end, self.now))
        state |= {"polls": len(polls), "poll_seconds": [round(poll - start) for poll in polls]}
        if start + queued <= self.now:
            state |= {"started_date": round((start + queued) * 1000), "status": "RUNNING"}
        if end > self.now:
            return end
        status = ("FAIL" if is_job else "ERROR") if failed else "SUCCESS"
        state |= {"ended_at": iso(end), "status": status, "announced": "ended"}
        state |= {"outcome": "FAILED" if failed else "SUCCEEDED"}
        state["evidence"] = {"proven_by": "date", "ours": self._uuid()}
        if failed:
            state |= {"error": failed.error, "message": failed.message, "hint": FAIL_HINT}
        known = (target.id, variant)
        learned = add_duration(self.history.durations.get(known), end - start - queued, succeeded=not failed)
        self.history.durations[known] = learned
        return end

    def _polls(self, start: float, usual: float, until: float) -> list[float]:
        times = [start + share * usual for share in POLLS]
        while times[-1] < until:
            times.append(times[-1] + max(3.0, usual * 0.03))
        return [round(at, 1) for at in times if at < until] + [round(until, 1)]

    def _close(self, record: dict[str, Any], plan: Plan, at: float, failed: Failure | None) -> None:
        status = RunStatus.FAILED if failed else RunStatus.SUCCEEDED
        record |= {"status": status, "ended_at": iso(at), "outcome": _outcome(record, plan, failed)}
        record["expires"] = int(at + KEPT_DAYS * DAY)
        if failed:
            record["error"] = failed.error

    def _delivered(self, trigger: Trigger, result: str, run_id: str, status: str) -> None:
        if trigger.delivery:
            run = {"pipeline": trigger.pipeline, "run_id": run_id, "status": status}
            self._deliver(trigger.by, trigger.delivery, trigger.at, result, None, [run])

    def _deliver(
        self,
        source: str,
        delivery: str,
        at: float,
        result: str,
        reason: str | None,
        runs: Sequence[dict[str, str]] = (),
    ) -> None:
        facts = {"source": source, "delivery": delivery, "received_at": iso(at), "result": result}
        self.history.deliveries.append({**facts, "reason": reason, "runs": list(runs), "errors": []})

    def _run_id(self, pipeline: str, at: float) -> str:
        return make_run_id(pipeline, _utc(at), self._token())

    def _token(self) -> str:
        return f"{self.random.getrandbits(32):08x}"

    def _uuid(self) -> str:
        return str(UUID(int=self.random.getrandbits(128), version=4))


def make_history(
    seed: int, now: float, days: float = 7.0, plans: Sequence[Plan] = PLANS, *, live: bool = False
) -> History:
    """Return the history of the last ``days`` before ``now`` (epoch seconds).

    ``live``: the last triggers start runs that are running, waiting and pending at ``now``. Otherwise all
    runs have ended.
    """
    random = Random(seed)  # noqa: S311 - no secret comes from it
    simulation = Simulation(random, now, now - days * DAY, {plan.name: plan for plan in plans})
    if live:
        simulation.quiet_from = now - QUIET_MINUTES * 60
        for number, (pipeline, minutes) in enumerate(LIVE):
            at = now - minutes * 60
            simulation.push(
                at, Trigger(at, pipeline, USER, "before the month's end", f"trigger-live-{number}")
            )
    history = simulation.run()
    if not live:
        simulation.drop_running()
    return history


def _options(triggers: Sequence[Trigger]) -> RunOptions:
    options = RunOptions(reasons=(triggers[0].reason,))
    for trigger in triggers[1:]:
        options = options.join(RunOptions(reasons=(trigger.reason,)))
    return options


def _outcome(record: dict[str, Any], plan: Plan, failed: Failure | None) -> str:
    if not failed:
        jobs = ", ".join(f'"{job.name}" ({plan.mode})' for job in plan.jobs)
        extent = f"{len(plan.tables)} tables" if plan.tables else "all tables"
        loads = ", ".join(f'"{model.name}" ({extent})' for model in plan.loads)
        return f"Executed data job {jobs} and loaded data model {loads}."
    kind, number = failed.step.split("-")
    target = (plan.jobs if kind == "job" else plan.loads)[int(number)]
    subject = (
        f"{'Data job' if kind == 'job' else 'The load of data model'} {labelled(target.id, target.name)}"
    )
    text = f"{subject} {ENDINGS.get(failed.error, 'failed in Celonis')}: {failed.message} {FAIL_HINT}"
    if kind == "job" and number == "0":
        return text
    done = ", ".join(job.id for job in plan.jobs[: int(number) if kind == "job" else None])
    return f"{text} To retry, send POST /runs/{record['run_id']}/retry: it skips {done}, which succeeded."


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
