"""The real template and a Celonis, for the tests of a folder that need a stack of their own."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

from local.aws.settings import Settings
from local.aws.stack import LocalStack
from local.celonis import world
from local.celonis.server import CelonisSimulator
from local.serve import PARAMETERS, ROOT, STACK_NAME, STATE, LocalService, connect
from local.wait import until
from tests.stack.runs.celonis import CelonisControls
from tests.stack.runs.service import DeployedService

TIME_FACTOR = 0.2
"""The waits of state machines are shortened; Celonis and the functions run in real time."""


@dataclass(frozen=True)
class StackEnvironment:
    """``tokens``: every access token that Celonis handed out."""

    local_service: LocalService
    service: DeployedService
    celonis: CelonisControls
    tokens: list[str] = field(default_factory=list)

    def settled(self) -> None:
        """Waits until nothing is running any more; the dead-letter queue must be empty then.

        The event of an end that is delivered last may have started a follow-up run.
        """

        def is_idle() -> bool:
            return not self.running() and self.service.stack.settle(30) and not self.running()

        until(is_idle, "the end of all executions")
        assert self.service.dead_letters() == []

    def running(self) -> list[str]:
        """The names of the executions that have not ended."""
        return [one.name for one in self.service.stack.executions if one.status == "RUNNING"]


@contextlib.contextmanager
def deployed(folder: str, settings: Settings, **parameters: str) -> Iterator[StackEnvironment]:
    """``folder`` keeps the logs; ``parameters`` of the template beside the usual ones."""
    tokens: list[str] = []

    def new_token() -> str:
        tokens.append(secrets.token_urlsafe(32))
        return tokens[-1]

    state = STATE / folder
    shutil.rmtree(state / "logs", ignore_errors=True)
    with CelonisSimulator(new_token=new_token) as simulator:
        stack = LocalStack.deploy(
            template=ROOT / "template.yaml",
            stack_name=STACK_NAME,
            parameters={**PARAMETERS, **parameters},
            state_dir=state,
            settings=settings,
        )
        with stack:
            connect(stack, simulator)
            service, celonis = DeployedService(stack, simulator.url), CelonisControls(simulator.control_url)
            service.secrets += [world.CLIENT_SECRET, world.APP_KEY, world.API_KEY]
            yield StackEnvironment(LocalService(stack, simulator), service, celonis, tokens)
            service.close()
            celonis.close()
