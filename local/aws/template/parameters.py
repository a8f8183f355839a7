"""Template parameters, checked as CloudFormation checks them before it creates anything."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from local.aws.errors import TemplateError

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")

Value = str | list[str]


def resolve_parameters(
    declared: Mapping[str, Mapping[str, Any]],
    values: Mapping[str, str],
    read_ssm: Callable[[str], str],
) -> dict[str, Value]:
    """Return the value of each declared parameter: the given one or its default.

    `read_ssm` serves parameters of type `AWS::SSM::Parameter::Value<…>`. Raises TemplateError for an unknown
    name, a missing value, and a value that AllowedValues, AllowedPattern, a minimum or a maximum rejects.
    """
    unknown = sorted(set(values) - set(declared))
    if unknown:
        raise TemplateError(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    missing = sorted(name for name, spec in declared.items() if name not in values and "Default" not in spec)
    if missing:
        raise TemplateError(f"Parameters: [{', '.join(missing)}] must have values")
    return {name: _resolve(name, spec, values, read_ssm) for name, spec in declared.items()}


def _resolve(
    name: str, spec: Mapping[str, Any], values: Mapping[str, str], read_ssm: Callable[[str], str]
) -> Value:
    text = _text(values.get(name, spec.get("Default", "")))
    kind = str(spec.get("Type", "String"))
    if kind == "CommaDelimitedList" or kind.startswith("List<"):
        items = [item.strip() for item in text.split(",")] if text else []
        for item in items:
            _check(name, item, spec, numeric=kind == "List<Number>")
        return items
    _check(name, text, spec, numeric=kind == "Number")
    return read_ssm(text) if kind.startswith("AWS::SSM::Parameter::Value<") else text


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check(name: str, value: str, spec: Mapping[str, Any], *, numeric: bool) -> None:
    problem = _number_problem(value, spec) if numeric else _text_problem(value, spec)
    allowed = [_text(item) for item in spec.get("AllowedValues", [])]
    if allowed and value not in allowed:
        problem = f"must be one of {', '.join(allowed)}"
    if problem:
        hint = spec.get("ConstraintDescription")
        shown = "****" if spec.get("NoEcho") in (True, "true") else repr(value)
        raise TemplateError(f"Parameter {name} = {shown}: {hint or problem}")


def _number_problem(value: str, spec: Mapping[str, Any]) -> str | None:
    if not _NUMBER.fullmatch(value):
        return "must be a number"
    number = float(value)
    if "MinValue" in spec and number < float(spec["MinValue"]):
        return f"must be at least {spec['MinValue']}"
    if "MaxValue" in spec and number > float(spec["MaxValue"]):
        return f"must be at most {spec['MaxValue']}"
    return None


def _text_problem(value: str, spec: Mapping[str, Any]) -> str | None:
    if "AllowedPattern" in spec and not re.fullmatch(str(spec["AllowedPattern"]), value):
        return f"must match the pattern {spec['AllowedPattern']}"
    if "MinLength" in spec and len(value) < int(spec["MinLength"]):
        return f"must have at least {spec['MinLength']} characters"
    if "MaxLength" in spec and len(value) > int(spec["MaxLength"]):
        return f"must have at most {spec['MaxLength']} characters"
    return None
