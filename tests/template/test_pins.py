"""Every requirement is pinned, with the same version in all files."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from tests.template import documents

LOCAL = documents.ROOT / "requirements" / "local.txt"
DEVELOPMENT = documents.ROOT / "requirements" / "dev.txt"
TOOL = documents.ROOT / "requirements" / "cli.txt"
AWS_CLI = documents.ROOT / "requirements" / "aws-cli.txt"
SAM = documents.ROOT / "requirements" / "sam.txt"
CHECKOV = documents.ROOT / "requirements" / "checkov.txt"
DEPLOYED = documents.LAYER / "requirements.txt"
FILES = (LOCAL, DEVELOPMENT, TOOL, AWS_CLI, SAM, CHECKOV, DEPLOYED)

ENVIRONMENTS = [
    path
    for path in (Path(sys.prefix), documents.ROOT / ".tools", documents.ROOT / ".checkov")
    if (path / "lib").is_dir()
]
"""That are set up here; ``make check`` needs all of them."""
OLDEST_PYTHON = "3.11.0"

PIN = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[0-9][A-Za-z0-9.+!-]*)(?: ; .+)?")
SAME_TOOL = ("aws-sam-translator", "cfn-lint")
"""Where `sam` and the tests use the same tool, they use the same release of it."""


def lines(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8").splitlines()
    return [line for line in text if line.strip() and not line.startswith("#")]


def pins(path: Path) -> dict[str, str]:
    """Versions by name, as PyPI compares names."""
    found = [PIN.fullmatch(line) for line in lines(path)]
    return {re.sub(r"[-_.]+", "-", pin["name"]).lower(): pin["version"] for pin in found if pin}


def test_these_are_all_the_files() -> None:
    assert set(FILES) - {DEPLOYED} == set((documents.ROOT / "requirements").glob("*.txt"))
    assert set((documents.ROOT / "functions").rglob("requirements*.txt")) == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name + "/" + path.name)
def test_every_line_is_a_pin(path: Path) -> None:
    assert lines(path)
    assert [line for line in lines(path) if not PIN.fullmatch(line)] == []
    assert len(pins(path)) == len(lines(path)), "a package stands there twice"


def test_what_is_tested_is_what_is_deployed() -> None:
    tested, deployed = pins(LOCAL), pins(DEPLOYED)
    assert {name: tested.get(name) for name in deployed} == deployed


def test_the_tool_is_tested_with_its_pins() -> None:
    tested, tool = pins(LOCAL), pins(TOOL)
    assert {name: tested.get(name) for name in tool} == tool


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda path: path.name)
def test_what_is_pinned_runs_on_the_oldest_python(environment: Path) -> None:
    """A package may leave out the early releases of a Python version."""
    paths = [str(path) for path in environment.glob("lib/python3*/site-packages")]
    required = {each.name: each.metadata["Requires-Python"] for each in distributions(path=paths)}
    assert required
    assert [
        (name, specifier)
        for name, specifier in required.items()
        if specifier and not SpecifierSet(specifier).contains(OLDEST_PYTHON)
    ] == []


def test_no_package_of_the_local_stack_is_pinned_again_for_the_tests() -> None:
    assert pins(LOCAL).keys() & pins(DEVELOPMENT).keys() == set()


@pytest.mark.parametrize("name", SAME_TOOL)
def test_sam_translates_and_checks_as_the_tests_do(name: str) -> None:
    assert pins(SAM)[name] == {**pins(LOCAL), **pins(DEVELOPMENT)}[name]


def test_the_project_requires_the_python_version_of_its_tools() -> None:
    project = tomllib.loads((documents.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["requires-python"] == ">=3.11"
    assert project["tool"]["ruff"]["target-version"] == "py311"
    assert project["tool"]["mypy"]["python_version"] == "3.11"
