"""The JSON that the runs API and the webhooks answer with."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict


class RunTold(TypedDict):
    """What became of a trigger of one pipeline."""

    pipeline: str
    run_id: str
    status: Literal["started", "joined", "skipped", "duplicate"]


class Started(TypedDict):
    """The answer to a start or a retry; ``duplicate``: it was asked for before, with these runs."""

    runs: list[RunTold]
    duplicate: NotRequired[bool]
    retry_of: NotRequired[str]


class Cancelling(TypedDict):
    """The answer to a cancel; ``dropped``: what waited behind the run and was given up."""

    run_id: str
    status: Literal["cancelling"]
    dropped: NotRequired[dict[str, Any]]


class Summary(TypedDict):
    """A run in a list. Dates are ISO 8601 in UTC."""

    run_id: str
    pipeline: str
    status: Literal["OPENING", "RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]
    created_at: str
    ended_at: NotRequired[str]
    error: NotRequired[str]
    outcome: NotRequired[str]


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


class ErrorTold(TypedDict):
    """What went wrong: its name, a sentence, and the fields where input made no sense."""

    error: str
    message: str
    fields: NotRequired[list[FieldProblem]]


class Delivered(TypedDict):
    """The answer to a webhook: the runs that it led to, or why it starts nothing."""

    delivery: NotRequired[str | None]
    runs: NotRequired[list[RunTold]]
    duplicate: NotRequired[bool]
    status: NotRequired[Literal["ignored"]]
    reason: NotRequired[str]
    events: NotRequired[list[dict[str, Any]]]
