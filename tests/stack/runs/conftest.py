"""One stack and one Celonis for all tests of whole runs; each test begins with a reset Celonis."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from local.aws.settings import EventSettings, Settings
from local.aws.stack import LocalStack
from local.celonis import world
from local.celonis.server import CelonisSimulator
from local.serve import PARAMETERS, RECEIVES_CALLBACKS, ROOT, STACK_NAME, STATE, LocalService, connect
from tests.conftest import LAST
from tests.stack.runs.celonis import CelonisControls
from tests.stack.runs.service import SAMPLE, DeployedService

FOLDER = Path(__file__).parent
TIME_FACTOR = 0.2
"""The waits of state machines are shortened; Celonis and the functions run in real time."""


class CollectedTests:
    """Which tests of this folder were begun; some of the last ones check all the others."""

    begun: ClassVar[set[str]] = set()
    left_out = False


def pytest_deselected(items: list[pytest.Item]) -> None:
    CollectedTests.left_out |= any(item.path.parent == FOLDER for item in items)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.path.parent == FOLDER:
        CollectedTests.begun.add(item.nodeid)


@pytest.fixture
def whole(request: pytest.FixtureRequest) -> bool:
    """Whether every test of this folder but the last ones was begun before."""
    here = [item for item in request.session.items if item.path.parent == FOLDER]
    others = {item.nodeid for item in here if item.path.stem != LAST}
    every_file = {item.path for item in here} == set(FOLDER.glob("test_*.py"))
    return every_file and not CollectedTests.left_out and others <= CollectedTests.begun


@pytest.fixture(scope="package")
def tokens() -> list[str]:
    """Every access token that Celonis handed out."""
    return []


@pytest.fixture(scope="package")
def local_service(tokens: list[str]) -> Iterator[LocalService]:
    """The real template and a Celonis. Events come late and twice, transactions conflict, as in AWS."""

    def new_token() -> str:
        tokens.append(secrets.token_urlsafe(32))
        return tokens[-1]

    state = STATE / "passages"
    shutil.rmtree(state / "logs", ignore_errors=True)
    settings = Settings(
        time_factor=TIME_FACTOR,
        environment=RECEIVES_CALLBACKS,
        events=EventSettings(late_seconds=0.4, retry_delays=(0.05, 0.1)),
    )
    with CelonisSimulator(new_token=new_token) as simulator:
        stack = LocalStack.deploy(
            template=ROOT / "template.yaml",
            stack_name=STACK_NAME,
            parameters=PARAMETERS,
            state_dir=state,
            settings=settings,
        )
        with stack:
            connect(stack, simulator)
            yield LocalService(stack, simulator)


@pytest.fixture(scope="package")
def shared(local_service: LocalService) -> Iterator[DeployedService]:
    """The service, its functions warm from a first run."""
    service, celonis = (
        DeployedService(local_service.stack, local_service.celonis.url),
        CelonisControls(local_service.celonis.control_url),
    )
    service.secrets += [local_service.webhook_secret(), world.CLIENT_SECRET, world.APP_KEY, world.API_KEY]
    service.shorten_poll_interval(SAMPLE)
    pipeline = service.pipeline(jobs=[celonis.job()], loads=[celonis.model().id])
    first = service.webhook(service.source({"pipeline": pipeline}))
    assert first.status_code == 202, first.text
    assert service.closed(first.json()["runs"][0]["run_id"])["status"] == "SUCCEEDED"
    yield service
    service.close()
    celonis.close()


@pytest.fixture
def celonis(local_service: LocalService) -> Iterator[CelonisControls]:
    controls = CelonisControls(local_service.celonis.control_url)
    controls.reset()
    yield controls
    controls.close()


@pytest.fixture
def service(shared: DeployedService, celonis: CelonisControls) -> Iterator[DeployedService]:
    """The service. A test waits for the end of what it starts, and the dead-letter queue must stay empty."""
    yield shared
    assert shared.stack.settle()
    assert [one.name for one in shared.stack.executions if one.status == "RUNNING"] == []
    assert shared.dead_letters() == []
