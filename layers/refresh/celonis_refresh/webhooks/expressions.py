"""JMESPath, checked when a configuration is read and bounded when it is applied."""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any, Final

import jmespath
from jmespath.exceptions import EmptyExpressionError, JMESPathError, LexerError, ParseError
from jmespath.functions import Functions
from jmespath.parser import ParsedResult
from jmespath.visitor import TreeInterpreter

MAX_WORK: Final = 250_000
"""Visits of nodes, and nodes of what they made: some ten times what the largest event with tables takes."""
_CHARACTERS_PER_NODE: Final = 64
"""Letters of a text that count as node node."""
_PROJECTIONS: Final = frozenset({"filter_projection", "flatten", "projection", "value_projection"})
"""Kinds of nodes that make a list of what is there."""
_CONSTRUCTORS: Final = frozenset({"function_expression", "multi_select_dict", "multi_select_list"})
"""Kinds of nodes that make something out of what is there, perhaps the same thing many times."""
_FUNCTIONS: Final = Functions()


class TooMuchWork(ValueError):
    """The expression would take more than ``MAX_WORK``."""


class BoundedInterpreter(TreeInterpreter):
    """For node search."""

    def __init__(self) -> None:
        super().__init__()
        self._left = MAX_WORK

    def visit(self, node: Any, *values: Any, **named: Any) -> Any:
        self._spend(1)
        result = super().visit(node, *values, **named)
        if node["type"] in _CONSTRUCTORS:
            self._spend(_weight(result, self._left))
        elif node["type"] in _PROJECTIONS and result:
            self._spend(len(result))
        return result

    def visit_function_expression(self, node: Any, value: Any) -> Any:
        arguments = [self.visit(child, value) for child in node["children"]]
        if node["value"] == "join":
            self._spend(_joined(arguments))
        return _FUNCTIONS.call_function(node["value"], arguments)

    def _spend(self, work: int) -> None:
        self._left -= work
        if self._left < 0:
            raise TooMuchWork


def _weight(value: object, limit: int) -> int:
    """Return the nodes of a value, each as often as it stands there; counting ends above ``limit``."""
    nodes, weight = [value], 0
    while nodes and weight <= limit:
        node = nodes.pop()
        weight += 1
        if isinstance(node, str):
            weight += len(node) // _CHARACTERS_PER_NODE
        elif isinstance(node, list):
            nodes += node
        elif isinstance(node, dict):
            nodes += node.values()
    return weight


def _joined(arguments: list[Any]) -> int:
    """Return what the separators of a ``join`` weigh, before it is made."""
    match arguments:
        case [str() as separator, list() as parts]:
            return len(separator) * len(parts) // _CHARACTERS_PER_NODE
    return 0


MAX_EXPRESSION: Final = 1000
"""Characters."""

MAX_NESTING: Final = 50
"""Open brackets. The parser is recursive, and where Python ends it depends on who called."""

_EVALUATION_ERRORS: Final = (
    JMESPathError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""The library lets some of Python's own errors through, for instance for a slice with step 0."""


class PathError(ValueError):
    """An expression that is not JMESPath, or that cannot be applied to a document."""


def check_path(expression: str) -> str:
    """Return the expression itself. Raises ``PathError`` with the position, counted from 0."""
    _compiled(expression)
    return expression


def search(expression: str, document: object) -> Any:
    """Return what the expression finds in ``document``; None if nothing. Raises ``PathError``."""
    compiled = _compiled(expression)
    try:
        return BoundedInterpreter().visit(compiled.parsed, document)
    except TooMuchWork:
        raise PathError("takes too much work for this event") from None
    except _EVALUATION_ERRORS as error:
        raise PathError(f"cannot be applied to this event ({type(error).__name__})") from None


def is_true(expression: str, document: object) -> bool:
    """Return whether the expression gives true; node that cannot be applied to ``document`` does not."""
    try:
        return search(expression, document) is True
    except PathError:
        return False


def _nesting(expression: str) -> int:
    """At least as deep as the expression nests: brackets inside of texts count too."""
    depth = deepest = 0
    for char in expression:
        depth += (char in "([{") - (char in ")]}")
        deepest = max(deepest, depth)
    return deepest


@lru_cache(maxsize=512)
def _compiled(expression: str) -> ParsedResult:
    if len(expression) > MAX_EXPRESSION:
        raise PathError(f"expected at most {MAX_EXPRESSION} characters of JMESPath")
    if _nesting(expression) > MAX_NESTING:
        raise PathError("nested too deeply")
    try:
        compiled = _parsed(expression)
        _check_functions(expression, compiled.parsed)
    except EmptyExpressionError:
        raise PathError("expected JMESPath, found nothing") from None
    except LexerError as error:
        raise PathError(f"not JMESPath at position {error.lexer_position}") from None
    except ParseError as error:
        raise PathError(f"not JMESPath at position {error.lex_position}") from None
    except PendingDeprecationWarning:
        raise PathError("expected JSON between backticks; put text in single quotes") from None
    except RecursionError:
        raise PathError("nested too deeply") from None
    return compiled


def _parsed(expression: str) -> ParsedResult:
    """Return the library still takes any text for a literal, with a warning; a later node will not."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", PendingDeprecationWarning)
        return jmespath.compile(expression)


def _check_functions(expression: str, node: Any) -> None:
    """The library looks functions up when it applies them; a typing error should not wait for an event."""
    if node["type"] == "function_expression":
        known = Functions.FUNCTION_TABLE.get(node["value"])
        if known is None:
            position = expression.find(node["value"])
            raise PathError(f"unknown function at position {position}")
    for child in node["children"]:
        if isinstance(child, dict):
            _check_functions(expression, child)
