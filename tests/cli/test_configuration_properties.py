"""Properties: a document reads back as it was written, and pull gives what push got."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from refresh_cli.configuration.documents import canonical, read_json, read_yaml, to_yaml
from refresh_cli.configuration.files import read_configuration
from refresh_cli.configuration.items import Key, Kind
from tests.cli.fake_stack import OWNED_PIPELINE, OWNED_SOURCE, FakeStack, fake_stack

ODD = (
    "yes", "on", "06:30", "0899", "0x1F", "1_000", "1e3", ".5", "+1", "~", "", "null", "<<", "=",
    "2027-01-01", ".inf", ".nan", "- x", "# x", "a: b", "a\nb", "a\n\nb\n", "  a\nb", "|", "\u2028",
    "\x85a", "\ufeff",
    "\t",
)  # fmt: skip
"""Texts that some YAML reads as something else."""
texts = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(ODD)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(values)
@settings(max_examples=400)
def test_a_value_reads_back_from_yaml_and_json(value: Any) -> None:
    from_yaml, from_json = (
        read_yaml(to_yaml(value)),
        read_json(json.dumps(value, indent=2, ensure_ascii=False)),
    )
    assert canonical(from_yaml.value) == canonical(from_json.value) == canonical(value)
    assert set(from_yaml.lines) == set(from_json.lines)


@given(values)
@settings(max_examples=200)
def test_other_programs_read_the_same_from_the_yaml(value: Any) -> None:
    """PyYAML reads YAML 1.1."""
    assert yaml.safe_load(to_yaml(value)) == value


# ------------------------------------------------------------------------------------------- push and pull

names = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,11}", fullmatch=True).filter(
    lambda name: name not in (OWNED_PIPELINE, OWNED_SOURCE)
)
ids = st.from_regex(r"[a-z0-9-]{1,12}", fullmatch=True).filter(lambda text: text.strip("-") != "")
tables = st.lists(
    texts.filter(lambda text: 0 < len(text) <= 20 and text.isprintable()), min_size=1, max_size=3
)
jobs = st.fixed_dictionaries({"job": ids}, optional={"mode": st.sampled_from(["FULL", "DELTA"])})
loads = st.builds(
    lambda model, named: {"data_model": model, **({"kind": "partial", "tables": named} if named else {})},
    ids,
    st.none() | tables,
)
whens = st.sampled_from(
    [
        {"cron": "0 4 ? * MON-FRI *"},
        {"cron": "0/15 8-18 L * ? *"},
        {"rate": "6 hours"},
        {"at": "2031-01-31T04:00:00"},
    ]
)
options = st.fixed_dictionaries({}, optional={"reason": st.sampled_from(["nightly", "yes", "06:30"])})
entries = st.builds(
    lambda when, more: {**when, **more},
    whens,
    st.fixed_dictionaries(
        {},
        optional={
            "timezone": st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
            "enabled": st.booleans(),
            "options": options,
        },
    ),
)
pipelines: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "data_pool": ids,
        "loads": st.lists(loads, min_size=1, max_size=2, unique_by=lambda load: load["data_model"]),
    },
    optional={
        "jobs": st.lists(jobs, max_size=2),
        "paused": st.booleans(),
        "schedules": st.lists(entries, max_size=3),
        "fresh_within": st.sampled_from([600, "06:30 Europe/Berlin"]),
    },
)
sources: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "sender": st.sampled_from(["github", "dbt_cloud"]),
        "secret": st.just("one"),
        "rules": st.lists(st.fixed_dictionaries({"pipeline": names}), min_size=1, max_size=2),
    },
    optional={
        "expect": st.dictionaries(
            texts.filter(lambda text: text.isprintable()), texts | st.integers(), max_size=2
        )
    },
)
folders = st.tuples(
    st.dictionaries(names, pipelines, min_size=1, max_size=3),
    st.dictionaries(names, sources, max_size=2),
    st.sampled_from([".yaml", ".yml", ".json"]),
)


@pytest.fixture(scope="module")
def stack() -> Iterator[FakeStack]:
    with fake_stack() as made:
        yield made


def written(root: Path, kinds: dict[str, dict[str, Any]], suffix: str) -> None:
    for kind, documents in kinds.items():
        (root / kind).mkdir()
        for name, document in documents.items():
            text = json.dumps(document) if suffix == ".json" else to_yaml(document)
            (root / kind / f"{name}{suffix}").write_text(text, encoding="utf-8")


def contents(root: Path) -> dict[Key, str]:
    """What the files in a folder say, by part."""
    found = read_configuration([root])
    assert found.mistakes == []
    return {key: canonical(item.content) for key, item in found.items.items()}


@given(folders)
@settings(max_examples=40)
def test_pull_gives_what_push_got_and_push_of_it_writes_nothing(
    stack: FakeStack, folder: tuple[dict[str, Any], dict[str, Any], str]
) -> None:
    stack.empty()
    with TemporaryDirectory() as name:
        pushed, pulled = Path(name, "pushed"), Path(name, "pulled")
        pushed.mkdir()
        written(pushed, {"pipelines": folder[0], "sources": folder[1]}, folder[2])
        if read_configuration([pushed]).mistakes:  # the same model twice, and so on
            return
        ended = stack.run("push", str(pushed), "--yes")
        assert ended.exit_code == 0, ended.output
        parts = contents(pushed)
        assert len(stack.calls) == len(parts)

        assert stack.run("push", str(pushed)).exit_code == 0
        assert stack.calls == []
        before = {path: path.read_bytes() for path in pushed.rglob("*.*")}
        assert stack.run("pull", str(pushed)).exit_code == 0
        assert {path: path.read_bytes() for path in pushed.rglob("*.*")} == before

        assert stack.run("pull", str(pulled)).exit_code == 0
        assert contents(pulled) == parts
        for path in pulled.rglob("*.yaml"):
            kind = "pipelines" if path.parent.name == "pipelines" else "sources"
            assert read_yaml(path.read_text(encoding="utf-8")).value.keys() >= (
                {"data_pool"} if kind == "pipelines" else {"sender"}
            )
        assert stack.run("push", str(pulled), "--prune").exit_code == 0
        assert stack.calls == []
        shutil.rmtree(pulled)
    assert {key.kind for key in parts} >= {Kind.PIPELINE}
