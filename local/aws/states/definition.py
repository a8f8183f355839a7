"""The supported part of the Amazon States Language; a deployment rejects anything else."""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from local.aws.states.expressions import check_syntax

Machine = Mapping[str, Any]

_COMMON = {"Type", "Comment", "QueryLanguage"}
_FLOW = {"Next", "End"}
_RESULTS = {"Assign", "Output"}
_FAILURES = {"Retry", "Catch"}
_FIELDS: dict[str, set[str]] = {
    "Task": {"Resource", "Arguments", "TimeoutSeconds"} | _FLOW | _RESULTS | _FAILURES,
    "Pass": _FLOW | _RESULTS,
    "Wait": {"Seconds", "Timestamp"} | _FLOW | _RESULTS,
    "Choice": {"Choices", "Default"} | _RESULTS,
    "Succeed": {"Output"},
    "Fail": {"Error", "Cause"},
    "Parallel": {"Branches", "Arguments"} | _FLOW | _RESULTS | _FAILURES,
    "Map": {"Items", "ItemSelector", "ItemProcessor", "MaxConcurrency"} | _FLOW | _RESULTS | _FAILURES,
}  # fmt: skip
_MACHINE = {"Comment", "QueryLanguage", "StartAt", "States", "TimeoutSeconds", "Version", "ProcessorConfig"}
_PARTS = {
    "Catch": {"ErrorEquals", "Next", "Assign", "Output", "Comment"},
    "Choices": {"Condition", "Next", "Assign", "Output", "Comment"},
    "Retry": {
        "ErrorEquals", "IntervalSeconds", "MaxAttempts", "BackoffRate", "MaxDelaySeconds", "JitterStrategy",
        "Comment",
    },
}  # fmt: skip
_RESOURCE = re.compile(
    r"arn:aws:lambda:[^:]+:\d+:function:.+"
    r"|arn:aws:states:::(lambda:invoke|sns:publish|sqs:sendMessage|events:putEvents|states:startExecution"
    r"|dynamodb:(getItem|putItem|updateItem|deleteItem)|aws-sdk:[a-z0-9]+:[A-Za-z]+)"
)


class DefinitionError(ValueError):
    """The definition uses something that is not supported here or that Step Functions rejects."""


@functools.lru_cache(maxsize=64)
def load_definition(text: str) -> Machine:
    """Parse and check a definition. The result must not be changed.

    Raises DefinitionError naming the state and what is wrong with it.
    """
    machine: Machine = json.loads(text)
    _check_machine(machine, inherited=machine.get("QueryLanguage", "JSONPath"), outer=frozenset())
    return machine


def _check_machine(machine: Machine, inherited: str, outer: frozenset[str]) -> None:
    _refuse("the state machine", set(machine) - _MACHINE)
    states = machine["States"]
    if machine["StartAt"] not in states:
        raise DefinitionError(f"StartAt names {machine['StartAt']}, which is no state")
    names = frozenset(name for state in states.values() for name in _assigned(state))
    clash = names & outer
    if clash:
        raise DefinitionError(f"variables of an outer scope are assigned: {', '.join(sorted(clash))}")
    for name, state in states.items():
        _check_state(name, state, state.get("QueryLanguage", inherited), set(states), outer | names)


def _check_state(
    name: str, state: Machine, language: str, states: set[str], variables: frozenset[str]
) -> None:
    if language != "JSONata":
        raise DefinitionError(f"state {name}: only JSONata is run here")
    kind = state.get("Type", "")
    if kind not in _FIELDS:
        raise DefinitionError(f"state {name}: the type {kind!r} is unknown")
    _refuse(f"state {name}", set(state) - _FIELDS[kind] - _COMMON)
    _check_parts(name, state)
    unknown = sorted(set(_targets(state)) - states)
    if unknown:
        raise DefinitionError(f"state {name} leads to {', '.join(unknown)}, which is no state")
    if kind in ("Task", "Pass", "Wait", "Parallel", "Map") and ("Next" in state) == bool(state.get("End")):
        raise DefinitionError(f"state {name} needs either Next or End")
    if kind == "Task" and not _RESOURCE.fullmatch(state.get("Resource", "")):
        raise DefinitionError(f"state {name}: the resource {state.get('Resource')} is not run here")
    own = {key: value for key, value in state.items() if key not in ("ItemProcessor", "Branches")}
    try:
        check_syntax(own)
    except ValueError as error:
        raise DefinitionError(f"state {name}: {error}") from error
    _check_inner(name, state, language, variables)


def _check_parts(name: str, state: Machine) -> None:
    for part, fields in _PARTS.items():
        for entry in state.get(part, []):
            _refuse(f"{part} of state {name}", set(entry) - fields)


def _check_inner(name: str, state: Machine, language: str, variables: frozenset[str]) -> None:
    if state["Type"] == "Map":
        mode = state["ItemProcessor"].get("ProcessorConfig", {}).get("Mode", "INLINE")
        if mode != "INLINE":
            raise DefinitionError(f"state {name}: only inline maps are run here")
        _check_machine(state["ItemProcessor"], language, variables)
    for branch in state.get("Branches", []):
        _check_machine(branch, language, variables)


def _refuse(where: str, fields: set[str]) -> None:
    if fields:
        raise DefinitionError(f"{where} has fields that are not run here: {', '.join(sorted(fields))}")


def _targets(state: Machine) -> Iterator[str]:
    for holder in (state, *state.get("Catch", []), *state.get("Choices", [])):
        for key in ("Next", "Default"):
            if key in holder:
                yield holder[key]


def _assigned(state: Machine) -> Iterator[str]:
    for holder in (state, *state.get("Catch", []), *state.get("Choices", [])):
        yield from holder.get("Assign", {})
