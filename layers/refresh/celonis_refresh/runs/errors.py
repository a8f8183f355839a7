"""What the table says no with."""

from __future__ import annotations

from celonis_refresh.errors import RefreshError

CLOSING = "closing"


class RunNotFound(RefreshError):
    """No record of that run: it never was, has not begun, was given up, or its retention is over."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(
            f"There is no record of run {run_id!r}.",
            hint="List the runs to find the right id. A pending run has no record until it begins.",
        )


class RunClosed(RefreshError):
    """A task of a run that has ended already, for one redriven from the console; or that is being closed.

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
    """An inline definition or a retry cannot join; another run of that name is running, or waits."""

    def __init__(self, pipeline: str, run_id: str) -> None:
        self.pipeline = pipeline
        self.run_id = run_id
        super().__init__(
            f"Pipeline {pipeline!r} is busy with run {run_id}.",
            hint="An inline definition or a retry cannot join that run: try again when it has ended.",
        )


class PipelinePaused(RefreshError):
    """An inline definition or a retry cannot wait until the pause is lifted."""

    def __init__(self, pipeline: str) -> None:
        self.pipeline = pipeline
        super().__init__(
            f"Pipeline {pipeline!r} is paused.", hint="Try again when the pipeline is no longer paused."
        )


class PipelineSkips(RefreshError):
    """A run is running and the pipeline skips what comes meanwhile (``when_running: skip``)."""

    def __init__(self, pipeline: str, run_id: str) -> None:
        self.pipeline = pipeline
        self.run_id = run_id
        super().__init__(
            f"Pipeline {pipeline!r} skips triggers while run {run_id} is running.",
            hint="Start it again when the run has ended, or let it join (when_running: join).",
        )


class StepMoved(RefreshError):
    """Another task changed this step in the meantime. Nothing was written: read again."""

    def __init__(self, run_id: str, step: str) -> None:
        self.run_id = run_id
        self.step = step
        super().__init__(f"Step {step} of run {run_id} was changed by another task at the same time.")


class StaleBaseline(RefreshError):
    """The observation before a start does not show our last execution yet. Nothing was written."""

    def __init__(self, run_id: str, step: str) -> None:
        self.run_id = run_id
        self.step = step
        super().__init__(f"Celonis does not yet show the execution before step {step} of run {run_id} yet.")


class TableBusy(RefreshError):
    """Too much contention, which wrote nothing, or no answer in time: then it may be written, and asking
    again finds it."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The table did not accept the change in time ({reason}).", hint="Try again.")
