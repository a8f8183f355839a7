"""The real command against a fake API, over real HTTP on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from refresh_cli.commands import secrets
from tests.cli.fake_api import FakeApi, Tool, environment, fake_api

KEYS = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-central-1"}


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with fake_api() as made:
        yield made


@pytest.fixture
def no_aws(tmp_path: Path) -> Tool:
    """The tool without credentials, region or local stack."""
    return Tool(tmp_path, environment(tmp_path))


@pytest.fixture
def tool(api: FakeApi, no_aws: Tool) -> Tool:
    """The tool with credentials, against the fake API."""
    return Tool(no_aws.home, {**no_aws.environment, **KEYS, "REFRESH_API_URL": api.url})


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the input be a terminal."""

    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(secrets, "sys", type("sys", (), {"stdin": Terminal()}))
