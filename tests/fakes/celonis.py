"""Celonis in memory and in virtual time: jobs and models with a history, stale polls and lost responses.

What a poll shows is computed from the age that it is allowed to have. Everything that was really
started is in ``FakeTarget.starts``, so that a test can compare a run's claims with what happened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from typing import Literal, TypeVar, cast

from celonis_refresh.celonis import errors
from celonis_refresh.celonis.client import CelonisClient
from celonis_refresh.celonis.rate_limiter import IgnoredRateLimit, NoRateLimit, RateLimiter
from celonis_refresh.celonis.records import (
    Job,
    JobExecution,
    Load,
    LoadHistory,
    ModelTable,
    StartAnswer,
    TaskFailure,
)
from celonis_refresh.celonis.transport import Call, RateLimit
from tests.fakes.clock import FakeClock

Busy = Literal["refuse", "queue", "ignore", "parallel"]
Lost = Literal["before", "after", "unsent", "throttled", "refused", "nothing"]
"""The result of a start: lost before or after its effect, never sent, 429, 409, or a 2xx without effect."""
Effect = Literal["started", "queued", "ignored"]
Aspect = Literal["status", "ids", "list"]
Hook = Callable[[str, Literal["before", "after"]], None]
A = TypeVar("A")


def no_hook(name: str, when: str) -> None:
    """Do nothing."""


def no_rate_limit() -> None:
    """Responses contain no rate limit."""


@dataclass
class FakeStart:
    """What one start led to. Times are seconds of the clock; ``item`` is the id in the other id space."""

    id: str
    item: str
    mine: bool
    at: float
    queue: float
    seconds: float
    outcome: str
    detail: str = ""
    ended_early: tuple[float, str] | None = None

    @property
    def ended_at(self) -> float:
        natural = self.at + self.queue + self.seconds
        return min(natural, self.ended_early[0]) if self.ended_early else natural

    @property
    def result(self) -> str:
        early = self.ended_early
        return early[1] if early and early[0] <= self.at + self.queue + self.seconds else self.outcome

    def status(self, at: float) -> str:
        if at >= self.ended_at:
            return self.result
        return "QUEUED" if at < self.at + self.queue else "RUNNING"

    def started(self, at: float) -> int | None:
        """The start date that is shown at ``at``, in epoch milliseconds."""
        began = self.at + self.queue
        return round(began * 1000) if began <= at else None

    def ended(self, at: float) -> int | None:
        return round(self.ended_at * 1000) if self.ended_at <= at else None


@dataclass(frozen=True)
class ShownFields:
    """Which fields are filled. ``latest``: none, in the ids of executions, or in ids of its own."""

    status: bool = True
    current: bool = True
    current_stays: bool = False
    latest: Literal["none", "same", "own"] = "own"
    latest_moves: Literal["start", "end"] = "start"
    listing: bool = True
    entry_status: bool = True
    dates: bool = True
    load_id: bool = True

    @property
    def after_end(self) -> bool:
        """Whether a job's record has the id of the newest execution from its start on."""
        return self.latest != "none" and self.latest_moves == "start"


@dataclass
class Lags:
    """Age of the shown state in seconds: one for all fields (``draws``, cycled), or ``fixed`` per field."""

    draws: Sequence[float] = (0.0,)
    fixed: dict[Aspect, float] | None = None

    def __post_init__(self) -> None:
        self._next = cycle(self.draws)

    def take(self) -> Callable[[Aspect], float]:
        if self.fixed is not None:
            return self.fixed.__getitem__
        lag = next(self._next)
        return lambda _: lag


@dataclass(frozen=True)
class AnotherUser:
    """A start of another user, ``delay`` seconds after ours took effect or was first shown by a poll."""

    after: Literal["effect", "shown"]
    delay: float
    seconds: float = 30.0
    outcome: str = "FAIL"


@dataclass
class FakeTarget:
    """One job or one model."""

    clock: FakeClock
    shows: ShownFields = field(default_factory=ShownFields)
    lags: Lags = field(default_factory=Lags)
    starts: list[FakeStart] = field(default_factory=list)
    another_user: list[AnotherUser] = field(default_factory=list)
    busy: Busy = "refuse"
    others_wait: bool = True
    queue: float = 0.0
    seconds: float = 60.0
    outcome: str = "SUCCESS"
    cancel_seconds: float = 2.0
    message: str | None = None

    @property
    def mine(self) -> list[FakeStart]:
        return [start for start in self.starts if start.mine]

    def begin(self, *, mine: bool, at: float, seconds: float, outcome: str, detail: str = "") -> FakeStart:
        number = len(self.starts)
        queue = self.queue if mine else 0.0
        start = FakeStart(f"exec-{number}", f"item-{number}", mine, at, queue, seconds, outcome, detail)
        self.starts.append(start)
        self.starts.sort(key=lambda one: one.at)
        if mine:
            self._follow("effect", start.at)
        return start

    def add_past_start(
        self, ago: float, seconds: float = 10.0, outcome: str = "SUCCESS", detail: str = ""
    ) -> FakeStart:
        """A start of another user that long ago. ``detail``: its mode or type, which the list shows."""
        at = self.clock.now - ago
        return self.begin(mine=False, at=at, seconds=seconds, outcome=outcome, detail=detail)

    def _follow(self, after: str, at: float) -> None:
        """Other users start something once ours took effect or was shown."""
        for one in [other for other in self.another_user if other.after == after]:
            self.another_user.remove(one)
            begins = at + one.delay
            if self.others_wait:
                begins = max([begins, *(start.ended_at for start in self.starts)])
            self.begin(mine=False, at=begins, seconds=one.seconds, outcome=one.outcome)

    def visible(self, at: float) -> list[FakeStart]:
        return [start for start in self.starts if start.at <= at]

    def newest(self, at: float) -> FakeStart | None:
        """What the record shows at ``at``: what is running, else what began last."""
        begun = self.visible(at)
        running_starts = [start for start in begun if start.ended_at > at]
        return next(reversed(running_starts or begun), None)

    def running(self, at: float) -> FakeStart | None:
        newest = self.newest(at)
        return newest if newest is not None and newest.ended_at > at else None

    def post(self, at: float, detail: str) -> tuple[Effect, FakeStart]:
        """Start an execution of ours. Raises the error if this Celonis rejects a second one."""
        running = self.running(at)
        if running is None or self.busy == "parallel":
            return "started", self._mine(at, detail)
        if self.busy == "refuse":
            raise rejected(409)
        if self.busy == "ignore":
            return "ignored", running
        return "queued", self._mine(running.ended_at, detail)

    def _mine(self, at: float, detail: str) -> FakeStart:
        return self.begin(mine=True, at=at, seconds=self.seconds, outcome=self.outcome, detail=detail)

    def cancel(self, at: float) -> None:
        running = self.running(at)
        if running is not None:
            running.ended_early = (at + self.cancel_seconds, "CANCEL")

    def show(self, starts: Iterable[FakeStart | None], at: float) -> None:
        """Records that a poll at ``at`` showed these."""
        if any(start is not None and start.mine for start in starts):
            self._follow("shown", at)


@dataclass
class FakeCelonis:
    """One team. Every call takes ``up`` seconds to Celonis and ``down`` seconds back.

    ``hook`` is called before and after every call, and may raise. ``faults``: the errors of the
    next calls, by name of the call, in order; ``sent``: every call that arrived, with its arguments.
    ``rate_limiter``: for polls and cancels; ``limit``: the rate limit in every response.
    ``dated``: the answer to a start carries the date. ``average_seconds``: in the load history, by type.
    """

    clock: FakeClock
    jobs: dict[str, FakeTarget] = field(default_factory=dict)
    models: dict[str, FakeTarget] = field(default_factory=dict)
    model_tables: dict[str, list[ModelTable]] = field(default_factory=dict)
    faults: dict[str, list[Exception | Lost | None]] = field(default_factory=dict)
    sent: list[tuple[str, str, object]] = field(default_factory=list)
    timeouts: list[float] = field(default_factory=list)
    hook: Hook = no_hook
    answers_id: bool = False
    load_history_served: bool = True
    average_seconds: dict[str, float] = field(default_factory=dict)
    dated: bool = True
    up: float = 0.05
    down: float = 0.05
    rate_limiter: RateLimiter = field(default_factory=NoRateLimit)
    limit: Callable[[], RateLimit | None] = no_rate_limit

    def ignoring_rate_limit(self) -> CelonisClient:
        """As in the client: the same team, bypassing the rate limiter."""
        other = replace(self, rate_limiter=IgnoredRateLimit(self.rate_limiter))
        other.hook = lambda name, when: self.hook(name, when)
        return other.client

    @property
    def client(self) -> CelonisClient:
        return cast("CelonisClient", self)

    def names(self) -> list[str]:
        return [name for name, _, _ in self.sent]

    def job(self, pool: str, job: str, *, timeout: float) -> Job:
        self._arrive("job", job, None, timeout)
        target, at = self.jobs[job], self.clock.now
        lag = target.lags.take()
        shows, seen = target.shows, at - lag("ids")
        newest, current = target.newest(at - lag("status")), target.running(seen)
        shown = target.newest(seen)
        latest = shown if shows.latest_moves == "start" else _newest_ended(target, seen)
        kept = current or (shown if shows.current_stays else None)
        target.show([kept if shows.current else None, latest if shows.latest != "none" else None], at)
        return self._answer(
            Job(
                id=job,
                status=newest.status(at - lag("status")) if newest and shows.status else None,
                current_execution_id=kept.id if kept and shows.current else None,
                latest_execution_item_id=_latest_id(latest, shows.latest),
            )
        )

    def executions(self, pool: str, job: str, *, timeout: float) -> list[JobExecution] | None:
        self._arrive("executions", job, None, timeout)
        target = self.jobs[job]
        if not target.shows.listing:
            return self._answer(None)
        seen = self.clock.now - target.lags.take()("list")
        visible = target.visible(seen)
        if target.shows.latest == "same":  # otherwise it is unknown which of them are new
            target.show(visible, self.clock.now)
        return self._answer([_entry(start, seen, target.shows) for start in reversed(visible)])

    def execute_job(self, pool: str, job: str, mode: str, *, timeout: float) -> StartAnswer:
        return self._post("execute_job", job, mode, self.jobs[job], timeout)

    def load_model(self, pool: str, model: str, *, from_cache: bool, timeout: float) -> StartAnswer:
        what = "from_cache" if from_cache else "complete"
        return self._post("load_model", model, what, self.models[model], timeout)

    def load_tables(self, pool: str, model: str, ids: Sequence[str], *, timeout: float) -> StartAnswer:
        return self._post("load_tables", model, tuple(ids), self.models[model], timeout)

    def cancel_job(self, pool: str, job: str, *, timeout: float) -> None:
        self._arrive("cancel_job", job, None, timeout)
        self.jobs[job].cancel(self.clock.now)
        self.clock.sleep(self.down)

    def last_load(self, pool: str, model: str, *, timeout: float) -> Load | None:
        self._arrive("last_load", model, None, timeout)
        target, at = self.models[model], self.clock.now
        lag = target.lags.take()
        by_status, by_id, by_date = (target.newest(at - lag(one)) for one in ("status", "ids", "list"))
        if by_status is None and by_id is None and by_date is None:
            return self._answer(None)
        shows = target.shows
        dated = shows.dates and by_date is not None and by_date.started(at - lag("list")) is not None
        target.show([by_id if shows.load_id else None, by_date if dated else None], at)
        return self._answer(
            Load(
                load_id=by_id.id if by_id and shows.load_id else None,
                status=_load_status(by_status, at - lag("status")) if by_status and shows.status else None,
                start_date=by_date.started(at - lag("list")) if by_date and shows.dates else None,
                end_date=by_date.ended(at - lag("list")) if by_date and shows.dates else None,
                message=target.message,
            )
        )

    def load_history(self, pool: str, model: str, *, timeout: float) -> LoadHistory | None:
        self._arrive("load_history", model, None, timeout)
        if not self.load_history_served:
            return self._answer(None)
        target, at = self.models[model], self.clock.now
        loads = [_past_load(start, at) for start in reversed(target.visible(at))]
        return self._answer(LoadHistory(tuple(loads), self.average_seconds))

    def tables(self, pool: str, model: str, *, timeout: float) -> list[ModelTable]:
        self._arrive("tables", model, None, timeout)
        return self._answer(self.model_tables.get(model, []))

    def failed_task_messages(
        self, pool: str, job: str, execution_id: str, *, timeout: float
    ) -> list[TaskFailure]:
        self._arrive("failed_task_messages", job, execution_id, timeout)
        return self._answer([TaskFailure("Extract", "no space left")])

    def why_ended(self, pool: str, job: str, execution_id: str, status: str, *, timeout: float) -> str:
        self._arrive("why_ended", job, execution_id, timeout)
        return self._answer(self.jobs[job].message or "")

    def _post(
        self, name: str, target_id: str, what: object, target: FakeTarget, timeout: float
    ) -> StartAnswer:
        fault = self._fault(name)
        if fault == "unsent":
            raise unavailable(may_have_started=False)
        self.timeouts.append(timeout)
        self.clock.sleep(self.up)
        self.sent.append((name, target_id, what))
        if fault == "throttled":
            raise throttled(7.0)
        if fault == "refused":
            raise rejected(409)
        if isinstance(fault, Exception):
            raise fault
        start = None if fault in ("before", "nothing") else target.post(self.clock.now, str(what))[1]
        self.hook(name, "after")
        self.clock.sleep(self.down)
        if fault not in (None, "nothing"):
            self.clock.sleep(max(0.0, timeout - self.up - self.down))
            raise unavailable(may_have_started=True)
        shown = self.answers_id and start is not None and start.mine
        return StartAnswer(
            start.id if start is not None and shown else None, self._date(1 + self.up + self.down)
        )

    @property
    def requested_at(self) -> int | None:
        """For the response that has just arrived: the earliest time at which its request arrived."""
        return self._date(-self.up - self.down)

    def _date(self, and_seconds: float) -> int | None:
        """The date of the response that has just arrived, in whole seconds, plus ``and_seconds``."""
        return int((int(self.clock.now - self.down) + and_seconds) * 1000) if self.dated else None

    def _arrive(self, name: str, target_id: str, what: object, timeout: float) -> None:
        fault = self._fault(name)
        self.timeouts.append(timeout)
        follows = name in ("executions", "cancel_job")
        self.rate_limiter.enter(Call("GET", f"/{name}", "asking", target_id, "", follows=follows), timeout)
        if isinstance(fault, Exception):
            self.clock.sleep(self.up)
            raise fault
        self.clock.sleep(self.up)
        self.sent.append((name, target_id, what))
        self.rate_limiter.answered(self.limit(), None)

    def _fault(self, name: str) -> Exception | Lost | None:
        self.hook(name, "before")
        waiting = self.faults.get(name, [])
        return waiting.pop(0) if waiting else None

    def _answer(self, answer: A) -> A:
        self.clock.sleep(self.down)
        return answer


def _latest_id(start: FakeStart | None, space: str) -> str | None:
    if start is None or space == "none":
        return None
    return start.id if space == "same" else start.item


def _newest_ended(target: FakeTarget, at: float) -> FakeStart | None:
    ended = [start for start in target.visible(at) if start.ended_at <= at]
    return max(ended, key=lambda start: (start.ended_at, start.at), default=None)


def _entry(start: FakeStart, at: float, shows: ShownFields) -> JobExecution:
    return JobExecution(
        execution_id=start.id,
        status=start.status(at) if shows.entry_status else None,
        start_date=start.started(at) if shows.dates else None,
        end_date=start.ended(at) if shows.dates else None,
        mode=start.detail or None,
    )


def _past_load(start: FakeStart, at: float) -> Load:
    return Load(
        load_id=start.id,
        status=_load_status(start, at),
        kind=start.detail or None,
        start_date=start.started(at),
        end_date=start.ended(at),
    )


def _load_status(start: FakeStart, at: float) -> str:
    """A load has no queued status, and other names for failures."""
    return {"QUEUED": "RUNNING", "FAIL": "ERROR", "CANCEL": "CANCELED"}.get(
        start.status(at), start.status(at)
    )


def unavailable(*, may_have_started: bool = False) -> errors.CelonisUnavailable:
    return errors.CelonisUnavailable(
        "No usable answer.", may_have_started=may_have_started, hint="", method="GET", path="/"
    )


def throttled(retry_after: float) -> errors.CelonisThrottled:
    return errors.CelonisThrottled(
        "Too many requests.", retry_after=retry_after, hint="", method="GET", path="/", status=429
    )


def rejected(status: int) -> errors.CelonisRejected:
    return errors.CelonisRejected("Refused.", hint="", method="POST", path="/", status=status)


def denied() -> errors.PermissionDenied:
    return errors.PermissionDenied("Denied.", hint="Permission needed.", method="GET", path="/", status=403)
