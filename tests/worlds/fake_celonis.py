"""Celonis in virtual time below the real client: JSON over a transport, with all freedom of the model."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from math import inf
from random import Random
from typing import Any

from msgspec.json import encode

from celonis_refresh.celonis.client import CelonisClient
from celonis_refresh.celonis.connection import ApiKey, Connection
from celonis_refresh.celonis.errors import CelonisUnavailable
from celonis_refresh.celonis.transport import Answer, Call, Timeouts
from tests.fakes.clock import FakeClock
from tests.worlds.truth import LOAD_WORDS, GroundTruth, TrueExecution
from tests.worlds.world import LOST, OddResponse, OtherUserAction, PastExecution, Target, World

READ_SECONDS = Timeouts().read
"""Seconds until the client's timeout."""
JUST_BEFORE = 2.0
"""Seconds before a start in which no execution of another user both begins and ends (assumption 3)."""
CONNECTION = Connection("default", "https://team.eu-1.celonis.cloud", ApiKey("key-of-a-user"))
STATUSES: Mapping[str, int] = {"500": 500, "503": 503, "401": 401, "403": 403, "404": 404, "429": 429}
BODIES: Mapping[str, bytes] = {"empty": b"", "null": b"null", "{}": b"{}", "[]": b"[]"}
ENVELOPE: Mapping[str, Any] = {
    "title": "Internal Server Error",
    "status": 500,
    "detail": "An error occurred.",
    "errorCode": "ADMIN_FATAL_ERROR",
}
OTHER_USER = -1
ALWAYS_THE_SAME = frozenset(
    {"name", "dataPoolId", "jobId", "mode", "dataModelId", "loadType", "title", "detail"}
)
ODD_GAP = 4
"""Answers to GETs between two odd ones: a single poll is answered oddly, not two in a row."""

Hook = Callable[[str, str], None]
Note = Callable[[str, str], None]


def _quiet(name: str, when: str) -> None:
    """Do nothing."""


@dataclass(eq=False)
class ClientSession:
    """One of our functions at work for a run: its client, and what the answers to its task have shown it.

    ``posts``: the starts that the task sent; ``marks``: what it was shown, and when; ``asked_at``: when it
    sent its first call.
    """

    run: int
    client: CelonisClient
    served: float = 0.0
    answered_oddly: bool = False
    asked_at: float | None = None
    marks: list[tuple[TrueExecution, str, float]] = field(default_factory=list)
    posts: list[SentPost] = field(default_factory=list)


class WorldCelonis:
    """The target of one world, or both. ``session.client`` is the real client over it.

    ``hook`` sees every call before it leaves and after it took effect, and may raise. ``note`` is called with
    who and what, for a timeline. ``at_work``: the session of the function that goes on now, where several do;
    ``wait_until``: lets time pass. The rest is the ground truth that verdicts are made from.
    """

    def __init__(self, world: World, clock: FakeClock) -> None:
        self.world, self.clock = world, clock
        self.random = Random(world.seed)  # noqa: S311
        both = world.target == "both"
        names: dict[Target, str] = {"job": "exec", "load": "load" if both else "exec"}
        self.truths = {target: GroundTruth(world.cancel_seconds, name=name) for target, name in names.items()}
        self.hook: Hook = _quiet
        self.note: Note | None = None
        self.t0 = clock.now
        self._session = self.session_of(0)
        self.at_work: Callable[[], ClientSession | None] = lambda: None
        self.wait_until: Callable[[float], None] = self._set_clock
        self.run_began: dict[int, float] = {}
        self.calls: dict[int, list[float]] = {number: [] for number in range(len(world.runs))}
        self.observed: dict[int, list[tuple[float, float]]] = {number: [] for number in self.calls}
        self.posts: list[SentPost] = []
        self.cancels: list[PostedCancel] = []
        self.other_cancels: list[tuple[float, TrueExecution | None]] = []
        self.polls: Counter[int] = Counter()
        self._advanced = self.t0
        self._last_odd = -ODD_GAP
        self.gets = 0
        self._odd = list(world.odd)
        self._pending = list(world.others)
        self._loading: list[TrueExecution] = []
        self._shown: dict[tuple[Target, int], float] = {}
        self._begin_past()

    def _begin_past(self) -> None:
        world = self.world
        began: list[tuple[float, PastExecution]] = []
        for past in sorted(world.past, key=lambda one: -one.ago):
            at = self.t0 - past.ago
            if self.truth.running(at) is None:
                made = self.truth.begin(OTHER_USER, at, past.seconds, past.result)
                if world.target == "both" and world.inner.others:
                    began += self._past_load(made)
        began += [(self.t0 - past.ago, past) for past in world.inner.past]
        for at, past in sorted(began, key=lambda one: one[0]):
            if self.loads.running(at) is None:
                self.loads.begin(OTHER_USER, at, past.seconds, past.result)

    def _past_load(self, execution: TrueExecution) -> list[tuple[float, PastExecution]]:
        """The load that another user's execution has started by now; one that is to come is noted."""
        inner, at = self.world.inner, self._loads_at(execution)
        if at > self.t0:
            self._loading.append(execution)
            return []
        return [(at, PastExecution(0.0, inner.seconds, inner.result))]

    @property
    def truth(self) -> GroundTruth:
        """The target of the world: its job, or the model where it has no job."""
        return self.truths["load" if self.world.target == "load" else "job"]

    @property
    def loads(self) -> GroundTruth:
        """The model."""
        return self.truths["load"]

    def session_of(self, run: int) -> ClientSession:
        """Return a session with its own client, for a function that works for our run ``run``."""
        client = CelonisClient(CONNECTION, clock=self.clock, monotonic=self.clock)
        client._transport = self  # type: ignore[assignment]
        return ClientSession(run, client, self.clock.now)

    @property
    def session(self) -> ClientSession:
        return self.at_work() or self._session

    @property
    def client(self) -> CelonisClient:
        return self.session.client

    @property
    def starts_by_itself(self) -> bool:
        """Whether the job of the current run starts the load of its pipeline."""
        return self.world.target == "both" and not self.world.runs[self.run].only_load

    @property
    def run(self) -> int:
        return self.session.run

    def begin_run(self, number: int) -> None:
        """Our run ``number`` begins; where one function is at work at a time, what is sent is sent by it."""
        self._session.run = number
        self.run_began[number] = self.clock.now

    def commit(self) -> None:
        """What the task was shown has been recorded. Odd answers leave open whether the others were."""
        if not self.session.answered_oddly:
            for execution, what, at in self.session.marks:
                if getattr(execution, what) > at:
                    setattr(execution, what, at)
                if what == "active_seen":
                    execution.active_noted = min(execution.active_noted, self.clock.now)
            if self.session.asked_at is not None:
                self.observed[self.run].append((self.session.asked_at, self.clock.now))
        self.drop()

    def drop(self) -> None:
        """What the task was shown is lost: it died, or ended otherwise than by a recorded observation."""
        session = self.session
        session.marks.clear()
        session.posts.clear()
        session.answered_oddly = False
        session.asked_at = None

    def is_seen(self, execution: TrueExecution, what: str = "seen") -> bool:
        """Whether a recorded answer, or one to the current task, showed anything of it, or ``what`` of it."""
        marks = (name for marked, name, _ in self.session.marks if marked is execution)
        return getattr(execution, what) < inf or what in marks

    def sleep(self, seconds: float) -> None:
        """Advance the time; other users act in it."""
        self._pass(self.clock.now + seconds)

    def _set_clock(self, now: float) -> None:
        self.clock.now = now

    # The network

    def send(self, base_url: str, call: Call, headers: Mapping[str, str], seconds: float) -> Answer:
        """One exchange, as the transport makes it."""
        self.hook(call.path, "before")
        if seconds <= 0:
            raise _unavailable(call, may_have_started=False)
        limit = min(READ_SECONDS, seconds)
        if self.session.asked_at is None:
            self.session.asked_at = self.clock.now
        if call.method == "POST":
            status, body = self._post(call, limit)
        else:
            status, body = self._get(call, limit)
        self.calls[self.run].append(self.clock.now)
        headers_back = {"content-type": "application/json"}
        if status == 429:
            headers_back["x-ratelimit-reset"] = "7"
        if self.world.date:
            served = self.session.served + self.world.clock_offset + self.world.header_offset
            headers_back["date"] = formatdate(int(served), usegmt=True)
        return Answer(status, headers_back, body)

    def _get(self, call: Call, limit: float) -> tuple[int, bytes]:
        world = self.world
        sent = self.clock.now
        self._pass(sent + min(world.up, limit))
        self.session.served = self.clock.now
        if world.up + world.down > limit:
            self.session.answered_oddly = True
            self._pass(sent + limit)
            raise _unavailable(call, may_have_started=False)
        odd = self._odd_answer(call)
        if odd is not None:
            self.session.answered_oddly = True
            status, body = odd
        else:
            status, document = self._read(call)
            body = encode(document)
        self._pass(self.clock.now + world.down)
        self.hook(call.path, "after")
        if self.note is not None:
            self.note("odd answer" if odd else "answer", f"{_name(call)}: {status} {self._brief(body)}")
        return status, body

    def _pass(self, until: float) -> None:
        self.wait_until(until)
        self.advance()

    def _log(self, who: str, what: str) -> None:
        if self.note is not None:
            self.note(who, what)

    # Other users

    def advance(self) -> None:
        """Lets other users, and jobs that load a model, do what is due by now, each at its own moment."""
        now = self.clock.now
        while self._pending or self._loading:
            due = [(self._due(action), number) for number, action in enumerate(self._pending)]
            due += [(self._loads_at(one), -number) for number, one in enumerate(self._loading, start=1)]
            at, number = min(due)
            if at > now:
                break
            # A moment that became known too late is now: what was shown is never undone.
            at = max(at, self._advanced)
            if number < 0:
                self._load_of(self._loading.pop(-number - 1), at)
            else:
                self._act(self._pending.pop(number), at)
            self._advanced = at
        self._advanced = now

    def _loads_at(self, execution: TrueExecution) -> float:
        """When an execution of the job starts its load; never once it was cancelled."""
        if execution.result == "CANCEL" and execution.cancelled < inf:
            length = execution.seconds * self.world.inner.share
            at = execution.started + length
            return at if at < execution.cancelled else inf
        return execution.started + execution.seconds * self.world.inner.share

    def _load_of(self, execution: TrueExecution, at: float) -> None:
        """The load that an execution of the job starts by itself."""
        inner, owner = self.world.inner, execution.owner
        running = self.loads.running(at)
        if running is not None and self.world.busy != "queue":
            self._log(execution.id, f"loads the model at {self._at(at)}: without effect, {running.id} runs")
            return
        result = inner.result if owner == OTHER_USER else self.world.runs[owner].load
        made = self.loads.begin(owner, at, inner.seconds, result, sent=execution.sent)
        self._log(execution.id, f"starts {made.id} at {self._at(at)}: {result} at {self._at(made.ended)}")

    def _begun(self, execution: TrueExecution) -> TrueExecution:
        """An execution of the world's target that has just begun, and that may load the model."""
        if self.world.target == "both" and (execution.owner != OTHER_USER or self.world.inner.others):
            self._loading.append(execution)
        return execution

    def _due(self, action: OtherUserAction) -> float:
        moment = self._moment(action)
        return inf if moment is None else moment + action.delay

    def _moment(self, action: OtherUserAction) -> float | None:
        run = action.run
        if action.anchor == "run":
            return self.run_began.get(run)
        if action.anchor == "call":
            answered = self.calls.get(run, [])
            return answered[action.number] if action.number < len(answered) else None
        if action.anchor == "posted":
            return next((post.sent for post in self.posts if post.run == run), None)
        target = self._target_of(action)
        if action.anchor == "shown":
            return self._shown.get((target, run))
        ours = next((one for one in self.truths[target].executions if one.owner == run), None)
        if ours is None:
            return None
        return ours.began if action.anchor == "began" else ours.ended

    def _target_of(self, action: OtherUserAction) -> Target:
        return "load" if action.at_model or self.world.target == "load" else "job"

    def _act(self, action: OtherUserAction, at: float) -> None:
        """At its moment, in order with everything else."""
        target = self._target_of(action)
        truth = self.truths[target]
        if action.kind == "cancel":
            cancelled = truth.cancel(at)
            self.other_cancels.append((at, cancelled))
            self._log("another user", f"cancels {cancelled.id if cancelled else 'nothing'} at {self._at(at)}")
            return
        running = truth.running(at)
        if running is not None and self.world.busy != "queue":
            self._log("another user", f"starts at {self._at(at)}: without effect, {running.id} runs")
            return
        made = truth.begin(OTHER_USER, at, action.seconds, action.result, sent=at)
        if target == "job":
            self._begun(made)
        self._log(
            "another user",
            f"starts {made.id} at {self._at(at)}: {self._word(made.result)} at {self._at(made.ended)}",
        )

    def _at(self, moment: float) -> str:
        return f"{moment - self.t0:.3f}"

    # Starts and cancels

    def _post(self, call: Call, limit: float) -> tuple[int, bytes]:
        if call.path.endswith("/cancel"):
            return self._cancel(call, limit)
        world, sent = self.world, self.clock.now
        ours = world.runs[self.run]
        number = sum(post.run == self.run for post in self.posts)
        fault = ours.faults[number] if number < len(ours.faults) else "none"
        post = SentPost(self.run, sent, fault, "job" if call.path.endswith("/execute") else "load")
        self.posts.append(post)
        self.session.posts.append(post)
        self.session.served = sent
        if fault == "unsent":
            self._pass(sent + min(3.05, limit))
            post.answered = self.clock.now
            self._log("network", "the start never left")
            raise _unavailable(call, may_have_started=False)
        is_silent = fault.startswith("timeout") or world.up + world.down > limit
        flight = limit if is_silent else world.up + world.down
        self._pass(sent + ours.effect * flight)
        self.session.served = sent + ours.stamp * flight
        answer = self._take(call, post)
        self.hook(call.path, "after")
        self._pass(sent + flight)
        post.answered = self.clock.now
        if is_silent:
            post.is_lost = True
            self._log("network", "no answer to the start")
            raise _unavailable(call, may_have_started=True)
        self._log("answer", f"{_name(call)}: {answer[0]} {self._brief(answer[1])}")
        return answer

    def _brief(self, body: bytes) -> str:
        """A body for a timeline: without constant fields, dates as seconds of the world."""
        try:
            return json.dumps(self._cut(json.loads(body)), separators=(", ", ": ")).replace('"', "")
        except ValueError:
            return body.decode()

    def _cut(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._cut(one) for one in value]
        if isinstance(value, dict):
            return {name: self._cut(one) for name, one in value.items() if name not in ALWAYS_THE_SAME}
        if isinstance(value, int) and value > 1e12:
            return round(value / 1000 - self.world.clock_offset - self.t0, 1)
        return value

    def _take(self, call: Call, post: SentPost) -> tuple[int, bytes]:
        """Apply a start, if this world lets it take effect."""
        fault = post.fault
        if fault == "429":
            return 429, encode({**ENVELOPE, "status": 429, "errorCode": "LIMIT_RATE_EXCEEDED"})
        post.is_lost = fault in LOST
        truth = self.truths[post.target]
        before = truth.executions[-1] if truth.executions else None
        running = truth.running(self.clock.now)
        # Rendered first: an echo shows the job as it was.
        echo = self._job(age=0.0) if self.world.reply == "echo" and post.target == "job" else {}
        if self._is_unseen(post.target, post.sent):  # also where the start has no effect
            post.found_unseen = True
        if not fault.endswith("before"):
            self._take_effect(post, running)
        if fault == "page_after":
            return 200, b"<html>gateway</html>"
        if fault.startswith("50"):
            return int(fault[:3]), encode({**ENVELOPE, "status": int(fault[:3])})
        if post.refused:
            return self.world.busy_status, encode({**ENVELOPE, "status": self.world.busy_status})
        return self._reply(post, before, echo)

    def _take_effect(self, post: SentPost, running: TrueExecution | None) -> None:
        now, world = self.clock.now, self.world
        post.arrived = now
        ours = world.runs[self.run]
        post.found = running
        if world.target == "both" and post.target == "job" and self._is_unseen("load", post.sent):
            post.found_unseen_load = True
        if running is not None and world.busy != "queue":
            post.refused = world.busy == "refuse"
            self._log("our start", f"{'is refused' if post.refused else 'is ignored'}: {running.id} runs")
            return
        truth = self.truths[post.target]
        made = truth.begin(self.run, now, ours.seconds, ours.result, ours.queue, post.sent)
        if post.target == "job":
            self._begun(made)
        post.execution = made
        self._log("our start", f"begins {made.id}: {self._word(made.result)} at {self._at(made.ended)}")

    def _is_known_to_run(self, execution: TrueExecution, sent: float) -> bool:
        """Whether that it runs was recorded before ``sent``, or shown to the current task."""
        marks = (what for marked, what, _ in self.session.marks if marked is execution)
        return execution.active_noted <= sent or "active_seen" in marks

    def _is_unseen(self, target: Target, sent: float) -> bool:
        """Whether what runs at a target has not been shown, or something began and ended just before now."""
        now, truth = self.clock.now, self.truths[target]
        running = truth.running(now)
        # What our own runs do that overlap is for their lease to keep apart: it excuses nothing.
        is_theirs = running is not None and (
            running.owner == OTHER_USER or (running.owner != self.run and not self.world.is_concurrent)
        )
        if running is not None and is_theirs and not self._is_known_to_run(running, sent):
            return True
        return any(
            one.owner == OTHER_USER and now - JUST_BEFORE <= one.began and one.ended <= now
            for one in truth.executions
        )

    def _reply(self, post: SentPost, before: TrueExecution | None, echo: dict[str, Any]) -> tuple[int, bytes]:
        reply, made = self.world.reply, post.execution
        if reply == "none":
            return 204, b""
        if reply == "echo":
            return 200, encode(echo)
        name = "executionId" if post.target == "job" else "dataLoadId"
        named = before if reply == "before" or made is None else made
        if reply == "empty" or named is None:
            return 200, b"{}"
        return 200, encode({name: named.item if reply == "other_space" else named.id})

    def _cancel(self, call: Call, limit: float) -> tuple[int, bytes]:
        sent = self.clock.now
        self._pass(sent + min(self.world.up, limit))
        self.session.served = self.clock.now
        running = self.truths["job"].running(self.clock.now)
        knew = running is not None and all(self.is_seen(running, what) for what in ("id_seen", "run_seen"))
        self.cancels.append(PostedCancel(self.run, sent, self.clock.now, running, knew))
        self.truths["job"].cancel(self.clock.now)
        self.hook(call.path, "after")
        self._log("our cancel", f"cancels {running.id if running else 'nothing'}")
        self._pass(self.clock.now + self.world.down)
        return 200, b""

    # Reads

    def _odd_answer(self, call: Call) -> tuple[int, bytes] | None:
        """The odd answer that this GET gets, if it gets one."""
        self.gets += 1
        if self.gets - self._last_odd < ODD_GAP:
            return None
        for number, odd in enumerate(self._odd):
            if self._counts(odd, call):
                if odd.number > 0:
                    self._odd[number] = _fewer(odd)
                    continue
                del self._odd[number]
                self._last_odd = self.gets
                return self._make_odd(odd.kind, call)
        return None

    def _counts(self, odd: OddResponse, call: Call) -> bool:
        if odd.run != self.run or (odd.endpoint == "list" and not call.path.endswith("/executions")):
            return False
        if odd.since == "run":
            return True
        if odd.since == "posted":
            return any(post.run == self.run for post in self.posts)
        return any(one.owner == self.run and one.ended <= self.clock.now for one in self.truth.executions)

    def _make_odd(self, kind: str, call: Call) -> tuple[int, bytes]:
        if kind in STATUSES:
            return STATUSES[kind], encode({**ENVELOPE, "status": STATUSES[kind]})
        if kind in BODIES:
            return (204 if kind == "empty" else 200), BODIES[kind]
        if kind == "envelope":
            status: object = self.random.choice((500, "500"))
            return 200, encode({**ENVELOPE, "status": status})
        _, whole = self._read(call, mark=False)
        if kind == "keyless" or not isinstance(whole, dict):
            return 200, encode({"id": "job-a"} if call.path.endswith("/job-a") else {"page": 0})
        kept = [name for name in whole if self.random.random() < 0.5]
        return 200, encode({name: whole[name] for name in kept})

    def _read(self, call: Call, *, mark: bool = True) -> tuple[int, Any]:
        path = call.path
        marks = len(self.session.marks)
        if path.endswith("/logs/job-a/executions"):
            found = self._list()
        elif path.endswith("/last-load"):
            found = self._last_load()
        elif path.endswith("/jobs/job-a"):
            found = (200, self._job())
        elif path.endswith("/tables"):
            found = (200, [{"id": "table-1", "name": "ORDERS", "dataModelId": "model-a"}])
        else:
            found = (404, {**ENVELOPE, "status": 404})
        if not mark:
            del self.session.marks[marks:]
        return found

    def _ages(self, count: int) -> list[float]:
        """The ages of ``count`` fields of the next answer."""
        ages, random = self.world.ages, self.random
        poll = self.polls[self.run]
        self.polls[self.run] += 1
        if ages.kind == "zero":
            return [0.0] * count
        if ages.kind == "script":
            return [ages.values[min(poll, len(ages.values) - 1)]] * count
        if ages.kind == "fixed":
            return list(ages.values[:count]) if count > 1 else [ages.values[3]]
        drawn = [_draw(random, ages.limit) for _ in range(count if ages.kind == "fields" else 1)]
        return drawn if len(drawn) == count else drawn * count

    def _mark(self, execution: TrueExecution, what: str) -> None:
        now = self.clock.now + self.world.down
        marks = self.session.marks
        marks.append((execution, "seen", now))
        if what == "id_seen" and execution.owner not in (OTHER_USER, self.run):
            return  # a poll of another run says nothing to the one that started it
        marks.append((execution, what, now))
        if what == "id_seen" and execution.owner >= 0:
            target: Target = "load" if execution in self.loads.executions else "job"
            self._shown.setdefault((target, execution.owner), now)

    def _mark_status(self, execution: TrueExecution, at: float) -> None:
        self._mark(execution, "end_seen" if at >= execution.ended else "seen")
        if at >= execution.started:
            self._mark(execution, "run_seen")
        if at < execution.ended:
            self._mark(execution, "active_seen")

    def _job(self, age: float | None = None) -> dict[str, Any]:
        """The job's record; ``age`` of all its fields, or drawn anew."""
        shows, now = self.world.shows, self.clock.now
        by_status, by_current, by_latest = (
            now - one for one in (self._ages(3) if age is None else [age] * 3)
        )
        stated = self.truths["job"].shown(by_status)
        current = self._current(by_current)
        latest = None
        if shows.latest != "none":
            latest = self.truths["job"].latest(by_latest, shows.latest_moves, while_queued=shows.while_queued)
        if age is None:
            if stated is not None:
                self._mark_status(stated, by_status)
            for execution in (current, latest):
                if execution is not None:
                    self._mark(execution, "id_seen")
            if current is not None and by_current < current.ended:
                self._mark(current, "active_seen")
        return {
            "id": "job-a",
            "name": "Orders",
            "dataPoolId": "pool-1",
            "status": stated.status(by_status) if stated else None,
            "currentExecutionId": current.id if current else None,
            "latestExecutionItemId": _latest_id(latest, shows.latest),
        }

    def _current(self, at: float) -> TrueExecution | None:
        shows = self.world.shows
        if shows.current == "never":
            return None
        running = self.truths["job"].running(at)
        if running is not None and (shows.while_queued or running.started <= at):
            return running
        if shows.current == "stays":
            return self.truths["job"].latest(at, "start", while_queued=shows.while_queued)
        return None

    def _list(self) -> tuple[int, Any]:
        shows = self.world.shows
        if shows.listing in ("404", "403"):
            status = int(shows.listing)
            return status, {**ENVELOPE, "status": status}
        at = self.clock.now - self._ages(1)[0]
        listed = self._listed(at)
        for one in listed:
            self._mark(one, "id_seen")
            if shows.list_status:
                self._mark_status(one, at)
        entries = [self._entry(one, at) for one in listed]
        return 200, entries if shows.list_bare else {"executionItems": entries}

    def _listed(self, at: float) -> list[TrueExecution]:
        """What the list of executions contains, in its order."""
        shows = self.world.shows
        listed = [one for one in self.truths["job"].executions if one.began <= at]
        if not shows.list_running:
            listed = [one for one in listed if one.ended <= at]
        listed.reverse()
        if shows.undated_last:
            listed.sort(key=lambda one: one.started > at)
        if shows.listing == "newest":
            listed = listed[: shows.page]
        elif shows.listing == "oldest":
            listed = listed[-shows.page :]
        if not shows.newest_first:
            listed.reverse()
        return listed

    def _entry(self, execution: TrueExecution, at: float) -> dict[str, Any]:
        shows = self.world.shows
        entry: dict[str, Any] = {"executionId": execution.id, "jobId": "job-a", "mode": "FULL"}
        if shows.list_status:
            entry["status"] = execution.status(at)
        if shows.list_dates:
            entry["startDate"] = self._date(execution.started, at, execution.ended)
            entry["endDate"] = self._date(execution.ended, at)
        return entry

    def _date(self, moment: float, at: float, until: float = inf) -> object:
        """A date of Celonis's clock, if it has come by ``at``; ``until``: when it has not come at all."""
        if moment > at or moment > until:
            return None
        stamp = moment + self.world.clock_offset
        if self.world.shows.iso_dates:
            return datetime.fromtimestamp(stamp, UTC).isoformat(timespec="milliseconds")
        return int(stamp * 1000)

    def _last_load(self) -> tuple[int, Any]:
        """One row: id and dates of one moment, the status of that moment or of an earlier one."""
        shows, now = self.world.shows, self.clock.now
        row_age, status_age = sorted(self._ages(2))
        row_at, status_at = now - row_age, now - status_age
        load = self._row(row_at)
        if load is None:
            if shows.never == "404":
                return 404, {**ENVELOPE, "status": 404, "errorCode": "GENERAL_NOTFOUND_PATH"}
            return 200, None if shows.never == "null" else {}
        word = self._row_status(load, row_at, status_at)
        row: dict[str, Any] = {"dataModelId": "model-a", "loadStatus": word, "loadType": "COMPLETE"}
        if shows.load_id or shows.load_dates:
            self._mark(load, "id_seen")
        if shows.load_id:
            row["dataLoadId"] = load.id
        if shows.load_dates:
            if load.started <= row_at < load.ended:
                self._mark(load, "active_seen")
            row["startDate"] = self._date(load.started, row_at, load.ended)
            row["endDate"] = self._date(load.ended, row_at)
        return 200, row

    def _row_status(self, load: TrueExecution, row_at: float, status_at: float) -> str:
        """The status beside ``load``: possibly of the load before, until ``load`` was shown as running."""
        if load.seen_running:
            status_at = max(status_at, load.began if self.world.shows.load_queued else load.started)
        stated = self._row(status_at)
        if stated is None:  # there is no load before whose status could be left
            stated, status_at = load, row_at
        self._mark_status(stated, status_at)
        load.seen_running = load.seen_running or status_at < stated.ended
        return self._load_status(stated, status_at)

    def _row(self, at: float) -> TrueExecution | None:
        if not self.world.shows.load_running:
            return self.loads.latest(at, "end", while_queued=False)
        return self.loads.latest(at, "start", while_queued=self.world.shows.load_queued)

    def _load_status(self, load: TrueExecution, at: float) -> str:
        if at < load.ended:
            if load.cancelled <= at:
                return "CANCELLING"
            third = (load.ended - load.started) / 3
            if self.world.shows.lost_connection and load.started + third <= at < load.ended - third:
                return "LOST_CONNECTION"
        status = load.status(at)
        return LOAD_WORDS.get(status, status)

    def _word(self, status: str) -> str:
        return LOAD_WORDS.get(status, status) if self.world.target == "load" else status


class SentPost:
    """One start that we sent. ``is_lost``: its answer never came or says nothing."""

    __slots__ = (
        "answered",
        "arrived",
        "execution",
        "fault",
        "found",
        "found_unseen",
        "found_unseen_load",
        "is_lost",
        "refused",
        "run",
        "sent",
        "target",
    )

    def __init__(self, run: int, sent: float, fault: str, target: Target) -> None:
        self.run, self.sent, self.fault, self.target = run, sent, fault, target
        self.answered = self.arrived = inf
        self.execution: TrueExecution | None = None
        self.found: TrueExecution | None = None
        self.found_unseen = self.found_unseen_load = self.refused = self.is_lost = False


class PostedCancel:
    """One cancel that we sent, and what ran when it arrived. ``knew``: an answer had shown that to us."""

    __slots__ = ("arrived", "found", "knew", "run", "sent")

    def __init__(
        self, run: int, sent: float, arrived: float, found: TrueExecution | None, knew: bool
    ) -> None:
        self.run, self.sent, self.arrived, self.found, self.knew = run, sent, arrived, found, knew


def _latest_id(execution: TrueExecution | None, space: str) -> str | None:
    if execution is None or space == "none":
        return None
    return execution.item if space == "own" else execution.id


def _draw(random: Random, limit: float) -> float:
    """An age: often one of the extremes."""
    kind = random.random()
    if kind < 0.3:
        return 0.0
    return limit if kind > 0.7 else random.random() * limit


def _fewer(odd: OddResponse) -> OddResponse:
    return OddResponse(odd.kind, odd.number - 1, odd.since, odd.run, odd.endpoint)


def _name(call: Call) -> str:
    return f"{call.method} {'/'.join(call.path.split('/')[-2:])}"


def _unavailable(call: Call, *, may_have_started: bool) -> CelonisUnavailable:
    return CelonisUnavailable(
        "No usable answer.",
        may_have_started=may_have_started and call.acts,
        hint="",
        method=call.method,
        path=call.path,
    )
