"""JSONata in a definition: a string `{% … %}` anywhere in a field stands for the result of the expression."""

import copy
import functools
import threading
from collections.abc import Mapping
from typing import Any

from jsonata.jsonata import Jsonata
from jsonata.utils import Utils

from local.aws.states.errors import QUERY, StateError
from local.aws.states.functions import bindings as added_functions

_OPEN, _CLOSE = "{%", "%}"
_compiling = threading.Lock()


def is_expression(node: Any) -> bool:
    return isinstance(node, str) and node.startswith(_OPEN) and node.endswith(_CLOSE)


def evaluate(node: Any, states: Mapping[str, Any], variables: Mapping[str, Any], field: str) -> Any:
    """Return `node` with its expressions evaluated, in which `$states` and the variables are bound.

    Raises StateError States.QueryEvaluationError if an expression fails or has no result.
    """
    if is_expression(node):
        return _evaluate(node[2:-2].strip(), states, variables, field)
    if isinstance(node, dict):
        return {key: evaluate(value, states, variables, field) for key, value in node.items()}
    if isinstance(node, list):
        return [evaluate(value, states, variables, field) for value in node]
    return node


def check_syntax(node: Any) -> None:
    """Raises ValueError when an expression somewhere in `node` cannot be parsed."""
    if is_expression(node):
        try:
            _compiled(node[2:-2].strip())
        except Exception as error:
            raise ValueError(f"{node}: {_words(error)}") from error
    elif isinstance(node, dict | list):
        for value in node.values() if isinstance(node, dict) else node:
            check_syntax(value)


def _evaluate(text: str, states: Mapping[str, Any], variables: Mapping[str, Any], field: str) -> Any:
    bound = {**added_functions(), **{name: _to_jsonata(value) for name, value in variables.items()}}
    bound["states"] = _to_jsonata(states)
    try:
        result = _run(text, bound)
    except Exception as error:
        raise StateError(QUERY, _cause(text, field, f"threw an error: {_words(error)}")) from error
    if result is None:
        raise StateError(QUERY, _cause(text, field, "returned nothing (undefined)"))
    return _to_json(result, text, field)


def _run(text: str, bound: Mapping[str, Any]) -> Any:
    compiled = copy.copy(_compiled(text))
    compiled.environment = compiled.create_frame(Jsonata.static_frame)
    compiled.set_output_convert_nulls(False)
    # The library reads the time of $now() and the scope of nested evaluations here.
    Jsonata.CURRENT.jsonata = compiled
    return compiled.evaluate(None, bound)


@functools.lru_cache(maxsize=2048)
def _compiled(text: str) -> Jsonata:
    with _compiling:
        return Jsonata(text)


def _to_jsonata(value: Any) -> Any:
    """JSON's null is a value of its own in JSONata, unlike nothing at all."""
    if value is None:
        return Utils.NULL_VALUE
    if isinstance(value, dict):
        return {key: _to_jsonata(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_to_jsonata(item) for item in value]
    return value


def _to_json(value: Any, text: str, field: str) -> Any:
    if value is Utils.NULL_VALUE:
        return None
    if isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, dict):
        return {str(key): _to_json(item, text, field) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(item, text, field) for item in value]
    raise StateError(QUERY, _cause(text, field, "returned a value that is no JSON"))


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _cause(text: str, field: str, what: str) -> str:
    return f"The JSONata expression '{text}' specified for the field '{field}' {what}."
