"""What happens in a case, where more than one theme needs it."""

from __future__ import annotations

from local.faults.scene import Scene
from local.faults.seen import NotSeen


def by_webhook(scene: Scene) -> None:
    """A delivery that is accepted."""
    scene.listen()
    answer = scene.deliver()
    if answer["status"] != 202:
        raise NotSeen(f"the delivery was answered with {answer['status']}: {answer['body']}")


def stop_while_running(scene: Scene) -> None:
    """Stopped when the job or load of the run is under way at Celonis, and the run knows."""
    scene.until_started()
    scene.until_in("WaitJob" if scene.jobs else "WaitLoad")
    shorten(scene)
    scene.stop()


def shorten(scene: Scene) -> None:
    """What starts on the job, or the model, from now on takes two seconds."""
    path = f"/jobs/{scene.job}" if scene.jobs else f"/models/{scene.model}"
    scene.team.control("PUT", path, seconds=2)


def somebody(scene: Scene, **fields: object) -> None:
    """Somebody else starts the job, or the model where the case has no job."""
    path = f"/jobs/{scene.job}/start" if scene.jobs else f"/models/{scene.model}/load"
    scene.team.control("POST", path, **{"by": "schedule", **fields})


def join(scene: Scene) -> None:
    """A second trigger joins the run that follows."""
    second = scene.start()
    scene.until(lambda: scene.execution(second).status != "RUNNING", "the second trigger joined")
