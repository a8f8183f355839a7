"""The calls to Celonis that a refresh needs, as methods.

A request is sent once. Only after a 401, which proves that it had no effect, it is sent again: with a new
token, then with the credentials read again.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from requests import Session

from celonis_refresh.celonis.auth import authenticator
from celonis_refresh.celonis.connection import Connection
from celonis_refresh.celonis.error_responses import clean, failure, retry_after
from celonis_refresh.celonis.errors import (
    AuthenticationFailed,
    CelonisRejected,
    CelonisUnavailable,
    NotFound,
    PermissionDenied,
)
from celonis_refresh.celonis.log_codes import explain
from celonis_refresh.celonis.rate_limiter import IgnoredRateLimit, NoRateLimit, RateLimiter
from celonis_refresh.celonis.records import (
    Job,
    JobExecution,
    Load,
    LoadHistory,
    ModelTable,
    ShapeError,
    StartAnswer,
    TaskFailure,
    read_error_messages,
    read_executions,
    read_failed_tasks,
    read_job,
    read_job_start,
    read_load,
    read_load_history,
    read_load_start,
    read_log_lines,
    read_name,
    read_tables,
    read_unsuccessful_tasks,
)
from celonis_refresh.celonis.transport import (
    Answer,
    Call,
    Mode,
    OnAnswer,
    Timeouts,
    Transport,
    arrival,
    cancel_job,
    execute_job,
    get_executions,
    get_job,
    get_job_log,
    get_last_load,
    get_load_history,
    get_model,
    get_tables,
    get_task_executions,
    get_task_log,
    ignore_answer,
    is_truncated,
    is_web_page,
    load_model,
    load_tables,
    make_session,
    rate_limit,
    read_json,
)
from celonis_refresh.timing import Deadline

THROTTLED = 429
USER_AGENT = "celonis-refresh"
DEFAULT_TIMEOUTS = Timeouts()
# A few lines name the cause; more would cost requests.
MAX_FAILED_TASKS = 3
MAX_MESSAGES_PER_TASK = 3

_Result = TypeVar("_Result")


class CelonisClient:
    """A client for one connection. Use it from one thread.

    Every call takes ``timeout``, its total time limit in seconds including authentication; the default is
    ``Timeouts.whole``. Every call can raise any subclass of CelonisError, and ValueError for an invalid id.
    ``rate_limiter``: shared by the clients of a connection. ``reload``: reads the connection's secret again;
    its errors are passed on. ``on_answer``: called after each request, sign-in included.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        session: Session | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        timeout: Timeouts = DEFAULT_TIMEOUTS,
        user_agent: str = USER_AGENT,
        reload: Callable[[], Connection] | None = None,
        rate_limiter: RateLimiter | None = None,
        on_answer: OnAnswer = ignore_answer,
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._timeouts = timeout
        self._reload = reload
        self._rate_limiter = NoRateLimit() if rate_limiter is None else rate_limiter
        self._transport = Transport(session or make_session(), timeout, user_agent, clock, on_answer)
        self._requested_at: int | None = None
        self._answered_by: int | None = None
        self._use(connection)

    def use(self, connection: Connection) -> None:
        """Use this connection from now on; a token is kept if nothing has changed."""
        if connection != self._connection:
            self._use(connection)

    @property
    def requested_at(self) -> int | None:
        """The earliest time at which Celonis can have received the last request, in epoch milliseconds.

        The ``Date`` of the answer minus the duration of the exchange; None for an answer without a date.
        """
        return self._requested_at

    def ignoring_rate_limit(self) -> CelonisClient:
        """Return this client, over the same connections, without our rate limiter."""
        other = copy.copy(self)
        other._rate_limiter = IgnoredRateLimit(self._rate_limiter)
        return other

    def close(self) -> None:
        """Close open connections. The client can be used again."""
        self._transport.close()

    def job(self, pool: str, job: str, *, timeout: float | None = None) -> Job:
        """Return the data job and its current status."""
        return self._get(get_job(pool, job), lambda data: read_job(data, job), timeout)

    def execute_job(self, pool: str, job: str, mode: Mode, *, timeout: float | None = None) -> StartAnswer:
        """Start the data job: FULL extracts all tables, DELTA what changed. Any 2xx is a success."""
        return self._start(execute_job(pool, job, mode), read_job_start, timeout)

    def cancel_job(self, pool: str, job: str, *, timeout: float | None = None) -> None:
        """Cancel the running execution of the data job, by whomever it was started."""
        self._act(cancel_job(pool, job), timeout)

    def load_model(
        self, pool: str, model: str, *, from_cache: bool = False, timeout: float | None = None
    ) -> StartAnswer:
        """Start a complete load of the data model, or one from cache. Any 2xx is a success."""
        return self._start(load_model(pool, model, from_cache=from_cache), read_load_start, timeout)

    def load_tables(
        self, pool: str, model: str, table_ids: Sequence[str], *, timeout: float | None = None
    ) -> StartAnswer:
        """Start a partial load: reload these tables, take others from cache. Any 2xx is a success."""
        return self._start(load_tables(pool, model, table_ids), read_load_start, timeout)

    def tables(self, pool: str, model: str, *, timeout: float | None = None) -> list[ModelTable]:
        """Return the tables of the data model."""
        return self._get(get_tables(pool, model), read_tables, timeout)

    def model_name(self, pool: str, model: str, *, timeout: float | None = None) -> str | None:
        """Return the name of the data model; None where Celonis does not serve this undocumented call."""
        return self._get_if_served(get_model(pool, model), read_name, timeout)

    def last_load(self, pool: str, model: str, *, timeout: float | None = None) -> Load | None:
        """Return the last load of the data model, running or not; None if it was never loaded."""
        return self._get(get_last_load(pool, model), read_load, timeout)

    def load_history(self, pool: str, model: str, *, timeout: float | None = None) -> LoadHistory | None:
        """Earlier loads of the data model; None where Celonis does not serve this undocumented call."""
        return self._get_if_served(get_load_history(pool, model), read_load_history, timeout)

    def executions(self, pool: str, job: str, *, timeout: float | None = None) -> list[JobExecution] | None:
        """Return the executions of the data job; None if this undocumented call is not served."""
        return self._get_if_served(get_executions(pool, job), read_executions, timeout)

    def failed_task_messages(
        self, pool: str, job: str, execution_id: str, *, timeout: float | None = None
    ) -> list[TaskFailure]:
        """Return the errors in the logs of failed tasks; empty if they cannot be read.

        Two undocumented calls. CelonisUnavailable ends the search with the messages found so far.
        """
        deadline = self._deadline(timeout)
        messages: list[TaskFailure] = []
        try:
            listing = get_task_executions(pool, job, execution_id)
            tasks = self._get_if_served(listing, read_failed_tasks, deadline.left()) or []
            for task_id, name in tasks[:MAX_FAILED_TASKS]:
                log = get_task_log(pool, job, execution_id, task_id)
                lines = self._get_if_served(log, read_error_messages, deadline.left()) or []
                messages += self._task_failures(name, lines[:MAX_MESSAGES_PER_TASK])
        except CelonisUnavailable:
            return messages
        return messages

    def why_ended(
        self, pool: str, job: str, execution_id: str, status: str, *, timeout: float | None = None
    ) -> str:
        """Return why an execution was cancelled or skipped, by the codes in its log; "" if unknown.

        Undocumented calls: the log of the execution, then those of tasks that did not succeed, starting with
        tasks of the same ``status``. CelonisUnavailable ends the search.
        """
        deadline = self._deadline(timeout)
        try:
            if reason := self._reason_in(get_job_log(pool, job, execution_id), deadline):
                return reason
            listing, parse = (
                get_task_executions(pool, job, execution_id),
                partial(read_unsuccessful_tasks, status),
            )
            tasks = self._get_if_served(listing, parse, deadline.left()) or []
            logs = (get_task_log(pool, job, execution_id, task) for task in tasks[:MAX_FAILED_TASKS])
            return next(filter(None, (self._reason_in(log, deadline) for log in logs)), "")
        except CelonisUnavailable:
            return ""

    def _reason_in(self, log: Call, deadline: Deadline) -> str:
        return explain(self._get_if_served(log, read_log_lines, deadline.left()) or [])

    def _task_failures(self, task: str, lines: list[str]) -> list[TaskFailure]:
        messages = [clean(line, self._auth.signer.redact) for line in lines]
        return [TaskFailure(task, message) for message in messages if message] or [TaskFailure(task, "")]

    def _get(self, call: Call, parse: Callable[[Any], _Result], timeout: float | None) -> _Result:
        answer = self._call(call, timeout)
        try:
            return parse(read_json(answer))
        except ShapeError as error:
            problem = f"the JSON has an unexpected shape ({error})"
        except ValueError:
            problem = "the body is not JSON"
        raise CelonisUnavailable(
            f"Celonis answered {answer.status} while {call.doing}, but {problem}.",
            hint="A proxy may have answered instead of Celonis, or the API may have changed. "
            "If this persists, check the base_url of the connection.",
            method=call.method,
            path=call.path,
            status=answer.status,
        )

    def _get_if_served(
        self, call: Call, parse: Callable[[Any], _Result], timeout: float | None
    ) -> _Result | None:
        try:
            return self._get(call, parse, timeout)
        except (NotFound, PermissionDenied):
            return None
        except CelonisRejected as error:
            if error.status == 405:
                return None
            raise

    def _start(self, call: Call, parse: Callable[[Any], StartAnswer], timeout: float | None) -> StartAnswer:
        answer = self._act(call, timeout)
        try:
            return StartAnswer(parse(read_json(answer)).execution_id, self._answered_by)
        except ValueError:
            return StartAnswer(answered_by=self._answered_by)

    def _act(self, call: Call, timeout: float | None) -> Answer:
        """Send a call that changes something; any 2xx is a success unless the body shows a proxy's answer."""
        answer = self._call(call, timeout)
        if is_web_page(answer) or is_truncated(answer):
            what = "a web page" if is_web_page(answer) else "truncated JSON"
            raise CelonisUnavailable(
                f"Celonis answered {answer.status} while {call.doing}, but the body is {what}.",
                hint="A proxy may have answered instead of Celonis. If this persists, check the base_url.",
                may_have_started=True,
                method=call.method,
                path=call.path,
                status=answer.status,
            )
        return answer

    def _call(self, call: Call, timeout: float | None) -> Answer:
        """Send the call; after a 401 again with a new token, then with the credentials read again."""
        deadline = self._deadline(timeout)
        try:
            answer = self._send(call, deadline)
            if answer.status == 401 and self._auth.discard_token():
                answer = self._send(call, deadline)
            return self._checked(answer, call)
        except AuthenticationFailed:
            if self._reload is None:
                raise
        self._use(self._reload())
        return self._checked(self._send(call, deadline), call)

    def _send(self, call: Call, deadline: Deadline) -> Answer:
        self._rate_limiter.enter(call, deadline.left())
        headers = self._auth.headers(deadline.left())
        began = self._monotonic()
        answer = self._transport.send(self._connection.base_url, call, headers, deadline.left())
        self._requested_at, self._answered_by = arrival(answer, self._monotonic() - began)
        seconds = retry_after(answer, self._clock()) if answer.status == THROTTLED else None
        self._rate_limiter.answered(rate_limit(answer), seconds)
        return answer

    def _checked(self, answer: Answer, call: Call) -> Answer:
        if answer.is_success:
            return answer
        raise failure(answer, call, self._auth.signer, self._clock())

    def _use(self, connection: Connection) -> None:
        self._connection = connection
        self._auth = authenticator(connection, self._transport, self._clock)

    def _deadline(self, timeout: float | None) -> Deadline:
        return Deadline.after(self._timeouts.whole if timeout is None else timeout, self._monotonic)
