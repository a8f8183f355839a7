"""Answers the requests of the page from a simulated history, without a stack: for tests and screenshots."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from celonis_refresh.pipelines.fresh_within import FreshWithin
from celonis_refresh.runs.records import Run, RunStatus
from celonis_refresh.steps.expected import duration_key
from celonis_refresh.steps.polling.durations import usual_seconds
from celonis_refresh.timing import epoch, iso
from celonis_refresh.workflow.listing import SUMMARY, shown
from celonis_refresh.workflow.pipeline_details import run_expectation
from celonis_refresh.workflow.run_report import can_retry
from local.week.history import History, make_history
from local.week.plans import PLANS, Plan
from refresh_cli.page.backend import ApiAnswer, BackendError
from refresh_cli.page.schedule_times import next_times

PAGE: Final = 50
FINAL: Final = frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.ABORTED, RunStatus.TIMED_OUT})


def many_plans(count: int) -> tuple[Plan, ...]:
    """Return that many pipelines: those of the week, and variants of them for other companies."""
    return tuple(
        plan if number < len(PLANS) else replace(plan, name=f"{plan.name}-{number // len(PLANS):02d}")
        for number in range(count)
        for plan in (PLANS[number % len(PLANS)],)
    )


@dataclass
class HistoryBackend:
    """``error``: raised by every request while it is set; ``schedules_error``: by those for schedules.

    ``requests``: method and path of what came.
    """

    history: History
    plans: Sequence[Plan]
    now: Callable[[], float]
    error: BackendError | None = None
    schedules_error: BackendError | None = None
    requests: list[tuple[str, str]] = field(default_factory=list)
    paused: dict[str, dict[str, Any]] = field(default_factory=dict)

    @staticmethod
    def make(
        seed: int, now: Callable[[], float], plans: Sequence[Plan] = PLANS, days: float = 7.0
    ) -> HistoryBackend:
        """Return a backend with a history that ends now, and runs that are running."""
        backend = HistoryBackend(make_history(seed, now(), days, plans, live=True), plans, now)
        for plan in plans:
            if plan.paused_days:
                at = iso(now() - plan.paused_days * 86_400)
                backend.paused[plan.name] = {
                    "by": "m.keller",
                    "at": at,
                    "reason": "migration of the HR system",
                }
        return backend

    def about(self) -> Mapping[str, Any]:
        self._check()
        console = "https://eu-central-1.console.aws.amazon.com/states/home?region=eu-central-1"
        return {
            "stack": "celonis-refresh",
            "region": "eu-central-1",
            "is_local": False,
            "execution_url": f"{console}#/v2/executions/details/{{arn}}",
            "celonis_urls": {"default": "https://acme.eu-1.celonis.cloud"},
        }

    def schedules(self) -> Sequence[Mapping[str, Any]]:
        self._check()
        if self.schedules_error is not None:
            raise self.schedules_error
        return [*self._schedules(datetime.fromtimestamp(self.now(), UTC))]

    def api(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],  # noqa: ARG002 - the signature of the protocol
        body: bytes,
    ) -> ApiAnswer:
        self._check()
        self.requests.append((method, path))
        sent = json.loads(body) if body else {}
        for wanted, pattern, handle in self._routes():
            match = re.fullmatch(pattern, path)
            if wanted == method and match:
                status, answer = handle(match.groupdict(), query, sent)
                return ApiAnswer(status, json.dumps(answer).encode())
        return ApiAnswer(404, b'{"error": "NotFound", "message": "There is no such path."}')

    def _check(self) -> None:
        if self.error is not None:
            raise self.error

    def _routes(
        self,
    ) -> Iterator[tuple[str, str, Callable[[dict[str, str], Mapping[str, str], Any], tuple[int, Any]]]]:
        yield "GET", r"/pipelines", lambda _, query, __: (200, self._pipelines(query))
        yield "GET", r"/pipelines/(?P<name>[\w-]+)", lambda at, _, __: self._pipeline(at["name"])
        yield (
            "POST",
            r"/pipelines/(?P<name>[\w-]+)/pause",
            lambda at, _, sent: (200, self._pause(at["name"], sent)),
        )
        yield "POST", r"/pipelines/(?P<name>[\w-]+)/resume", lambda at, _, __: (200, self._resume(at["name"]))
        yield "GET", r"/runs", lambda _, query, __: (200, self._runs(query))
        yield "GET", r"/runs/(?P<id>[\w-]+)", lambda at, _, __: self._run(at["id"])
        yield "GET", r"/sources", lambda _, __, ___: (200, {"sources": self._sources(), "next": None})
        yield (
            "POST",
            r"/sources/(?P<name>[\w-]+)/test",
            lambda at, _, sent: (200, self._test(at["name"], sent)),
        )
        yield "GET", r"/deliveries", lambda _, query, __: (200, self._deliveries(query))

    def _pipelines(self, query: Mapping[str, str]) -> dict[str, Any]:
        names = sorted(plan.name for plan in self.plans)
        names = [name for name in names if name > query.get("after", "")]
        page = names[:PAGE]
        details = [self._details(name, int(query.get("runs", 0))) for name in page]
        return {
            "pipelines": page,
            "details": details,
            "freshness": {},
            "next": page[-1] if len(names) > PAGE else None,
        }

    def _pipeline(self, name: str) -> tuple[int, Any]:
        if all(plan.name != name for plan in self.plans):
            return 404, {"error": "PipelineNotFound", "message": f"Pipeline {name} not found."}
        return 200, {key: value for key, value in self._details(name, 0).items() if key != "runs"}

    def _details(self, name: str, runs: int) -> dict[str, Any]:
        plan = next(plan for plan in self.plans if plan.name == name)
        mine = [record for record in self.history.records if record["pipeline"] == name]
        active = next((record for record in self.history.running if record["pipeline"] == name), None)
        success = next((one for one in reversed(mine) if one["status"] == RunStatus.SUCCEEDED), None)
        newest = [*([active] if active else []), *reversed(mine)][:runs]
        pending = self.history.pending.get(name)
        return {
            "pipeline": name,
            "paused": name in self.paused,
            "pause": self.paused.get(name),
            "active_run": active["run_id"] if active else None,
            "waiting": pending,
            "last_success": _summary(success) if success else None,
            "seconds_since_last_success": round(self.now() - epoch(success["ended_at"])) if success else None,
            "freshness": self._freshness(plan, success),
            "expected_seconds": self._expected(plan),
            "runs": [_summary(record) for record in newest],
        }

    def _freshness(self, plan: Plan, success: Mapping[str, Any] | None) -> dict[str, Any] | None:
        if plan.fresh_within is None or success is None:
            return None
        started, now = epoch(success["started_at"]), self.now()
        due = FreshWithin.read(plan.fresh_within).rule().due(started)
        state = "STALE" if due < now else "AT_RISK" if due < now + (self._expected(plan) or 0) else "FRESH"
        return {
            "state": state,
            "since": iso(due if state == "STALE" else started),
            "due_at": iso(due),
            "fresh_within": plan.fresh_within,
            "last_success_started_at": success["started_at"],
            "last_success_at": success["ended_at"],
        }

    def _expected(self, plan: Plan) -> float | None:
        jobs = [self._usual(job.id, plan.mode) for job in plan.jobs]
        loads = [self._usual(model.id, plan.kind) for model in plan.loads]
        known = [*jobs, *loads]
        return round(sum(jobs) + max(loads, default=0.0)) if known and all(known) else None

    def _usual(self, target: str, variant: str) -> float:
        document = self.history.durations.get((target, variant))
        return usual_seconds({**document, "expires": 1e12, "pk": target}, 0.0) if document else 0.0

    def _runs(self, query: Mapping[str, str]) -> dict[str, Any]:
        records = sorted(
            [*self.history.records, *self.history.running], key=lambda one: str(one["position"]), reverse=True
        )
        kept = [
            record
            for record in records
            if query.get("pipeline") in (None, "", record["pipeline"])
            and query.get("status") in (None, "", record["status"])
            and record["created_at"] >= query.get("since", "")
            and (not query.get("before") or record["position"] < query["before"])
        ]
        limit = int(query.get("limit", 20))
        more = len(kept) > limit
        return {
            "runs": [_summary(one) for one in kept[:limit]],
            "before": kept[limit - 1]["position"] if more else None,
        }

    def _run(self, run_id: str) -> tuple[int, Any]:
        for record in (*self.history.running, *self.history.records):
            if record["run_id"] == run_id:
                return 200, self._shown(record)
        for name, pending in self.history.pending.items():
            if pending["run_id"] == run_id:
                active = self._details(name, 0)["active_run"]
                return 200, {**pending, "pipeline": name, "status": "WAITING", "waiting_for_run": active}
        return 404, {"error": "RunNotFound", "message": f"Run {run_id} not found."}

    def _shown(self, record: Mapping[str, Any]) -> dict[str, Any]:
        document = shown(Run(record))
        if record["status"] in FINAL:
            return document | self._retry_facts(record)
        plan = next(plan for plan in self.plans if plan.name == record["pipeline"])
        run = Run(record)
        seconds = {job.step: self._usual(job.job, job.mode.value) for job in run.plan.jobs}
        seconds |= {load.step: self._usual(load.data_model, plan.kind) for load in run.plan.loads}
        for name, expected in seconds.items():
            document["steps"].setdefault(name, {})["expected_seconds"] = round(expected)
        usual = {duration_key(job): seconds[job.step] for job in run.plan.jobs}
        usual |= {duration_key(load): seconds[load.step] for load in run.plan.loads}
        return document | run_expectation(run.plan, usual, run.steps, self.now())

    def _retry_facts(self, record: Mapping[str, Any]) -> dict[str, Any]:
        if record["status"] == RunStatus.SUCCEEDED:
            return {}
        mine = (
            one["run_id"]
            for one in (*self.history.running, *self.history.records)
            if one.get("retry_of") == record["run_id"]
        )
        retry = next(mine, None)
        return {"can_retry": can_retry(Run(record)), **({"retried_by": retry} if retry else {})}

    def _pause(self, name: str, sent: Mapping[str, Any]) -> dict[str, Any]:
        pause = {"by": "viewer", "at": iso(self.now()), "reason": sent.get("reason") or ""}
        self.paused[name] = pause
        return {"pipeline": name, "paused": True, "pause": pause}

    def _resume(self, name: str) -> dict[str, Any]:
        self.paused.pop(name, None)
        return {"pipeline": name, "paused": False, "pause": None}

    def _sources(self) -> list[str]:
        return sorted({plan.webhooks.source for plan in self.plans if plan.webhooks})

    def _test(self, name: str, sent: Mapping[str, Any]) -> dict[str, Any]:
        text = json.dumps(sent.get("body"))
        rules: list[dict[str, Any]] = [
            {
                "rule": number,
                "events": [],
                "when": None,
                "pipeline": plan.name,
                "starts": "success" in text,
                "action": "start" if "success" in text else "nothing",
                "options": {"mode": None, "tables": None} if "success" in text else None,
                "reason": "all conditions hold" if "success" in text else "its condition does not hold",
            }
            for number, plan in enumerate(
                one for one in self.plans if one.webhooks and one.webhooks.source == name
            )
        ]
        event = {"event_id": None, "event_name": None, "rules": rules[:5]}
        return {"source": name, "events": [event], "reason": None, "errors": []}

    def _deliveries(self, query: Mapping[str, str]) -> dict[str, Any]:
        all_ = [one for one in reversed(self.history.deliveries) if query["source"] == one["source"]]
        start, limit = int(query.get("before") or 0), int(query.get("limit", 20))
        end = start + limit
        return {"deliveries": all_[start:end], "before": str(end) if end < len(all_) else None}

    def _schedules(self, now: datetime) -> Iterator[Mapping[str, Any]]:
        for plan in self.plans:
            for number, (expression, zone) in enumerate(plan.schedules):
                created = datetime.fromtimestamp(self.now() // 3600 * 3600 - 86_400 + 600, UTC)
                times = next_times(expression, zone, created, now, 24) or []
                yield {
                    "name": f"{plan.name}-{number}",
                    "pipeline": plan.name,
                    "expression": expression,
                    "timezone": zone,
                    "enabled": True,
                    "next": [at.isoformat() for at in times],
                }


def _summary(record: Mapping[str, Any]) -> dict[str, Any]:
    summary = {name: record[name] for name in SUMMARY if name in record}
    if "ended_at" in record:
        summary["duration_seconds"] = round(epoch(record["ended_at"]) - epoch(record["created_at"]))
    return summary
