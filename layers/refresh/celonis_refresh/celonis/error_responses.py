"""Turns error responses of Celonis into typed errors, and reads how long to wait after a 429."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from celonis_refresh.celonis.errors import (
    AuthenticationFailed,
    CelonisError,
    CelonisRejected,
    CelonisThrottled,
    CelonisUnavailable,
    ErrorDetails,
    Facts,
    NotFound,
    PermissionDenied,
)
from celonis_refresh.celonis.transport import (
    Answer,
    Call,
    _moment,
    _seconds,
    read_json,
)

# Not compiled here, so that processes start faster: most never need them.
_DATED = r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d)?"
_CLOCK = (
    r"(?i)(\b(?:at|until|after)\s+)?(?<![\d:])(\d\d?):(\d\d)(?::(\d\d))?(?![\d:])(?:\.\d+)?(?:\s*([a-z]+))?"
)
_UTC = frozenset({"utc", "gmt", "z"})
_HALF_A_DAY = timedelta(hours=12)


def moment_in(text: str, now: float) -> float | None:
    """Return the time named in ``text`` in epoch seconds, or None. ``now``: epoch seconds.

    A time without a date is the one nearest to ``now``; a time without a zone is UTC.
    """
    dated = re.search(_DATED, text)
    if dated:
        return _from_iso(dated[0])
    return next((moment for match in re.finditer(_CLOCK, text) if (moment := _nearest(match, now))), None)


def _from_iso(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _nearest(match: re.Match[str], now: float) -> float | None:
    before, hour, minute, second, zone = match.groups()
    is_utc = zone is not None and zone.lower() in _UTC
    if not is_utc and (zone is not None or before is None):
        return None  # another zone, or not a clock time: a duration or part of an id
    present = datetime.fromtimestamp(now, UTC)
    try:
        moment = present.replace(hour=int(hour), minute=int(minute), second=int(second or 0), microsecond=0)
    except ValueError:
        return None
    if moment - present > _HALF_A_DAY:
        moment -= timedelta(days=1)
    elif present - moment > _HALF_A_DAY:
        moment += timedelta(days=1)
    return moment.timestamp()


DEFAULT_RETRY_AFTER = 30.0
MIN_RETRY_AFTER = 1.0
MAX_RETRY_AFTER = 3600.0
"""Maximum wait by a header, whose number may be wrong or in another unit."""
MAX_CLOCK_WAIT = 12 * 3600.0
"""Maximum wait by a clock time in the detail; one without a date is at most half a day away."""
EPOCH_SECONDS = 1e9
"""From this number on, a number of seconds is a time in epoch seconds."""
_MAX_TEXT = 300
_LIMIT_CODES = frozenset({"LIMIT_NOTFOUND", "LIMIT_SIZE_NOTFOUND"})
"""Error codes of a 404 that is about the configuration of a rate limit, not about an id."""
_BUSY = "Another execution is probably running: check in Celonis which one, and wait until it ends."

_SUPPORT_ID = r"(?i)support[\s_-]*id\W{0,5}([0-9a-z][0-9a-z-]{3,63})"
_UUID = r"(?i)\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"


class Signer(Struct, frozen=True):
    """The credentials of a request, as errors need them.

    ``name`` and ``advice`` are for messages; ``redact`` removes the values of the credentials from a text.
    """

    name: str
    advice: str
    redact: Callable[[str], str]


def failure(answer: Answer, call: Call, signer: Signer, now: float) -> CelonisError:
    """Return the error for an answer that is not a success. ``now``: epoch seconds."""
    details = _details(answer, signer.redact)
    facts: Facts = {"hint": "", "method": call.method, "path": call.path, "status": answer.status, **details}
    reported = _reported(answer.status, details)
    match answer.status:
        case status if status == 401 or (call.signs_in and status in (400, 403)):
            facts["hint"] = signer.advice
            return AuthenticationFailed(
                f"Celonis refused {signer.name} while {call.doing}{reported}.", **facts
            )
        case 403:
            return _denied(answer, call, signer, facts, reported)
        case 404 if details.get("error_code") in _LIMIT_CODES:
            return _limit_misconfigured(call, facts, reported)
        case 404:
            ids = "Check the ids, and that these credentials may view the data pool."
            facts["hint"] = "Check base_url: it is the address of the team itself." if call.signs_in else ids
            return NotFound(f"Celonis did not find {call.subject}{reported}.", **facts)
        case 429:
            return _throttled(answer, call, facts, reported, now)
        case status if 400 <= status < 500 and status not in (408, 425):
            facts["hint"] = (
                _BUSY if status == 409 else "Check the message of Celonis and the configuration of the step."
            )
            return CelonisRejected(f"Celonis refused {call.doing}{reported}.", **facts)
    return _unavailable(answer, call, facts, reported)


def clean(value: object, redact: Callable[[str], str]) -> str | None:
    """Return a text of an answer for use in an error: short, redacted, without control characters."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    words = "".join(char if char.isprintable() else " " for char in redact(str(value))).split()
    text = " ".join(words)
    return (text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…") or None


def _denied(answer: Answer, call: Call, signer: Signer, facts: Facts, reported: str) -> PermissionDenied:
    facts["hint"] = f"Permission needed in Celonis: {call.permission}."
    message = f"Celonis denied {call.doing} to {signer.name}{reported}"
    if answer.body.strip():
        return PermissionDenied(f"{message}.", **facts)
    facts["hint"] = f"Ask an administrator of the team, or Celonis, to enable the API. {facts['hint']}"
    return PermissionDenied(f"{message}, without a body: the API is disabled for this team.", **facts)


def _limit_misconfigured(call: Call, facts: Facts, reported: str) -> CelonisUnavailable:
    facts["hint"] = (
        "The ids are not the cause. If this persists, ask Celonis support to correct the team's rate limit."
    )
    message = f"Celonis found no rate limit for this team while {call.doing}{reported}."
    return CelonisUnavailable(message, may_have_started=call.acts, **facts)


def _unavailable(answer: Answer, call: Call, facts: Facts, reported: str) -> CelonisUnavailable:
    support_id = facts.get("support_id")
    advice = (
        f" and give Celonis support the id {support_id}"
        if support_id
        else " and report it to Celonis support"
    )
    facts["hint"] = f"This is usually transient. If it persists, check the status page of Celonis{advice}."
    message = f"Celonis failed while {call.doing}{reported}."
    if 300 <= answer.status < 400:
        facts["hint"] = (
            "Check base_url: it is the address of the team itself, and its API answers without redirects."
        )
        message = f"Celonis redirected to another address while {call.doing}{reported}."
    return CelonisUnavailable(message, may_have_started=call.acts, **facts)


def _throttled(answer: Answer, call: Call, facts: Facts, reported: str, now: float) -> CelonisThrottled:
    wait = retry_after(answer, now)
    facts["hint"] = (
        f"Retry in {wait:g} s. If this happens often, raise poll.floor or run fewer jobs at a time."
    )
    message = f"Celonis rate-limited the request while {call.doing}{reported}."
    return CelonisThrottled(message, retry_after=wait, **facts)


def retry_after(answer: Answer, now: float) -> float:
    """Return the seconds that a 429 asks to wait, within bounds, or a default.

    The longer one of the wait in the headers and the time until a clock time in the detail.
    """
    waits = []
    seconds = _header_seconds(answer, now)
    if seconds is not None:
        waits.append(min(seconds, MAX_RETRY_AFTER))
    seconds = _until_clock_time(answer, now)
    if seconds is not None:
        waits.append(min(seconds, MAX_CLOCK_WAIT))
    return max(*waits, MIN_RETRY_AFTER) if waits else DEFAULT_RETRY_AFTER


def _header_seconds(answer: Answer, now: float) -> float | None:
    """Return the wait by the headers: a number of seconds, or the time until a date."""
    reset = _seconds(answer.headers.get("x-ratelimit-reset"))
    if reset is not None:
        return reset - now if reset > EPOCH_SECONDS else reset
    header = answer.headers.get("retry-after")
    seconds = _seconds(header)
    return _until(header, now) if seconds is None else seconds


def _until_clock_time(answer: Answer, now: float) -> float | None:
    """Return seconds from the date of the answer, or from ``now``, to the clock time in its detail."""
    served = _moment(answer.headers.get("date"))
    now = now if served is None else served
    moment = moment_in(_details(answer, str).get("detail") or "", now)
    return None if moment is None else moment - now


def _until(header: str | None, now: float) -> float | None:
    moment = _moment(header)
    return None if moment is None else moment - now


def _details(answer: Answer, redact: Callable[[str], str]) -> ErrorDetails:
    try:
        body = read_json(answer)
    except ValueError:
        return {"detail": _plain_text(answer, redact)}
    if not isinstance(body, dict):
        return {"detail": clean(body, redact)}
    detail = body.get("detail") or body.get("message") or body.get("error_description")
    support_id = body.get("supportId") or _support_id(answer.status, detail)
    return {
        "title": clean(body.get("title") or body.get("error"), redact),
        "detail": clean(detail, redact),
        "error_code": clean(body.get("errorCode"), redact),
        "support_id": clean(support_id, redact),
    }


def _plain_text(answer: Answer, redact: Callable[[str], str]) -> str | None:
    text = answer.body.decode("utf-8", "replace").strip()
    return None if text.startswith("<") else clean(text, redact)


def _support_id(status: int, detail: object) -> str | None:
    if status < 500 or not isinstance(detail, str):
        return None
    named = re.search(_SUPPORT_ID, detail)
    if named:
        return named[1].rstrip("-")
    bare = re.search(_UUID, detail)
    return bare[0] if bare else None


def _reported(status: int, details: ErrorDetails) -> str:
    words = [details.get("error_code"), details.get("title"), details.get("detail")]
    known = [word.rstrip(".") for word in words if word]
    text = ", ".join(
        word for number, word in enumerate(known) if not any(word in other for other in known[number + 1 :])
    )
    return f" ({status}: {text})" if text else f" ({status})"
