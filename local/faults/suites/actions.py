"""Actions of cases that several suites use."""

from __future__ import annotations

from local.faults.evidence import NotFoundInEvidence
from local.faults.scenario import CaseScenario

ROUND_SECONDS = 4.0
"""Between two rounds of reconcile."""
MAX_SEND_WAIT = 120.0


def by_webhook(scenario: CaseScenario) -> None:
    """Send a delivery that is accepted."""
    scenario.listen()
    answer = scenario.deliver()
    if answer["status"] != 202:
        raise NotFoundInEvidence(f"the delivery was answered with {answer['status']}: {answer['body']}")


def stop_while_running(scenario: CaseScenario) -> None:
    """Stop the run once its job or load is running at Celonis and a poll has seen it."""
    scenario.until_started()
    scenario.until_in("WaitJob" if scenario.jobs else "WaitLoad")
    shorten(scenario)
    scenario.stop()


def shorten(scenario: CaseScenario) -> None:
    """Let everything that starts on the job or model from now on take two seconds."""
    scenario.team.control("PUT", _path(scenario), seconds=2)


def finish(scenario: CaseScenario) -> None:
    """End what is running at Celonis on the job or model, with success."""
    scenario.team.control("POST", f"{_path(scenario)}/finish", outcome="SUCCESS")


def _path(scenario: CaseScenario) -> str:
    """Return the path in the simulator's controls of the job, or of the model if the case has no job."""
    return f"/jobs/{scenario.job}" if scenario.jobs else f"/models/{scenario.model}"


def another_user(scenario: CaseScenario, **fields: object) -> None:
    """Start the job as another user, or the model if the case has no job."""
    path = f"{_path(scenario)}/{'start' if scenario.jobs else 'load'}"
    scenario.team.control("POST", path, **{"by": "schedule", **fields})


def join(scenario: CaseScenario) -> None:
    """Send a second trigger, which joins the follow-up run.

    On a slow machine, the execution that starts second may claim first: wait until the first has its run.
    """
    scenario.until(lambda: scenario.runs(), "the run's record")
    second = scenario.start()
    scenario.until(lambda: scenario.execution(second).status != "RUNNING", "the second trigger joined")


def send_messages(scenario: CaseScenario) -> None:
    """Wait for the end of the run, and let reconcile send what is left.

    A function that dies while it sends keeps its claim of the message for a minute.
    """
    scenario.until(lambda: [run["status"] for run in scenario.runs()] == ["FAILED"], "the end of the run")

    def is_sent() -> bool:
        if not _unsent(scenario):
            return True
        scenario.environment.reconcile()
        return not _unsent(scenario)

    scenario.until(is_sent, "the notifications", MAX_SEND_WAIT, pause=ROUND_SECONDS)


def _unsent(scenario: CaseScenario) -> list[str]:
    ids = [name for run in scenario.runs() for name in run.get("messages", ())]
    return [name for name in ids if scenario.environment.item(f"outbox#{name}") is not None]
