"""A fault case: what is broken, and the expected outcome of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local.faults.scenario import CaseScenario

Knobs = Mapping[str, Any]
"""Fields of a JSON document for the simulator's controls or a pipeline's definition."""


@dataclass(frozen=True)
class ExpectedOutcome:
    """The state after everything of the case has ended.

    ``runs``: status and error name, if any, of every record, oldest first. ``executions``, ``loads``: what
    the simulator really started for us on the jobs and models of the case.
    """

    runs: tuple[str, ...] = ("SUCCEEDED",)
    executions: int = 1
    loads: int = 1

    def text(self) -> str:
        """``SUCCEEDED, FAILED JobFailed; 2 executions, 1 load``."""
        return f"{', '.join(self.runs)}; {_count(self.executions, 'execution')}, {_count(self.loads, 'load')}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def red(error: str, *, executions: int = 1, loads: int = 0, status: str = "FAILED") -> ExpectedOutcome:
    """Expect one run that ends with ``error``."""
    return ExpectedOutcome((f"{status} {error}",), executions, loads)


def ok(executions: int = 1, loads: int = 0, runs: int = 1) -> ExpectedOutcome:
    """Expect runs that succeed."""
    return ExpectedOutcome(("SUCCEEDED",) * runs, executions, loads)


def nothing(_: CaseScenario) -> None:
    """Do nothing, for a case without this action."""


def no_more(_: CaseScenario) -> Iterable[str]:
    """Yield nothing, for a case without further checks."""
    return ()


def by_hand(scenario: CaseScenario) -> None:
    """Start an execution of the case's pipeline."""
    scenario.start()


@dataclass(frozen=True)
class FaultCase:
    """One fault.

    ``job``, ``model``: settings of the case's own data job and data model, None for none. ``ran``: the status
    of their previous run, None for never. ``definition``, ``job_step``, ``load_step``: further fields of the
    pipeline's definition. ``faults``: faults of the simulator; a fault of a call about a job or a model
    affects only those of this case. ``settings``: platform settings. A case with settings, or with ``alone``,
    has its own Celonis team.

    ``before``, ``start``, ``during``: actions, in this order. Then the end of everything is awaited for at
    most ``max_wait`` seconds; cases with a long wait start first. ``also``: further violations. ``says``:
    texts that records must contain. ``holds``: leases that stay held ("job", "model"). ``runs_on``: whether
    an execution or load of ours is still running at Celonis afterwards; None if it may be. ``assumption``:
    the case shows a documented limit, in which the end of another user's execution counts as ours. ``quiet``:
    the case affects runs of other cases, so it runs after them.
    """

    name: str
    expected: ExpectedOutcome
    job: Knobs | None = None
    model: Knobs | None = None
    ran: str | None = "SUCCESS"
    definition: Knobs = field(default_factory=dict)
    job_step: Knobs = field(default_factory=dict)
    load_step: Knobs = field(default_factory=dict)
    faults: tuple[Knobs, ...] = ()
    settings: Knobs | None = None
    alone: bool = False
    before: Callable[[CaseScenario], None] = nothing
    start: Callable[[CaseScenario], None] = by_hand
    during: Callable[[CaseScenario], None] = nothing
    also: Callable[[CaseScenario], Iterable[str]] = no_more
    says: tuple[str, ...] = ()
    holds: frozenset[str] = frozenset()
    runs_on: bool | None = False
    overlaps: bool = False
    assumption: bool = False
    quiet: bool = False
    max_wait: float = 200.0

    def but(self, **changes: Any) -> FaultCase:
        """Return the same case with other fields."""
        return replace(self, **changes)


def job_case(
    name: str, expected: ExpectedOutcome | None = None, *, job: Knobs | None = None, **more: Any
) -> FaultCase:
    """Return a case with one data job, which takes two seconds."""
    return FaultCase(name, expected or ok(), job={"seconds": 2, **(job or {})}, **more)


def load_case(
    name: str, expected: ExpectedOutcome | None = None, *, model: Knobs | None = None, **more: Any
) -> FaultCase:
    """Return a case with one complete load, which takes four seconds: a poll sees it running."""
    return FaultCase(name, expected or ok(0, 1), model={"seconds": 4, **(model or {})}, **more)
