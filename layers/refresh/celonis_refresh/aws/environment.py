"""The environment variables of each function, typed and read on first use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

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
    """Environment of every function. ``client_timeouts``: a key of ``clients.CLIENT_TIMEOUTS``."""

    stack_name: str
    table_name: str
    client_timeouts: str


class StarterEnvironment(TaskEnvironment, frozen=True):
    """Environment of a function that starts executions."""

    state_machine_arn: str


class CloserEnvironment(StarterEnvironment, frozen=True):
    """Environment of the function that closes runs."""

    notices_topic_arn: str
    run_retention_days: str


E = TypeVar("E", bound=TaskEnvironment)


def read(model: type[E], variables: Mapping[str, str]) -> E:
    """Return the fields of ``model`` from the variables of the same names in capitals."""
    found = {name: variables.get(name.upper(), "") for name in model.__struct_fields__}
    for name, value in found.items():
        if not value:
            raise EnvironmentIncomplete(name.upper())
    return model(**found)
