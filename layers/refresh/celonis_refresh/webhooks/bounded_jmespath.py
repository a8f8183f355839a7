"""JMESPath within bounds: an expression whose work or result grows out of hand is given up.

A thousand characters are enough to double a list a hundred times.
"""

from __future__ import annotations

from typing import Any, Final

from jmespath.functions import Functions
from jmespath.visitor import TreeInterpreter

MAX_WORK: Final = 250_000
"""Visits of nodes, and nodes of what they made: some ten times what the largest event with tables takes."""
_LETTERS: Final = 64
"""Letters of a text that count as one node."""
_LISTING: Final = frozenset({"filter_projection", "flatten", "projection", "value_projection"})
"""Kinds of nodes that make a list of what is there."""
_MAKING: Final = frozenset({"function_expression", "multi_select_dict", "multi_select_list"})
"""Kinds of nodes that make something out of what is there, perhaps the same thing many times."""
_FUNCTIONS: Final = Functions()


class TooMuchWork(ValueError):
    """The expression would take more than ``MAX_WORK``."""


class BoundedInterpreter(TreeInterpreter):
    """For one search."""

    def __init__(self) -> None:
        super().__init__()
        self._left = MAX_WORK

    def visit(self, node: Any, *values: Any, **named: Any) -> Any:
        self._spend(1)
        result = super().visit(node, *values, **named)
        if node["type"] in _MAKING:
            self._spend(_weight(result, self._left))
        elif node["type"] in _LISTING and result:
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


def _weight(value: object, most: int) -> int:
    """The nodes of a value, each as often as it stands there; counting ends above ``most``."""
    waiting, weight = [value], 0
    while waiting and weight <= most:
        one = waiting.pop()
        weight += 1
        if isinstance(one, str):
            weight += len(one) // _LETTERS
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            waiting += one.values()
    return weight


def _joined(arguments: list[Any]) -> int:
    """What the separators of a ``join`` weigh, before it is made."""
    match arguments:
        case [str() as separator, list() as parts]:
            return len(separator) * len(parts) // _LETTERS
    return 0
