"""The README names every call and every knob, and its examples are accepted unchanged."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import requests

from local.celonis import knobs, world
from local.celonis.faults import KINDS
from local.celonis.server import CelonisSimulator
from local.serve import JOB_SECONDS
from tests.simulator.client import Json, SimulatorClient

README = (Path(__file__).parents[2] / "local/celonis/README.md").read_text()
NAMED = {word for quoted in re.findall(r"`([^`\n]+)`", README) for word in re.findall(r"\w+", quoted)}
LOCAL = (Path(__file__).parents[2] / "docs/local.md").read_text()
BREAKS = re.findall(
    r"^```\n(.*?)^```", LOCAL.split("## Break something on purpose")[1].split("\n## ")[0], re.M | re.S
)
"""Blocks that break the simulator; the last command undoes it."""
EXAMPLES = [line for line in README.splitlines() if line.startswith("curl ")]


def test_every_call_and_knob_is_named(simulator: CelonisSimulator) -> None:
    calls = simulator.dispatcher.call_names
    readers = (knobs.JOB, knobs.MODEL, knobs.JOB_START, knobs.MODEL_START, knobs.FINISH, knobs.STALE_READS)
    known = {name for group in readers for name in group} | set(knobs.CREDENTIALS) | set(KINDS) | set(calls)
    known |= set(knobs.settings(calls)) | set(knobs.fault(calls))
    assert known - NAMED == set()


def send(team: SimulatorClient, line: str) -> None:
    """Send a documented command, which must be accepted."""
    words = shlex.split(line)[1:]
    method = words[words.index("-X") + 1] if "-X" in words else "GET"
    body = words[words.index("-d") + 1] if "-d" in words else ""
    (path,) = [word for word in words if word.startswith("/")]
    url = team.simulator.control_url + path
    answer = team.session.request(method, url, data=body.encode(), timeout=5)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("line", EXAMPLES)
def test_example_is_accepted(team: SimulatorClient, line: str) -> None:
    names = {"$C": "", "$ERP": world.ERP_JOB_ID, "$O2C": world.MODEL_ID}
    for name, value in names.items():
        line = line.replace(name, value)
    send(team, line)


@pytest.mark.parametrize(
    "block", [block for block in BREAKS if "$CELONIS_CONTROL_URL" in block], ids=range(5)
)
def test_what_is_broken_on_purpose_is_undone(team: SimulatorClient, block: str) -> None:
    """The job lasts as long as on the local stack, and is running when it is finished."""
    team.set_job(seconds=JOB_SECONDS)
    states = [state(team)]
    for line in block.replace("$CELONIS_CONTROL_URL", "").replace("$DATA_JOB", world.ERP_JOB_ID).splitlines():
        if "/finish" in line:
            team.post(f"/jobs/{world.ERP_JOB_ID}/start")
        send(team, line)
        states.append(state(team))
    before, *broken, after = states
    assert after == before
    assert all(each != before for each in broken)


def state(team: SimulatorClient) -> Json:
    """How the simulator is set up, and whether the credentials of the local stack are accepted."""
    shown = team.control("GET", "/state").json()
    jobs = {job["id"]: {**job["setup"], "error_messages": ()} for job in shown["jobs"]}  # of failures only
    try:
        status = team.sign_in().status_code
    except requests.ConnectionError:
        status = 0
    return {"jobs": jobs, "faults": shown["faults"], "settings": shown["settings"], "token": status}


def test_version_of_the_sdk_is_the_one_that_was_read() -> None:
    assert "pycelonis 2.14.1" in README
    assert "2.20" not in README


def test_ids_in_the_examples_are_the_default_ones() -> None:
    assert len(EXAMPLES) > 10
    assert f"ERP={world.ERP_JOB_ID}" in README
    assert f"O2C={world.MODEL_ID}" in README
