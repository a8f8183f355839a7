"""How a job or a load can end other than well. Each name says the cause; each text says what to do.

RefreshError
└── StepFailed
    ├── JobFailed, JobCanceled, JobSkipped, JobTimedOut, JobBusy
    ├── LoadFailed, LoadCanceled, LoadWarned, LoadTimedOut, ModelBusy
    ├── StartAmbiguous, OutcomeUnproven, TakenOver    what was seen cannot be proven ours
    └── StartIgnored                                  twice sent, provably never started
"""

from __future__ import annotations

from celonis_refresh.errors import RefreshError


class StepFailed(RefreshError):
    """A step of a run that did not end well."""


class JobFailed(StepFailed):
    """The data job ended with FAIL."""


class JobCanceled(StepFailed):
    """The data job was cancelled in Celonis, by a user or by Celonis itself."""


class JobSkipped(StepFailed):
    """Celonis skipped the data job: nothing was extracted."""


class JobTimedOut(StepFailed):
    """The data job did not end within its time-out."""


class JobBusy(StepFailed):
    """The data job is running already and the pipeline does not wait (``when_busy: fail``)."""


class LoadFailed(StepFailed):
    """The data model load ended with ERROR."""


class LoadCanceled(StepFailed):
    """Somebody cancelled the data model load in Celonis."""


class LoadWarned(StepFailed):
    """The load ended with WARNING and the pipeline takes that for a failure (``on_warning: fail``)."""


class LoadTimedOut(StepFailed):
    """The data model load did not end within its time-out."""


class ModelBusy(StepFailed):
    """The data model is being loaded already and the pipeline does not wait (``when_busy: fail``)."""


class StartAmbiguous(StepFailed):
    """More than one execution began after the baseline: which is ours cannot be determined."""


class OutcomeUnproven(StepFailed):
    """Nothing that was seen proves that our start took place."""


class TakenOver(StepFailed):
    """Somebody else's execution took the place of ours before its outcome could be read."""


class StartIgnored(StepFailed):
    """The start was sent twice and provably did not take place."""


def again(name: str, message: str) -> StepFailed:
    """An error that was recorded, under the name it had: a task that is repeated tells the same end."""
    recorded: type[StepFailed] = type(name, (StepFailed,), {})
    return recorded(message)
