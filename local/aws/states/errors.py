"""How a state fails, and which retriers and catchers that concerns."""

from collections.abc import Sequence

TIMEOUT = "States.Timeout"
TASK_FAILED = "States.TaskFailed"
RUNTIME = "States.Runtime"
NO_CHOICE = "States.NoChoiceMatched"
DATA_LIMIT = "States.DataLimitExceeded"
QUERY = "States.QueryEvaluationError"

# The two that States.ALL does not cover: they end an execution whatever it catches.
_TERMINAL = {DATA_LIMIT, RUNTIME}
# What States.TaskFailed stands for: every failure of a task but its time-out.
_NOT_TASK_FAILED = {TIMEOUT, RUNTIME, DATA_LIMIT, QUERY, NO_CHOICE}


class StateError(Exception):
    """A state failed with an error name and a cause; a Fail state may leave out either."""

    def __init__(self, error: str | None, cause: str | None = None) -> None:
        super().__init__(error, cause)
        self.error = error
        self.cause = cause

    def output(self) -> dict[str, str]:
        """`$states.errorOutput`: without a `Cause` where there is none."""
        return {"Error": self.error or ""} | ({} if self.cause is None else {"Cause": self.cause})


class BranchStopped(Exception):
    """This branch is to end without an outcome of its own."""


class ExecutionTimedOut(Exception):
    """The whole execution ran longer than its TimeoutSeconds."""


def matches(names: Sequence[str], error: str | None) -> bool:
    """Whether an ErrorEquals list names this error."""
    if error in names:
        return True
    if "States.ALL" in names:
        return error not in _TERMINAL
    return "States.TaskFailed" in names and error not in _NOT_TASK_FAILED
