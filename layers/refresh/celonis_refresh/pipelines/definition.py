"""A pipeline's definition: data jobs, then data model loads.

The JSON of a definition lives in a parameter (``/{stack}/pipelines/{name}``) or, with a ``name``, in the
input of an execution. Every field is described in docs/configuration.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from celonis_refresh.celonis import addresses
from celonis_refresh.pipelines.modes import LoadKind, Mode

HOUR = 3600
MAX_STEPS = 20
"""Jobs, and loads, in one pipeline: keeps a run's history and state far below what Step Functions allows."""
MAX_TABLES = 200
"""Tables of a partial load; more than that is a complete load."""
MAX_DOCUMENT = 64 * 1024
"""Characters of a definition: it is kept in the run's record, whose size is limited."""

NAME_PATTERN = r"^[A-Za-z][A-Za-z0-9_-]{0,47}$"
"""Short enough for an execution's name (80 characters) to hold it, a date and eight characters more."""
CONNECTION_PATTERN = r"^[a-z][a-z0-9-]{0,31}$"
"""Narrow on purpose: the value of a secret does not look like this, so it is refused and never repeated."""


def _name(pattern: str, expected: str) -> AfterValidator:
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(expected)
        return value

    return AfterValidator(check)


def _address(parse: Callable[[str], addresses.Address]) -> AfterValidator:
    def check(value: str) -> str:
        parse(value)
        return value

    return AfterValidator(check)


PipelineName = Annotated[
    str, _name(NAME_PATTERN, "expected a letter, then up to 47 letters, digits, hyphens or underscores")
]
ConnectionName = Annotated[
    str,
    _name(
        CONNECTION_PATTERN,
        "expected a connection's name (lower-case letters, digits, hyphens; at most 32), not its secret",
    ),
]
Flag = Annotated[bool, Field(strict=True)]
Seconds = Annotated[int, Field(strict=True)]
Timeout = Annotated[Seconds, Field(ge=10, le=7 * 24 * HOUR)]
TableName = Annotated[str, Field(min_length=1, max_length=256)]


class _Strict(BaseModel):
    # What is read is built when it is first read; a step is built as a part of its definition.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class JobStep(_Strict):
    """A data job to execute."""

    job: Annotated[str, _address(addresses.parse_job)]
    mode: Mode = Mode.FULL
    timeout: Timeout = 6 * HOUR

    @property
    def job_id(self) -> str:
        return addresses.parse_job(self.job).id


class LoadStep(_Strict):
    """A data model to load."""

    data_model: Annotated[str, _address(addresses.parse_model)]
    kind: LoadKind = LoadKind.COMPLETE
    tables: Annotated[tuple[TableName, ...], Field(max_length=MAX_TABLES)] = ()
    timeout: Timeout = 6 * HOUR
    on_warning: Literal["succeed", "fail"] = "succeed"
    started_by: Literal["run", "job"] = "run"

    @property
    def data_model_id(self) -> str:
        return addresses.parse_model(self.data_model).id

    @model_validator(mode="after")
    def _tables_belong_to_partial(self) -> LoadStep:
        if self.kind is LoadKind.PARTIAL and not self.tables:
            raise ValueError("a partial load needs tables: a list of ids, names or aliases")
        if self.kind is not LoadKind.PARTIAL and self.tables:
            raise ValueError('tables are for a load of kind "partial" only')
        if self.started_by == "job" and "kind" in self.model_fields_set:
            raise ValueError('a load that is started_by a "job" is what that job makes it: leave out kind')
        return self


class Polling(_Strict):
    """Bounds of the wait between two looks, in seconds; no longest wait where ``ceiling`` is None."""

    floor: Annotated[Seconds, Field(ge=1, le=HOUR)] = 2
    ceiling: Annotated[Seconds | None, Field(ge=1, le=7 * 24 * HOUR)] = None

    @model_validator(mode="after")
    def _ordered(self) -> Polling:
        if self.ceiling is not None and self.floor > self.ceiling:
            raise ValueError("floor must not be greater than ceiling")
        return self


def _branch(entry: object) -> str:
    return "<group>" if isinstance(entry, list | tuple) else "<job>"


Group = Annotated[tuple[JobStep, ...], Field(min_length=1, max_length=MAX_STEPS)]
Stage = Annotated[
    Annotated[JobStep, Tag("<job>")] | Annotated[Group, Tag("<group>")],
    Discriminator(_branch),
]


class Definition(_Strict):
    """A pipeline: stages of jobs in order, then loads side by side."""

    data_pool: Annotated[str, _address(addresses.parse_pool)]
    connection: ConnectionName = "default"
    jobs: Annotated[tuple[Stage, ...], Field(max_length=MAX_STEPS)] = ()
    loads: Annotated[tuple[LoadStep, ...], Field(max_length=MAX_STEPS)] = ()
    settle: Annotated[Seconds, Field(ge=1, le=HOUR)] = 120
    poll: Polling = Polling()
    cancel_on_stop: Flag = True
    when_busy: Literal["wait", "fail"] = "wait"
    when_running: Literal["join", "skip"] = "join"
    paused: Flag = False

    @property
    def data_pool_id(self) -> str:
        return addresses.parse_pool(self.data_pool).id

    def stages(self) -> Iterator[tuple[JobStep, ...]]:
        """The jobs in order; those of one stage run side by side."""
        for entry in self.jobs:
            yield (entry,) if isinstance(entry, JobStep) else entry

    def places(self) -> Iterator[tuple[str, addresses.Address]]:
        """The pool, the jobs and the data models as the definition names them, with their places in it."""
        yield "data_pool", addresses.parse_pool(self.data_pool)
        for number, entry in enumerate(self.jobs):
            if isinstance(entry, JobStep):
                yield f"jobs.{number}.job", addresses.parse_job(entry.job)
            else:
                for inner, step in enumerate(entry):
                    yield f"jobs.{number}.{inner}.job", addresses.parse_job(step.job)
        for number, load in enumerate(self.loads):
            yield f"loads.{number}.data_model", addresses.parse_model(load.data_model)

    def host(self) -> str | None:
        """The Celonis host that the page addresses name, if any does."""
        return next((address.host for _, address in self.places() if address.host), None)


class InlineDefinition(Definition):
    """A definition that came with its execution and so carries its own name."""

    name: PipelineName
