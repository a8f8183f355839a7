"""JMESPath expressions: validated when a configuration is read, limited when they are evaluated."""

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
"""Visited nodes plus nodes of created values: about ten times what the largest event with tables needs."""
_CHARACTERS_PER_NODE: Final = 64
"""Characters of a text that count as one node."""
_PROJECTIONS: Final = frozenset({"filter_projection", "flatten", "projection", "value_projection"})
"""Types of nodes that create a list of existing values."""
_CONSTRUCTORS: Final = frozenset({"function_expression", "multi_select_dict", "multi_select_list"})
"""Types of nodes that create values, which may contain the same value many times."""
_FUNCTIONS: Final = Functions()


class TooMuchWork(ValueError):
    """The expression exceeds ``MAX_WORK``."""


class BoundedInterpreter(TreeInterpreter):
    """Evaluates one expression and counts its work."""

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
    """Return the number of nodes of a value, counting repeated ones; stops above ``limit``."""
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
    """Return the weight of the separators of a ``join`` before it is evaluated."""
    match arguments:
        case [str() as separator, list() as parts]:
            return len(separator) * len(parts) // _CHARACTERS_PER_NODE
    return 0


MAX_EXPRESSION: Final = 1000
"""Characters."""

MAX_NESTING: Final = 50
"""Open brackets. The parser is recursive, so that its limit would depend on the caller."""

_EVALUATION_ERRORS: Final = (
    JMESPathError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""Errors of evaluation; the library lets some of Python's through, for instance for a slice with step 0."""


class PathError(ValueError):
    """The expression is not valid JMESPath or cannot be applied to a document."""


def check_path(expression: str) -> str:
    """Return the expression if it is valid. Raises ``PathError`` with the position, counted from 0."""
    _compiled(expression)
    return expression


def search(expression: str, document: object) -> Any:
    """Return the result of the expression, None if there is none. Raises ``PathError``."""
    compiled = _compiled(expression)
    try:
        return BoundedInterpreter().visit(compiled.parsed, document)
    except TooMuchWork:
        raise PathError("takes too much work for this event") from None
    except _EVALUATION_ERRORS as error:
        raise PathError(f"cannot be applied to this event ({type(error).__name__})") from None


def is_true(expression: str, document: object) -> bool:
    """Return whether the result is true; False if the expression cannot be applied to ``document``."""
    try:
        return search(expression, document) is True
    except PathError:
        return False


def _nesting(expression: str) -> int:
    """Return an upper bound of the nesting: brackets inside of texts count too."""
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
    """Return the parsed expression; refuse literals that the library only warns about."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", PendingDeprecationWarning)
        return jmespath.compile(expression)


def _check_functions(expression: str, node: Any) -> None:
    """Check that all functions exist; the library would check it only on evaluation."""
    if node["type"] == "function_expression":
        function = Functions.FUNCTION_TABLE.get(node["value"])
        if function is None:
            position = expression.find(node["value"])
            raise PathError(f"unknown function at position {position}")
    for child in node["children"]:
        if isinstance(child, dict):
            _check_functions(expression, child)
