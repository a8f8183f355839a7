"""Every status that a job or a load can end with, known or not."""

from __future__ import annotations

from collections.abc import Iterator

from local.faults.case import ExpectedOutcome, FaultCase, job_case, load_case, ok, red
from local.faults.scenario import CaseScenario

NO_SUCCESS = {"timeout": 10}
REASONS = ["Column VBELN is missing.", "Table VBAP is locked."]
MESSAGE = "2 rows were skipped."


def cases() -> Iterator[FaultCase]:
    yield from _jobs()
    yield from _loads()


def _jobs() -> Iterator[FaultCase]:
    yield job_case("job: SUCCESS")
    for order in ("newest_first", "oldest_first"):
        yield job_case(
            f"job: FAIL, its log {order}",
            red("JobFailed"),
            job={"outcome": "FAIL", "error_messages": REASONS, "log_order": order},
            says=("Clean up and join: Column VBELN is missing.", "Table VBAP is locked."),
        )
    yield job_case(
        "job: CANCEL", red("JobCanceled"), job={"outcome": "CANCEL"}, says=("was cancelled in Celonis",)
    )
    yield job_case(
        "job: SKIPPED", red("JobSkipped"), job={"outcome": "SKIPPED"}, says=("was skipped by Celonis",)
    )
    automatic = "EXECUTION_AUTOMATICALLY_CANCELLED_AFTER_X_MINUTES:1440"
    for outcome, code, error, words in (
        ("CANCEL", automatic, "JobCanceled", "cancels it automatically after 1440 minutes"),
        ("CANCEL", "DATA_CONSUMPTION_LIMIT_EXCEEDED", "JobCanceled", "data consumption limit"),
        ("SKIPPED", "NO_RUNNABLE_EXTRACTIONS_OR_TRANSFORMATIONS", "JobSkipped", "nothing to extract"),
        (
            "SKIPPED",
            "EARLIER_JOB_IN_SCHEDULE_FAILED_OR_CANCELLED",
            "JobSkipped",
            "an earlier job of its schedule",
        ),
    ):
        knobs = {"outcome": outcome, "message_codes": [code]}
        name = code.partition(":")[0].replace("_", " ").lower()
        yield job_case(f"job: {outcome}, its log says {name}", red(error), job=knobs, says=(words,))
    # When SKIPPED appears is not known: at once, or as what was there before.
    yield job_case("job: SKIPPED at once", red("JobSkipped"), job={"outcome": "SKIPPED", "seconds": 0})
    yield job_case("job: SUCCESS after SKIPPED", ran="SKIPPED")
    yield job_case("job: SKIPPED after SKIPPED", red("JobSkipped"), job={"outcome": "SKIPPED"}, ran="SKIPPED")
    yield job_case("job: QUEUED for 4 s", job={"queue_seconds": 4})
    yield job_case("job: an unknown status while it runs", job={"running_status": "PREPARING", "seconds": 3})
    yield job_case(
        "job: an unknown status at the end",
        red("JobTimedOut"),
        job={"outcome": "PAUSED"},
        job_step=NO_SUCCESS,
        says=("PAUSED",),
        holds=frozenset({"job"}),
    )


def _loads() -> Iterator[FaultCase]:
    def load(error: str) -> ExpectedOutcome:
        return red(error, executions=0, loads=1)

    yield load_case("load: SUCCESS")
    yield load_case(
        "load: ERROR",
        load("LoadFailed"),
        model={"outcome": "ERROR", "message": "Out of memory."},
        says=("Out of memory",),
    )
    warned = {"outcome": "WARNING", "message": MESSAGE}
    yield load_case("load: WARNING, taken for a success", model=warned, also=_warned)
    yield load_case(
        "load: WARNING, taken for a failure",
        load("LoadWarned"),
        model=warned,
        load_step={"on_warning": "fail"},
        says=(MESSAGE.rstrip("."),),
    )
    yield load_case(
        "load: CANCELED", load("LoadCanceled"), model={"outcome": "CANCELED"}, says=("was cancelled",)
    )
    for status in ("CANCELLING", "LOST_CONNECTION", "INITIALISING"):
        yield load_case(f"load: {status} while it runs", model={"running_status": status, "seconds": 3})
    for status in ("LOST_CONNECTION", "CANCELLING", "PARTLY_DONE"):
        yield load_case(
            f"load: {status} and no end",
            load("LoadTimedOut"),
            model={"outcome": status},
            load_step=NO_SUCCESS,
            says=(status,),
            holds=frozenset({"model"}),
        )
    for kind, more in (("from_cache", {}), ("partial", {"tables": ["VBAK"]})):
        yield load_case(f"load: {kind}", load_step={"kind": kind, **more}, also=_kind)
    yield FaultCase("a job, then a load", ok(1, 1), job={"seconds": 1}, model={"seconds": 1}, also=_in_order)
    yield FaultCase("a job that fails, and no load", red("JobFailed"), job={"outcome": "FAIL"}, model={})


def _warned(scenario: CaseScenario) -> Iterator[str]:
    (run,) = scenario.runs()
    if f"ended with a warning: {MESSAGE}" not in run["outcome"]:
        yield f"the outcome does not have the warning: {run['outcome']}"


def _kind(scenario: CaseScenario) -> Iterator[str]:
    expected = str(scenario.case.load_step["kind"]).upper()
    if any(one["type"] != expected for one in scenario.ours()):
        yield f"a load was started that is not {expected}"


def _in_order(scenario: CaseScenario) -> Iterator[str]:
    job, load = scenario.ours()
    if "job_id" not in job or load["started_at"] < job["ended_at"]:
        yield "the load did not begin after the end of the job"
