"""Errors of a step: how a job or load can fail.

RefreshError
└── StepFailed
    ├── JobFailed, JobCanceled, JobSkipped, JobTimedOut, JobBusy
    ├── LoadFailed, LoadCanceled, LoadWarned, LoadTimedOut, ModelBusy
    ├── StartAmbiguous, OutcomeUnproven, TakenOver    our execution is not proven
    └── StartIgnored                                  sent twice, proven not started
"""

from __future__ import annotations

from celonis_refresh.errors import RefreshError


class StepFailed(RefreshError):
    """A step of a run failed."""


class JobFailed(StepFailed):
    """The data job ended with FAIL."""


class JobCanceled(StepFailed):
    """The data job was cancelled in Celonis, by a user or by Celonis itself."""


class JobSkipped(StepFailed):
    """Celonis skipped the data job: nothing was extracted."""


class JobTimedOut(StepFailed):
    """The data job did not end within its timeout."""


class JobBusy(StepFailed):
    """The data job is running already and the pipeline does not wait (``when_busy: fail``)."""


class LoadFailed(StepFailed):
    """The data model load ended with ERROR."""


class LoadCanceled(StepFailed):
    """The data model load was cancelled in Celonis."""


class LoadWarned(StepFailed):
    """The load ended with WARNING and the pipeline treats that as a failure (``on_warning: fail``)."""


class LoadTimedOut(StepFailed):
    """The data model load did not end within its timeout."""


class ModelBusy(StepFailed):
    """The data model is being loaded already and the pipeline does not wait (``when_busy: fail``)."""


class StartAmbiguous(StepFailed):
    """More than one execution began after the baseline, so ours cannot be determined."""


class OutcomeUnproven(StepFailed):
    """No poll proves that our start took effect."""


class TakenOver(StepFailed):
    """Another user's execution replaced ours before its outcome could be read."""


class StartIgnored(StepFailed):
    """The start was sent twice and is proven not to have taken effect."""


def recorded_error(name: str, message: str, hint: str = "") -> StepFailed:
    """Return a recorded error under its name, so that a repeated task fails the same way.

    ``message``: with the ``hint``.
    """
    recorded: type[StepFailed] = type(name, (StepFailed,), {})
    return recorded(message.removesuffix(hint).rstrip(), hint=hint)
