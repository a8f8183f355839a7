"""What a run does: the definition under the options of a run, without what is done already."""

from __future__ import annotations

from typing import Any

import pytest

from celonis_refresh.pipelines.definition import Definition, LoadKind, Mode, read_definition
from celonis_refresh.pipelines.options import RunOptions, make_options
from celonis_refresh.pipelines.plan import Plan, make_plan

JOBS: list[object] = [
    [{"job": "job-a", "mode": "DELTA"}, {"job": "job-b", "timeout": 60}],
    {"job": "job-c"},
    {"job": "job-a"},
]
COMPLETE = {"data_model": "model-a", "timeout": 90, "on_warning": "fail"}
PARTIAL = {"data_model": "model-b", "kind": "partial", "tables": ["VBAK"]}
CACHED = {"data_model": "model-c", "kind": "from_cache"}
BY_A_JOB = {"data_model": "model-d", "started_by": "job"}


def plan(wanted: RunOptions | None = None, skip: tuple[str, ...] = (), **fields: Any) -> Plan:
    document = {"data_pool": "p", **(fields or {"jobs": JOBS, "loads": [COMPLETE, PARTIAL, CACHED]})}
    return make_plan(read_definition("The definition", Definition, document), wanted or RunOptions(), skip)


def test_steps_are_numbered_in_the_order_of_the_definition() -> None:
    made = plan()
    assert [(job.step, job.job, job.stage) for job in made.jobs] == [
        ("job-0", "job-a", 0),
        ("job-1", "job-b", 0),
        ("job-2", "job-c", 1),
        ("job-3", "job-a", 2),
    ]
    assert [(load.step, load.data_model) for load in made.loads] == [
        ("load-0", "model-a"),
        ("load-1", "model-b"),
        ("load-2", "model-c"),
    ]


def test_a_step_is_found_by_its_name() -> None:
    made = plan()
    assert made.job("job-2").job == "job-c"
    assert made.load("load-1").data_model == "model-b"


def test_steps_carry_the_settings_of_their_definition() -> None:
    made = plan()
    assert [(job.mode, job.timeout) for job in made.jobs[:2]] == [(Mode.DELTA, 21600), (Mode.FULL, 60)]
    assert [(load.kind, load.tables) for load in made.loads] == [
        (LoadKind.COMPLETE, ()),
        (LoadKind.PARTIAL, ("VBAK",)),
        (LoadKind.FROM_CACHE, ()),
    ]
    assert (made.loads[0].timeout, made.loads[0].on_warning, made.loads[0].started_by) == (90, "fail", "run")


@pytest.mark.parametrize("mode", list(Mode))
def test_a_mode_that_is_requested_is_every_jobs(mode: Mode) -> None:
    assert {job.mode for job in plan(make_options(mode.value, None, [])).jobs} == {mode}


def test_everything_requested_is_a_complete_load_of_every_model() -> None:
    loads = plan(make_options(None, "all", [])).loads
    assert [(load.kind, load.tables, load.requested, load.names_tables) for load in loads] == [
        (LoadKind.COMPLETE, (), (), False)
    ] * 3


def test_tables_requested_take_the_place_of_what_is_defined() -> None:
    loads = plan(make_options(None, ["VBAP", "LIKP"], [])).loads
    assert [(load.requested, load.only_requested, load.names_tables) for load in loads] == [
        (("LIKP", "VBAP"), True, True)
    ] * 3


def test_additional_tables_are_added_and_requested_of_each_model() -> None:
    loads = plan(make_options(None, ["LIKP"], []).join(RunOptions())).loads
    assert [(load.requested, load.only_requested, load.names_tables) for load in loads] == [
        (("LIKP",), False, True)
    ] * 3


def test_only_a_partial_load_needs_the_names_of_tables_where_nothing_is_requested() -> None:
    assert [load.names_tables for load in plan().loads] == [False, True, False]


UNITED = make_options(None, ["VBAK"], []).join(make_options(None, ["LIKP"], []))


def test_lists_that_were_united_take_the_place_of_what_is_defined_in_the_only_model() -> None:
    assert [load.only_requested for load in plan(UNITED, loads=[PARTIAL]).loads] == [True]
    both = plan(UNITED, jobs=JOBS, loads=[PARTIAL, BY_A_JOB]).loads
    assert [(load.only_requested, load.requested) for load in both] == [(True, ("LIKP", "VBAK")), (False, ())]


def test_lists_that_were_united_come_on_top_where_one_may_have_named_no_table_of_a_model() -> None:
    assert [load.only_requested for load in plan(UNITED).loads] == [False] * 3


@pytest.mark.parametrize(
    "wanted", [RunOptions(), make_options("FULL", "all", []), make_options(None, ["VBAK"], []), UNITED]
)
def test_no_options_reaches_a_load_that_a_job_starts(wanted: RunOptions) -> None:
    (load,) = plan(wanted, jobs=JOBS, loads=[{**BY_A_JOB, "timeout": 30, "on_warning": "fail"}]).loads
    assert (load.kind, load.tables, load.requested, load.only_requested) == (LoadKind.COMPLETE, (), (), False)
    assert (load.timeout, load.on_warning, load.started_by) == (30, "fail", "job")


def test_what_is_done_is_left_out_and_stages_close_up() -> None:
    made = plan(skip=("job-a", "job-b", "model-b"))
    assert [(job.step, job.job, job.stage) for job in made.jobs] == [("job-0", "job-c", 0)]
    assert [(load.step, load.data_model) for load in made.loads] == [
        ("load-0", "model-a"),
        ("load-1", "model-c"),
    ]


def test_the_rest_of_a_group_still_runs_in_parallel() -> None:
    group = [{"job": "a"}, {"job": "b"}, {"job": "c"}]
    made = plan(skip=("b",), jobs=[{"job": "first"}, group, {"job": "last"}])
    assert [(job.job, job.stage) for job in made.jobs] == [("first", 0), ("a", 1), ("c", 1), ("last", 2)]


def test_a_uuid_is_left_out_however_it_is_written() -> None:
    one, other = "a1b2c3d4-0001-4e5f-8a9b-0c1d2e3f4a5b", "A1B2C3D4-0002-4E5F-8A9B-0C1D2E3F4A5B"
    made = plan(
        skip=(one.upper(), other), jobs=[{"job": one}, {"job": "b"}], loads=[{"data_model": other.lower()}]
    )
    assert [job.job for job in made.jobs] == ["b"]
    assert made.loads == ()


def test_everything_may_be_left_out() -> None:
    made = plan(skip=("job-a", "job-b", "job-c", "model-a", "model-b", "model-c"))
    assert (made.jobs, made.loads) == ((), ())


def test_jobs_run_again_while_a_load_that_one_of_them_starts_is_left() -> None:
    fields: dict[str, Any] = {"jobs": JOBS, "loads": [COMPLETE, BY_A_JOB]}
    every_job = ("job-a", "job-b", "job-c")
    assert len(plan(skip=every_job, **fields).jobs) == 4
    assert plan(skip=(*every_job, "model-d"), **fields).jobs == ()


@pytest.mark.parametrize(("skip", "lacks"), [((), False), (("job-a",), False), (("model-a",), True)])
def test_a_plan_records_whether_it_lacks_loads(skip: tuple[str, ...], lacks: bool) -> None:
    assert plan(skip=skip).lacks_loads is lacks
