"""Names and aliases of tables become ids."""

from __future__ import annotations

from typing import Any

import pytest

from celonis_refresh.celonis.records import ModelTable
from celonis_refresh.pipelines.definition import Definition, LoadKind, read_definition
from celonis_refresh.pipelines.options import Reason, RunOptions, make_options
from celonis_refresh.pipelines.plan import SHOWN, ResolvedLoad, UnknownTable, make_plan, resolve

SALES = [
    ModelTable("t-1", "VBAK", None, "VBAK"),
    ModelTable("t-2", "VBAP", "Items", "Items"),
    ModelTable("t-3", "KNA1", "Customers", "Customers"),
    ModelTable("t-4", "KNA1", None, "KNA1"),
]
BUYING = [ModelTable("t-5", "EKKO"), ModelTable("t-6", None, "Orders")]
MODELS = {"sales": SALES, "buying": BUYING}
EVERYTHING = ResolvedLoad(LoadKind.COMPLETE, {})


def load(model: str, *tables: str, kind: str = "complete") -> dict[str, Any]:
    return {"data_model": model, **({"kind": "partial", "tables": tables} if tables else {"kind": kind})}


def resolved(
    loads: list[dict[str, Any]],
    wanted: RunOptions | None = None,
    skip: tuple[str, ...] = (),
    *,
    dropped: list[str] | None = None,
) -> list[ResolvedLoad]:
    definition = read_definition("The definition", Definition, {"data_pool": "p", "loads": loads})
    plan = make_plan(definition, wanted or RunOptions(), skip)
    models = {each.data_model: MODELS[each.data_model] for each in plan.loads if each.names_tables}
    found = resolve(plan, models)
    assert list(found.loads) == [each.step for each in plan.loads]
    assert list(found.dropped) == (dropped or [])
    return list(found.loads.values())


def partial(**tables: str) -> ResolvedLoad:
    return ResolvedLoad(LoadKind.PARTIAL, {key.replace("_", "-"): name for key, name in tables.items()})


@pytest.mark.parametrize("name", ["t-2", "VBAP", "Items"])
def test_a_table_is_found_by_id_name_and_alias(name: str) -> None:
    assert resolved([load("sales", name)]) == [partial(t_2="Items")]


def test_a_name_that_two_tables_share_means_both() -> None:
    assert resolved([load("sales", "KNA1")]) == [partial(t_3="Customers", t_4="KNA1")]


def test_a_table_named_twice_is_loaded_once() -> None:
    assert resolved([load("sales", "VBAK", "t-1")]) == [partial(t_1="VBAK")]


def test_a_table_is_shown_by_the_best_name_it_has() -> None:
    assert resolved([load("buying", "EKKO", "Orders")]) == [partial(t_5="EKKO", t_6="t-6")]


def test_names_are_taken_letter_by_letter() -> None:
    with pytest.raises(UnknownTable):
        resolved([load("sales", "vbak")])


@pytest.mark.parametrize("kind", ["complete", "from_cache"])
def test_a_load_without_tables_requests_none(kind: str) -> None:
    assert resolved([load("sales", kind=kind)]) == [ResolvedLoad(LoadKind(kind), {})]


@pytest.mark.parametrize("defined", [load("sales"), load("sales", kind="from_cache"), load("sales", "KNA1")])
def test_tables_requested_take_the_place_of_any_load(defined: dict[str, Any]) -> None:
    assert resolved([defined], make_options(None, ["VBAK"], [])) == [partial(t_1="VBAK")]


def test_a_model_that_has_none_of_the_tables_requested_is_loaded_as_defined() -> None:
    wanted = make_options(None, ["EKKO"], [])
    assert resolved([load("sales"), load("buying")], wanted) == [EVERYTHING, partial(t_5="EKKO")]
    assert resolved([load("sales", "VBAK"), load("buying")], wanted)[0] == partial(t_1="VBAK")


@pytest.mark.parametrize(
    ("defined", "expected"),
    [
        (load("sales"), EVERYTHING),
        (load("sales", kind="from_cache"), partial(t_1="VBAK")),
        (load("sales", "Items"), partial(t_1="VBAK", t_2="Items")),
    ],
)
def test_tables_requested_besides_come_on_top(defined: dict[str, Any], expected: ResolvedLoad) -> None:
    assert resolved([defined], RunOptions().join(make_options(None, ["VBAK"], []))) == [expected]


def test_a_table_requested_besides_may_be_in_a_model_that_is_loaded_as_a_whole() -> None:
    loads = [load("sales"), load("buying", kind="from_cache")]
    assert resolved(loads, RunOptions().join(make_options(None, ["VBAK"], []))) == [
        EVERYTHING,
        ResolvedLoad(LoadKind.FROM_CACHE, {}),
    ]


def test_lists_for_two_models_load_both_as_each_alone_would() -> None:
    united = make_options(None, ["VBAK"], []).join(make_options(None, ["EKKO"], []))
    assert resolved([load("sales"), load("buying")], united) == [EVERYTHING, EVERYTHING]
    assert resolved([load("sales", "Items"), load("buying", "Orders")], united) == [
        partial(t_1="VBAK", t_2="Items"),
        partial(t_5="EKKO", t_6="t-6"),
    ]


def test_a_table_that_the_model_of_a_defined_load_lacks_is_reported_with_those_it_has() -> None:
    with pytest.raises(UnknownTable) as caught:
        resolved([load("sales", "EKKO", "VBAK", "BSEG"), load("buying", "EKKO")])
    assert caught.value.tables == ("BSEG", "EKKO")
    assert caught.value.existing == ("Customers", "Items", "KNA1", "VBAK", "VBAP")
    assert str(caught.value) == (
        "No table BSEG, EKKO in data model sales. "
        "Existing tables: Customers, Items, KNA1, VBAK, VBAP. Nothing was started."
    )


def test_a_table_requested_that_no_model_has_is_reported_with_those_of_all() -> None:
    with pytest.raises(UnknownTable) as caught:
        resolved([load("sales"), load("buying")], make_options(None, ["BSEG", "VBAK"], []))
    assert caught.value.tables == ("BSEG",)
    assert set(caught.value.existing) == {"Customers", "Items", "KNA1", "VBAK", "VBAP", "EKKO", "Orders"}
    assert "Start a new run with tables that exist: a retry requests the same tables" in str(caught.value)


def of(number: int, *tables: str) -> RunOptions:
    """What one trigger requests; all loads as defined if it names no tables."""
    return make_options(
        None, list(tables) or None, [Reason("2026-01-01T00:00:00.000Z", str(number), "erp", "")]
    )


@pytest.mark.parametrize(
    ("good", "expected"),
    [
        (of(2, "VBAK"), [partial(t_1="VBAK")]),
        (of(2, "VBAK", "Items"), [partial(t_1="VBAK", t_2="Items")]),
        (of(2), [partial(t_2="Items")]),
        (of(2).join(of(3, "VBAK")), [partial(t_1="VBAK", t_2="Items")]),
    ],
)
def test_an_unknown_table_of_one_merged_trigger_is_dropped(
    good: RunOptions, expected: list[ResolvedLoad]
) -> None:
    for wanted in (of(1, "BSEG").join(good), of(1, "BSEG", "BKPF").join(good)):
        unknown = sorted({"BSEG", "BKPF"} & wanted.tables)
        assert resolved([load("sales", "Items")], wanted, dropped=unknown) == expected


def test_an_unknown_table_of_one_merged_trigger_takes_no_table_from_another_model() -> None:
    loads = [load("sales", "Items"), load("buying", "Orders")]
    assert resolved(loads, of(1, "BSEG").join(of(2, "EKKO")), dropped=["BSEG"]) == [
        partial(t_2="Items"),
        partial(t_5="EKKO", t_6="t-6"),
    ]


def test_what_is_dropped_is_named_in_a_warning() -> None:
    definition = read_definition("The definition", Definition, {"data_pool": "p", "loads": [load("sales")]})
    plan = make_plan(definition, of(1, "BSEG").join(of(2)))
    (warning,) = resolve(plan, MODELS).warnings
    assert warning.startswith("No table BSEG in the data model: left out.")
    assert resolve(make_plan(definition, of(1, "VBAK")), MODELS).warnings == []


@pytest.mark.parametrize("wanted", [of(1, "BSEG"), of(1, "BSEG").join(of(2, "BKPF")), of(1, "BSEG", "VBAK")])
def test_an_unknown_table_is_an_error_where_no_requested_table_exists(
    wanted: RunOptions,
) -> None:
    with pytest.raises(UnknownTable) as caught:
        resolved([load("sales")], wanted)
    assert set(caught.value.tables) == wanted.tables - {"VBAK"}


def test_a_table_that_the_definition_names_is_never_dropped() -> None:
    with pytest.raises(UnknownTable):
        resolved([load("sales", "BSEG")], of(1).join(of(2, "VBAK")))


def test_tables_of_a_pipeline_whose_loads_are_gone_by_now_are_unknown() -> None:
    jobs = {"data_pool": "p", "jobs": [{"job": "j"}]}
    plan = make_plan(read_definition("The definition", Definition, jobs), of(1, "VBAK"))
    with pytest.raises(UnknownTable, match="Existing tables: none"):
        resolve(plan, {})


def test_a_table_requested_may_belong_to_a_model_that_is_left_out() -> None:
    loads, wanted = [load("sales"), load("buying", "Orders")], make_options(None, ["VBAK"], [])
    assert resolved(loads, wanted, skip=("sales",)) == [partial(t_6="t-6")]


def test_many_names_are_cut_short() -> None:
    many = [f"table-{number:03}" for number in range(SHOWN + 1)]
    text = str(UnknownTable(many, many, ["model-a"]))
    assert text.count(f"table-{SHOWN - 1:03}, …") == 2
    assert f"table-{SHOWN:03}" not in text


def test_a_model_without_tables_is_reported() -> None:
    assert "Existing tables: none." in str(UnknownTable(["VBAK"], [], ["model-a"]))


def test_the_id_of_a_table_may_be_written_in_capitals() -> None:
    table = "0b8a1f2e-7c4d-4f6a-8e21-3a9d5c7b1e10"
    definition = read_definition(
        "The definition",
        Definition,
        {"data_pool": "p", "loads": [{"data_model": "m", "kind": "partial", "tables": [table.upper()]}]},
    )
    found = resolve(make_plan(definition, RunOptions()), {"m": [ModelTable(table, "VBAK")]})
    assert found.loads["load-0"].tables == {table: "VBAK"}
