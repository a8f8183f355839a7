"""A flood of unknown source names: few reads from Parameter Store, and no effect on known sources."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from threading import Thread
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from celonis_refresh.aws import webhook_configuration
from celonis_refresh.aws.caching import SharedItems
from celonis_refresh.aws.configuration import ConfigurationUnavailable, Parameters, UnknownSource
from celonis_refresh.aws.webhook_configuration import (
    LIST_SECONDS,
    MAX_MISSES,
    MISS_SECONDS,
    SharedParameters,
    SourceCache,
)
from celonis_refresh.runs.table import configuration_key
from tests.fakes.clock import FakeClock
from tests.fakes.dynamodb import FakeDynamoDB, table_of

REAL = ("github", "fivetran")


def source_text(name: str) -> str:
    """A source whose secret says which parameter it is of."""
    rules = [{"pipeline": "p"}]
    return json.dumps({"sender": "github", "secret": name.rsplit("/", 1)[1], "rules": rules})


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}, "Get")


@dataclass
class FakeParameterStore:
    """Parameter Store. ``reads``: names and paths, in order."""

    sources: set[str] = field(default_factory=lambda: set(REAL))
    reads: list[str] = field(default_factory=list)
    throttles: bool = False

    def get_parameters(self, Names: list[str]) -> dict[str, Any]:  # noqa: N803 - AWS's name
        self._ask(Names[0])
        found = [name for name in Names if name.rsplit("/", 1)[1] in self.sources]
        return {"Parameters": [{"Name": name, "Value": source_text(name)} for name in found]}

    def get_paginator(self, operation: str) -> FakeParameterStore:
        assert operation == "get_parameters_by_path"
        return self

    def paginate(self, Path: str) -> list[dict[str, Any]]:  # noqa: N803 - AWS's name
        self._ask(Path)
        return [{"Parameters": [{"Name": f"{Path}{name}"}]} for name in sorted(self.sources)]

    def _ask(self, what: str) -> None:
        self.reads.append(what)
        if self.throttles:
            raise refusal("ThrottlingException")


@pytest.fixture
def store() -> FakeParameterStore:
    return FakeParameterStore()


def cache_over(store: FakeParameterStore, clock: FakeClock) -> SourceCache:
    """A new process of the trigger, with a table of its own."""
    parameters = Parameters(cast("Any", store), "stack")
    items = SharedItems(table_of(FakeDynamoDB(), clock), clock)
    return SourceCache(SharedParameters(parameters, items, clock, clock.sleep, Thread.run), clock)


@pytest.fixture
def known(store: FakeParameterStore, clock: FakeClock) -> SourceCache:
    return cache_over(store, clock)


def test_a_real_source_is_one_question(known: SourceCache, store: FakeParameterStore) -> None:
    assert known.source("github").value.secret == "github"
    assert store.reads == ["/stack/sources/github"]


@pytest.mark.parametrize(("letter", "copied"), [("a", True), ("ä", False)])
def test_a_copy_is_limited_by_bytes_as_items_of_the_table_are(
    store: FakeParameterStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, letter: str, copied: bool
) -> None:
    monkeypatch.setattr(webhook_configuration, "MAX_COPY", 250)
    text = json.dumps(
        {"sender": "github", "secret": "s", "rules": [{"pipeline": "p", "reason": letter * 120}]},
        ensure_ascii=False,
    )
    assert len(text) < 250
    stored = {"Parameters": [{"Name": "/stack/sources/github", "Value": text}]}
    monkeypatch.setattr(store, "get_parameters", lambda **_: stored)
    dynamodb = FakeDynamoDB()
    items = SharedItems(table_of(dynamodb, clock), clock)
    parameters = Parameters(cast("Any", store), "stack")
    shared = SharedParameters(parameters, items, clock, clock.sleep, Thread.run)
    shared.enter("github")
    shared.source("github")
    shared.enter("another")  # the copy of a source alone is written when the next request begins
    assert bool(items.get(configuration_key("github"))) is copied


def flood(known: SourceCache, names: int = 100) -> None:
    for number in range(names):
        with pytest.raises(UnknownSource):
            known.source(f"forged-{number}")


def test_a_mistyped_name_is_reported_and_the_source_made_then_is_known_at_once(
    known: SourceCache, store: FakeParameterStore
) -> None:
    flood(known, MAX_MISSES)
    store.sources.add("new")
    assert known.source("new").value.secret == "new"


def test_a_flood_of_names_that_are_none_is_a_few_questions(
    known: SourceCache, store: FakeParameterStore
) -> None:
    flood(known)
    assert store.reads == [
        *(f"/stack/sources/forged-{number}" for number in range(MAX_MISSES)),
        "/stack/sources/",
    ]


def test_real_sources_are_read_in_the_middle_of_a_flood(known: SourceCache) -> None:
    flood(known)
    assert [known.source(name).value.secret for name in REAL] == list(REAL)


def test_a_source_that_is_made_during_a_flood_is_known_soon(
    known: SourceCache, store: FakeParameterStore, clock: FakeClock
) -> None:
    flood(known)
    store.sources.add("new")
    clock.sleep(LIST_SECONDS)
    flood(known)
    assert known.source("new").value.secret == "new"


def test_a_flood_that_throttles_the_list_is_answered_503_after_one_read(
    known: SourceCache, store: FakeParameterStore, clock: FakeClock
) -> None:
    flood(known, MAX_MISSES)
    store.throttles = True
    store.reads.clear()
    for _ in range(100):
        with pytest.raises(ConfigurationUnavailable):
            known.source("github")
    assert store.reads == ["/stack/sources/"]
    store.throttles = False
    clock.sleep(LIST_SECONDS)
    assert known.source("github")


def test_throttled_reads_also_count_as_misses(known: SourceCache, store: FakeParameterStore) -> None:
    store.throttles = True
    for number in range(100):
        with pytest.raises(ConfigurationUnavailable):
            known.source(f"forged-{number}")
    assert len(store.reads) == MAX_MISSES + 1


def test_while_there_is_no_newer_list_the_last_one_serves(
    known: SourceCache, store: FakeParameterStore, clock: FakeClock
) -> None:
    flood(known)
    store.throttles = True
    clock.sleep(LIST_SECONDS)
    flood(known)
    with pytest.raises(ConfigurationUnavailable):
        known.source("github")  # it is one: only its text cannot be read now
    assert store.reads[-1] == "/stack/sources/github"


@given(st.lists(st.tuples(st.sampled_from((*REAL, "a", "b", "c")), st.floats(0, 2 * LIST_SECONDS))))
def test_names_that_are_none_cost_little_and_real_ones_are_always_read(
    requested_names: list[tuple[str, float]],
) -> None:
    clock, store = FakeClock(), FakeParameterStore()
    known = cache_over(store, clock)
    began = clock.now
    for name, pause in requested_names:
        clock.sleep(pause)
        if name in REAL:
            assert known.source(name)
        else:
            with pytest.raises(UnknownSource):
                known.source(name)
    for_strangers = [what for what in store.reads if what.rsplit("/", 1)[1] not in REAL]
    took = clock.now - began
    assert len(for_strangers) <= MAX_MISSES * (1 + took // MISS_SECONDS) + 1 + took // LIST_SECONDS
