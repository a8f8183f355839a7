"""Which stack a command works on."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import KEYS
from tests.cli.fake_api import FakeApi, Sent, Tool, serving

EMPTY: dict[str, Any] = {"runs": [], "before": None}


def announce(home: Path, api_url: str, **fields: Any) -> Path:
    """Write what make local writes, in the home folder."""
    document = {
        "stack_name": "celonis-refresh",
        "region": "eu-central-1",
        "api_url": api_url,
        "aws_endpoint_url": api_url,
        "access_key_id": "AKIALOCAL",
        "secret_access_key": "local",
        "outputs": {"ApiUrl": api_url},
    }
    path = home / ".local" / "state" / "celonis-refresh" / "local.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document | fields), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"AWS_PROFILE": "nonsense"},
        {"AWS_CONFIG_FILE": "/nonsense"},
        {**KEYS, "AWS_SESSION_TOKEN": "token"},
        {"HTTP_PROXY": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1"},
    ],
)
def test_without_options_it_is_that_of_make_local(
    no_aws: Tool, api: FakeApi, environment: dict[str, str]
) -> None:
    announce(no_aws.home, api.url)
    api.answer("GET /runs", (200, EMPTY))
    ended = no_aws("runs", **environment)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "No runs found: stack celonis-refresh of make local.\n"
    assert "Credential=AKIALOCAL/" in api.sent[0].headers["authorization"]
    assert "x-amz-security-token" not in api.sent[0].headers


def test_the_file_may_be_elsewhere(no_aws: Tool, api: FakeApi, tmp_path: Path) -> None:
    announce(no_aws.home, api.url)
    api.answer("GET /runs", (200, EMPTY))
    assert no_aws("runs", XDG_STATE_HOME=str(tmp_path / ".local" / "state"), HOME="/").code == 0


@pytest.mark.parametrize("arguments", [("--stack", "s"), ("--region", "eu-central-1"), ("--profile", "p")])
def test_with_options_it_is_one_in_aws(no_aws: Tool, api: FakeApi, arguments: tuple[str, str]) -> None:
    announce(no_aws.home, api.url)
    ended = no_aws("runs", *arguments)
    assert ended.code == 2
    assert "make local" not in ended.err.partition(". ")[0]
    assert api.sent == []


def test_a_file_whose_stack_has_ended_is_ignored(no_aws: Tool) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    announce(no_aws.home, url)
    assert no_aws("runs").err.startswith(
        "Error: No AWS region is set: stack celonis-refresh (profile default"
    )


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_file_that_cannot_be_used_is_ignored(no_aws: Tool, api: FakeApi, text: str) -> None:
    announce(no_aws.home, api.url).write_text(text, encoding="utf-8")
    assert no_aws("runs").err.startswith("Error: No AWS region is set")


def test_the_address_of_the_api_is_an_output_of_the_stack(no_aws: Tool, api: FakeApi) -> None:
    api.answer("GET /runs", (200, EMPTY))
    bodies: list[Any] = []

    def describe(sent: Sent) -> tuple[int, bytes]:
        bodies.append(sent.body)
        output = f"<member><OutputKey>ApiUrl</OutputKey><OutputValue>{api.url}</OutputValue></member>"
        stack = (
            "<StackName>mine</StackName><CreationTime>2026-11-01T00:00:00Z</CreationTime>"
            f"<StackStatus>CREATE_COMPLETE</StackStatus><Outputs>{output}</Outputs>"
        )
        found = f"<DescribeStacksResult><Stacks><member>{stack}</member></Stacks></DescribeStacksResult>"
        return 200, f"<DescribeStacksResponse>{found}</DescribeStacksResponse>".encode()

    with serving(describe) as url:
        ended = no_aws("runs", REFRESH_STACK="mine", AWS_ENDPOINT_URL=url, **KEYS)
    assert (ended.code, ended.err) == (0, "")
    assert ["StackName=mine" in body for body in bodies] == [True]
    assert api.requests() == ["GET /runs"]
