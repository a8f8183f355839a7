"""Requests to Amazon SNS: what is fetched, the deadlines, and the meaning of responses."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

from celonis_refresh.aws.sns_certificates import (
    ABSENT_SECONDS,
    MAX_ABSENT,
    MAX_CERTIFICATES,
    MAX_PAGE,
    TIMEOUT,
    SnsCertificates,
    SnsUnavailable,
)
from celonis_refresh.celonis.transport import make_session
from celonis_refresh.webhooks.errors import NotAuthentic
from tests.fakes.clock import FakeClock

URL = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-1.pem"


PEM = b"-----BEGIN CERTIFICATE-----"


@dataclass
class PageResponse:
    """An answer: its status, its headers, and the pieces of its body; an exception among them is raised."""

    status: int = 200
    pieces: list[bytes | Exception] = field(default_factory=lambda: [PEM])
    headers: dict[str, str] = field(default_factory=dict)

    def answer(self) -> HTTPResponse:
        body = io.BufferedReader(_ChunkedBody(list(self.pieces)))
        return HTTPResponse(body, status=self.status, headers=self.headers, preload_content=False)


class _ChunkedBody(io.RawIOBase):
    def __init__(self, pieces: list[bytes | Exception]) -> None:
        self._pieces = pieces

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        piece = self._pieces.pop(0) if self._pieces else b""
        if isinstance(piece, Exception):
            raise piece
        buffer[: len(piece)] = piece
        return len(piece)


class FakeSnsServer(HTTPAdapter):
    """Amazon's SNS pages. ``requested_urls``: the addresses, in order."""

    def __init__(self, answers: list[PageResponse | Exception]) -> None:
        super().__init__()
        self.answers = answers
        self.requested_urls: list[str] = []
        self.timeout: object = None

    def send(self, request: requests.PreparedRequest, *_: object, **how: Any) -> requests.Response:
        assert request.method == "GET"
        self.requested_urls.append(str(request.url))
        self.timeout = how["timeout"]
        answer = self.answers.pop(0) if self.answers else PageResponse()
        if isinstance(answer, Exception):
            raise answer
        answered: requests.Response = self.build_response(request, answer.answer())
        return answered


def pages(
    *answers: PageResponse | Exception, clock: FakeClock | None = None
) -> tuple[SnsCertificates, FakeSnsServer]:
    server, session = FakeSnsServer(list(answers)), make_session()
    session.mount("https://", server)
    return SnsCertificates(clock or FakeClock(), session), server


def test_a_certificate_is_fetched_once() -> None:
    sns, server = pages()
    assert sns.certificate(URL) == sns.certificate(URL) == PEM
    assert server.requested_urls == [URL]


def test_how_long_an_answer_may_take_is_bounded() -> None:
    sns, server = pages()
    sns.certificate(URL)
    assert server.timeout == TIMEOUT


def test_how_much_is_read_is_bounded() -> None:
    sns, _ = pages(PageResponse(pieces=[b"x" * 8192] * 100))
    assert sns.certificate(URL) == b"x" * MAX_PAGE


def test_a_certificate_that_comes_in_pieces_is_read_whole() -> None:
    sns, _ = pages(PageResponse(pieces=[PEM[:7], PEM[7:]], headers={"Content-Length": str(len(PEM))}))
    assert sns.certificate(URL) == PEM


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_a_message_without_a_certificate_at_sns_is_not_authentic(status: int) -> None:
    clock = FakeClock()
    sns, server = pages(PageResponse(status), PageResponse(), clock=clock)
    with pytest.raises(NotAuthentic):
        sns.certificate(URL)
    clock.now += ABSENT_SECONDS
    assert sns.certificate(URL)
    assert len(server.requested_urls) == 2


FETCH_ERRORS: list[PageResponse | Exception] = [
    PageResponse(500),
    PageResponse(503),
    PageResponse(429),
    PageResponse(301),
    PageResponse(204),
    requests.ConnectionError("no route"),
    requests.ConnectTimeout("slow"),
    requests.ReadTimeout("slow"),
    PageResponse(pieces=[PEM, ConnectionResetError("cut off")]),
    PageResponse(pieces=[PEM[:7]], headers={"Content-Length": str(len(PEM))}),
    PageResponse(headers={"Content-Encoding": "gzip"}),
]


@pytest.mark.parametrize("error", FETCH_ERRORS, ids=str)
def test_trouble_on_the_way_is_no_forgery(error: PageResponse | Exception) -> None:
    sns, _ = pages(error, PageResponse())
    with pytest.raises(SnsUnavailable):
        sns.certificate(URL)
    assert sns.certificate(URL) == PEM


@pytest.mark.parametrize("error", [*FETCH_ERRORS, PageResponse(403)], ids=str)
def test_a_subscription_is_confirmed_only_by_an_answer_that_says_so(
    error: PageResponse | Exception,
) -> None:
    sns, server = pages(error)
    with pytest.raises(SnsUnavailable):
        sns.confirm(URL)
    sns.confirm(URL)
    assert server.requested_urls == [URL, URL]


def test_a_missing_certificate_is_requested_again_only_after_a_while() -> None:
    clock = FakeClock()
    sns, server = pages(PageResponse(404), PageResponse(404), clock=clock)
    for _ in range(3):
        with pytest.raises(NotAuthentic, match="no certificate"):
            sns.certificate(URL)
    assert server.requested_urls == [URL]
    clock.now += ABSENT_SECONDS
    with pytest.raises(NotAuthentic):
        sns.certificate(URL)
    clock.now += ABSENT_SECONDS
    assert sns.certificate(URL)
    assert len(server.requested_urls) == 3


def test_after_a_clock_was_set_back_an_absent_certificate_is_fetched_again() -> None:
    clock = FakeClock()
    sns, server = pages(PageResponse(404), PageResponse(), clock=clock)
    with pytest.raises(NotAuthentic, match="no certificate"):
        sns.certificate(URL)
    clock.now -= 86_400
    assert sns.certificate(URL)
    assert len(server.requested_urls) == 2


def test_trouble_is_not_taken_for_nothing_there_and_what_is_remembered_is_bounded() -> None:
    sns, server = pages(
        PageResponse(503), PageResponse(), *(PageResponse(404) for _ in range(MAX_ABSENT + 2))
    )
    with pytest.raises(SnsUnavailable):
        sns.certificate(URL)
    assert sns.certificate(URL)
    for number in (*range(MAX_ABSENT + 1), 0):
        with pytest.raises(NotAuthentic):
            sns.certificate(f"{URL}?{number}")
    assert len(server.requested_urls) == MAX_ABSENT + 4
    sns.confirm(URL)
    assert server.requested_urls[-1] == URL


def test_only_so_many_certificates_are_kept() -> None:
    sns, server = pages()
    for number in range(MAX_CERTIFICATES + 1):
        sns.certificate(f"{URL}?{number}")
    sns.certificate(f"{URL}?{MAX_CERTIFICATES}")
    assert len(server.requested_urls) == MAX_CERTIFICATES + 1
    sns.certificate(f"{URL}?0")
    assert len(server.requested_urls) == MAX_CERTIFICATES + 2


def test_an_empty_page_is_no_certificate_and_no_crash() -> None:
    sns, _ = pages(PageResponse(pieces=[]))
    assert sns.certificate(URL) == b""
