"""What is wrong with a definition or a trigger, said so that its author can mend it."""

from __future__ import annotations

from collections.abc import Sequence

from celonis_refresh.errors import Problem, RefreshError


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
