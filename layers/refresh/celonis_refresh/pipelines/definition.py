"""The definition of a pipeline: data jobs, then data model loads.

The JSON is in a parameter (``/{stack}/pipelines/{name}``) or, with a ``name``, in the input of an execution.
docs/configuration.md describes every field.
"""

# No annotations from __future__: msgspec would compile the text of each at a cold start.
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Final, Literal, NamedTuple, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType, field

from celonis_refresh.celonis import addresses
from celonis_refresh.errors import WHOLE, Problem
from celonis_refresh.names import PipelineName
from celonis_refresh.pipelines.errors import InvalidDefinition
from celonis_refresh.pipelines.fresh_within import FreshWithin
from celonis_refresh.validation.convert import InvalidField, PatternType, ValidatedType, convert

UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


def canonical_id(value: str) -> str:
    """Return the same text for all spellings of an id: a UUID in lower case, any other id unchanged."""
    return value.lower() if UUID.fullmatch(value) else value


class Mode(StrEnum):
    """What a data job extracts: ``DELTA`` only what changed, ``FULL`` everything."""

    DELTA = "DELTA"
    FULL = "FULL"


class LoadKind(StrEnum):
    """What a data model load reads from its source: nothing, some tables, everything."""

    FROM_CACHE = "from_cache"
    PARTIAL = "partial"
    COMPLETE = "complete"


HOUR = 3600
MAX_STEPS = 20
"""Jobs, and loads, in one pipeline, for the limits of Step Functions on history and state."""
MAX_TABLES = 200
"""Tables of a partial load; more are loaded by a complete load."""
MAX_DOCUMENT = 64 * 1024
"""Bytes of a definition, which is stored in the record of a run."""
MAX_TABLE_BYTES = 64 * 1024
"""Bytes of the names of a trigger's tables, which are stored too; more are loaded by a complete load."""

CONNECTION_PATTERN = r"^[a-z][a-z0-9-]{0,31}$"
"""Narrow, so that the value of a secret does not match and is never repeated."""


class ConnectionName(PatternType):
    """The name of a connection's secret."""

    PATTERN = CONNECTION_PATTERN
    EXPECTED = (
        "expected a connection's name (a lower-case letter, then up to 31 lower-case letters, digits or "
        f"hyphens: {CONNECTION_PATTERN}), not its secret"
    )


class ChannelName(PatternType):
    """The name of a notification channel: ``topic``, ``amazon-q``, or that of a channel's secret."""

    PATTERN = CONNECTION_PATTERN
    EXPECTED = (
        "expected the name of a channel: a lower-case letter, then up to 31 lower-case letters, digits or "
        f"hyphens ({CONNECTION_PATTERN})"
    )


class PoolReference(ValidatedType):
    """A data pool's id or the address of one of its pages."""

    @classmethod
    def checked(cls, text: str) -> str:
        addresses.parse_pool(text)
        return text


class JobReference(ValidatedType):
    """A data job's id or the address of its page."""

    @classmethod
    def checked(cls, text: str) -> str:
        addresses.parse_job(text)
        return text


class ModelReference(ValidatedType):
    """A data model's id or the address of its page."""

    @classmethod
    def checked(cls, text: str) -> str:
        addresses.parse_model(text)
        return text


class DisplayName(PatternType):
    """The name of a data job or data model in messages."""

    PATTERN = r"[^\x00-\x1f\x7f]{1,128}"
    EXPECTED = "expected a name of 1 to 128 characters without control characters"


Timeout = Annotated[int, Meta(ge=10, le=7 * 24 * HOUR)]
TableName = Annotated[str, Meta(min_length=1, max_length=256)]


class _Strict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Settings of all parts of a definition: no unknown fields, and no defaults in a run's record."""


class JobStep(_Strict, frozen=True, kw_only=True):
    """A data job to execute."""

    job: JobReference
    name: DisplayName = DisplayName("")
    mode: Mode = Mode.FULL
    timeout: Timeout = 6 * HOUR

    @property
    def job_id(self) -> str:
        return addresses.parse_job(self.job).id


class LoadStep(_Strict, frozen=True, kw_only=True):
    """A data model to load."""

    data_model: ModelReference
    # In records and events, the name is that of the definition only: no poll of a load shows it.
    name: DisplayName = DisplayName("")
    explicit_kind: LoadKind | UnsetType = field(default=UNSET, name="kind")
    tables: Annotated[tuple[TableName, ...], Meta(max_length=MAX_TABLES)] = ()
    timeout: Timeout = 6 * HOUR
    on_warning: Literal["succeed", "fail"] = "succeed"
    started_by: Literal["run", "job"] = "run"

    @property
    def kind(self) -> LoadKind:
        """The explicit kind or the default."""
        return self.explicit_kind or LoadKind.COMPLETE

    @property
    def data_model_id(self) -> str:
        return addresses.parse_model(self.data_model).id

    def __post_init__(self) -> None:
        if self.kind is LoadKind.PARTIAL and not self.tables:
            raise InvalidField("a partial load needs tables: a list of ids, names or aliases")
        if self.kind is not LoadKind.PARTIAL and self.tables:
            raise InvalidField('tables are for a load of kind "partial" only')
        if self.started_by == "job" and self.explicit_kind:
            raise InvalidField("a job decides the kind of a load that it starts: leave out kind")


class Polling(_Strict, frozen=True, kw_only=True):
    """Bounds of the wait between two polls in seconds; ``ceiling`` None: no maximum."""

    floor: Annotated[int, Meta(ge=1, le=HOUR)] = 2
    ceiling: Annotated[int, Meta(ge=1, le=7 * 24 * HOUR)] | None = None

    def __post_init__(self) -> None:
        if self.ceiling is not None and self.floor > self.ceiling:
            raise InvalidField("floor must not be greater than ceiling")


MAX_CHANNELS = 5
"""Channels of a pipeline: each is one more item in the transaction that ends a run."""


class Notify(_Strict, frozen=True, kw_only=True):
    """Who is notified of a pipeline's runs. Times in seconds.

    ``channels``: those of the stack if left out. ``repeat_after``: the same failure of the same step sends no
    other notification before. ``stuck_after``: how long a step of a run waits before a notification is sent.
    """

    channels: Annotated[tuple[ChannelName, ...], Meta(max_length=MAX_CHANNELS)] | UnsetType = UNSET
    repeat_after: Annotated[int, Meta(ge=0, le=7 * 24 * HOUR)] = 0
    stuck_after: Annotated[int, Meta(ge=300, le=7 * 24 * HOUR)] = HOUR

    def __post_init__(self) -> None:
        if self.channels and len(set(self.channels)) < len(self.channels):
            raise InvalidField("the same channel appears twice")


Group = Annotated[tuple[JobStep, ...], Meta(min_length=1, max_length=MAX_STEPS)]


class Definition(_Strict, frozen=True, kw_only=True):
    """A pipeline: stages of jobs in order, then loads in parallel."""

    data_pool: PoolReference
    connection: ConnectionName = ConnectionName("default")
    jobs: Annotated[tuple[JobStep | Group, ...], Meta(max_length=MAX_STEPS)] = ()
    loads: Annotated[tuple[LoadStep, ...], Meta(max_length=MAX_STEPS)] = ()
    settle: Annotated[int, Meta(ge=1, le=HOUR)] = 120
    poll: Polling = Polling()
    cancel_on_stop: bool = True
    when_busy: Literal["wait", "fail"] = "wait"
    when_running: Literal["join", "skip"] = "join"
    paused: bool = False
    notify: Notify = Notify()
    fresh_within: FreshWithin | None = None

    @property
    def data_pool_id(self) -> str:
        return addresses.parse_pool(self.data_pool).id

    def stages(self) -> Iterator[tuple[JobStep, ...]]:
        """Yield the stages of jobs in order; the jobs of one stage run in parallel."""
        for entry in self.jobs:
            yield (entry,) if isinstance(entry, JobStep) else entry

    def places(self) -> Iterator[tuple[str, addresses.Address]]:
        """Yield the pool, jobs and data models with their fields in the definition."""
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
        """Return the Celonis host of the page addresses, or None."""
        return next((address.host for _, address in self.places() if address.host), None)


class InlineDefinition(Definition, frozen=True, kw_only=True):
    """A definition in the input of an execution, with its own name."""

    name: PipelineName


class DefinitionPage(NamedTuple):
    """``texts``: definitions as JSON, by pipeline. ``token``: of the next page; None on the last."""

    texts: Mapping[str, str]
    token: str | None


D = TypeVar("D", bound=Definition)


def parse_definition(pipeline: str, text: str) -> Definition:
    """Return the definition in the text of a parameter. Raises ``InvalidDefinition``."""
    what = f"The definition of pipeline {pipeline!r}"
    _check_length(what, text, pipeline)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        problem = Problem(WHOLE, f"must be JSON: {error}")
        raise InvalidDefinition(what, [problem], pipeline=pipeline) from None
    return read_definition(what, Definition, document, pipeline)


def parse_inline(document: object) -> InlineDefinition:
    """Return the definition in the input of an execution. Raises ``InvalidDefinition``."""
    what = "The inline definition"
    _check_length(what, json.dumps(document, ensure_ascii=False, separators=(",", ":")))
    return read_definition(what, InlineDefinition, document)


def _check_length(what: str, text: str, pipeline: str = "") -> None:
    if len(text.encode(errors="replace")) > MAX_DOCUMENT:
        problem = Problem(WHOLE, f"at most {MAX_DOCUMENT} bytes")
        raise InvalidDefinition(what, [problem], pipeline=pipeline)


def read_definition(what: str, model: type[D], document: object, pipeline: str = "") -> D:
    """Return ``document`` as a definition. Raises ``InvalidDefinition`` with all problems."""

    def invalid(problems: Sequence[Problem]) -> InvalidDefinition:
        return InvalidDefinition(what, problems, pipeline=pipeline, notify=_readable_notify(document))

    definition = convert(model, document, invalid)
    if problems := list(_disagreements(definition)):
        raise invalid(problems)
    return definition


def _readable_notify(document: object) -> Notify | None:
    """Return the ``notify`` of a definition that is not valid, or its channels, if these can be read."""
    notify = document.get("notify") if isinstance(document, dict) else None
    if not isinstance(notify, dict):
        return None
    for part in (notify, {"channels": notify.get("channels")}):
        try:
            return convert(Notify, part, _Unreadable)
        except _Unreadable:
            continue
    return None


class _Unreadable(Exception):
    """A part of a definition cannot be read."""


def _disagreements(definition: Definition) -> Iterator[Problem]:
    """Yield the problems of a definition whose fields are valid one by one."""
    if not definition.jobs and not definition.loads:
        yield Problem(WHOLE, "needs at least one job or one load")
    yield from _of_jobs(definition)
    yield from _of_loads(definition)
    yield from _of_addresses(definition)


def _of_jobs(definition: Definition) -> Iterator[Problem]:
    stages = [[canonical_id(step.job_id) for step in stage] for stage in definition.stages()]
    if sum(map(len, stages)) > MAX_STEPS:
        yield Problem("jobs", f"at most {MAX_STEPS} in one pipeline")
    for number, stage in enumerate(stages):
        if _repeats(stage):
            yield Problem(f"jobs.{number}", "the same job appears twice in one group")


def _of_loads(definition: Definition) -> Iterator[Problem]:
    if _repeats([canonical_id(step.data_model_id) for step in definition.loads]):
        yield Problem("loads", "the same data model appears twice")
    for number, step in enumerate(definition.loads):
        if step.started_by == "job" and not definition.jobs:
            yield Problem(f"loads.{number}.started_by", "there is no job that could start the load")


def _of_addresses(definition: Definition) -> Iterator[Problem]:
    pool, host = canonical_id(definition.data_pool_id), definition.host()
    for place, address in definition.places():
        if address.pool_id is not None and canonical_id(address.pool_id) != pool:
            yield Problem(place, "the address belongs to another data pool than data_pool")
        elif address.host not in (None, host):
            yield Problem(place, "the address belongs to another Celonis team than the addresses before it")


def _repeats(ids: Sequence[str]) -> bool:
    return len(set(ids)) < len(ids)
