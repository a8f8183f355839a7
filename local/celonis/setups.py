"""The behaviour of jobs, models and the platform; every open question about the API is a field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

WhileRunning = Literal["refuse", "queue", "ignore", "parallel", "restart"]
Moment = Literal["start", "end"]
ExecuteAnswer = Literal["empty", "execution_id", "item_id", "other_id", "no_id", "job", "job_before"]
LoadAnswer = Literal["empty", "load_id", "other_id", "no_id", "record", "record_before"]
LogOrder = Literal["errors_first", "newest_first", "oldest_first"]
ASPECTS = ("status", "ids", "dates", "list")


def no_staleness() -> dict[str, float]:
    """Return each aspect of a record with the seconds for which a start is invisible in it."""
    return dict.fromkeys(ASPECTS, 0.0)


@dataclass(frozen=True)
class TableSetup:
    """A table of a data model."""

    id: str
    name: str
    alias: str | None
    data_source_id: str


@dataclass(frozen=True)
class Setup:
    """The common fields of jobs and models. Durations (seconds) and outcomes apply to later starts."""

    seconds: float = 3.0
    queue_seconds: float = 0.0
    outcome: str = "SUCCESS"
    running_status: str = "RUNNING"
    while_running: WhileRunning = "queue"
    refuse_status: int = 409
    cancel_seconds: float = 0.0
    stale: dict[str, float] = field(default_factory=no_staleness)
    stale_reads: int = 0
    null_fields: tuple[str, ...] = ()
    omit_fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobSetup(Setup):
    """The behaviour of a data job."""

    full_seconds: float | None = None
    delta_seconds: float | None = None
    execute_answer: ExecuteAnswer = "empty"
    execute_status: int = 200
    item_ids: Literal["same", "own"] = "same"
    latest_item_moves: Moment = "start"
    current_id_after_end: bool = False
    time_stamp_moves: bool = False
    cancel_status: str = "CANCEL"
    cancel_ignored: bool = False
    cancel_stops_load: bool = False
    cancel_clears_queue: bool = False
    cancel_idle_status: int = 200
    loads_model: str | None = None
    loads_tables: tuple[str, ...] = ()
    success_before_load: bool = False
    error_messages: tuple[str, ...] = (
        "Table VBAP could not be extracted: the connection to the source was lost.",
    )
    message_codes: tuple[str, ...] = ()
    list_order: Literal["newest_first", "oldest_first"] = "newest_first"
    list_limit: int | None = None
    list_limit_keeps: Literal["newest", "oldest"] = "newest"
    list_hides: tuple[str, ...] = ()
    log_order: LogOrder = "errors_first"

    def run_seconds(self, mode: str) -> float:
        """Return the duration of an execution in ``mode``."""
        own = self.full_seconds if mode == "FULL" else self.delta_seconds
        return self.seconds if own is None else own


@dataclass(frozen=True)
class ModelSetup(Setup):
    """The behaviour of a data model."""

    seconds: float = 2.0
    complete_seconds: float | None = None
    partial_seconds: float | None = None
    from_cache_seconds: float | None = None
    message: str | None = None
    cancel_status: str = "CANCELED"
    cancelling_status: str = "CANCELLING"
    load_answer: LoadAnswer = "empty"
    load_status: int = 200
    last_load_shows: Moment = "start"
    never_loaded: Literal["not_found", "empty", "null", "no_content"] = "not_found"
    unknown_table_status: int = 400
    tables: tuple[TableSetup, ...] = ()

    def run_seconds(self, kind: str) -> float:
        """Return the duration of a load of ``kind`` (COMPLETE, PARTIAL, FROM_CACHE)."""
        own = {
            "COMPLETE": self.complete_seconds,
            "PARTIAL": self.partial_seconds,
            "FROM_CACHE": self.from_cache_seconds,
        }[kind]
        return self.seconds if own is None else own


@dataclass(frozen=True)
class RateLimitSetup:
    """``requests`` are answered in every window of ``seconds``; further ones get 429."""

    requests: int = 100_000
    seconds: float = 60.0


@dataclass(frozen=True)
class PlatformSettings:
    """The behaviour of the platform."""

    dates: Literal["epoch_ms", "iso"] = "epoch_ms"
    not_served: tuple[str, ...] = ()
    forbidden_calls: tuple[str, ...] = ()
    forbidden_shape: Literal["envelope", "empty"] = "envelope"
    unauthorized_shape: Literal["envelope", "error", "plain", "empty"] = "error"
    token_refusal_shape: Literal["oauth", "envelope", "error", "plain", "empty"] = "oauth"  # noqa: S105
    wrong_scope: Literal["token_400", "token_403", "api_403"] = "token_400"
    client_auth_methods: tuple[str, ...] = ("client_secret_basic", "client_secret_post")
    basic_is_form_encoded: bool = True
    token_seconds: float = 899.0
    token_lives_seconds: float | None = None
    token_tells_expiry: bool = True
    rate_limit: RateLimitSetup = RateLimitSetup()
    rate_limit_headers: bool = True
    date_header: bool = True
    date_skew_seconds: float = 0.0
