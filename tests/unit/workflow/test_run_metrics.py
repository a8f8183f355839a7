"""The metrics of a run, from the record of its end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from celonis_refresh.pipelines.options import Reason, make_options
from celonis_refresh.runs.records import Run
from celonis_refresh.timing import iso
from celonis_refresh.workflow.run_metrics import measure_end

T0 = 1_800_000_000.0
STARTED = {"posts": 1, "sent_by": T0 + 90, "ended_at": iso(T0 + 190), "outcome": "SUCCEEDED", "polls": 4}


def ended(steps: dict[str, Any], status: str = "SUCCEEDED") -> Run:
    reasons = (Reason(iso(T0 + 60), "b#0", "shop", ""), Reason(iso(T0), "a#0", "shop", ""))
    return Run(
        {
            "run_id": "otc-1",
            "pipeline": "otc",
            "status": status,
            "created_at": iso(T0 + 60),
            "started_at": iso(T0 + 70),
            "ended_at": iso(T0 + 200),
            "options": make_options(None, None, reasons).to_json(),
            "steps": steps,
        }
    )


def measured(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Values by metric."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    named = [
        (each["Name"], line) for line in lines for each in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]
    ]
    return {
        name: [value for other, line in named if other == name for value in line[name]] for name, _ in named
    }


def test_a_run_that_succeeded(capsys: pytest.CaptureFixture[str]) -> None:
    load = {**STARTED, "sent_by": T0 + 191, "ended_at": iso(T0 + 199), "polls": 2}
    measure_end(ended({"job-0": STARTED, "load-0": load}))
    assert measured(capsys) == {
        "RunsEnded": [1.0],
        "RunDuration": [130.0],
        "RunWaitingTime": [90.0],
        "PollsPerRun": [6.0],
        "JobDuration": [100.0],
        "LoadDuration": [8.0],
        "SecondsSinceSuccess": [130.0],
    }


def test_a_retry_that_skips_steps_has_the_age_of_the_data_that_it_did_not_renew(
    capsys: pytest.CaptureFixture[str],
) -> None:
    measure_end(Run({**ended({"job-0": STARTED}).item, "data_from": iso(T0 - 1000)}))
    assert measured(capsys)["SecondsSinceSuccess"] == [1200.0]


def test_a_run_that_failed_before_its_first_start(capsys: pytest.CaptureFixture[str]) -> None:
    measure_end(ended({"job-0": {"error": "NotFound", "ended_at": iso(T0 + 200)}}, "FAILED"))
    assert measured(capsys) == {"RunsEnded": [1.0], "RunDuration": [130.0], "PollsPerRun": [0.0]}
