"""What a trigger may ask for, and how the options of two triggers are merged."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from celonis_refresh.pipelines.definition import (
    MAX_TABLE_BYTES,
    MAX_TABLES,
    Definition,
    Mode,
    read_definition,
)
from celonis_refresh.pipelines.errors import InvalidTrigger
from celonis_refresh.pipelines.options import (
    MAX_REASONS,
    Reason,
    RunOptions,
    check_applicable,
    covering,
    make_options,
)


def reason(number: int, at: str = "2026-01-01T00:00:00.000Z") -> Reason:
    return Reason(at, f"delivery#erp#{number:04}", "erp", "")


def refused(mode: object = None, tables: object = None) -> InvalidTrigger:
    with pytest.raises(InvalidTrigger) as caught:
        make_options(mode, tables, [reason(1)])
    return caught.value


def test_nothing_requested_is_the_pipeline_as_defined() -> None:
    assert make_options(None, None, []) == RunOptions(
        mode=None, as_defined=True, complete=False, tables=frozenset()
    )


def test_tables_take_the_place_of_the_definition() -> None:
    wanted = make_options("DELTA", ["VBAK", "VBAP", "VBAK"], [reason(1)])
    assert wanted == RunOptions(Mode.DELTA, False, False, frozenset({"VBAK", "VBAP"}), False, (reason(1),))


def test_all_tables_are_a_complete_load() -> None:
    assert make_options(None, "all", []) == RunOptions(as_defined=False, complete=True)


def test_a_table_may_be_called_all() -> None:
    assert make_options(None, ["all"], []).tables == {"all"}


@pytest.mark.parametrize(("last", "complete"), [("x" * 256, False), ("x" * 255 + "ü", True)])
def test_tables_whose_names_take_more_than_64_kb_become_a_complete_load(last: str, complete: bool) -> None:
    names = [last, *(f"{number:02x}".ljust(256, "ü") for number in range(128))]
    assert (sum(len(name.encode()) for name in names) > MAX_TABLE_BYTES) == complete
    half = len(names) // 2
    for wanted in (
        make_options(None, names, []),
        make_options(None, names[:half], []).join(make_options(None, names[half:], [])),
    ):
        assert (wanted.complete, len(wanted.tables)) == (complete, 0 if complete else len(names))


@pytest.mark.parametrize(("count", "complete"), [(MAX_TABLES, False), (MAX_TABLES + 1, True)])
def test_more_tables_than_a_partial_load_takes_are_a_complete_load(count: int, complete: bool) -> None:
    wanted = make_options(None, [f"t{number}" for number in range(count)], [])
    assert (wanted.complete, len(wanted.tables)) == (complete, 0 if complete else count)


def test_the_same_table_twice_counts_once() -> None:
    tables = [f"t{number}" for number in range(MAX_TABLES)]
    assert not make_options(None, tables * 2, []).complete


@pytest.mark.parametrize("mode", ["full", "", "INCREMENTAL", 1, True, ["FULL"], {"FULL": 1}])
def test_a_mode_that_is_none_is_refused(mode: object) -> None:
    assert refused(mode=mode).problems == (("mode", 'expected "FULL" or "DELTA"'),)


@pytest.mark.parametrize("tables", ["", "VBAK", "ALL", [], (), {}, {"VBAK": 1}, 1, True])
def test_tables_that_are_no_list_are_refused(tables: object) -> None:
    (problem,) = refused(tables=tables).problems
    assert problem.field == "tables"
    assert "a list" in problem.expected


@pytest.mark.parametrize("tables", [[""], [1], [None], ["VBAK", ["VBAP"]], ["a" * 257]])
def test_a_table_that_is_no_text_is_refused(tables: list[object]) -> None:
    (problem,) = refused(tables=tables).problems
    assert problem.field == "tables"
    assert "every table" in problem.expected


def test_both_fields_are_reported_at_once() -> None:
    assert [problem.field for problem in refused(mode=1, tables=1).problems] == ["mode", "tables"]


secrets = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=_", min_size=20, max_size=80).map("S3cr".__add__)
SHAPES: list[Any] = [str, lambda text: [text * 20], lambda text: {text: text}, lambda text: [[text]]]


@given(secrets, st.sampled_from(SHAPES), st.sampled_from(["mode", "tables"]))
def test_a_value_that_is_refused_is_never_repeated(secret: str, shape: Any, field: str) -> None:
    error = refused(**{field: shape(secret)})
    assert secret not in f"{error} {error!r} {error.problems}"
    assert f"{field}: expected" in str(error)


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [("FULL", "DELTA", "FULL"), ("FULL", None, "FULL"), ("DELTA", None, None), ("DELTA", "DELTA", "DELTA")],
)
def test_full_beats_what_is_defined_and_that_beats_delta(
    one: str | None, other: str | None, both: str | None
) -> None:
    assert make_options(one, None, []).join(make_options(other, None, [])).mode == both


def test_lists_of_tables_are_united() -> None:
    both = make_options(None, ["VBAK"], []).join(make_options(None, ["VBAP"], []))
    assert both == RunOptions(as_defined=False, tables=frozenset({"VBAK", "VBAP"}), united=True)


def test_the_same_list_again_is_not_united() -> None:
    wanted = make_options(None, ["VBAK", "VBAP"], [])
    assert wanted.join(make_options(None, ["VBAP", "VBAK"], [])) == wanted


def test_as_defined_and_tables_are_both_wanted() -> None:
    both = make_options(None, None, []).join(make_options(None, ["VBAP"], []))
    assert both == RunOptions(as_defined=True, tables=frozenset({"VBAP"}))


@pytest.mark.parametrize("tables", [None, ["VBAK"], "all"])
def test_a_complete_load_beats_every_other(tables: object) -> None:
    assert make_options(None, "all", []).join(make_options(None, tables, [])) == RunOptions(
        as_defined=False, complete=True
    )


def test_tables_that_are_too_many_together_become_a_complete_load() -> None:
    half, rest = [[f"{kind}{number}" for number in range(MAX_TABLES // 2)] for kind in "ab"]
    assert len(make_options(None, half, []).join(make_options(None, rest, [])).tables) == MAX_TABLES
    assert make_options(None, half, []).join(make_options(None, [*rest, "c"], [])) == RunOptions(
        as_defined=False, complete=True
    )


def test_the_earliest_reasons_are_kept_and_each_once() -> None:
    late = make_options(None, None, [reason(number, "2026-01-02T00:00:00.000Z") for number in range(15)])
    early = make_options(None, None, [reason(number) for number in range(15)])
    kept = late.join(early).join(early).reasons
    assert kept == (*early.reasons, *late.reasons[: MAX_REASONS - 15])


@pytest.mark.parametrize(
    ("numbers", "merged"), [((1,), False), ((1, 1), False), ((1, 2), True), ((1, 2, 1), True)]
)
def test_options_record_whether_several_triggers_were_merged(numbers: tuple[int, ...], merged: bool) -> None:
    whole = RunOptions()
    for number in numbers:
        whole = whole.join(make_options(None, None, [reason(number)]))
    assert whole.merged is merged
    assert replace(whole, reasons=(reason(9),)).merged is merged


def job_loads(*started_by: str) -> Definition:
    loads = [{"data_model": f"m-{number}", "started_by": by} for number, by in enumerate(started_by)]
    document = {"data_pool": "p", "jobs": [{"job": "j"}], "loads": loads}
    return read_definition("The definition", Definition, document)


@pytest.mark.parametrize("tables", [["VBAK"], "all"])
@pytest.mark.parametrize("started_by", [(), ("job",), ("job", "job")])
def test_tables_of_a_pipeline_that_loads_none_by_itself_are_refused(
    started_by: tuple[str, ...], tables: object
) -> None:
    with pytest.raises(InvalidTrigger) as caught:
        check_applicable("otc", job_loads(*started_by), make_options(None, tables, []))
    assert [problem.field for problem in caught.value.problems] == ["tables"]
    assert "'otc' has no data model load" in str(caught.value)


@pytest.mark.parametrize("mode", ["FULL", "DELTA"])
def test_a_mode_for_a_pipeline_without_jobs_is_refused(mode: str) -> None:
    document = {"data_pool": "p", "loads": [{"data_model": "m"}]}
    definition = read_definition("The definition", Definition, document)
    with pytest.raises(InvalidTrigger, match="'otc' has no data job") as caught:
        check_applicable("otc", definition, make_options(mode, ["VBAK"], []))
    assert [problem.field for problem in caught.value.problems] == ["mode"]
    check_applicable("otc", definition, make_options(None, ["VBAK"], []))


@given(
    st.sampled_from(["FULL", "DELTA", None, "full", 1]),
    st.sampled_from([None, "all", ["VBAK"], [], "VBAK", ["x" * 257]]),
)
def test_options_that_are_not_valid_are_covered_by_everything(mode: object, tables: object) -> None:
    found = covering("otc", job_loads("run"), mode, tables, "w" * 500)
    assert found.mode == (mode if mode in ("FULL", "DELTA", None) else "FULL")
    assert found.complete == (tables not in (None, ["VBAK"]))
    assert (found.merged, found.warnings) == (True, ("w" * 300,))
    assert RunOptions.from_json(found.to_json()) == found


def test_warnings_are_joined_each_once_and_few() -> None:
    parts = [RunOptions(warnings=(f"w-{number}",)) for number in range(7)]
    for order in (parts, parts[::-1], [*parts, *parts]):
        whole = RunOptions()
        for part in order:
            whole = whole.join(part)
        assert whole.warnings == ("w-0", "w-1", "w-2", "w-3", "w-4")


def test_tables_of_a_pipeline_with_a_load_of_its_own_are_taken() -> None:
    check_applicable("otc", job_loads("job", "run"), make_options(None, ["VBAK"], []))
    check_applicable("otc", job_loads(), make_options("FULL", None, []))


def test_the_json_of_a_options_is_what_the_record_shows() -> None:
    joined = make_options("FULL", ["VBAK"], [reason(2)]).join(make_options(None, ["VBAP"], [reason(1)]))
    at, by = "2026-01-01T00:00:00.000Z", "erp"
    assert joined.to_json() == {
        "mode": "FULL",
        "as_defined": False,
        "complete": False,
        "tables": ["VBAK", "VBAP"],
        "united": True,
        "merged": True,
        "reasons": [
            {"at": at, "trigger": "delivery#erp#0001", "by": by, "text": ""},
            {"at": at, "trigger": "delivery#erp#0002", "by": by, "text": ""},
        ],
    }
