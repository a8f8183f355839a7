"""The JSON that the runs API and the webhooks answer with."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

Status = Literal["OPENING", "RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]


class StartedRun(TypedDict):
    """What became of a trigger of one pipeline."""

    pipeline: str
    run_id: str
    status: Literal["started", "joined", "skipped", "duplicate"]


class Started(TypedDict):
    """The answer to a start or a retry; ``duplicate``: the same request led to these runs before."""

    runs: list[StartedRun]
    duplicate: NotRequired[bool]
    retry_of: NotRequired[str]


class Cancelling(TypedDict):
    """The answer to a cancel; ``dropped``: what waited behind the run and was given up."""

    run_id: str
    status: Literal["cancelling"]
    dropped: NotRequired[dict[str, Any]]


class Dropped(TypedDict):
    """The answer to a cancel of a run that waited: it will not begin."""

    run_id: str
    status: Literal["dropped"]
    options: dict[str, Any]


class Summary(TypedDict):
    """A run in a list. Dates are ISO 8601 in UTC."""

    run_id: str
    pipeline: str
    status: Status
    created_at: str
    ended_at: NotRequired[str]
    error: NotRequired[str]
    outcome: NotRequired[str]


class Record(TypedDict):
    """All that is known of a run; docs/runs.md says field by field what it means."""

    run_id: str
    pipeline: str
    status: Status
    created_at: str
    options: dict[str, Any]
    steps: dict[str, dict[str, Any]]
    started_at: NotRequired[str]
    ended_at: NotRequired[str]
    outcome: NotRequired[str]
    error: NotRequired[str]
    definition: NotRequired[dict[str, Any]]
    loads: NotRequired[dict[str, Any]]
    warnings: NotRequired[list[str]]
    retry_of: NotRequired[str]
    skip: NotRequired[list[str]]
    skip_since: NotRequired[str]
    execution_arn: NotRequired[str]
    follow_up: NotRequired[str]
    notified_at: NotRequired[str]


class Waiting(TypedDict):
    """A run that has not begun; ``waiting_for_run``: the current run, null where a pause is or was."""

    run_id: str
    pipeline: str
    status: Literal["WAITING"]
    waiting_for_run: str | None
    options: dict[str, Any]


class RunsPage(TypedDict):
    """Runs, newest first; ``before`` asks for the next page and is null on the last."""

    runs: list[Summary]
    before: str | None


class Pipelines(TypedDict):
    """The names of the pipelines."""

    pipelines: list[str]


class PipelineView(TypedDict):
    """How a pipeline stands."""

    pipeline: str
    paused: bool
    active_run: str | None
    waiting: dict[str, Any] | None
    last_success: Summary | None
    seconds_since_last_success: int | None


class FieldProblem(TypedDict):
    """One field and what was expected of it."""

    field: str
    expected: str


class ErrorBody(TypedDict):
    """What went wrong: its name, a sentence, and the invalid fields with what was expected."""

    error: str
    message: str
    fields: NotRequired[list[FieldProblem]]
    request_id: NotRequired[str]


class RefusedRequest(TypedDict):
    """What API Gateway answers itself: to a request that is not signed, to too many, to an unknown path."""

    message: str


class Accepted(TypedDict):
    """An event and the runs that it led to; ``duplicate``: it led to all of them before.

    ``errors``: what is wrong with rules that could not be applied to it.
    """

    delivery: str | None
    runs: list[StartedRun]
    duplicate: NotRequired[bool]
    errors: NotRequired[list[str]]


class Ignored(TypedDict):
    """An event that starts nothing, and why; ``delivery`` is missing where the sender only tests."""

    status: Literal["ignored"]
    reason: str
    delivery: NotRequired[str | None]
    errors: NotRequired[list[str]]


class Batch(TypedDict):
    """The answer to a request with no or several events: one of them for each, in their order."""

    events: list[Accepted | Ignored]


class Validated(TypedDict):
    """The answer to the handshake of Azure Event Grid."""

    validationResponse: str


class Challenged(TypedDict):
    """The answer to the handshake of Slack."""

    challenge: str


Delivered = Accepted | Ignored | Batch
Handled = Accepted | Ignored | Batch | Validated | Challenged
