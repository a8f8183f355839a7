"""What happens in a case, where more than one suite needs it."""

from __future__ import annotations

from local.faults.evidence import NotFoundInEvidence
from local.faults.scenario import CaseScenario


def by_webhook(scenario: CaseScenario) -> None:
    """A delivery that is accepted."""
    scenario.listen()
    answer = scenario.deliver()
    if answer["status"] != 202:
        raise NotFoundInEvidence(f"the delivery was answered with {answer['status']}: {answer['body']}")


def stop_while_running(scenario: CaseScenario) -> None:
    """Stops the run once its job or load is running at Celonis and the run has seen it."""
    scenario.until_started()
    scenario.until_in("WaitJob" if scenario.jobs else "WaitLoad")
    shorten(scenario)
    scenario.stop()


def shorten(scenario: CaseScenario) -> None:
    """What starts on the job, or the model, from now on takes two seconds."""
    path = f"/jobs/{scenario.job}" if scenario.jobs else f"/models/{scenario.model}"
    scenario.team.control("PUT", path, seconds=2)


def another_user(scenario: CaseScenario, **fields: object) -> None:
    """Another user starts the job, or the model if the case has no job."""
    path = f"/jobs/{scenario.job}/start" if scenario.jobs else f"/models/{scenario.model}/load"
    scenario.team.control("POST", path, **{"by": "schedule", **fields})


def join(scenario: CaseScenario) -> None:
    """A second trigger joins the run that follows."""
    second = scenario.start()
    scenario.until(lambda: scenario.execution(second).status != "RUNNING", "the second trigger joined")
