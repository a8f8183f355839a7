"""Reading a definition: its fields one by one, then whether they go together.

The text is a parameter's (``/{stack}/pipelines/{name}``) or, with a ``name``, part of an execution's input.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TypeVar

from celonis_refresh.errors import WHOLE, Problem
from celonis_refresh.pipelines.definition import MAX_DOCUMENT, MAX_STEPS, Definition, InlineDefinition
from celonis_refresh.pipelines.errors import InvalidDefinition
from celonis_refresh.pipelines.ids import canonical_id
from celonis_refresh.validation.convert import convert

D = TypeVar("D", bound=Definition)


def parse_definition(pipeline: str, text: str) -> Definition:
    """The definition in a parameter's text. Raises ``InvalidDefinition``."""
    what = f"The definition of pipeline {pipeline!r}"
    _check_length(what, text)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidDefinition(what, [Problem(WHOLE, f"must be JSON: {error}")]) from None
    return read_definition(what, Definition, document)


def parse_inline(document: object) -> InlineDefinition:
    """The definition in an execution's input. Raises ``InvalidDefinition``."""
    what = "The inline definition"
    _check_length(what, json.dumps(document, ensure_ascii=False, separators=(",", ":")))
    return read_definition(what, InlineDefinition, document)


def _check_length(what: str, text: str) -> None:
    if len(text.encode(errors="replace")) > MAX_DOCUMENT:
        raise InvalidDefinition(what, [Problem(WHOLE, f"at most {MAX_DOCUMENT} bytes")])


def read_definition(what: str, model: type[D], document: object) -> D:
    """Validates ``document``; every problem names its field and never repeats a value."""
    definition = convert(model, document, partial(InvalidDefinition, what))
    if problems := list(_disagreements(definition)):
        raise InvalidDefinition(what, problems)
    return definition


def _disagreements(definition: Definition) -> Iterator[Problem]:
    """What is wrong with a definition whose every field is right by itself."""
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
