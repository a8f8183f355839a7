"""What is wrong with a definition or a trigger, said so that its author can mend it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from celonis_refresh.errors import RefreshError

WHOLE = "(the whole document)"
"""Stands for a field where none can be named."""
EXPECTED = {
    "extra_forbidden": "is not a field that is known here",
    "missing": "is required",
    "string_type": "expected a text",
    "int_type": "expected a whole number",
    "bool_type": "expected true or false",
    "tuple_type": "expected a list",
    "model_type": "expected a JSON object",
    "too_short": "expected at least one entry",
}
"""What is said of pydantic's errors where its own words speak of Python's types."""


class Problem(NamedTuple):
    """One field and what was expected of it. The value itself is never repeated: it may be a secret."""

    field: str
    expected: str


class InvalidInput(RefreshError):
    """Fields that make no sense, each with what was expected.

    ``problems``: the fields, in the order of the document. ``what``: the document that was read.
    """

    def __init__(self, what: str, problems: Sequence[Problem], *, hint: str = "") -> None:
        self.what = what
        self.problems = tuple(problems)
        text = "; ".join(f"{problem.field}: {problem.expected}" for problem in problems)
        super().__init__(f"{what} is not valid: {text}.", hint=hint)


class InvalidDefinition(InvalidInput):
    """A pipeline's definition makes no sense."""


class InvalidTrigger(InvalidInput):
    """The wish for a run makes no sense: a wrong mode, a malformed input of an execution."""


class UnknownPipeline(RefreshError):
    """No pipeline of that name is defined."""

    def __init__(self, pipeline: str, *, where: str) -> None:
        self.pipeline = pipeline
        super().__init__(
            f"There is no pipeline named {pipeline!r}.",
            hint=f"Define it as the parameter {where}, or check the name.",
        )


def problems_of(errors: Sequence[Any]) -> list[Problem]:
    """The problems in a pydantic error list (made with ``include_input=False``)."""
    return [_problem(error) for error in errors]


def _problem(error: Any) -> Problem:
    where = ".".join(str(part) for part in error["loc"] if not _is_branch(part)) or WHOLE
    said = str(error["msg"]).removeprefix("Value error, ").replace("Tuple should", "List should")
    message = EXPECTED.get(error["type"], said)
    return Problem(where, message[:1].lower() + message[1:])


def _is_branch(part: str | int) -> bool:
    """The tag of a union's branch (``<job>``): a reader of the JSON does not see it."""
    return part in ("<job>", "<group>")
