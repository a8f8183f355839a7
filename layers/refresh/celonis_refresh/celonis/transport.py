"""Requests to Celonis and their answers: one request, one answer, within a time limit.

No retries, no redirects, and no settings from the environment.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from math import isfinite
from typing import Any, Literal, TypeAlias
from urllib.parse import quote, urlencode

from msgspec import Struct
from requests import RequestException, Response, Session
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectTimeout, InvalidURL, ReadTimeout, SSLError
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    NameResolutionError,
    ReadTimeoutError,
)

from celonis_refresh.celonis.addresses import safe_id
from celonis_refresh.celonis.errors import (
    CelonisUnavailable,
)
from celonis_refresh.timing import Deadline

Mode: TypeAlias = Literal["FULL", "DELTA"]
MODES: tuple[Mode, ...] = ("FULL", "DELTA")

_SCOPE = "an OAuth client needs the scope integration.data-pools as well"
_JOB_PERMISSION = f"view and manage the data pool; {_SCOPE}"
_LOAD_PERMISSION = f"Edit on the data pool; {_SCOPE}"


class Call(Struct, frozen=True):
    """One request without base URL and credentials.

    ``doing`` completes "while …" in an error, ``subject`` is what a 404 did not find, ``permission`` what a
    403 lacks. ``acts``: the request changes something in Celonis. ``signs_in``: any refusal is about the
    credentials. ``follows``: it continues what another call began. ``name``: of the call in metrics.
    """

    method: Literal["GET", "POST"]
    path: str
    doing: str
    subject: str
    permission: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    content_type: str | None = None
    acts: bool = False
    signs_in: bool = False
    follows: bool = False
    name: str = ""

    def __repr__(self) -> str:
        return f"Call({self.method} {self.path})"  # the body may have a secret


def get_job(pool: str, job: str) -> Call:
    """``GET /integration/api/pools/{pool}/jobs/{job}``: the job and its current status (documented)."""
    subject = _job(pool, job)
    path = _path("/integration/api/pools/{}/jobs/{}", pool, job)
    return Call("GET", path, f"reading {subject}", subject, _JOB_PERMISSION, name="get_job")


def execute_job(pool: str, job: str, mode: Mode) -> Call:
    """``POST /integration/api/v2/data-pools/{pool}/data-jobs/{job}/execute?mode=…`` (documented)."""
    if mode not in MODES:
        raise ValueError(f"mode is one of {', '.join(MODES)}")
    subject = _job(pool, job)
    path = _path("/integration/api/v2/data-pools/{}/data-jobs/{}/execute", pool, job)
    query = (("mode", mode),)
    return Call(
        "POST",
        path,
        f"starting {subject}",
        subject,
        _JOB_PERMISSION,
        query,
        acts=True,
        follows=True,
        name="execute_job",
    )


def cancel_job(pool: str, job: str) -> Call:
    """``POST /integration/api/pools/{pool}/jobs/{job}/cancel``, without a body (observed, not documented)."""
    subject = _job(pool, job)
    path = _path("/integration/api/pools/{}/jobs/{}/cancel", pool, job)
    return Call(
        "POST",
        path,
        f"cancelling {subject}",
        subject,
        _JOB_PERMISSION,
        acts=True,
        follows=True,
        name="cancel_job",
    )


def load_model(pool: str, model: str, *, from_cache: bool) -> Call:
    """``POST …/api/v1/data-pools/{pool}/data-models/{model}/load[?fullReload=false]`` (documented)."""
    subject = _model(pool, model)
    path = _path("/integration/api/v1/data-pools/{}/data-models/{}/load", pool, model)
    query = (("fullReload", "false"),) if from_cache else ()
    return Call(
        "POST",
        path,
        f"loading {subject}",
        subject,
        _LOAD_PERMISSION,
        query,
        acts=True,
        follows=True,
        name="load_model",
    )


def load_tables(pool: str, model: str, table_ids: Sequence[str]) -> Call:
    """``POST …/data-models/{model}/load/partial-sync`` with a JSON array of table ids (documented)."""
    if isinstance(table_ids, str) or not table_ids:
        # The effect of an empty array is unknown.
        raise ValueError("a partial load needs the id of one table at least")
    subject = _model(pool, model)
    path = _path("/integration/api/v1/data-pools/{}/data-models/{}/load/partial-sync", pool, model)
    doing = f"loading {len(table_ids)} {'table' if len(table_ids) == 1 else 'tables'} of {subject}"
    body = json.dumps(list(table_ids)).encode()
    json_type = "application/json"
    return Call(
        "POST",
        path,
        doing,
        subject,
        _LOAD_PERMISSION,
        (),
        body,
        json_type,
        acts=True,
        follows=True,
        name="load_tables",
    )


def get_tables(pool: str, model: str) -> Call:
    """``GET …/data-models/{model}/tables`` (documented)."""
    subject = _model(pool, model)
    path = _path("/integration/api/v1/data-pools/{}/data-models/{}/tables", pool, model)
    return Call("GET", path, f"listing the tables of {subject}", subject, _LOAD_PERMISSION, name="get_tables")


def get_model(pool: str, model: str) -> Call:
    """``GET …/data-models/{model}`` (not documented, seen in the SDK)."""
    subject = _model(pool, model)
    path = _path("/integration/api/pools/{}/data-models/{}", pool, model)
    return Call("GET", path, f"reading {subject}", subject, _LOAD_PERMISSION, name="get_model")


def get_last_load(pool: str, model: str) -> Call:
    """``GET …/data-models/{model}/last-load`` (documented; the fields of its answer are not)."""
    subject = _model(pool, model)
    path = _path("/integration/api/v1/data-pools/{}/data-models/{}/last-load", pool, model)
    return Call(
        "GET", path, f"reading the last load of {subject}", subject, _LOAD_PERMISSION, name="get_last_load"
    )


def get_load_history(pool: str, model: str) -> Call:
    """``GET …/data-models/{model}/load-history/load-info-sync`` (not documented, seen in the SDK)."""
    subject = _model(pool, model)
    path = _path("/integration/api/pools/{}/data-models/{}/load-history/load-info-sync", pool, model)
    return Call(
        "GET",
        path,
        f"reading the load history of {subject}",
        subject,
        _LOAD_PERMISSION,
        name="get_load_history",
    )


def get_executions(pool: str, job: str) -> Call:
    """``GET /integration/api/pools/{pool}/logs/{job}/executions`` (not documented; used by the SDK)."""
    subject = _job(pool, job)
    path = _path("/integration/api/pools/{}/logs/{}/executions", pool, job)
    return Call(
        "GET",
        path,
        f"listing the executions of {subject}",
        subject,
        _JOB_PERMISSION,
        follows=True,
        name="get_executions",
    )


def get_task_executions(pool: str, job: str, execution_id: str) -> Call:
    """``GET …/logs/executions?executionId=…&type=TASK&id={job}`` (not documented; used by the SDK)."""
    subject = _job(pool, job)
    path = _path("/integration/api/pools/{}/logs/executions", pool)
    query = (("executionId", execution_id), ("type", "TASK"), ("id", job))
    return Call(
        "GET",
        path,
        f"listing the tasks of {subject}",
        subject,
        _JOB_PERMISSION,
        query,
        name="get_task_executions",
    )


def get_task_log(pool: str, job: str, execution_id: str, task_id: str) -> Call:
    """``GET …/logs/executions/detail?executionId=…&type=TASK&id={task}`` (not documented; of the SDK)."""
    subject = _job(pool, job)
    path = _path("/integration/api/pools/{}/logs/executions/detail", pool)
    query = (("executionId", execution_id), ("type", "TASK"), ("id", task_id))
    return Call(
        "GET",
        path,
        f"reading the log of a task of {subject}",
        subject,
        _JOB_PERMISSION,
        query,
        name="get_task_log",
    )


def get_job_log(pool: str, job: str, execution_id: str) -> Call:
    """``GET …/logs/executions/detail?executionId=…&type=JOB&id={job}`` (not documented; used by the SDK)."""
    subject = _job(pool, job)
    path = _path("/integration/api/pools/{}/logs/executions/detail", pool)
    query = (("executionId", execution_id), ("type", "JOB"), ("id", job))
    return Call(
        "GET", path, f"reading the log of {subject}", subject, _JOB_PERMISSION, query, name="get_job_log"
    )


def _path(template: str, *ids: str) -> str:
    # Quoting alone would let ".." through, and urllib3 resolves it.
    return template.format(*(quote(safe_id(value), safe="") for value in ids))


def _job(pool: str, job: str) -> str:
    return f"data job {job} of data pool {pool}"


def _model(pool: str, model: str) -> str:
    return f"data model {model} of data pool {pool}"


CHUNK_BYTES = 64 * 1024


class NoRedirectSession(Session):
    """A session that returns redirects as they are."""

    def get_redirect_target(self, resp: Response) -> None:
        """Return None: requests would otherwise read the whole body of a redirect, of any size."""


def make_session(ca_certs: str | None = None) -> Session:
    """Return a new session. ``ca_certs``: a file with trusted certificates; by default those of certifi.

    ``trust_env`` is off: a .netrc entry would replace the Authorization header, and proxies or certificate
    bundles from environment variables would see the secrets.
    """
    session = NoRedirectSession()
    session.trust_env = False
    session.verify = ca_certs or True
    session.headers.clear()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=0))
    return session


def read_body(response: Response, limit: int, seconds_left: Callable[[], float]) -> bytes:
    """Return the decoded body, or slightly more than ``limit`` bytes of a longer one.

    The response must be streamed. Raises ReadTimeout once no seconds are left, and urllib3's HTTPError if the
    connection breaks.
    """
    body = bytearray()
    while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
        body += chunk
        if len(body) > limit:
            break
        if seconds_left() <= 0:
            raise ReadTimeout("the body was not complete in time")
    return bytes(body)


FIRST_FINAL_STATUS = 200
MAX_BODY = 8 * 1024 * 1024
# NAT gateways drop an idle connection after minutes, and a function may have been frozen in between. A POST
# into such a connection fails like one that was executed.
MAX_IDLE = 20.0


class Timeouts(Struct, frozen=True):
    """Time limits in seconds.

    ``connect``: until the connection is established. ``read``: of one exchange, including connecting.
    ``whole``: of a call with token request and repeated requests.
    """

    connect: float = 3.05
    read: float = 10.0
    whole: float = 30.0


class Answer(Struct, frozen=True):
    """An answer. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"Answer({self.status})"  # the body may have a token

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


OnAnswer = Callable[[Call, "Answer | None"], None]
"""Called after each request with its answer; None if there was none."""


def ignore_answer(call: Call, answer: Answer | None) -> None:
    """Do nothing."""


class Transport:
    """Sends requests over connections that are kept open.

    The read timeout of requests applies to each read of the socket. If a server sends headers byte by byte,
    the timeout of the function ends the call.
    """

    def __init__(
        self,
        session: Session,
        timeouts: Timeouts,
        user_agent: str,
        clock: Callable[[], float],
        on_answer: OnAnswer = ignore_answer,
    ) -> None:
        self._session = session
        self._timeouts = timeouts
        self._user_agent = user_agent
        # Not a monotonic clock: it may stop while the function is frozen.
        self._clock = clock
        self._on_answer = on_answer
        self._last_used = clock()

    def send(self, base_url: str, call: Call, headers: Mapping[str, str], seconds: float) -> Answer:
        """Send ``call`` once and return its answer, whatever its status, within ``seconds``.

        Raises CelonisUnavailable without a complete answer; ValueError for a header with a line break.
        """
        if seconds <= 0:
            raise _unavailable(call, "no time was left to send the request", not_sent=True)
        self._close_idle_connections()
        limits = (min(self._timeouts.connect, seconds), min(self._timeouts.read, seconds))
        try:
            answer = self._exchange(base_url, call, headers, limits)
        except (OSError, RequestException, HTTPError) as error:
            self._on_answer(call, None)
            reason = _reason(error, limits, base_url)
            raise _unavailable(call, reason, not_sent=_is_not_sent(error)) from error
        finally:
            self._last_used = self._clock()
        self._on_answer(call, answer)
        return answer

    def close(self) -> None:
        self._session.close()

    def _exchange(
        self, base_url: str, call: Call, headers: Mapping[str, str], limits: tuple[float, float]
    ) -> Answer:
        url = base_url + call.path + (f"?{urlencode(call.query)}" if call.query else "")
        sent = self._headers(call, headers)
        deadline = Deadline.after(limits[1], time.monotonic)
        with self._session.request(
            call.method, url, headers=sent, data=call.body, timeout=limits, allow_redirects=False, stream=True
        ) as response:
            if response.status_code < FIRST_FINAL_STATUS:
                self.close()  # the final answer would be read as the answer to the next request
                raise _unavailable(call, "the answer is an interim one", status=response.status_code)
            body = read_body(response, MAX_BODY, deadline.left)
        if len(body) > MAX_BODY:
            reason = f"the answer is longer than {MAX_BODY} bytes"
            raise _unavailable(call, reason, status=response.status_code)
        return Answer(
            response.status_code, {name.lower(): value for name, value in response.headers.items()}, body
        )

    def _headers(self, call: Call, headers: Mapping[str, str]) -> dict[str, str]:
        own = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "User-Agent": self._user_agent,
        }
        if call.content_type is not None:
            own["Content-Type"] = call.content_type
        if any(char in value for value in headers.values() for char in "\r\n"):
            raise ValueError("a header has a line break")
        return {**own, **headers}

    def _close_idle_connections(self) -> None:
        if abs(self._clock() - self._last_used) > MAX_IDLE:
            self.close()


def _unavailable(
    call: Call, reason: str, *, not_sent: bool = False, status: int | None = None
) -> CelonisUnavailable:
    return CelonisUnavailable(
        f"No usable answer from Celonis while {call.doing}: {reason}.",
        hint="If this persists, check that the base_url of the connection is right and can be reached.",
        may_have_started=call.acts and not not_sent,
        method=call.method,
        path=call.path,
        status=status,
    )


def _reason(error: Exception, limits: tuple[float, float], base_url: str) -> str:
    connect, read = limits
    chain = list(_causes(error))
    host = base_url.partition("://")[2]
    if any(isinstance(each, NameResolutionError) for each in chain):
        return f"the host name {host} cannot be resolved"
    if isinstance(error, ConnectTimeout):
        return f"no connection within {connect:g} s"
    if any(isinstance(each, ReadTimeout | ReadTimeoutError | TimeoutError) for each in chain):
        return f"no complete answer within {read:g} s"
    if any(isinstance(each, ssl.SSLCertVerificationError) for each in chain):
        return "its certificate cannot be trusted"
    if isinstance(error, SSLError):
        return "the encrypted connection failed"
    if _is_not_sent(error):
        return f"no connection to {host}: the host refused it or does not exist"
    return "the connection closed before the answer was complete"


def _is_not_sent(error: Exception) -> bool:
    """Return whether it is certain that the request did not reach Celonis."""
    # urllib3's NewConnectionError is a ConnectTimeoutError, too.
    early = (InvalidURL, ConnectTimeoutError, LocationValueError, ssl.SSLCertVerificationError)
    return any(isinstance(each, early) for each in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and the errors it wraps.

    ``__context__`` is not used, because it may be an error of an earlier request.
    """
    current: object = error
    while isinstance(current, BaseException):
        yield current
        # requests wraps urllib3's MaxRetryError, which has its cause as ``reason``.
        current = getattr(current, "reason", None) or (current.args[0] if current.args else None)


class RateLimit(Struct, frozen=True):
    """The rate limit headers of an answer, None if missing. ``reset``: seconds."""

    limit: int | None
    remaining: int | None
    reset: float | None


def rate_limit(answer: Answer) -> RateLimit | None:
    """Return the rate limit headers of an answer; None if it has none."""
    limit, remaining, reset = (
        _seconds(answer.headers.get(f"x-ratelimit-{name}")) for name in ("limit", "remaining", "reset")
    )
    if limit is None and remaining is None and reset is None:
        return None
    return RateLimit(_whole(limit), _whole(remaining), reset)


def arrival(answer: Answer, seconds: float) -> tuple[int | None, int | None]:
    """Return the earliest and the latest time at which the request can have arrived, by Celonis's clock.

    In epoch milliseconds, from the ``Date`` of the answer, which has whole seconds, and the duration of the
    exchange; None without a date.
    """
    moment = _moment(answer.headers.get("date"))
    if moment is None:
        return None, None
    return int((moment - seconds) * 1000), int((moment + 1 + seconds) * 1000)


def read_json(answer: Answer) -> Any:
    """Return the body as JSON, None if empty. Raises ValueError if it is not JSON."""
    if not answer.body.strip():
        return None
    try:
        return json.loads(answer.body)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def is_truncated(answer: Answer) -> bool:
    """Return whether the content type is JSON but the body is not valid JSON."""
    if "json" not in answer.headers.get("content-type", ""):
        return False
    try:
        read_json(answer)
    except ValueError:
        return True
    return False


def is_web_page(answer: Answer) -> bool:
    """Return whether the body is a web page, as of a login or a gateway; the API never answers one."""
    return answer.body.lstrip()[:1] == b"<" or "text/html" in answer.headers.get("content-type", "")


def _moment(header: str | None) -> float | None:
    """Return the date in a header in epoch seconds."""
    try:
        moment = parsedate_to_datetime(header or "")
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _seconds(header: str | None) -> float | None:
    try:
        number = float(header or "")
    except ValueError:
        return None
    return number if isfinite(number) and number >= 0 else None


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)
