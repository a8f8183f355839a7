"""The page with names and texts that others choose: it shows them as they are, and nothing of them runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from local.page import serving
from local.week.backend import HistoryBackend
from refresh_cli.page.backend import ApiAnswer
from tests.page.conftest import Viewing, now, watched
from tests.page.test_views import addresses, loaded

MARKUP = '"><img src=x onerror="window.owned=1"><script>window.owned=1</script>\'${owned}</td>\u202e'
TEXTS = frozenset({"error", "outcome", "message", "reason", "text", "by", "delivery", "source", "expression"})


@dataclass
class Hostile:
    """The answers of ``backend``, with another name for one pipeline and with ``MARKUP`` as each text."""

    backend: HistoryBackend
    name: str
    replaced: str

    def about(self) -> Mapping[str, Any]:
        return self.backend.about()

    def schedules(self) -> Sequence[Mapping[str, Any]]:
        return [self._changed(each) for each in self.backend.schedules()]

    def api(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> ApiAnswer:
        asked = path.replace(self.name, self.replaced)
        mine = {key: value.replace(self.name, self.replaced) for key, value in query.items()}
        answer = self.backend.api(method, asked, mine, headers, body)
        return ApiAnswer(answer.status, json.dumps(self._changed(json.loads(answer.body))).encode())

    def _changed(self, value: Any, field: str = "") -> Any:
        if isinstance(value, dict):
            return {
                key.replace(self.replaced, self.name): self._changed(each, key) for key, each in value.items()
            }
        if isinstance(value, list):
            return [self._changed(each, field) for each in value]
        if isinstance(value, str):
            is_status = value.isupper()  # the outcome of a step
            return MARKUP if field in TEXTS and not is_status else value.replace(self.replaced, self.name)
        return value


@pytest.fixture(params=["constructor", "toString", "hasOwnProperty"])
def hostile(browser: Browser, backend: HistoryBackend, request: pytest.FixtureRequest) -> Iterator[Viewing]:
    """The page, with a pipeline whose name every JavaScript object knows."""
    with (
        serving(Hostile(backend, request.param, "workforce")) as link,
        closing(browser.new_context(reduced_motion="reduce")) as context,
    ):
        yield watched(context, link, now())


def test_every_view_shows_it_as_text(hostile: Viewing, backend: HistoryBackend, request: Any) -> None:
    name = request.node.callspec.params["hostile"]
    for view, address in addresses(backend).items():
        page = hostile.open(address.replace("workforce", name))
        loaded(page)
        assert hostile.problems == [], view
        assert page.evaluate("window.owned") is None, view
        assert page.locator("#main img, #main script").count() == 0, view
    page = hostile.open("/timeline")
    expect(page.locator(".time-name", has_text=name)).to_have_count(1)
