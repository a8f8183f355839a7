"""The layer's digest in the template, and that a change of it reaches the versions that the machine names."""

from __future__ import annotations

from pathlib import Path

import pytest

from local import stamp
from tests.template import documents


def versions(template: documents.Document) -> set[str]:
    kinds = {name: resource["Type"] for name, resource in template["Resources"].items()}
    return {name for name, kind in kinds.items() if kind == "AWS::Lambda::Version"}


def with_digest(folder: Path, digest: str) -> documents.Document:
    text = stamp.STAMP.sub(rf"\g<1>{digest}\g<3>", documents.template_text())
    return documents.translated_from(text, folder)


def test_the_digest_in_the_template_is_that_of_the_layer() -> None:
    assert stamp.stamped() == stamp.digest(), "the layer has changed: run `make format`"


def test_another_digest_publishes_every_function_anew(tmp_path: Path) -> None:
    before, after = versions(documents.translated()), versions(with_digest(tmp_path, "0" * 16))
    assert len(before) == len(after) == len(documents.functions())
    assert before & after == set()


def test_the_same_digest_publishes_nothing(tmp_path: Path) -> None:
    assert versions(with_digest(tmp_path, stamp.stamped())) == versions(documents.translated())


def test_a_version_and_a_layer_that_are_replaced_are_kept() -> None:
    """A running run keeps its code when the stack is upgraded."""
    for resource in documents.translated()["Resources"].values():
        if resource["Type"] in ("AWS::Lambda::Version", "AWS::Lambda::LayerVersion"):
            assert resource["DeletionPolicy"] == "Retain"


@pytest.fixture
def layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "module.py").write_text("A = 1\n", encoding="utf-8")
    monkeypatch.setattr(stamp, "LAYER", tmp_path)
    return tmp_path


def test_a_change_in_the_layer_changes_the_digest(layer: Path) -> None:
    before = stamp.digest()
    (layer / "package" / "module.py").write_text("A = 2\n", encoding="utf-8")
    assert stamp.digest() != before


def test_a_new_requirement_changes_the_digest(layer: Path) -> None:
    before = stamp.digest()
    (layer / "requirements.txt").write_text("requests==2.0\n", encoding="utf-8")
    assert stamp.digest() != before


def test_python_caches_do_not_change_the_digest(layer: Path) -> None:
    before = stamp.digest()
    (layer / "package" / "__pycache__").mkdir()
    (layer / "package" / "__pycache__" / "module.cpython-313.pyc").write_bytes(b"\0")
    assert stamp.digest() == before
