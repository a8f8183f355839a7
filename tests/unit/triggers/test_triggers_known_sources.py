"""A flood of names that are no sources: few questions to Parameter Store, and no harm to those that are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from celonis_refresh.aws.configuration import ConfigurationUnavailable, Parameters, UnknownSource
from celonis_refresh.aws.known_sources import WARY_SECONDS, KnownSources
from tests.fakes.clock import Clock

REAL = ("github", "fivetran")


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}, "Get")


@dataclass
class Store:
    """Parameter Store. ``asked``: names and paths, in order."""

    sources: set[str] = field(default_factory=lambda: set(REAL))
    asked: list[str] = field(default_factory=list)
    throttles: bool = False

    def get_parameter(self, Name: str) -> dict[str, Any]:  # noqa: N803 - AWS's name
        self._ask(Name)
        if Name.rsplit("/", 1)[1] not in self.sources:
            raise refusal("ParameterNotFound")
        return {"Parameter": {"Value": f"text of {Name}"}}

    def get_paginator(self, operation: str) -> Store:
        assert operation == "get_parameters_by_path"
        return self

    def paginate(self, Path: str) -> list[dict[str, Any]]:  # noqa: N803 - AWS's name
        self._ask(Path)
        return [{"Parameters": [{"Name": f"{Path}{name}"}]} for name in sorted(self.sources)]

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.throttles:
            raise refusal("ThrottlingException")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def known(store: Store, clock: Clock) -> KnownSources:
    return KnownSources(Parameters(cast("Any", store), "stack"), clock)


def test_a_real_source_is_one_question(known: KnownSources, store: Store) -> None:
    assert known.text("github") == "text of /stack/sources/github"
    assert store.asked == ["/stack/sources/github"]


def test_a_flood_of_other_names_is_two_questions_in_a_while(known: KnownSources, store: Store) -> None:
    for number in range(1000):
        with pytest.raises(UnknownSource):
            known.text(f"forged-{number}")
    assert store.asked == ["/stack/sources/forged-0", "/stack/sources/"]


def test_real_sources_are_read_in_the_middle_of_a_flood(known: KnownSources, store: Store) -> None:
    for name in ("forged-1", "forged-2"):
        with pytest.raises(UnknownSource):
            known.text(name)
    assert [known.text(name) for name in REAL] == [f"text of /stack/sources/{name}" for name in REAL]


def test_a_source_that_was_made_during_a_flood_is_known_soon(
    known: KnownSources, store: Store, clock: Clock
) -> None:
    for name in ("new", "forged"):
        with pytest.raises(UnknownSource):
            known.text(name)
    store.sources.add("new")
    clock.sleep(WARY_SECONDS)
    assert known.text("new") == "text of /stack/sources/new"


def test_a_flood_that_throttles_the_list_says_so_and_refuses_nobody(
    known: KnownSources, store: Store
) -> None:
    with pytest.raises(UnknownSource):
        known.text("forged")
    store.throttles = True
    with pytest.raises(ConfigurationUnavailable):
        known.text("github")


@given(st.lists(st.tuples(st.sampled_from((*REAL, "a", "b", "c")), st.floats(0, 2 * WARY_SECONDS))))
def test_names_that_are_none_cost_two_questions_a_while_and_real_ones_are_always_read(
    asked: list[tuple[str, float]],
) -> None:
    clock, store = Clock(), Store()
    known = KnownSources(Parameters(cast("Any", store), "stack"), clock)
    began = clock.now
    for name, pause in asked:
        clock.sleep(pause)
        if name in REAL:
            assert known.text(name)
        else:
            with pytest.raises(UnknownSource):
                known.text(name)
    for_strangers = [what for what in store.asked if what.rsplit("/", 1)[1] not in REAL]
    assert len(for_strangers) <= 2 * (1 + (clock.now - began) // WARY_SECONDS)
