"""OpenRun dies at one of its calls; the state machine tries it again."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.stack.crashes.matrix import Call, Death, await_end, deaths, died, left_over, runs_of, together
from tests.stack.ground import Ground

DEATHS = deaths(
    Call("reading the pipeline", "GetParameter"),
    Call("the claim", "TransactWriteItems"),
    Call("reading the record", "GetItem"),
    Call("noting the execution", "UpdateItem"),
    Call("asking for tables", r"GET .*/tables"),
    Call("noting the tables", "UpdateItem", 2),
)


class Played(NamedTuple):
    pipeline: str
    model: str
    execution: str
    died: bool


@pytest.fixture(scope="module")
def played(ground: Ground) -> dict[Death, Played]:
    outcomes: dict[Death, Played] = together(lambda death: _play(ground, death), DEATHS)
    await_end(ground.service, [one.pipeline for one in outcomes.values()])
    ground.settled()
    return outcomes


def _play(ground: Ground, death: Death) -> Played:
    service, model = ground.service, ground.celonis.model("VBAK", seconds=1)
    pipeline = service.pipeline(loads=[{"data_model": model.id, "kind": "partial", "tables": ["VBAK"]}])
    name = service.name("opened")
    service.stack.arm("OpenRun", death.call.fault(death.moment, rf'"name": ?"{name}"'))
    service.execute({"pipeline": pipeline}, name)
    service.ended(name)
    return Played(pipeline, model.id, name, died(service, "OpenRun", death, name))


@pytest.mark.parametrize("death", DEATHS, ids=str)
def test_it_leads_to_one_run_and_one_load(ground: Ground, played: dict[Death, Played], death: Death) -> None:
    one = played[death]
    assert one.died
    (run,) = runs_of(ground.service, one.pipeline)
    assert (run["run_id"]["S"], run["status"]["S"]) == (one.execution, "SUCCEEDED")
    (load,) = ground.celonis.loads(one.model)
    assert (load["type"], load["outcome"]) == ("PARTIAL", "SUCCESS")
    assert left_over(ground.service, one.pipeline) == []
