"""The environment variables of each function, typed and read on first use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from msgspec import Struct

from celonis_refresh.errors import RefreshError


class EnvironmentIncomplete(RefreshError):
    """A variable that the template gives the function is missing or empty."""

    def __init__(self, variable: str) -> None:
        self.variable = variable
        super().__init__(
            f"The environment variable {variable} is not set.", hint="Deploy the stack's template as it is."
        )


class TaskEnvironment(Struct, frozen=True):
    """Environment of every function.

    ``client_timeouts``: a key of ``clients.CLIENT_TIMEOUTS``. ``event_bus``: the bus for run events.
    """

    stack_name: str
    table_name: str
    client_timeouts: str
    event_bus: str


class StarterEnvironment(TaskEnvironment, frozen=True):
    """Environment of a function that starts executions."""

    state_machine_arn: str


class NotifierEnvironment(StarterEnvironment, frozen=True):
    """Environment of a function that puts notifications into the outbox."""

    notification_channels: str


class CloserEnvironment(NotifierEnvironment, frozen=True):
    """Environment of a function that closes runs and sends notifications."""

    notices_topic_arn: str
    run_retention_days: str


ALLOW_HTTP_CALLBACKS: Final = "ALLOW_HTTP_CALLBACKS"
"""A variable of the local stack: callbacks may go to ``http://127.0.0.1``. The template never sets it."""


def allows_http_callbacks(variables: Mapping[str, str]) -> bool:
    """Return whether this is the local stack, where a receiver of callbacks has no certificate."""
    return variables.get(ALLOW_HTTP_CALLBACKS) == "true"


LOCAL_STACK: Final = "LOCAL_STACK"
"""A variable of the stack of ``make local``. The template never sets it."""


def is_local_stack(variables: Mapping[str, str]) -> bool:
    """Return whether this is the stack of ``make local``, which ``refresh`` finds without options."""
    return variables.get(LOCAL_STACK) == "true"


E = TypeVar("E", bound=TaskEnvironment)


def read(model: type[E], variables: Mapping[str, str]) -> E:
    """Return the fields of ``model`` from the variables of the same names in capitals."""
    values = {name: variables.get(name.upper(), "") for name in model.__struct_fields__}
    for name, value in values.items():
        if not value:
            raise EnvironmentIncomplete(name.upper())
    return model(**values)
