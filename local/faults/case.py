"""A case: what is broken, and what a run must come to all the same. Data, and a few small functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local.faults.scenario import CaseScenario

Knobs = Mapping[str, Any]
"""Fields of a JSON document, as the simulator's controls or a pipeline's definition take them."""


@dataclass(frozen=True)
class ExpectedOutcome:
    """What is left when nothing of the case is running any more.

    ``runs``: status, and error name where there is one, of every record, oldest first. ``executions``,
    ``loads``: what the simulator really started for us, of all jobs and models of the case.
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
    """One run that ends with ``error``."""
    return ExpectedOutcome((f"{status} {error}",), executions, loads)


def ok(executions: int = 1, loads: int = 0, runs: int = 1) -> ExpectedOutcome:
    """Runs that succeed."""
    return ExpectedOutcome(("SUCCEEDED",) * runs, executions, loads)


def nothing(_: CaseScenario) -> None:
    """For a case that needs no such act."""


def no_more(_: CaseScenario) -> Iterable[str]:
    """For a case with nothing else to check."""
    return ()


def by_hand(scenario: CaseScenario) -> None:
    """Starts an execution of the case's pipeline."""
    scenario.start()


@dataclass(frozen=True)
class FaultCase:
    """One fault.

    ``job``, ``model``: knobs of the data job and the data model that the case has for itself, None for none;
    their last run before ended as ``ran`` says, None for never. ``definition``, ``job_step``, ``load_step``:
    what the pipeline's definition says beyond the usual. ``faults``: of the simulator; those of a call that
    concerns a job or a model strike only this case's. ``settings``: platform settings, which give the case
    a Celonis team of its own, as ``alone`` does.

    ``before``, ``start``, ``during``: what happens, in this order; then everything is awaited, ``patience``
    seconds at most, more for what takes long: that is begun first. ``also``: further complaints. ``says``:
    words of the records. ``holds``: leases that stay held ("job", "model"). ``runs_on``: whether something
    of ours is still running at Celonis afterwards; None where it may be.
    ``assumption``: what the case shows is written down for users: an end of another user's execution.
    ``quiet``: it affects the runs of other cases too, so it runs after them.
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
        """The same case with other fields."""
        return replace(self, **changes)


def job_case(
    name: str, expected: ExpectedOutcome | None = None, *, job: Knobs | None = None, **more: Any
) -> FaultCase:
    """A case of a pipeline with one data job, which takes two seconds."""
    return FaultCase(name, expected or ok(), job={"seconds": 2, **(job or {})}, **more)


def load_case(
    name: str, expected: ExpectedOutcome | None = None, *, model: Knobs | None = None, **more: Any
) -> FaultCase:
    """A case of a pipeline with one complete load, which takes two seconds."""
    return FaultCase(name, expected or ok(0, 1), model={"seconds": 2, **(model or {})}, **more)
