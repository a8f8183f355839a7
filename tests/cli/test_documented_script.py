"""``refresh.py`` of docs/waiting.md: its exit codes, and that each mistake is one sentence."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import KEYS
from tests.cli.fake_api import ROOT, SECONDS, Ended, FakeApi
from tests.cli.test_runs import RUN, record, started

ENDS = f"GET /runs/{RUN}"

Script = Callable[..., Ended]


@pytest.fixture
def script(tmp_path: Path, api: FakeApi) -> Script:
    page = (ROOT / "docs" / "waiting.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```python\n(\"\"\"Start a pipeline .*?)```", page, re.DOTALL)
    path = tmp_path / "refresh.py"
    path.write_text(text, encoding="utf-8")

    def run(*arguments: str, **variables: str | None) -> Ended:
        usual = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "API_URL": api.url, **KEYS}
        usual["AWS_EC2_METADATA_DISABLED"] = "true"
        merged = {**usual, **variables}
        environment = {name: value for name, value in merged.items() if value is not None}
        ended = subprocess.run(
            [sys.executable, str(path), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    return run


@pytest.mark.parametrize(("status", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("ABORTED", 1)])
def test_the_exit_code_is_that_of_the_run(script: Script, api: FakeApi, status: str, code: int) -> None:
    api.answer("POST /runs", started())
    api.answer(ENDS, (200, record()), (200, record(status, outcome="It has ended.")))
    ended = script("otc", "k")
    assert (ended.code, ended.err) == (code, "")
    assert ended.out == f"Run {RUN}\n{status} It has ended.\n"
    assert api.sent[0].headers["idempotency-key"] == "k"


def test_a_dropped_run_is_said_to_be_dropped(script: Script, api: FakeApi) -> None:
    api.answer("POST /runs", started())
    api.answer(
        ENDS, (404, {"error": "RunNotFound", "message": "There is no record of the run. List the runs."})
    )
    ended = script("otc", "k")
    assert ended.code == 1
    assert ended.out.splitlines()[1] == (
        f"DROPPED The pending run {RUN} was cancelled before it began. "
        "Start the pipeline again with a new key."
    )


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        ((), {}, "Usage: refresh.py PIPELINE KEY"),
        (("otc",), {}, "Usage: refresh.py PIPELINE KEY"),
        (("otc", "k"), {"API_URL": None}, "API_URL is not set"),
        (("otc", "k"), {"API_URL": "a1b2c3.example"}, "API_URL is not an address"),
        (("otc", "k"), {"AWS_REGION": None}, "AWS_REGION is not set"),
        (("otc", "k"), {"AWS_ACCESS_KEY_ID": None}, "There are no AWS credentials"),
        (("otc", "k"), {"AWS_SECRET_ACCESS_KEY": None}, "credentials"),
        (("otc", "k"), {"AWS_PROFILE": "none", "AWS_ACCESS_KEY_ID": None}, "none"),
    ],
)
def test_a_mistake_in_the_set_up_is_one_sentence_and_nothing_is_started(
    script: Script, api: FakeApi, arguments: tuple[str, ...], variables: dict[str, str | None], said: str
) -> None:
    ended = script(*arguments, **variables)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert len(ended.err.splitlines()) == 1
    assert api.sent == []


@pytest.mark.parametrize("body", [{"message": "Forbidden"}, b"<html>Forbidden</html>"])
def test_a_refused_start_is_not_started(script: Script, api: FakeApi, body: object) -> None:
    api.answer("POST /runs", (403, body))
    ended = script("otc", "k")
    assert (ended.code, ended.out) == (2, "")
    assert "Forbidden" in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_run_that_may_not_be_shown_is_no_answer(script: Script, api: FakeApi) -> None:
    api.answer("POST /runs", started())
    api.answer(ENDS, (404, {"message": "Not Found"}))
    ended = script("otc", "k")
    assert (ended.code, ended.err) == (3, "Not Found\n")
