"""Errors of definitions and triggers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from celonis_refresh.errors import Problem, RefreshError

if TYPE_CHECKING:
    from celonis_refresh.pipelines.definition import Notify

MAX_NAMED = 20
"""Existing pipelines that an error names."""
SIMILAR = 0.6
"""Minimum ratio of ``difflib`` for similar names, as in ``get_close_matches``."""


class InvalidInput(RefreshError):
    """Fields of a document are not valid.

    ``problems``: in the order of the document. ``what``: the document. ``pipeline``: its name, if known.
    """

    def __init__(self, what: str, problems: Sequence[Problem], *, hint: str = "", pipeline: str = "") -> None:
        self.what = what
        self.pipeline = pipeline
        self.problems = tuple(problems)
        text = "; ".join(f"{problem.field}: {problem.expected}" for problem in problems)
        super().__init__(f"{what} is not valid: {text}.", hint=hint)


class InvalidDefinition(InvalidInput):
    """The definition of a pipeline is not valid. ``notify``: its channels, if these can be read."""

    def __init__(
        self, what: str, problems: Sequence[Problem], *, pipeline: str = "", notify: Notify | None = None
    ) -> None:
        self.notify = notify
        super().__init__(what, problems, pipeline=pipeline)


class InvalidTrigger(InvalidInput):
    """The options of a run, or the input of an execution, are not valid."""


class UnknownPipeline(RefreshError):
    """No pipeline of that name is defined.

    ``where``: the parameter that would define it; ``existing``: names of all pipelines, None if
    the caller may not list them.
    """

    def __init__(self, pipeline: str, *, where: str, existing: Sequence[str] | None = None) -> None:
        self.pipeline = pipeline
        self.where = where
        self.existing = existing
        hint = f"Define it as the parameter {where}, or check the name."
        super().__init__(
            f"There is no pipeline named {pipeline!r}.",
            hint=hint if existing is None else f"{hint} {_known_pipelines(pipeline, existing)}",
        )

    def among(self, existing: Sequence[str]) -> UnknownPipeline:
        """Return the error with the existing pipelines, for a caller that may list them."""
        return UnknownPipeline(self.pipeline, where=self.where, existing=existing)


def _known_pipelines(name: str, existing: Sequence[str]) -> str:
    """Return a sentence with the existing pipelines, similar names first."""
    if not existing:
        return "No pipeline is defined yet."
    from difflib import SequenceMatcher  # only this error needs it

    def distance(other: str) -> tuple[float, str]:
        ratio = SequenceMatcher(None, name.lower(), other.lower()).ratio()
        return (-ratio if ratio >= SIMILAR else 0.0, other)

    first = sorted(existing, key=distance)
    more = f" and {len(first) - MAX_NAMED} more" if len(first) > MAX_NAMED else ""
    return f"Known pipelines: {', '.join(first[:MAX_NAMED])}{more}."
