"""Bounds what a client asks by the deadline of the block at hand (``timing.within``).

botocore fixes time-outs and pauses when it makes a client. Two of its events allow to decide later: a handler
of ``before-send`` may send in its place, one of ``needs-retry`` may say whether and when it sends again. It
sends the same body then: a transaction keeps its token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from random import Random
from typing import TYPE_CHECKING, Any, Final

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectTimeoutError
from urllib3 import Timeout

from celonis_refresh.aws.passing import may_pass, passes
from celonis_refresh.timing import left_within

if TYPE_CHECKING:
    from celonis_refresh.aws.clients import Patience

LEAST_SECONDS: Final = 0.05
"""With less left nothing is sent: hardly an answer would come, and what is written may go unnoticed."""
FIRST_PAUSE: Final = 0.05
"""The most seconds before the second attempt; twice as many before the third."""


class InTime:
    """The handlers for one client. ``send`` sends a request with the time-outs that it is given."""

    def __init__(
        self,
        patience: Patience,
        send: Callable[[AWSPreparedRequest, Timeout], AWSResponse],
        random: Random | None = None,
    ) -> None:
        self._patience, self._send = patience, send
        self._random = random or Random()  # noqa: S311 - spreads what is sent again

    def bind(self, events: Any) -> None:
        """Adds the handlers to the ``events`` of a client.

        Its own retries are to be off: botocore's handler is asked before ours, and would sleep for seconds.
        """
        events.register_first("before-send", self.before_send)
        events.register("needs-retry", self.needs_retry)

    def before_send(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        """The answer to one attempt. Raises errors of botocore: where no time is left, nothing is sent."""
        left = left_within()
        if left < LEAST_SECONDS:
            raise ConnectTimeoutError(endpoint_url=request.url)
        total = left if isfinite(left) else None
        return self._send(request, Timeout(total, self._patience.connect, self._patience.read))

    def needs_retry(
        self,
        attempts: int,
        response: tuple[AWSResponse, Mapping[str, Any]] | None,
        caught_exception: Exception | None,
        **_: object,
    ) -> float | None:
        """Seconds until the next attempt, after so many; None where there is to be none."""
        if attempts >= self._patience.attempts or not _may_pass(response, caught_exception):
            return None
        pause = self._random.uniform(0, FIRST_PAUSE * 2 ** (attempts - 1))
        return pause if left_within() - pause >= LEAST_SECONDS else None


def _may_pass(response: tuple[AWSResponse, Mapping[str, Any]] | None, error: Exception | None) -> bool:
    """Whether asking again may help."""
    if response is None:
        return error is not None and may_pass(error)
    http, parsed = response
    return passes(http.status_code, parsed.get("Error", {}).get("Code"))
