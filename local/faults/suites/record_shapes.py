"""Undocumented properties of the records: null fields, ids of other kinds, no list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from local.faults.case import ExpectedOutcome, FaultCase, job_case, load_case, red

NO_LIST = {"call": "executions", "status": 404, "count": None}
"""The list of executions is not documented and may be missing."""
NULL_IDS = {"null_fields": ["currentExecutionId", "latestExecutionItemId"]}
TIMEOUT = {"timeout": 10}
SEEN = 20
"""Seconds in which at least one poll sees it running, also on a slow machine."""
NO_ID_NO_DATES = ["dataLoadId", "startDate", "endDate"]


def cases() -> Iterator[FaultCase]:
    yield from _ids_of_jobs()
    yield from _status_of_jobs()
    yield from _answers_to_starts()
    yield from _loads()
    yield from _first_times()


def both(
    name: str,
    job: Mapping[str, Any],
    listed: ExpectedOutcome | None = None,
    bare: ExpectedOutcome | None = None,
) -> Iterator[FaultCase]:
    """Yield the case with the list of executions, and without it."""
    yield job_case(f"job: {name}", listed, job=job)
    yield job_case(f"job: {name}, no list", bare, job=job, faults=(NO_LIST,))


def _ids_of_jobs() -> Iterator[FaultCase]:
    yield job_case("job: no list of executions", faults=(NO_LIST,))
    yield from both("ids null", {**NULL_IDS, "seconds": SEEN})
    yield from both("execution items have ids of their own", {"item_ids": "own"})
    yield from both("latest id moves at the end", {"latest_item_moves": "end"})
    yield from both("latest id moves at the end, own ids", {"latest_item_moves": "end", "item_ids": "own"})
    yield from both("current id stays after the end", {"current_id_after_end": True})
    yield job_case(
        "job: ids null, no list, too short to be seen",
        red("OutcomeUnproven"),
        job={**NULL_IDS, "seconds": 0},
        faults=(NO_LIST,),
        says=("proves that our start took effect",),
        holds=frozenset({"job"}),
    )


def _status_of_jobs() -> Iterator[FaultCase]:
    yield job_case("job: status null, but in the list", job={"null_fields": ["job.status"]})
    yield job_case(
        "job: status null, no list",
        red("JobTimedOut"),
        job={"null_fields": ["status"]},
        job_step=TIMEOUT,
        faults=(NO_LIST,),
        holds=frozenset({"job"}),
    )
    bare = ["job.status", *NULL_IDS["null_fields"]]
    yield job_case("job: status and ids null, but in the list", job={"null_fields": bare})
    yield job_case("job: status null in the list", job={"null_fields": ["execution.status"]})
    yield job_case("job: status left out, but in the list", job={"omit_fields": ["job.status"]})


def _answers_to_starts() -> Iterator[FaultCase]:
    for answer in ("execution_id", "no_id", "job"):
        yield job_case(f"job: execute answers with {answer}", job={"execute_answer": answer})
    yield job_case(
        "job: execute answers with execution_id, ids null, no list",
        job={**NULL_IDS, "execute_answer": "execution_id", "seconds": SEEN},
        faults=(NO_LIST,),
    )
    yield job_case("job: execute answers 202", job={"execute_status": 202})
    for answer in ("load_id", "no_id", "record"):
        yield load_case(f"load: the start answers with {answer}", model={"load_answer": answer})
    yield load_case("load: the start answers 202", model={"load_status": 202})


def _loads() -> Iterator[FaultCase]:
    yield load_case("load: id null", model={"null_fields": ["dataLoadId"]})
    yield load_case("load: id and dates null", model={"null_fields": NO_ID_NO_DATES, "seconds": SEEN})
    yield load_case("load: dates null", model={"null_fields": ["startDate", "endDate"], "seconds": SEEN})
    yield load_case(
        "load: id and dates null, too short to be seen",
        red("OutcomeUnproven", executions=0, loads=1),
        model={"null_fields": NO_ID_NO_DATES, "seconds": 0},
        holds=frozenset({"model"}),
    )
    yield load_case(
        "load: status null",
        red("LoadTimedOut", executions=0, loads=1),
        model={"null_fields": ["loadStatus"]},
        load_step=TIMEOUT,
        holds=frozenset({"model"}),
    )
    yield load_case("load: shown at its end only", model={"last_load_shows": "end"})
    yield load_case("load: dates in ISO 8601", settings={"dates": "iso"})
    yield load_case(
        "load: dates in ISO 8601, id null", model={"null_fields": ["dataLoadId"]}, settings={"dates": "iso"}
    )
    yield FaultCase(
        "no undocumented call is served",
        ExpectedOutcome(executions=1, loads=1),
        job={"seconds": 2},
        model={"seconds": 2},
        settings={"not_served": ["undocumented"]},
    )


def _first_times() -> Iterator[FaultCase]:
    yield job_case("job: never ran", ran=None)
    yield job_case("job: never ran, no list", ran=None, faults=(NO_LIST,))
    yield job_case("job: never ran, ids null", job=NULL_IDS, ran=None)
    for answer in ("not_found", "empty", "null", "no_content"):
        yield load_case(f"load: never loaded, shown as {answer}", model={"never_loaded": answer}, ran=None)
    yield load_case("load: never loaded, id null", model={"null_fields": ["dataLoadId"]}, ran=None)
