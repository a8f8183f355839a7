"""Random pipelines, run options and model tables; and when one load covers another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from celonis_refresh.celonis.records import ModelTable
from celonis_refresh.pipelines.definition import Definition, LoadKind, read_definition
from celonis_refresh.pipelines.options import Reason, RunOptions, make_options
from celonis_refresh.pipelines.plan import Plan, ResolvedLoad, UnknownTable, make_plan, resolve

NAMES = ("a", "b", "c")
MODELS, JOBS = ("model-1", "model-2"), ("job-1", "job-2")

name_sets = st.integers(0, 2 ** len(NAMES) - 1).map(
    lambda bits: tuple(name for place, name in enumerate(NAMES) if bits >> place & 1)
)
modes = st.sampled_from([None, "FULL", "DELTA"])
reasons = st.builds(
    Reason,
    at=st.sampled_from(["2026-01-01T00:00:00.000Z", "2026-01-01T00:00:01.000Z"]),
    trigger=st.integers(0, 50).map("trigger-{}".format),
    by=st.sampled_from(["erp", "api"]),
    text=st.just(""),
)
table_lists = name_sets.filter(bool) | st.sampled_from([None, None, "all"])
single_options: st.SearchStrategy[RunOptions] = st.builds(
    lambda mode, tables, reason: make_options(mode, tables, [reason]), modes, table_lists, reasons
)
spans = st.tuples(st.integers(0, 150), st.integers(1, 220))
big_options = st.builds(
    lambda span, length, reason: make_options(None, named(span, length), [reason]),
    spans,
    st.sampled_from([0, 256]),
    reasons,
)


def named(span: tuple[int, int], length: int = 0) -> list[str]:
    """So many tables from a number on, with names of two-byte characters up to a length."""
    return [f"t{number}".ljust(length, "ü") for number in range(span[0], sum(span))]


def joined(run_options: list[RunOptions]) -> RunOptions:
    first, *others = run_options
    for other in others:
        first = first.join(other)
    return first


run_options = st.lists(single_options, min_size=1, max_size=3).map(joined)


@dataclass(frozen=True)
class PipelineTables:
    """A definition, and the tables that its models have."""

    definition: Definition
    tables: dict[str, list[ModelTable]]

    def loads(self, wanted: RunOptions, skip: tuple[str, ...] = ()) -> dict[str, ResolvedLoad] | None:
        """What is loaded of each model; None if a requested table is in no model."""
        plan = make_plan(self.definition, wanted, skip)
        try:
            loads = resolve(plan, self._asked_for(plan)).loads
        except UnknownTable:
            return None
        return {plan.load(step).data_model: load for step, load in loads.items()}

    def _asked_for(self, plan: Plan) -> dict[str, list[ModelTable]]:
        """The tables of just those models that the plan must know."""
        return {load.data_model: self.tables[load.data_model] for load in plan.loads if load.names_tables}


def _load(model: str, kind: str, has: tuple[str, ...], wanted: tuple[str, ...]) -> dict[str, Any]:
    if kind == "by a job":
        return {"data_model": model, "started_by": "job"}
    tables = [name for name in wanted if name in has] or list(has)
    if kind == "partial" and tables:
        return {"data_model": model, "kind": "partial", "tables": tables}
    return {"data_model": model, "kind": "from_cache" if kind == "from_cache" else "complete"}


def _stage(jobs: tuple[tuple[str, str], ...]) -> object:
    steps = [{"job": job, "mode": mode} for job, mode in dict(jobs).items()]
    return steps if len(steps) > 1 else steps[0]


kinds = st.sampled_from(["complete", "complete", "partial", "from_cache", "by a job"])
steps = st.tuples(st.sampled_from(JOBS), st.sampled_from(["FULL", "DELTA"]))
stages = st.lists(steps, min_size=1, max_size=2).map(tuple).map(_stage)


@st.composite
def pipelines(draw: st.DrawFn) -> PipelineTables:
    """Two models and a stage of jobs or two."""
    has = {model: draw(name_sets) for model in MODELS}
    loads = [_load(model, draw(kinds), has[model], draw(name_sets)) for model in MODELS]
    document = {"data_pool": "p", "jobs": draw(st.lists(stages, min_size=1, max_size=2)), "loads": loads}
    tables = {
        model: [ModelTable(f"{model}/{name}", name, None, name) for name in names]
        for model, names in has.items()
    }
    return PipelineTables(read_definition("The definition", Definition, document), tables)


def covers(greater: ResolvedLoad, lesser: ResolvedLoad) -> bool:
    """Whether the one load reloads everything that the other does."""
    if greater.kind is LoadKind.COMPLETE:
        return True
    ranks = [list(LoadKind).index(load.kind) for load in (greater, lesser)]
    return ranks[0] >= ranks[1] and set(greater.tables) >= set(lesser.tables)
