"""Posts a message once over HTTPS. Its address is a secret and in no error."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from msgspec import Struct
from requests import RequestException, Session
from requests.exceptions import ConnectTimeout, ReadTimeout, SSLError
from urllib3.exceptions import HTTPError

from celonis_refresh.notifications.outbox import Message, NotSent
from celonis_refresh.timing import Deadline

POST_SECONDS: Final = 5.0
MIN_SECONDS: Final = 1.0
"""With less time left, nothing is sent."""


class _Exchange:
    """One request in a thread of its own, so that a server that answers byte by byte ends in time, too."""

    def __init__(
        self, session: Session, url: str, body: bytes, headers: Mapping[str, str], limit: float
    ) -> None:
        self.status: int | None = None
        self.problem = f"no answer within {limit:g} s"
        self._request = session, url, body, headers, limit
        self._limit = limit
        self._thread = threading.Thread(target=self._run, daemon=True)

    def wait(self) -> None:
        self._thread.start()
        self._thread.join(self._limit)

    def _run(self) -> None:
        session, url, body, headers, limit = self._request
        try:
            with session.post(
                url, data=body, headers=headers, timeout=limit, allow_redirects=False, stream=True
            ) as answer:
                self.status = answer.status_code
        except (ConnectTimeout, ReadTimeout):
            pass  # the problem is set
        except SSLError:
            self.problem = "the encrypted connection failed, or the certificate cannot be trusted"
        except (OSError, RequestException, HTTPError, ValueError) as error:
            self.problem = f"no answer ({type(error).__name__})"


def is_success(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


class HttpPost(Struct, frozen=True):
    """Posts bodies. ``session``: follows no redirects, keeps no cookies and reads no proxy settings.

    ``seconds``: time limit of a request, from its beginning until the head of the answer is there.
    """

    session: Session
    seconds: float = POST_SECONDS

    def __call__(
        self, message: Message, url: str, body: bytes, headers: Mapping[str, str], deadline: Deadline
    ) -> int:
        """Post once; return the status of the answer. Raises ``NotSent`` without an answer."""
        limit = min(self.seconds, deadline.left())
        if limit < MIN_SECONDS:
            raise NotSent(message, "no time was left to send it")
        sent = {"Content-Type": "application/json", "User-Agent": "celonis-refresh", **headers}
        exchange = _Exchange(self.session, url, body, sent, limit)
        exchange.wait()
        if exchange.status is None:
            raise NotSent(message, exchange.problem)
        return exchange.status
