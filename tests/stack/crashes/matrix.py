"""What the tests of crashes share: calls at which a function dies, and the laws that hold afterwards."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple, TypeVar

from local.aws.runtime.armory import Fault
from local.celonis import world
from tests.stack.ground import Ground
from tests.stack.passages.celonis import Json
from tests.stack.passages.service import Service, until

AT_ONCE = 6
"""Cases that play at the same time: a new process takes most of a core to start."""
Moment = Literal["before", "sent", "after"]
T = TypeVar("T")


class Call(NamedTuple):
    """An outgoing call of a function: its name, a pattern of it, and the how manieth that fits."""

    name: str
    pattern: str
    number: int = 1

    def fault(self, moment: Moment, event: str = "") -> Fault:
        return Fault(moment, self.number, self.pattern, event)


class Death(NamedTuple):
    """A function dies at a call."""

    call: Call
    moment: Moment

    def __str__(self) -> str:
        return f"{self.moment} {self.call.name}"


def deaths(*calls: Call) -> list[Death]:
    """Before and after each call."""
    return [Death(call, moment) for call in calls for moment in ("before", "after")]


def together(play: Any, cases: list[T]) -> dict[T, Any]:
    """What came of each case; they play at the same time."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(cases, pool.map(play, cases), strict=True))


def ground_of_its_own(ground: Ground, **definition: Any) -> str:
    """The name of a new pipeline whose connection no process has used before."""
    connection = ground.service.connection(
        {"type": "oauth_client", "client_id": world.CLIENT_ID, "client_secret": world.CLIENT_SECRET}
    )
    return ground.service.pipeline(connection=connection, **definition)


def died(service: Service, function: str, death: Death, marker: str) -> bool:
    """Whether a process of the function met the fault for this event."""
    lines = [line.text for line in service.stack.logs(function)]
    return any(text.startswith(f"fault: ended {death.moment} ") and f'"{marker}"' in text for text in lines)


def runs_of(service: Service, pipeline: str) -> list[Json]:
    """The records of a pipeline, oldest first, in DynamoDB's own notation."""
    found = [item for item in service.items() if item["pk"]["S"].startswith("run#")]
    return sorted(
        (item for item in found if item["pipeline"]["S"] == pipeline), key=lambda item: item["position"]["S"]
    )


def await_end(service: Service, pipelines: list[str]) -> None:
    """Waits until no run of these pipelines is open any more."""

    def over() -> bool:
        items = service.items()
        statuses = {
            item["status"]["S"]
            for item in items
            if item["pk"]["S"].startswith("run#") and item["pipeline"]["S"] in pipelines
        }
        return not statuses & {"OPENING", "RUNNING"}

    until(over, "the end of all runs", seconds=90)


def left_over(service: Service, pipeline: str, *jobs: str) -> list[str]:
    """What is still held or waits, of a pipeline and its jobs."""
    slot = service.item(f"slot#{pipeline}")
    held = [f"slot {name}" for name in ("run_id", "pending") if name in slot]
    held += [f"lease of {job}" for job in jobs if service.item(f"lease#job#{job}")]
    return held


def grow_old(service: Service) -> None:
    """Makes everything that reconcile looks at as old as what nobody is at work on any more."""
    for item in service.items():
        if item["pk"]["S"].startswith(("run#", "lease#", "notice#")) and "position" in item:
            service.age(item["pk"]["S"])


def reconcile(service: Service) -> None:
    """One round over everything, however young."""
    grow_old(service)
    outcome = service.stack.invoke("Reconcile", b"{}")
    assert not outcome.failed, outcome.payload
