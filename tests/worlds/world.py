"""One world: how Celonis behaves, what other users do, what goes wrong. Plain values, seconds throughout."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

Target = Literal["job", "load"]
Targets = Literal["job", "load", "both"]
"""What the runs of a world use; ``both``: a job that loads a model by itself (``started_by: job``)."""
Busy = Literal["refuse", "queue", "ignore"]
Reply = Literal["empty", "none", "own", "other_space", "before", "echo"]
"""The body of a 2xx to a start.

``{}``, no body, our id, our id in the other id space, the id of the execution before ours, or the whole job
as it was before ours.
"""
ListKind = Literal["404", "403", "complete", "newest", "oldest"]
Fault = Literal[
    "none",
    "timeout_before",
    "timeout_after",
    "502_before",
    "502_after",
    "504_after",
    "page_after",
    "unsent",
    "429",
]
"""What becomes of one start: lost before or after its effect, never sent, or refused for the rate limit."""
LOST: frozenset[str] = frozenset(
    {"timeout_before", "timeout_after", "502_before", "502_after", "504_after", "page_after"}
)
OddKind = Literal[
    "500", "503", "401", "403", "404", "429", "empty", "null", "{}", "[]", "envelope", "keyless", "partial"
]
Anchor = Literal["run", "call", "posted", "began", "shown", "ended"]
Moment = Literal["before", "after"]


@dataclass(frozen=True)
class ResponseFields:
    """What Celonis's answers contain.

    A job: ``current`` is set while an execution runs, never, or stays; ``latest`` is missing, in the id space
    of the executions or in its own, and ``latest_moves`` at an execution's start or at its end;
    ``while_queued``: whether both name an execution that is still queued. The list: ``page`` entries where it
    is one; ``undated_last``: entries without a start date are sorted as the oldest.
    A load: ``load_running``: whether a load that has not ended is shown; ``load_queued``: whether one that is
    queued is; ``never``: the answer for a model without loads.
    """

    current: Literal["running", "never", "stays"] = "running"
    latest: Literal["none", "same", "own"] = "same"
    latest_moves: Literal["start", "end"] = "start"
    while_queued: bool = True
    listing: ListKind = "complete"
    page: int = 3
    newest_first: bool = True
    undated_last: bool = False
    list_running: bool = True
    list_status: bool = True
    list_dates: bool = True
    list_bare: bool = False
    load_id: bool = True
    load_dates: bool = True
    load_running: bool = True
    load_queued: bool = True
    lost_connection: bool = False
    never: Literal["404", "null", "{}"] = "404"
    iso_dates: bool = False


@dataclass(frozen=True)
class Staleness:
    """How old what is shown is.

    ``zero``; ``fixed``: one age per field (``values``: status, current id, latest id, list); ``script``: the
    ages of the first answers to each run, of which the last stays; ``fields``: drawn anew for each field of
    each answer; ``answers``: drawn anew for each answer as a whole. Drawn ages are 0, the limit, or anything
    between.
    """

    kind: Literal["zero", "fixed", "script", "fields", "answers"] = "zero"
    values: tuple[float, ...] = ()
    limit: float = 60.0


@dataclass(frozen=True)
class PastExecution:
    """An execution of another user that began ``ago`` seconds before the first run; it may still run."""

    ago: float
    seconds: float
    result: str


@dataclass(frozen=True)
class OtherUserAction:
    """What another user does, ``delay`` seconds after a moment of our run number ``run``.

    ``run``: the run begins; ``call``: its call number ``number`` was answered; ``posted``: its first start
    was sent; ``began`` and ``ended``: its execution did; ``shown``: an answer showed its execution first.
    ``at_model``: at the model that the job loads, and counted from moments of our load there.
    """

    kind: Literal["start", "cancel"]
    anchor: Anchor
    delay: float
    seconds: float = 10.0
    result: str = "FAIL"
    run: int = 0
    number: int = 0
    at_model: bool = False


@dataclass(frozen=True)
class InnerLoads:
    """The loads of a world whose job starts a load by itself.

    ``share``: when in an execution its load begins, 0 to 1; ``seconds``: how long it takes; ``others``:
    whether other users' executions load the model, too, and with which ``result``; ``past``: other loads.
    """

    share: float = 0.5
    seconds: float = 20.0
    others: bool = False
    result: str = "SUCCESS"
    past: tuple[PastExecution, ...] = ()


@dataclass(frozen=True)
class OddResponse:
    """One odd answer: to the GET number ``number``, counted from a moment of run number ``run``."""

    kind: OddKind
    number: int = 0
    since: Literal["run", "posted", "ended"] = "run"
    run: int = 0
    endpoint: Literal["any", "list"] = "any"


@dataclass(frozen=True)
class OurRun:
    """One run of ours: what its execution does, and what happens to the run.

    ``gap``: seconds since the end of the run before, or since the first run began where runs overlap;
    ``faults``: of its first, second … start; ``effect``: when in the flight of a start Celonis acts, 0 to 1;
    ``stamp``: when it sets the ``date`` header;
    ``crashes``: calls (to the table or Celonis) that go well before the function dies, each counted from the
    last; ``stop_after``: seconds until a user cancels the run. ``load``: the result of the load that its job
    starts; ``only_load``: its pipeline loads that model without the job.
    ``by``: what opens the run, an execution of the state machine or a webhook; ``again``: when the sender
    sends the delivery again, in seconds; ``reconciled``: when reconcile finds a run without an execution;
    ``lost_handover``: whether the state machine cannot be reached at the first try.
    """

    gap: float = 0.0
    queue: float = 0.0
    seconds: float = 30.0
    result: str = "SUCCESS"
    faults: tuple[Fault, ...] = ()
    effect: float = 0.5
    stamp: float = 0.5
    crashes: tuple[tuple[int, Moment], ...] = ()
    stop_after: float | None = None
    load: str = "FAIL"
    only_load: bool = False
    by: Literal["execution", "webhook"] = "execution"
    again: tuple[float, ...] = ()
    reconciled: float = 300.0
    lost_handover: bool = False


@dataclass(frozen=True)
class World:
    """Everything about one world. ``up`` and ``down``: the network, in seconds, per direction.

    ``date``: whether answers carry a ``date`` header; ``clock_offset``: Celonis's clock ahead of ours, in its
    dates and in the header; ``header_offset``: the header's clock ahead of that; ``floor``: the shortest wait
    between two polls; ``outside``: the assumptions of the model that this world may leave; ``overlap``:
    whether our runs do not wait for each other; ``inner``: the loads of a job that loads a model.
    """

    seed: int = 0
    target: Targets = "job"
    settle: int = 60
    shows: ResponseFields = ResponseFields()
    ages: Staleness = Staleness()
    up: float = 0.05
    down: float = 0.05
    date: bool = True
    clock_offset: float = 0.0
    header_offset: float = 0.0
    busy: Busy = "refuse"
    busy_status: int = 409
    reply: Reply = "empty"
    past: tuple[PastExecution, ...] = ()
    runs: tuple[OurRun, ...] = (OurRun(),)
    others: tuple[OtherUserAction, ...] = ()
    odd: tuple[OddResponse, ...] = ()
    timeout: int = 3600
    floor: int = 2
    cancel_seconds: float = 2.0
    outside: frozenset[int] = frozenset()
    overlap: bool = False
    inner: InnerLoads = InnerLoads()

    @property
    def is_concurrent(self) -> bool:
        """Whether several of our functions may be at work at the same time."""
        return self.overlap or any(run.by == "webhook" for run in self.runs)

    def id_remains(self, target: Target) -> bool:
        """Whether the record names an execution after its end by an id that it showed before (assumption 4).

        An id of another space than the one shown while it ran does not count, nor one of another space than
        the list, where one is served.
        """
        if target == "load":
            return self.shows.load_id
        if self.shows.latest == "own" and self.shows.listing not in ("404", "403"):
            return False
        latest, current = self.shows.latest, self.shows.current
        return latest == "same" or current == "stays" or (latest == "own" and current == "never")


def differences(value: Any, default: Any) -> list[str]:
    """The fields of a frozen dataclass that differ from a default one, as ``name=value``."""
    found = []
    for field in fields(value):
        mine, other = getattr(value, field.name), getattr(default, field.name)
        if mine != other:
            found.append(f"{field.name}={mine!r}")
    return found
