"""What is fetched from Amazon SNS, how long it may take, and what its answers mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import requests

from celonis_refresh.aws.sns_pages import LARGEST, MAX_KEPT, TIMEOUT, SnsPages, SnsUnavailable
from celonis_refresh.passage.absent import ABSENT_SECONDS, MAX_ABSENT, KnownAbsent
from celonis_refresh.timing import Deadline, within
from celonis_refresh.webhooks.errors import NotAuthentic
from tests.fakes.clock import Clock

URL = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-1.pem"


@dataclass
class Page:
    """An answer: its status, and the chunks of its body; a chunk that is an error is raised."""

    status_code: int = 200
    chunks: list[bytes | Exception] = field(default_factory=lambda: [b"-----BEGIN CERTIFICATE-----"])

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        """The connection is given back."""

    def iter_content(self, size: int) -> Iterator[bytes]:
        assert size == LARGEST
        for chunk in self.chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk


@dataclass
class Session:
    """Amazon, as far as it answers. ``asked``: the addresses, in order."""

    answers: list[Page | Exception] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    how: dict[str, Any] = field(default_factory=dict)

    def get(self, url: str, **how: Any) -> Page:
        self.asked.append(url)
        self.how = how
        answer = self.answers.pop(0) if self.answers else Page()
        if isinstance(answer, Exception):
            raise answer
        return answer


def pages(*answers: Page | Exception) -> tuple[SnsPages, Session]:
    session = Session(list(answers))
    return SnsPages(cast("requests.Session", session)), session


def test_a_certificate_is_fetched_once() -> None:
    sns, session = pages()
    assert sns.certificate(URL) == sns.certificate(URL) == b"-----BEGIN CERTIFICATE-----"
    assert session.asked == [URL]


def test_no_redirect_is_followed_and_the_answer_is_bounded_in_time_and_size() -> None:
    sns, session = pages()
    sns.certificate(URL)
    assert session.how == {"timeout": TIMEOUT, "allow_redirects": False, "stream": True}


@pytest.mark.parametrize(("left", "timeout"), [(9.0, TIMEOUT), (1.2, (1.0, 1.2)), (0.4, (0.4, 0.4))])
def test_what_is_left_of_the_request_bounds_it_too(left: float, timeout: tuple[float, float]) -> None:
    clock = Clock(0.0)
    sns, session = pages()
    with within(Deadline.after(left, clock)):
        sns.certificate(URL)
    assert session.how["timeout"] == timeout
    clock.sleep(left)
    with within(Deadline.after(0.0, clock)), pytest.raises(SnsUnavailable):
        sns.confirm(URL)
    assert len(session.asked) == 1


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_where_sns_has_no_certificate_the_message_is_a_strangers(status: int) -> None:
    sns, session = pages(Page(status), Page())
    with pytest.raises(NotAuthentic):
        sns.certificate(URL)
    assert sns.certificate(URL)
    assert len(session.asked) == 2


TROUBLE: list[Page | Exception] = [
    Page(500),
    Page(503),
    Page(429),
    Page(301),
    Page(204),
    requests.ConnectionError("no route"),
    requests.Timeout("slow"),
    Page(chunks=[requests.exceptions.ChunkedEncodingError("cut off")]),
    Page(chunks=[requests.exceptions.ContentDecodingError("no gzip")]),
]


@pytest.mark.parametrize("trouble", TROUBLE, ids=str)
def test_trouble_on_the_way_is_no_forgery(trouble: Page | Exception) -> None:
    sns, _ = pages(trouble, Page())
    with pytest.raises(SnsUnavailable):
        sns.certificate(URL)
    assert sns.certificate(URL) == b"-----BEGIN CERTIFICATE-----"


@pytest.mark.parametrize("trouble", [*TROUBLE, Page(403)], ids=str)
def test_a_subscription_is_confirmed_only_by_an_answer_that_says_so(trouble: Page | Exception) -> None:
    sns, session = pages(trouble)
    with pytest.raises(SnsUnavailable):
        sns.confirm(URL)
    sns.confirm(URL)
    assert session.asked == [URL, URL]


def test_an_address_with_nothing_there_is_asked_for_again_only_after_a_while() -> None:
    now = [1000.0]
    sns, session = pages(Page(404), Page(404))
    kept = KnownAbsent(sns, lambda: now[0])
    for _ in range(3):
        with pytest.raises(NotAuthentic, match="no certificate"):
            kept.certificate(URL)
    assert session.asked == [URL]
    now[0] += ABSENT_SECONDS
    with pytest.raises(NotAuthentic):
        kept.certificate(URL)
    now[0] += ABSENT_SECONDS
    assert kept.certificate(URL)
    assert len(session.asked) == 3


def test_trouble_is_not_taken_for_nothing_there_and_what_is_remembered_is_bounded() -> None:
    sns, session = pages(Page(503), Page(), *(Page(404) for _ in range(MAX_ABSENT + 2)))
    kept = KnownAbsent(sns, lambda: 1000.0)
    with pytest.raises(SnsUnavailable):
        kept.certificate(URL)
    assert kept.certificate(URL)
    for number in (*range(MAX_ABSENT + 1), 0):
        with pytest.raises(NotAuthentic):
            kept.certificate(f"{URL}?{number}")
    assert len(session.asked) == MAX_ABSENT + 4
    kept.confirm(URL)
    assert session.asked[-1] == URL


def test_only_so_many_certificates_are_kept() -> None:
    sns, session = pages()
    for number in range(MAX_KEPT + 1):
        sns.certificate(f"{URL}?{number}")
    sns.certificate(f"{URL}?{MAX_KEPT}")
    assert len(session.asked) == MAX_KEPT + 1
    sns.certificate(f"{URL}?0")
    assert len(session.asked) == MAX_KEPT + 2


def test_an_empty_page_is_no_certificate_and_no_crash() -> None:
    sns, _ = pages(Page(chunks=[]))
    assert sns.certificate(URL) == b""
