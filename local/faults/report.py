"""Formats a line for each case: ``fault · expected · got``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class CaseResult:
    """``complaints``: violations, empty if there are none; the ``records`` help to explain them."""

    name: str
    expected: str
    outcome: str
    seconds: float
    complaints: tuple[str, ...] = ()
    records: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.complaints


@dataclass(frozen=True)
class Columns:
    """The widths of the columns, so that all lines are aligned."""

    name: int
    expected: int

    @staticmethod
    def of(names: Sequence[str], expected: Sequence[str]) -> Columns:
        return Columns(max(map(len, names), default=0), max(map(len, expected), default=0))

    def line(self, result: CaseResult) -> str:
        """Return the line of a case, followed by its violations."""
        status = "ok    " if result.passed else "FAILED"
        name, expected = result.name.ljust(self.name), result.expected.ljust(self.expected)
        line = f"{status} {name} · {expected} · {result.outcome} ({result.seconds:.1f} s)"
        return "\n".join([line, *(f"       - {each}" for each in result.complaints)])
