"""The errors that the tool shows. Everything else is a bug and shows its traceback."""

from __future__ import annotations

EXIT_FAILED = 1
"""The run did not succeed, or a check found mistakes."""
EXIT_ERROR = 2
"""The command could not be executed: bad input, no access, no answer. Click uses it for wrong usage, too."""
EXIT_INTERRUPTED = 130
"""Ctrl-C, as shells number it."""


NO_REGION = (
    "Set --region or AWS_REGION, or a region in the profile; to work on this machine without AWS, run make "
    "local."
)
"""What to do if no AWS region is set."""


class CliError(Exception):
    """A command could not be executed.

    ``what`` happened, without a full stop; to ``which`` thing; what to do: ``action``, one sentence.
    """

    def __init__(self, what: str, which: str = "", action: str = "") -> None:
        self.what = what
        self.which = which
        self.action = action
        super().__init__(self.sentence)

    @property
    def fact(self) -> str:
        """``What: which.``"""
        return _ended(f"{self.what}: {self.which}" if self.which else self.what)

    @property
    def sentence(self) -> str:
        """``What: which. What to do.``"""
        return f"{self.fact} {self.action}".strip()

    def document(self) -> dict[str, str]:
        """Return the error for ``--json``."""
        return {"error": type(self).__name__, "what": self.what, "which": self.which, "action": self.action}


class UsageError(CliError):
    """A command, option or argument is unknown, missing or invalid."""


class ApiError(CliError):
    """The API answered with an error. ``status``: of HTTP; ``name``: of the error in ``docs/errors.md``."""

    def __init__(self, status: int, name: str, what: str, which: str, action: str = "") -> None:
        super().__init__(what, which, action)
        self.status = status
        self.name = name

    @property
    def fact(self) -> str:
        """As of every error, but without the thing if what happened names it already."""
        is_named = bool(self.which) and self.which.split()[-1] in self.what
        return _ended(self.what) if is_named else super().fact

    def document(self) -> dict[str, str]:
        return {**super().document(), "error": self.name}


class ApiUnavailable(ApiError):
    """The API did not answer, or said that it cannot answer now. The request can be sent again.

    ``status``: 0 without an answer.
    """


def _ended(fact: str) -> str:
    return fact if fact.endswith((".", "!", "?")) else f"{fact}."
