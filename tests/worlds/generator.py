"""Random worlds within the model.

Some worlds only break an assumption while they run: these are sorted out afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any, Literal, TypeVar, get_args

from tests.worlds.world import (
    LOST,
    Anchor,
    Fault,
    InnerLoads,
    Moment,
    OddKind,
    OddResponse,
    OtherUserAction,
    OurRun,
    PastExecution,
    ResponseFields,
    Staleness,
    World,
)

A = TypeVar("A")
SETTLE = 60
ODD_KINDS: tuple[OddKind, ...] = get_args(OddKind)
FAULTS: tuple[Fault, ...] = tuple(fault for fault in get_args(Fault) if fault != "none")
HOUR = 3600.0


Family = Literal["in-turn", "overlap", "webhook", "inner"]
FAMILIES: tuple[Family, ...] = get_args(Family)
"""Our runs one after the other; at the same time; opened by webhooks; with a job that loads a model."""


def random_world(seed: int, *, outside: bool = False, family: Family = "in-turn") -> World:
    """The world of this seed; ``outside``: one that may leave assumptions 3 to 6."""
    sampler = _WorldSampler(seed, outside=outside)
    makers = {"overlap": sampler.overlap, "webhook": sampler.webhook, "inner": sampler.inner}
    return makers[family]() if family in makers else sampler.world()


class _WorldSampler:
    """Draws one world, part by part."""

    def __init__(self, seed: int, *, outside: bool) -> None:
        self.seed, self.outside = seed, outside
        self.random = Random(seed)  # noqa: S311

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def one(self, *choices: A) -> A:
        return choices[int(self.random.random() * len(choices))]

    def near(self) -> float:
        """Seconds, mostly at the edges of what readings may be late."""
        settle = float(SETTLE)
        kind = self.random.random()
        if kind < 0.5:
            edges = (0.0, 0.2, 1.0, 3.0, 10.0, settle / 2, settle - 5, settle - 1, settle, settle + 1)
            return self.one(*edges, settle + 5, 2 * settle)
        return self.random.uniform(0.0, settle if kind < 0.8 else 3 * settle)

    def duration(self) -> float:
        kind = self.random.random()
        if kind < 0.35:
            return self.one(0.3, 1.0, 2.0, 5.0, 8.0)
        if kind < 0.8:
            return self.random.uniform(1.0, 3.0 * SETTLE)
        return self.random.uniform(SETTLE, 300.0 if self.chance(0.8) else 900.0)

    def world(self) -> World:
        target = self.one("job", "job", "load")
        runs = self.runs()
        shows = self.load_shows() if target == "load" else self.job_shows()
        if target == "load" and not shows.load_queued:
            # A start that is lost and waits unseen for longer than readings are late cannot be looked up.
            runs = tuple(replace(run, queue=0.0) for run in runs)
        up, down = self.latency()
        past = self.past()
        return World(
            seed=self.seed,
            target="load" if target == "load" else "job",
            settle=SETTLE,
            shows=shows,
            ages=self.ages(),
            up=up,
            down=down,
            date=self.chance(0.8),
            clock_offset=self.one(0.0, 0.0, 0.0, 0.0, 0.0, 2.5, -2.5, 70.0, -70.0, 5 * HOUR, -5 * HOUR),
            header_offset=self.one(2 * HOUR, -2 * HOUR) if self.chance(0.04) else 0.0,
            busy=self.one("refuse", "queue", "ignore"),
            busy_status=self.one(409, 409, 400, 422),
            reply=self.one("empty", "empty", "none", "own", "own", "other_space", "before", "echo"),
            past=past,
            runs=runs,
            others=self.others(runs),
            odd=self.odd(len(runs)),
            floor=self.one(2, 5, 10, 15, 20),
            outside=frozenset({3, 4, 5}) if self.outside else frozenset(),
        )

    def job_shows(self) -> ResponseFields:
        plain = self.chance(0.3)  # of the list: complete and whole
        return ResponseFields(
            current=self.one("running", "running", "never", "stays"),
            latest=self.one("none", "same", "own"),
            latest_moves=self.one("start", "end"),
            while_queued=self.chance(0.5),
            listing="complete" if plain else self.one("404", "403", "complete", "newest", "newest", "oldest"),
            page=self.one(1, 2, 3, 5),
            newest_first=plain or self.chance(0.7),
            undated_last=self.chance(0.3),
            list_running=plain or self.chance(0.7),
            list_status=plain or self.chance(0.8),
            list_dates=plain or self.chance(0.7),
            list_bare=self.chance(0.2),
            iso_dates=self.chance(0.3),
        )

    def load_shows(self) -> ResponseFields:
        return ResponseFields(
            load_id=self.chance(0.75),
            load_dates=self.chance(0.7),
            load_running=self.chance(0.75),
            load_queued=self.chance(0.5),
            lost_connection=self.chance(0.1),
            never=self.one("404", "null", "{}"),
            iso_dates=self.chance(0.3),
        )

    def ages(self) -> Staleness:
        settle, kind = float(SETTLE), self.random.random()
        if kind < 0.15:
            return Staleness()
        if kind < 0.3:
            return Staleness("fixed", tuple(self.age() for _ in range(4)))
        if kind < 0.5:
            return Staleness("script", tuple(self.age() for _ in range(self.one(1, 2, 3, 4, 6))))
        limit = self.one(settle, settle, settle - 1, settle / 2, 5.0)
        return Staleness("fields" if kind < 0.8 else "answers", (), limit)

    def age(self) -> float:
        settle = float(SETTLE)
        return self.one(
            0.0, 0.0, 1.0, 5.0, settle / 2, settle - 1, settle, settle, self.random.uniform(0.0, settle)
        )

    def latency(self) -> tuple[float, float]:
        if self.chance(0.7):
            return 0.05, 0.05
        return self.one(0.0, 0.01, 0.5, 2.0, 4.0), self.one(0.0, 0.01, 0.5, 2.0, 4.0)

    def past(self) -> tuple[PastExecution, ...]:
        if self.chance(0.1):
            return ()
        found: list[PastExecution] = []
        ago = self.near() if self.chance(0.6) else self.random.uniform(SETTLE, 5000.0)
        for _ in range(self.one(1, 1, 2, 3, 5)):
            seconds = self.duration()
            found.append(PastExecution(ago + (seconds if self.chance(0.8) else 0.2), seconds, self.result()))
            ago += seconds + (self.near() if self.chance(0.5) else self.random.uniform(1.0, 5000.0)) + 0.5
        return tuple(found)

    def result(self) -> str:
        return self.one("SUCCESS", "SUCCESS", "SUCCESS", "FAIL", "FAIL", "CANCEL", "SKIPPED")

    def runs(self) -> tuple[OurRun, ...]:
        first = self.our_run(0.0)
        if self.chance(0.65):
            return (first,)
        gap = self.one(0.0, 0.0, 0.5, 5.0, self.near())
        return first, self.our_run(gap)

    def our_run(self, gap: float) -> OurRun:
        return OurRun(
            gap=gap,
            queue=self.one(1.0, 20.0, self.near()) if self.chance(0.2) else 0.0,
            seconds=self.duration(),
            result=self.one("SUCCESS", "FAIL", "FAIL", "SKIPPED"),
            faults=self.faults(),
            effect=self.one(0.0, 0.01, 0.5, 0.99, 1.0, self.random.random()),
            stamp=self.one(0.0, 0.5, 1.0, self.random.random()),
            crashes=self.crashes(),
            stop_after=self.near() + 0.1 if self.chance(0.1) else None,
        )

    def faults(self) -> tuple[Fault, ...]:
        if self.chance(0.65):
            return ()
        first = self.one(*FAULTS)
        return (first,) if self.chance(0.8) else (first, self.one(*FAULTS))

    def crashes(self) -> tuple[tuple[int, Moment], ...]:
        if self.chance(0.8):
            return ()
        count = self.one(1, 1, 2)
        moments: tuple[Moment, ...] = get_args(Moment)
        return tuple((int(self.random.random() * 20), self.one(*moments)) for _ in range(count))

    def others(self, runs: Sequence[OurRun]) -> tuple[OtherUserAction, ...]:
        may_be_lost = any(run.crashes or any(fault in LOST for fault in run.faults) for run in runs)
        if self.chance(0.55 if may_be_lost and not self.outside else 0.15):
            return ()
        return tuple(self.action(runs) for _ in range(self.one(1, 1, 2, 2, 3, 4)))

    def action(self, runs: Sequence[OurRun]) -> OtherUserAction:
        number = len(runs) - 1 if self.chance(0.6) else 0
        mine = runs[number].result
        theirs = "SUCCESS" if mine != "SUCCESS" else "FAIL"
        anchor: Anchor = self.one(
            "run", "call", "call", "posted", "began", "shown", "shown", "ended", "ended"
        )
        early = anchor in ("run", "ended", "began") and self.chance(0.3)
        delay = -self.near() if early else self.one(0.001, 0.02, 0.1, 1.0, self.near(), self.near())
        return OtherUserAction(
            kind="cancel" if self.chance(0.12) else "start",
            anchor=anchor,
            delay=delay,
            seconds=self.duration(),
            result=theirs if self.chance(0.85) else mine,
            run=number,
            number=int(self.random.random() * 8),
        )

    def odd(self, runs: int) -> tuple[OddResponse, ...]:
        if self.chance(0.65):
            return ()
        return tuple(self.one_odd(runs) for _ in range(self.one(1, 1, 1, 1, 2)))

    def one_odd(self, runs: int) -> OddResponse:
        return OddResponse(
            kind=self.one(*ODD_KINDS),
            number=self.one(0, 0, 1, 1, 2, 3, 4),
            since=self.one("run", "run", "posted", "ended"),
            run=int(self.random.random() * runs),
            endpoint=self.one("any", "any", "list"),
        )

    # The other families: a world as above, and more

    def overlap(self) -> World:
        """Two or three runs of different pipelines that use the same job or model at the same time."""
        world = self.world()
        count = 3 if self.chance(0.15) else 2
        runs = tuple(self.overlapping_run(number, world) for number in range(count))
        return replace(world, overlap=True, runs=runs, past=self.running_past(world), **self.around(runs))

    def overlapping_run(self, number: int, world: World) -> OurRun:
        gap = self.one(0.0, 0.05, 0.3, 1.0, 5.0, self.near(), self.near()) if number else 0.0
        run = self.our_run(gap)
        if world.target == "load" and not world.shows.load_queued:
            run = replace(run, queue=0.0)
        return self.webhook_run(run) if world.target != "load" and self.chance(0.25) else run

    def running_past(self, world: World) -> tuple[PastExecution, ...]:
        """Often with an execution of another user that is running when our first run begins."""
        if self.chance(0.4):
            return world.past
        ago = self.one(0.01, 1.0, self.near(), self.near()) + 0.01
        now = PastExecution(ago, ago + self.near(), self.result())
        return (now, *(replace(one, ago=one.ago + ago + 1.0) for one in world.past))

    def around(self, runs: Sequence[OurRun]) -> dict[str, Any]:
        return {"others": self.others(runs), "odd": self.odd(len(runs))}

    def webhook(self) -> World:
        """Runs that webhooks open, which send their first start themselves."""
        world = self.world()
        if world.target == "load":
            world = replace(world, target="job", shows=self.job_shows())
        runs = [self.webhook_run(self.our_run(0.0))]
        if self.chance(0.4):
            run = self.our_run(self.one(0.0, 0.5, 5.0, self.near(), 100.0 + self.near()))
            runs.append(self.webhook_run(run) if self.chance(0.7) else run)
        past = self.running_past(world) if self.chance(0.3) else world.past
        return replace(world, overlap=True, runs=tuple(runs), past=past, **self.around(runs))

    def webhook_run(self, run: OurRun) -> OurRun:
        moments: tuple[Moment, ...] = get_args(Moment)
        crashes = run.crashes
        if self.chance(0.4):
            crashes = ((int(self.random.random() * 16), self.one(*moments)), *run.crashes[1:])
        again = (self.one(0.1, 0.5, 2.0, 10.0, self.near()),) if self.chance(0.3) else ()
        return replace(
            run,
            by="webhook",
            crashes=crashes,
            again=again,
            reconciled=self.one(21.0, 60.0, 300.0, self.random.uniform(20.0, 320.0)),
            lost_handover=self.chance(0.15),
        )

    def inner(self) -> World:
        """A job that loads a model by itself, with earlier loads of ours and of others."""
        world = self.world()
        while world.target == "load":
            world = self.world()
        loads = self.load_shows()
        names = ("load_id", "load_dates", "load_running", "load_queued", "lost_connection", "never")
        shows = replace(world.shows, **{name: getattr(loads, name) for name in names})
        runs = [self.inner_run(0.0, shows)]
        overlap = self.chance(0.25)
        while len(runs) < 3 and self.chance(0.5):
            runs.append(self.inner_run(self.one(0.0, 0.5, 5.0, self.near()), shows))
        others = tuple(
            replace(one, at_model=self.chance(0.6), result=self.result()) for one in self.others(runs)
        )
        inner = InnerLoads(
            share=self.one(0.0, 0.01, 0.5, 1.0, self.random.random()),
            seconds=self.duration(),
            others=self.chance(0.5),
            result=self.one("SUCCESS", "SUCCESS", "FAIL"),
            past=self.past(),
        )
        return replace(
            world,
            target="both",
            shows=shows,
            runs=tuple(runs),
            overlap=overlap,
            inner=inner,
            others=others,
            odd=self.odd(len(runs)),
        )

    def inner_run(self, gap: float, shows: ResponseFields) -> OurRun:
        """The job of most runs succeeds: the others do not come to the load."""
        run = replace(
            self.our_run(gap),
            load=self.one("SUCCESS", "FAIL", "FAIL", "SKIPPED"),
            only_load=self.chance(0.15),
        )
        if run.only_load and not shows.load_queued:
            run = replace(run, queue=0.0)
        if self.chance(0.8) and not run.only_load:
            run = replace(run, result="SUCCESS")
        return self.webhook_run(run) if self.chance(0.15) and not run.only_load else run
