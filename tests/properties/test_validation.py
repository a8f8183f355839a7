"""msgspec refuses a document if and only if the walk finds a problem, and no problem repeats a value."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celonis_refresh.pipelines.definition import Definition, InlineDefinition
from celonis_refresh.validation.convert import convert, is_text, walk
from celonis_refresh.webhooks.sources import Source
from celonis_refresh.workflow.open import _ExistingRun, _NewRun
from celonis_refresh.workflow.requests import CancelRequest, ListRequest, StartRequest

PAGE = "https://acme.eu-1.celonis.cloud/integration/ui/pools/pool-1"
DEFINITION: dict[str, Any] = {
    "data_pool": f"{PAGE}/",
    "connection": "team",
    "jobs": [[{"job": "a", "mode": "DELTA"}, {"job": "b", "timeout": 60}], {"job": "c"}],
    "loads": [
        {"data_model": "m", "kind": "partial", "tables": ["VBAK", "VBAP"], "on_warning": "fail"},
        {"data_model": f"{PAGE}/data-configuration/process-data-models/n", "started_by": "job"},
    ],
    "settle": 60,
    "poll": {"floor": 2, "ceiling": 30},
    "cancel_on_stop": False,
    "when_busy": "fail",
}
SOURCE: dict[str, Any] = {
    "sender": "slack",
    "secret": "slack",
    "tolerance": 60,
    "delivery_id": [{"header": "X-Id"}, {"path": "run.id"}],
    "event_name": {"path": "type"},
    "expect": {"team": "T", "count": 5},
    "rules": [
        {"pipeline": "p", "events": ["push"], "when": "a == 'b'", "mode": "FULL", "tables": ["VBAK"]},
        {"pipeline": "q", "mode": {"path": "mode"}, "tables": "all", "reason": {"path": "why"}},
    ],
}
SOUND: list[tuple[type[msgspec.Struct], dict[str, Any]]] = [
    (Definition, DEFINITION),
    (InlineDefinition, {"name": "x", **DEFINITION}),
    (Source, SOURCE),
    (
        Source,
        {
            "sender": "custom",
            "scheme": "hmac",
            "header": "X-Sig",
            "event_name": {"path": "a"},
            "secret": "s",
            "rules": SOURCE["rules"],
        },
    ),
    (
        _NewRun,
        {"pipeline": {"name": "x"}, "mode": "FULL", "tables": ["VBAK"], "reason": "r", "delivery": "d"},
    ),
    (_ExistingRun, {"run_id": "otc-1"}),
    (StartRequest, {"pipeline": "p", "mode": None, "tables": "all", "reason": "r"}),
    (ListRequest, {"pipeline": "p", "status": "FAILED", "before": "x", "limit": 5}),
    (CancelRequest, {"drop_pending": True}),
]
LENGTH = 24
"""Characters that do not occur in a sentence by chance."""

secrets = st.text("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789+/=_.{}é", min_size=LENGTH, max_size=300).map(
    "S3cr".__add__
)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 700_000),
    st.sampled_from([0, 1, 10**18, 10**30, 2.0, 1.5, float("nan")]),
    st.sampled_from(["", "all", "FULL", "partial", "job", "a\n", "\ud800", "{body}", "x" * 65, "a/b", "a."]),
    st.text(max_size=5),
    secrets,
)
names = st.sampled_from(["path", "header", "job", "kind", "tables", "name", "x", "\ud800"]) | secrets
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


def places(document: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a document, itself included."""
    yield place
    if isinstance(document, dict | list):
        for key, value in document.items() if isinstance(document, dict) else enumerate(document):
            yield from places(value, (*place, key))


@st.composite
def changed(draw: st.DrawFn, document: dict[str, Any]) -> Any:
    """A document with up to three values replaced, added, or taken away."""
    document = deepcopy(document)
    for _ in range(draw(st.integers(0, 3))):
        *way, last = draw(st.sampled_from([place for place in places(document) if place]))
        holder: Any = document
        for part in way:
            holder = holder[part]
        if draw(st.booleans()):
            holder[last] = draw(values)
        elif isinstance(holder, list):
            holder.append(draw(values))
        elif draw(st.booleans()) or len(holder) == 1:
            holder[draw(names)] = draw(values)
        else:
            del holder[last]
    return document


cases = st.sampled_from(SOUND).flatmap(lambda case: st.tuples(st.just(case[0]), changed(case[1]) | values))


@given(cases)
def test_validation_and_conversion_agree_on_every_document(
    case: tuple[type[msgspec.Struct], Any],
) -> None:
    model, document = case
    try:
        made = (
            msgspec.convert(document, model, dec_hook=lambda kind, given: kind.read(given))
            if is_text(document)
            else None
        )
    except ValueError:
        made = None
    walked, problems = walk(model, document)
    assert bool(problems) == (made is None)
    assert walked == made


def texts(document: Any) -> Iterator[str]:
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict | list):
        for each in document:
            yield from texts(each)
        yield from texts(list(document.values()) if isinstance(document, dict) else None)


@given(cases)
def test_no_problem_repeats_values_of_the_document(case: tuple[type[msgspec.Struct], Any]) -> None:
    model, document = case
    _, problems = walk(model, document)
    secret = [text for text in texts(document) if text.startswith("S3cr")]
    assert [text for text in secret for problem in problems if text in problem.expected] == []
    hidden = [
        text for text in secret if not text.isascii() or not text.replace("_", "").isalnum() or len(text) > 40
    ]
    assert [text for text in hidden for problem in problems if text in problem.field] == []


@pytest.mark.parametrize(("model", "document"), SOUND)
def test_what_is_changed_in_this_file_is_sound(model: type[msgspec.Struct], document: dict[str, Any]) -> None:
    assert convert(model, document, AssertionError) == walk(model, document)[0]
