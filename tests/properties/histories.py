"""Random histories of a job or a model, and what a run may claim of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from hypothesis import strategies as st

from tests.fakes.celonis import AnotherUser, Busy, FakeTarget, Lags, Lost, ShownFields
from tests.fakes.service import JOB, MODEL, ServiceHarness, job_definition, load_definition

TIMEOUT = 9_000
SETTLE = 60
"""Seconds that a poll may be old, and that a run waits for a proof."""
HONEST = {
    "SUCCEEDED": {"SUCCESS", "WARNING"},
    "JobFailed": {"FAIL"},
    "JobCanceled": {"CANCEL"},
    "JobSkipped": {"SKIPPED"},
    "LoadFailed": {"FAIL", "LOST"},
    "LoadCanceled": {"CANCEL"},
}
"""The result of our execution that each end of a run requires."""
UNDECIDED = {
    "StartAmbiguous",
    "TakenOver",
    "OutcomeUnproven",
    "StartIgnored",
    "JobTimedOut",
    "LoadTimedOut",
}
"""Ends that claim no result."""


@dataclass(frozen=True)
class TargetHistory:
    """One history. ``before``: how long ago another user started what, and for how long."""

    shows: ShownFields = field(default_factory=ShownFields)
    draws: tuple[float, ...] = (0.0,)
    fixed: dict[str, float] | None = None
    before: tuple[tuple[float, float, str], ...] = ()
    another_user: tuple[AnotherUser, ...] = ()
    others_wait: bool = True
    busy: Busy = "refuse"
    lost: tuple[Lost | None, ...] = ()
    crashes: tuple[tuple[int, Literal["before", "after"]], ...] = ()
    answers_id: bool = False
    queue: float = 0.0
    seconds: float = 30.0
    outcome: str = "SUCCESS"
    up: float = 0.1
    down: float = 0.1
    floor: int = 5
    timeout: int = TIMEOUT

    def target(self, service: ServiceHarness, kind: str) -> FakeTarget:
        """The job or model of this world."""
        lags = Lags(self.draws, self.fixed)  # type: ignore[arg-type]
        target = (service.job if kind == "job" else service.model)(
            shows=self.shows,
            lags=lags,
            another_user=list(self.another_user),
            others_wait=self.others_wait,
            busy=self.busy,
            queue=self.queue,
            seconds=self.seconds,
            outcome=self.outcome,
        )
        for ago, seconds, outcome in self.before:
            target.add_past_start(ago, seconds, outcome)
        calls = ("execute_job",) if kind == "job" else ("load_model", "load_tables")
        service.celonis.faults = {call: list(self.lost) for call in calls}
        service.celonis.answers_id = self.answers_id
        service.celonis.up, service.celonis.down = self.up, self.down
        return target


def unfold(world: TargetHistory, kind: str = "job") -> tuple[str, FakeTarget, ServiceHarness]:
    """Runs one step in this world: how it ended, what really happened, and the harness."""
    service = ServiceHarness()
    target = world.target(service, kind)
    common = {"settle": SETTLE, "poll": {"floor": world.floor, "ceiling": 600}}
    if kind == "job":
        service.open(job_definition(jobs=[{"job": JOB, "timeout": world.timeout}], **common))
    else:
        service.open(load_definition(loads=[{"data_model": MODEL, "timeout": world.timeout}], **common))
    service.crash(world.crashes)
    return service.run_step(f"{kind}-0"), target, service


def check_claim(ended: str, target: FakeTarget, service: ServiceHarness) -> None:
    """Every claim about ours is true, and nothing was started twice."""
    mine = target.mine
    assert len(mine) <= 1, "started twice"
    if ended in UNDECIDED:
        if ended == "StartIgnored":
            assert not mine, "said that it was ignored, and it was not"
        return
    assert ended in HONEST, ended
    assert mine, f"{ended} of something that was never started"
    assert mine[0].ended_at <= service.clock.now, f"{ended} before its end"
    assert mine[0].result in HONEST[ended], f"{ended}, but ours came to {mine[0].result}"


NOTHING: st.SearchStrategy[tuple[Any, ...]] = st.just(())
short = st.floats(0, 5).map(lambda value: round(value, 2))
lag = st.floats(0, SETTLE).map(lambda value: round(value, 1))
span = st.one_of(st.floats(0, 20), st.floats(0, 3 * SETTLE), st.floats(0, 1500)).map(
    lambda value: round(value, 1)
)
outcomes = st.sampled_from(["SUCCESS", "FAIL", "CANCEL", "SKIPPED", "MYSTERY"])
delays = st.one_of(st.floats(0.1, 10), st.floats(0.1, 4 * SETTLE)).map(lambda value: round(value, 1))


crash_lists = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from(["before", "after"])), min_size=1, max_size=4
).map(tuple)
"""The number of calls before the one at which the function dies, and whether before or after its effect."""


def another_user(after: str) -> st.SearchStrategy[tuple[AnotherUser, ...]]:
    """What another user starts after ours took effect or was shown."""
    one = st.builds(AnotherUser, st.just(after), delays, span, outcomes)
    return st.lists(one, max_size=2).map(tuple)


def _one_by_one(gaps: list[tuple[int, float, str]]) -> tuple[tuple[float, float, str], ...]:
    """Starts with these distances, none of which runs into the next one."""
    ago = float(SETTLE)
    found: list[tuple[float, float, str]] = []
    for gap, seconds, outcome in gaps:
        ago += gap
        found.append((ago, min(seconds, gap if found else seconds), outcome))
    return tuple(reversed(found))


def befores(outcome: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[tuple[float, float, str], ...]]:
    """Starts of other users that are older than a poll can be."""
    return st.lists(st.tuples(st.floats(1, 2000).map(round), span, outcome), max_size=3).map(_one_by_one)


atomic = st.fixed_dictionaries({"draws": st.lists(lag, min_size=1, max_size=6).map(tuple)})
"""Each poll shows one moment, more or less old."""
per_field = st.fixed_dictionaries({"fixed": st.fixed_dictionaries({"status": lag, "ids": lag, "list": lag})})
"""Each field has a constant age."""


@st.composite
def worlds(
    draw: st.DrawFn,
    /,
    shows: st.SearchStrategy[ShownFields],
    lags: st.SearchStrategy[dict[str, Any]] = atomic | per_field,
    others: st.SearchStrategy[tuple[AnotherUser, ...]] = NOTHING,
    lost: st.SearchStrategy[tuple[Lost | None, ...]] = NOTHING,
    **more: st.SearchStrategy[Any],
) -> TargetHistory:
    """A history with these visible fields, ages, other users and responses."""
    common = {
        "before": befores(outcomes),
        "others_wait": st.booleans(),
        "busy": st.sampled_from(["refuse", "queue", "ignore", "parallel"]),
        "answers_id": st.booleans(),
        "queue": st.sampled_from([0.0, 3.0, 40.0]),
        "seconds": span,
        "outcome": outcomes,
        "up": short,
        "down": short,
        "floor": st.sampled_from([1, 5, 30, 200]),
    }
    chosen = {name: draw(strategy) for name, strategy in (common | more).items()}
    return TargetHistory(
        shows=draw(shows), another_user=draw(others), lost=draw(lost), **draw(lags), **chosen
    )
