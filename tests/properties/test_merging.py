"""Merged options cover all of them, in any order and with any repetition."""

from __future__ import annotations

import json
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from celonis_refresh.pipelines.definition import MAX_TABLE_BYTES, MAX_TABLES, Mode
from celonis_refresh.pipelines.options import MAX_REASONS, Reason, RunOptions, make_options
from celonis_refresh.pipelines.plan import make_plan
from celonis_refresh.runs.records import Run, new_record
from celonis_refresh.runs.table import from_item, to_item
from tests.properties.hypothesis_settings import examples
from tests.properties.run_options import (
    MODELS,
    PipelineTables,
    big_options,
    covers,
    joined,
    pipelines,
    reasons,
    run_options,
    single_options,
)

any_options = run_options | big_options


@examples(50)
@given(any_options, any_options)
def test_joining_is_commutative(one: RunOptions, other: RunOptions) -> None:
    assert one.join(other) == other.join(one)


@examples(80)
@given(any_options, any_options, any_options)
def test_joining_is_associative(one: RunOptions, other: RunOptions, third: RunOptions) -> None:
    assert one.join(other).join(third) == one.join(other.join(third))


@examples(50)
@given(any_options, any_options)
def test_joining_is_idempotent(one: RunOptions, other: RunOptions) -> None:
    assert one.join(one) == one
    assert one.join(other).join(other) == one.join(other)


@examples(60)
@given(st.lists(single_options, min_size=1, max_size=4), st.data())
def test_neither_order_nor_repetition_matters(several: list[RunOptions], data: st.DataObject) -> None:
    order = data.draw(st.sampled_from(list(permutations(several))))
    repeated = data.draw(st.lists(st.sampled_from(several), max_size=3))
    assert joined([*order, *repeated]) == joined(several)


@examples(60)
@given(pipelines(), run_options, run_options)
def test_the_merged_options_extract_what_each_extracts(
    pipeline: PipelineTables, one: RunOptions, other: RunOptions
) -> None:
    whole = make_plan(pipeline.definition, one.join(other)).jobs
    for part in (make_plan(pipeline.definition, each).jobs for each in (one, other)):
        assert [replace(job, mode=Mode.FULL) for job in part] == [
            replace(job, mode=Mode.FULL) for job in whole
        ]
        ranks = [[list(Mode).index(job.mode) for job in jobs] for jobs in (whole, part)]
        assert all(greater >= lesser for greater, lesser in zip(*ranks, strict=True))


def _reason(number: int) -> Reason:
    return Reason("2026-01-01T00:00:00.000Z", f"trigger-{number}", "erp", "")


@examples(250)
@given(pipelines(), st.lists(single_options, min_size=2, max_size=3))
def test_the_merged_options_load_what_each_loads(pipeline: PipelineTables, several: list[RunOptions]) -> None:
    """Those that alone would fail, for an unknown table, do not fail the others."""
    several = [replace(each, reasons=(_reason(number),)) for number, each in enumerate(several)]
    whole = pipeline.loads(joined(several))
    parts = [found for each in several if (found := pipeline.loads(each)) is not None]
    assert whole is not None or not parts, "options are possible alone, and not any more with others"
    for part in parts:
        assert whole is not None
        assert whole.keys() == part.keys()
        assert all(covers(whole[model], part[model]) for model in part)


@examples(100)
@given(pipelines(), run_options, st.sampled_from(MODELS))
def test_a_run_that_leaves_out_a_model_loads_the_others_as_before(
    pipeline: PipelineTables, wanted: RunOptions, model: str
) -> None:
    whole = pipeline.loads(wanted)
    if whole is not None:
        whole.pop(model)
        assert pipeline.loads(wanted, (model,)) == whole


@examples(60)
@given(st.lists(big_options, min_size=1, max_size=4))
def test_too_many_tables_become_a_complete_load(several: list[RunOptions]) -> None:
    whole = joined(several)
    tables = frozenset[str]().union(*(each.tables for each in several))
    is_too_large = sum(len(name.encode()) for name in tables) > MAX_TABLE_BYTES
    is_complete = any(each.complete for each in several) or len(tables) > MAX_TABLES or is_too_large
    assert whole.complete is is_complete
    assert whole.tables == (frozenset() if is_complete else tables)


@examples(60)
@given(st.lists(reasons, min_size=1, max_size=60))
def test_the_earliest_reasons_are_kept(many: list[Reason]) -> None:
    whole = joined([make_options(None, None, [reason]) for reason in many])
    assert whole.reasons == tuple(sorted(set(many))[:MAX_REASONS])


@examples(60)
@given(any_options)
def test_a_options_comes_back_from_json_as_it_was(wanted: RunOptions) -> None:
    assert RunOptions.from_json(json.loads(json.dumps(wanted.to_json()))) == wanted
    assert RunOptions.from_json(from_item(to_item(wanted.to_json()))) == wanted


@examples(40)
@given(pipelines(), run_options)
def test_the_record_of_a_run_holds_its_plan(pipeline: PipelineTables, wanted: RunOptions) -> None:
    definition = pipeline.definition
    record = new_record("otc-1", "otc", wanted, "2026-01-01T00:00:00.000Z", definition)
    run = Run(from_item(to_item(record)))
    assert (run.definition, run.options) == (definition, wanted)
    assert run.plan == make_plan(definition, wanted)
