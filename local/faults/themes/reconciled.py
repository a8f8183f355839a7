"""What nobody comes back to: no delivery is sent again, no event arrives. Reconcile finishes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from local.aws.runtime.armory import Fault
from local.faults.case import Case, Expected, job_case, load_case
from local.faults.scene import Scene
from local.faults.themes.acts import join, shorten, stop_while_running

ROUND_SECONDS = 4.0
PATIENCE = 180.0
STOPPED = Expected(("ABORTED Aborted",), 0, 1)


def cases() -> Iterator[Case]:
    for number, case in enumerate(
        (_never_sent_again(), _end_unheard(), _next_unheard(), _claimed_late(), _left())
    ):
        yield case.but(quiet=True, patience=PATIENCE + number)


def _rounds(scene: Scene, done: Callable[[], bool], what: str) -> None:
    """Reconcile comes round until something is so. It leaves alone what is younger than 20 s."""

    def round_over() -> bool:
        if done():
            return True
        scene.ground.stack.invoke("Reconcile", b"{}")
        return False

    scene.until(round_over, what, PATIENCE, pause=ROUND_SECONDS)


def _statuses(scene: Scene) -> list[str]:
    return [str(run["status"]) for run in scene.runs()]


def _never_sent_again() -> Case:
    def start(scene: Scene) -> None:
        scene.listen()
        scene.arm("Trigger", Fault("after", 1, "TransactWriteItems"))
        scene.deliver()
        _rounds(scene, lambda: "OPENING" not in (_statuses(scene) or ["OPENING"]), "the start of the run")

    return job_case("reconciled: trigger dies after the claim, and nobody sends again", start=start)


def _end_unheard() -> Case:
    def before(scene: Scene) -> None:
        for _ in range(3):
            scene.arm("CloseRun", Fault("before", 1, "DescribeExecution"))

    def during(scene: Scene) -> None:
        scene.until(lambda: _statuses(scene) == ["RUNNING"], "the run")
        _rounds(scene, lambda: _statuses(scene) == ["SUCCEEDED"], "the end of the run")

    return job_case("reconciled: close_run dies three times", before=before, during=during)


def _next_unheard() -> Case:
    def during(scene: Scene) -> None:
        for _ in range(3):
            scene.arm("CloseRun", Fault("before", 1, "StartExecution", event=f'"name": ?"{scene.marker}-1"'))
        scene.until(lambda: scene.runs(), "the run")
        join(scene)
        stop_while_running(scene)
        _rounds(scene, lambda: _statuses(scene) == ["ABORTED", "SUCCEEDED"], "the end of what waited")

    return job_case(
        "reconciled: close_run dies three times before it starts what waited",
        Expected(("ABORTED Aborted", "SUCCEEDED"), 2, 0),
        job={"seconds": 60},
        during=during,
    )


def _claimed_late() -> Case:
    """A function goes on when its execution is stopped, as it does in AWS."""

    def during(scene: Scene) -> None:
        scene.until_in("OpenRun")
        scene.stop()
        _rounds(scene, lambda: _statuses(scene) == ["ABORTED"], "the end of the run")

    return job_case(
        "reconciled: stopped before open_run claims the run",
        Expected(("ABORTED Aborted",), 0, 0),
        before=lambda scene: scene.arm("OpenRun", Fault("before", 1, "TransactWriteItems", hangs=6)),
        during=during,
    )


def _left() -> Case:
    def during(scene: Scene) -> None:
        stop_while_running(scene)
        shorten(scene)
        key = f"lease#model#{scene.model}"
        scene.until(lambda: _statuses(scene) == ["ABORTED"], "the end of the run")
        if not scene.ground.item(key):
            scene.complaints.append("the lease was freed while the load was under way")
        _rounds(scene, lambda: scene.ground.item(key) is None, "the lease")

    name = "reconciled: the lease of a load that was left to end"
    return load_case(name, STOPPED, model={"seconds": 30}, during=during)
