"""A changed layer is deployed while runs are running."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import stamp
from local.serve import ROOT
from tests.stack.environment import TIME_FACTOR, StackEnvironment, deployed
from tests.stack.local_fixtures import calm_settings

MARK = "the layer of the upgrade"
LOGGED = f"""
import json as _json
import os as _os

print(_json.dumps({{"note": "{MARK}", "version": _os.environ["AWS_LAMBDA_FUNCTION_VERSION"]}}))
"""
"""Added to a module that every function imports."""
STEPS = ("OpenRun", "StartStep", "CheckStep")
"""The functions of the state machine, which it calls by their versions."""


@pytest.fixture
def environment() -> Iterator[StackEnvironment]:
    with deployed("upgrade", calm_settings(TIME_FACTOR)) as made:
        yield made


def changed_template(folder: Path) -> Path:
    """The template beside a changed layer, with its digest."""
    for name in ("functions", "statemachine"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "layers", folder / "layers", ignore=shutil.ignore_patterns("__pycache__"))
    wiring = folder / "layers" / "refresh" / "celonis_refresh" / "wiring.py"
    wiring.write_text(wiring.read_text(encoding="utf-8") + LOGGED, encoding="utf-8")
    text = (ROOT / "template.yaml").read_text(encoding="utf-8")
    template = folder / "template.yaml"
    template.write_text(stamp.STAMP.sub(rf"\g<1>{'0' * 16}\g<3>", text), encoding="utf-8")
    return template


def upgraded(environment: StackEnvironment) -> set[str]:
    """The functions that have run the code of the upgrade."""
    return {line.function for line in environment.service.stack.logs() if MARK in line.text}


def versions(environment: StackEnvironment, run_id: str) -> set[str]:
    """The versions of the functions in the definition with which a run's execution was started."""
    service = environment.service
    described = service.stack.client("stepfunctions").describe_state_machine_for_execution(
        executionArn=service.arn(run_id)
    )
    found = re.findall(r":function:[\w-]+:(\d+)\"", described["definition"])
    assert len(found) > len(STEPS)
    return set(found)


def test_a_run_that_was_running_ends_with_its_code_and_the_next_one_has_the_new_code(
    environment: StackEnvironment, tmp_path: Path
) -> None:
    service, celonis = environment.service, environment.celonis
    job, model = celonis.job(seconds=3600), celonis.model()
    pipeline = service.pipeline(jobs=[job], loads=[model.id])
    source = service.source({"pipeline": pipeline})
    ended = service.run_by_hand({"pipeline": service.pipeline(jobs=[celonis.job()])})

    first = service.webhook(source, delivery="before").json()["runs"][0]["run_id"]
    service.running(first)
    (joined,) = service.webhook(source, delivery="joins").json()["runs"]
    assert joined["status"] == "joined"

    service.stack.update(changed_template(tmp_path))
    assert upgraded(environment) == set()

    # A delivery of the old code is a duplicate for the new one, and one more joins the run that waits.
    assert service.webhook(source, delivery="before").json()["duplicate"]
    assert service.webhook(source, delivery="after").json()["runs"][0]["status"] == "joined"
    assert "Trigger" in upgraded(environment)

    # The run that was running ends with its own code, and is closed by the new one.
    celonis.finish(job)
    assert service.closed(first)["status"] == "SUCCEEDED"
    assert versions(environment, first) == {"1"}
    assert "CloseRun" in upgraded(environment)

    # The run that follows was accepted by the old code, and runs with the new one.
    service.running(joined["run_id"])
    celonis.finish(job)
    followed = service.closed(joined["run_id"])
    assert (followed["status"], len(followed["options"]["reasons"])) == ("SUCCEEDED", 2)
    assert versions(environment, joined["run_id"]) == {"2"}
    assert set(STEPS) <= upgraded(environment)
    environment.settled()

    # A record of the old code is shown as it was.
    assert service.show(ended["run_id"]) == ended
    listed = service.call("GET", "/runs").json()["runs"]
    assert {run["run_id"] for run in listed} == {ended["run_id"], first, joined["run_id"]}
