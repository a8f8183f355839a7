"""Errors raised when a conditional write is rejected or the table is busy."""

from __future__ import annotations

from celonis_refresh.errors import RefreshError

CLOSING = "closing"


class RunNotFound(RefreshError):
    """There is no record of the run: it does not exist, is pending, was dropped or has expired."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(
            f"There is no record of run {run_id!r}.",
            hint="List the runs to find the right id. A pending run has no record until it begins.",
        )


class RunClosed(RefreshError):
    """The run has ended or is being closed, so its tasks must not continue.

    ``status``: how it ended, or ``CLOSING``.
    """

    def __init__(self, run_id: str, status: str) -> None:
        self.run_id = run_id
        self.status = status
        what = "is being closed" if status == CLOSING else f"has ended already ({status})"
        retry = f"POST /runs/{run_id}/retry repeats what it did not finish; or start a new run."
        super().__init__(
            f"Run {run_id} {what}.",
            hint="Start a new run to refresh once more." if status == "SUCCEEDED" else retry,
        )


class PipelineBusy(RefreshError):
    """An inline definition or a retry cannot join, and another run of the pipeline is running or pending."""

    def __init__(self, pipeline: str, run_id: str) -> None:
        self.pipeline = pipeline
        self.run_id = run_id
        super().__init__(
            f"Pipeline {pipeline!r} is busy with run {run_id}.",
            hint="An inline definition or a retry cannot join that run: try again when it has ended.",
        )


class PipelinePaused(RefreshError):
    """An inline definition or a retry cannot wait for the end of a pause."""

    def __init__(self, pipeline: str) -> None:
        self.pipeline = pipeline
        super().__init__(
            f"Pipeline {pipeline!r} is paused.", hint="Try again when the pipeline is no longer paused."
        )


class PipelineSkips(RefreshError):
    """A run is running and the pipeline skips triggers in the meantime (``when_running: skip``)."""

    def __init__(self, pipeline: str, run_id: str) -> None:
        self.pipeline = pipeline
        self.run_id = run_id
        super().__init__(
            f"Pipeline {pipeline!r} skips triggers while run {run_id} is running.",
            hint="Start it again when the run has ended, or let it join (when_running: join).",
        )


class StepMoved(RefreshError):
    """Another task has changed this step. Nothing was written: read it again."""

    def __init__(self, run_id: str, step: str) -> None:
        self.run_id = run_id
        self.step = step
        super().__init__(f"Step {step} of run {run_id} was changed by another task at the same time.")


class StaleBaseline(RefreshError):
    """The observation before a start does not show our last execution. Nothing was written."""

    def __init__(self, run_id: str, step: str) -> None:
        self.run_id = run_id
        self.step = step
        super().__init__(f"Celonis does not yet show the execution before step {step} of run {run_id} yet.")


class TableBusy(RefreshError):
    """Too much contention and nothing was written, or no response in time and it may be written.

    ``is_read``: nothing was to be written.
    """

    def __init__(self, reason: str, *, is_read: bool = False) -> None:
        self.reason = reason
        what = "answer" if is_read else "accept the change"
        super().__init__(f"The table did not {what} in time ({reason}).", hint="Try again.")
