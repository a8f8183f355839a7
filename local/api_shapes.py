"""The JSON of responses of the runs API and the webhooks."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

Status = Literal["OPENING", "RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]


class StartedRun(TypedDict):
    """The result of a trigger for one pipeline."""

    pipeline: str
    run_id: str
    status: Literal["started", "joined", "skipped", "duplicate"]


class Started(TypedDict):
    """The answer to a start or a retry; ``duplicate``: the same request led to these runs before."""

    runs: list[StartedRun]
    duplicate: NotRequired[bool]
    retry_of: NotRequired[str]


class Cancelling(TypedDict):
    """The answer to a cancel; ``dropped``: the pending run that was cancelled too."""

    run_id: str
    status: Literal["cancelling"]
    dropped: NotRequired[dict[str, Any]]


class Dropped(TypedDict):
    """The answer to a cancel of a queued run, which will not start."""

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
    duration_seconds: NotRequired[int]
    error: NotRequired[str]
    outcome: NotRequired[str]


class Record(TypedDict):
    """A run with all fields; docs/runs.md describes each field."""

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
    can_retry: NotRequired[bool]
    retried_by: NotRequired[str]
    skip: NotRequired[list[str]]
    skip_since: NotRequired[str]
    execution_arn: NotRequired[str]
    follow_up: NotRequired[str]
    expected_seconds: NotRequired[int | None]
    expected_seconds_left: NotRequired[int | None]
    expected_end: NotRequired[str | None]


class Waiting(TypedDict):
    """A run that has not started; ``waiting_for_run``: the current run, null after a pause."""

    run_id: str
    pipeline: str
    status: Literal["WAITING"]
    waiting_for_run: str | None
    options: dict[str, Any]


class RunsPage(TypedDict):
    """Runs, newest first; ``before``: the parameter for the next page, null on the last."""

    runs: list[Summary]
    before: str | None


class Freshness(TypedDict):
    """How fresh the data of a pipeline is. ``due_at``: when it becomes, or became, stale."""

    state: Literal["FRESH", "AT_RISK", "STALE"]
    since: str
    due_at: str
    fresh_within: str | int
    last_success_started_at: str | None
    last_success_at: str | None


class Pause(TypedDict):
    """The pause that was requested by the API: by whom, when and why."""

    by: str
    at: str
    reason: str


class PipelineView(TypedDict):
    """The state of a pipeline. ``paused``: by its definition or, with ``pause``, by the API."""

    pipeline: str
    paused: bool
    pause: Pause | None
    active_run: str | None
    waiting: dict[str, Any] | None
    last_success: Summary | None
    seconds_since_last_success: int | None
    freshness: Freshness | None
    expected_seconds: int | None


class PipelineDetail(PipelineView):
    """The state of a pipeline and its last runs; ``invalid``: what is wrong with its definition."""

    runs: list[Summary]
    invalid: NotRequired[str]


class Pipelines(TypedDict):
    """A page of names of pipelines, and the freshness of those with ``fresh_within``.

    ``details``: with the parameter ``runs``, in the order of ``pipelines``.
    """

    pipelines: list[str]
    freshness: dict[str, Freshness]
    next: str | None
    details: NotRequired[list[PipelineDetail]]


class Paused(TypedDict):
    """The answer to a pause. ``previous``: the pause that was there before; equal to ``pause`` if kept."""

    pipeline: str
    paused: Literal[True]
    pause: Pause
    previous: NotRequired[Pause]


class Resumed(TypedDict):
    """The answer to a resume. ``paused``: the definition still has ``paused: true``."""

    pipeline: str
    paused: bool
    pause: None
    started: NotRequired[StartedRun]


class Finding(TypedDict):
    """What a check found. ``field``: of the definition; ``subject``: the name or id of the thing.

    ``error``: the name of the error in docs/errors.md; ``hint``: what to do, with which the message ends;
    ``status``: of the answer of Celonis. Each is missing if there is none.
    """

    level: Literal["ok", "warning", "error"]
    field: str
    subject: str
    message: str
    error: NotRequired[str]
    hint: NotRequired[str]
    status: NotRequired[int]


class Checked(TypedDict):
    """The answer to a check. ``ok``: no finding is an error."""

    pipeline: str
    ok: bool
    findings: list[Finding]


class Sources(TypedDict):
    """A page of names of sources."""

    sources: list[str]
    next: str | None


class TestedOptions(TypedDict):
    """What a rule requests; null: as in the definition of the pipeline."""

    mode: str | None
    tables: list[str] | str | None


class TestedRule(TypedDict):
    """What a rule would do with an event, and why."""

    rule: int
    events: list[str]
    when: str | None
    pipeline: str
    starts: bool
    action: Literal["start", "join", "wait", "skip", "nothing", "error"]
    options: TestedOptions | None
    reason: str


class TestedEvent(TypedDict):
    """An event of the request and what each rule would do with it."""

    event_id: str | None
    event_name: str | None
    rules: list[TestedRule]


class SourceTested(TypedDict):
    """The answer to a test. ``reason``: why the whole request starts nothing."""

    source: str
    events: list[TestedEvent]
    reason: str | None
    errors: list[str]


class DeliveredRun(TypedDict):
    """A run that an event started or joined."""

    pipeline: str
    run_id: str
    status: Literal["started", "joined"]


class LoggedDelivery(TypedDict):
    """What became of a webhook event. ``delivery``: the id of its sender, null if it has none.

    ``errors``: what is wrong with rules that could not be applied to it, and with refused callback addresses.
    """

    source: str
    delivery: str | None
    received_at: str
    result: Literal["started", "merged", "ignored", "duplicate", "failed"]
    reason: str | None
    runs: list[DeliveredRun]
    errors: list[str]


class Deliveries(TypedDict):
    """Events, newest first; ``before``: the parameter for the next page, null on the last."""

    deliveries: list[LoggedDelivery]
    before: str | None


class FieldProblem(TypedDict):
    """One field and what was expected of it."""

    field: str
    expected: str


class ErrorBody(TypedDict):
    """An error: its name, a message, and the invalid fields with what was expected.

    ``hint``: what to do, with which the message ends; missing if the error does not say it.
    ``errors``: of all rules and pipelines that keep a webhook event from starting anything.
    """

    error: str
    message: str
    hint: NotRequired[str]
    errors: NotRequired[list[str]]
    fields: NotRequired[list[FieldProblem]]
    request_id: NotRequired[str]


class RefusedRequest(TypedDict):
    """An error of API Gateway itself: for an unsigned request, too many requests, or an unknown path."""

    message: str


class Accepted(TypedDict):
    """An event and the runs that it led to; ``duplicate``: it led to all of them before.

    ``errors``: what is wrong with rules that could not be applied to it, and with refused callback addresses.
    """

    delivery: str | None
    runs: list[StartedRun]
    duplicate: NotRequired[bool]
    errors: NotRequired[list[str]]


class Ignored(TypedDict):
    """An event that starts nothing, and why; ``delivery`` is missing for a test of the sender."""

    status: Literal["ignored"]
    reason: str
    delivery: NotRequired[str | None]
    errors: NotRequired[list[str]]


class Batch(TypedDict):
    """The answer to a request with no or several events: one entry per event, in their order."""

    events: list[Accepted | Ignored]


class Validated(TypedDict):
    """The answer to the handshake of Azure Event Grid."""

    validationResponse: str


class Challenged(TypedDict):
    """The answer to the handshake of Slack."""

    challenge: str


Delivered = Accepted | Ignored | Batch
Handled = Accepted | Ignored | Batch | Validated | Challenged
