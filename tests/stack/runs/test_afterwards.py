"""What all the runs of this folder left behind. These tests run last."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from local.serve import LocalService
from tests.stack.runs.permissions import permissions, unforeseen
from tests.stack.runs.service import DeployedService

NOT_EXERCISED = {
    "ec2:": "Lambda makes network interfaces in a VPC itself; there is no VPC on this machine.",
    "logs:": "Lambda and Step Functions deliver logs themselves; no log delivery exists on this machine.",
    "xray:": "Traces are sent by the services themselves; no tracing exists on this machine.",
}
"""The permissions that no run here can use, by the prefix of their action, each with the reason."""


def test_every_permission_of_the_template_was_used(service: DeployedService, *, whole: bool) -> None:
    if not whole:
        pytest.skip("tells only of a run of this whole folder")
    grants, all_of_them = service.stack.grants, permissions(service.stack)
    unused = [permission for permission in all_of_them if not permission.was_used(grants)]
    left = [str(one) for one in unused if not one.action.startswith(tuple(NOT_EXERCISED))]
    assert left == [], "\n".join(left)
    for excepted in NOT_EXERCISED:
        assert [one for one in unused if one.action.startswith(excepted)], f"{excepted} needs no exception"


def test_nothing_was_refused_but_what_was_withheld_on_purpose(service: DeployedService) -> None:
    """Also what is logged and repaired later: by a task of the state machine, or by a round."""
    assert unforeseen(service.stack) == []


def test_no_secret_is_in_anything_that_was_written_or_said(
    service: DeployedService, tokens: list[str]
) -> None:
    secrets = {*service.secrets, *tokens}
    assert len(tokens) > 5
    seen = {
        "logs": [line.text for line in service.stack.logs()],
        "answers": service.responses,
        "executions": [
            json.dumps([one.input_text, one.output, one.error, one.cause, one.history.events()])
            for one in service.stack.executions
        ],
        "table": [json.dumps(item) for item in service.items()],
        "notices": [json.dumps(notice) for notice in service.notices()],
    }
    for local_service, texts in seen.items():
        text = "\n".join(texts)
        assert text, local_service
        assert sum(secret in text for secret in secrets) == 0, local_service


def test_no_stack_trace_left_the_service(service: DeployedService) -> None:
    causes = [str(one.cause) for one in service.stack.executions if one.cause]
    for text in (*service.responses, *causes):
        assert "Traceback" not in text
        assert ".py" not in text


def test_no_process_is_left_when_the_stack_is_closed(local_service: LocalService) -> None:
    processes = local_service.stack.process_ids()
    assert processes
    assert all(_is_alive(process) for process in processes)
    local_service.stack.close()
    assert [process for process in processes if _is_alive(process)] == []


def _is_alive(process: int) -> bool:
    """Whether it runs; one that has ended without being awaited counts as left, too."""
    return Path(f"/proc/{process}").exists() if os.path.isdir("/proc") else _answers(process)


def _answers(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
