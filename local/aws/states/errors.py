"""Errors of states, and which retriers and catchers match them."""

from collections.abc import Sequence

TIMEOUT = "States.Timeout"
TASK_FAILED = "States.TaskFailed"
RUNTIME = "States.Runtime"
NO_CHOICE = "States.NoChoiceMatched"
DATA_LIMIT = "States.DataLimitExceeded"
QUERY = "States.QueryEvaluationError"

# Errors that States.ALL does not cover: they always end an execution.
_TERMINAL = {DATA_LIMIT, RUNTIME}
# Errors that States.TaskFailed covers: every failure of a task except a timeout.
_NOT_TASK_FAILED = {TIMEOUT, RUNTIME, DATA_LIMIT, QUERY, NO_CHOICE}


class StateError(Exception):
    """A state failed with an error name and a cause; a Fail state may omit either."""

    def __init__(self, error: str | None, cause: str | None = None) -> None:
        super().__init__(error, cause)
        self.error = error
        self.cause = cause

    def output(self) -> dict[str, str]:
        """Return `$states.errorOutput`, without a `Cause` if there is none."""
        return {"Error": self.error or ""} | ({} if self.cause is None else {"Cause": self.cause})


class BranchStopped(Exception):
    """This branch must end without its own outcome."""


class ExecutionTimedOut(Exception):
    """The whole execution ran longer than its TimeoutSeconds."""


def matches(names: Sequence[str], error: str | None) -> bool:
    """Return whether an ErrorEquals list covers this error."""
    if error in names:
        return True
    if "States.ALL" in names:
        return error not in _TERMINAL
    return "States.TaskFailed" in names and error not in _NOT_TASK_FAILED
