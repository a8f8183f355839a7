"""The fields of each control, with their readers."""

from __future__ import annotations

from typing import Any

from local.celonis import fields
from local.celonis.faults import KINDS, SHAPES
from local.celonis.fields import (
    FieldError,
    Reader,
    choice,
    flag,
    optional,
    seconds,
    status,
    text,
    texts,
    whole,
)
from local.celonis.setups import ASPECTS, TableSetup
from local.celonis.sign_in import Credentials

SETUP: dict[str, Reader] = {
    "name": text,
    "seconds": seconds,
    "queue_seconds": seconds,
    "outcome": text,
    "running_status": text,
    "while_running": choice("refuse", "queue", "ignore", "parallel", "restart"),
    "refuse_status": status,
    "cancel_seconds": seconds,
    "cancel_status": text,
    "stale": fields.staleness,
    "stale_reads": whole,
    "null_fields": texts,
    "omit_fields": texts,
}
JOB: dict[str, Reader] = {
    **SETUP,
    "full_seconds": optional(seconds),
    "delta_seconds": optional(seconds),
    "execute_answer": choice("empty", "execution_id", "item_id", "other_id", "no_id", "job", "job_before"),
    "execute_status": status,
    "item_ids": choice("own", "same"),
    "latest_item_moves": choice("start", "end"),
    "current_id_after_end": flag,
    "time_stamp_moves": flag,
    "cancel_ignored": flag,
    "cancel_stops_load": flag,
    "cancel_clears_queue": flag,
    "cancel_idle_status": status,
    "loads_model": optional(text),
    "loads_tables": texts,
    "success_before_load": flag,
    "error_messages": texts,
    "message_codes": texts,
    "list_order": choice("newest_first", "oldest_first"),
    "list_limit": optional(whole),
    "list_limit_keeps": choice("newest", "oldest"),
    "list_hides": fields.some_of("queued", "running", "ended"),
    "log_order": choice("errors_first", "newest_first", "oldest_first"),
}
MODEL: dict[str, Reader] = {
    **SETUP,
    "complete_seconds": optional(seconds),
    "partial_seconds": optional(seconds),
    "from_cache_seconds": optional(seconds),
    "message": optional(text),
    "cancelling_status": text,
    "load_answer": choice("empty", "load_id", "other_id", "no_id", "record", "record_before"),
    "load_status": status,
    "last_load_shows": choice("start", "end"),
    "never_loaded": choice("not_found", "empty", "null", "no_content"),
    "unknown_table_status": status,
    "tables": lambda value: tables(value),
}
CREDENTIALS: dict[str, Reader] = {name: text for name in vars(Credentials()) if name != "scopes"} | {
    "scopes": texts
}
WHEN = ("now", "in", "before_next", "after_next", "when_idle")
OTHER_USER_START: dict[str, Reader] = {
    "by": text,
    "when": choice(*WHEN),
    "in_seconds": seconds,
    "ago": seconds,
    "seconds": optional(seconds),
    "outcome": optional(text),
}
JOB_START: dict[str, Reader] = {**OTHER_USER_START, "mode": choice("FULL", "DELTA")}
MODEL_START: dict[str, Reader] = {
    **OTHER_USER_START,
    "type": choice("COMPLETE", "PARTIAL", "FROM_CACHE"),
    "tables": texts,
}
FINISH: dict[str, Reader] = {"outcome": text, "in_seconds": seconds}
STALE_READS: dict[str, Reader] = {"reads": whole, "aspects": fields.some_of(*ASPECTS)}
RESET: dict[str, Reader] = {"history": flag}


def settings(calls: list[str]) -> dict[str, Reader]:
    """Return the fields of the settings, for a platform with these call names."""
    shapes = ("envelope", "error", "plain", "empty")
    return {
        "dates": choice("epoch_ms", "iso"),
        "not_served": fields.some_of("undocumented", *calls),
        "forbidden_calls": fields.some_of(*calls),
        "forbidden_shape": choice("envelope", "empty"),
        "unauthorized_shape": choice(*shapes),
        "token_refusal_shape": choice("oauth", *shapes),
        "wrong_scope": choice("token_400", "token_403", "api_403"),
        "client_auth_methods": fields.some_of("client_secret_basic", "client_secret_post"),
        "basic_is_form_encoded": flag,
        "token_seconds": seconds,
        "token_lives_seconds": optional(seconds),
        "token_tells_expiry": flag,
        "rate_limit": fields.rate_limit,
        "rate_limit_headers": flag,
        "date_header": flag,
        "date_skew_seconds": fields.skew,
    }


def fault(calls: list[str]) -> dict[str, Reader]:
    """Return the fields of a fault, for a platform with these call names."""
    return {
        "call": choice("*", "unknown", *calls),
        "kind": choice(*KINDS),
        "when": choice("before", "after"),
        "count": optional(whole),
        "skip": whole,
        "seconds": seconds,
        "status": optional(status),
        "shape": choice(*SHAPES),
        "body": fields.anything,
        "headers": fields.text_map,
        "reset": optional(whole),
        "location": text,
        "target": optional(text),
    }


def tables(value: Any) -> tuple[TableSetup, ...]:
    """Read a list of tables: objects of ``id``, ``name``, ``data_source_id`` and optionally ``alias``."""
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise ValueError("must be a list of tables")
    readers = {"id": text, "name": text, "data_source_id": text, "alias": optional(text)}
    setups = []
    for row in value:
        try:
            setups.append(TableSetup(**{"alias": None, **fields.read(row, readers)}))
        except (FieldError, TypeError) as problem:
            raise ValueError("needs id, name, data_source_id and perhaps alias in every table") from problem
    return tuple(setups)
