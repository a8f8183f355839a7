"""The allowed dependencies between folders, checked against the imports."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.template import documents
from tests.template.test_pins import DEPLOYED, TOOL, pins

PARTS: dict[str, set[str]] = {
    "celonis": {"celonis", "errors", "timing"},
    "validation": {"validation", "errors"},
    "webhooks": {"webhooks", "errors", "validation", "names"},
    "pipelines": {"pipelines", "errors", "validation", "names", "celonis.addresses", "celonis.records"},
    "runs": {"runs", "errors", "timing", "pipelines", "validation"},
    "steps": {
        "steps", "errors", "timing", "names", "observability", "validation", "runs", "pipelines", "celonis",
    },
    "rate_limits": {"rate_limits", "errors", "timing", "observability", "runs", "celonis"},
    "notifications": {
        "notifications", "errors", "timing", "names", "observability", "validation", "runs", "pipelines",
        "webhooks",
    },
    "workflow": {
        "workflow", "errors", "timing", "names", "observability", "validation", "steps", "runs", "pipelines",
        "webhooks", "celonis", "notifications",
    },
    "aws": {
        "aws", "errors", "timing", "names", "observability", "celonis", "pipelines", "runs",
        "workflow", "webhooks", "notifications",
    },
}  # fmt: skip
"""What each part may import of this package: those above it, and itself."""

ALONE: dict[str, set[str]] = {
    "errors": set(),
    "metrics": set(),
    "names": {"validation"},
    "observability": {"metrics"},
    "responses": {"errors", "observability"},
    "timing": set(),
}
"""What each module beside the parts may import; ``wiring`` knows them all."""

OUTSIDE: dict[str, set[str]] = {
    "celonis": {"msgspec", "requests", "urllib3"},
    "validation": {"msgspec"},
    "webhooks": {"msgspec", "jmespath", "cryptography"},
    "pipelines": {"msgspec"},
    "runs": {"botocore", "msgspec", "mypy_boto3_dynamodb"},
    "steps": {"msgspec"},
    "rate_limits": {"msgspec"},
    "notifications": {"msgspec", "requests", "urllib3"},
    "workflow": {"msgspec"},
    "aws": {
        "aws_lambda_powertools",
        "boto3", "botocore", "msgspec", "requests", "urllib3", "mypy_boto3_dynamodb",
        "mypy_boto3_secretsmanager", "mypy_boto3_sns", "mypy_boto3_ssm", "mypy_boto3_stepfunctions",
    },
}  # fmt: skip
"""What each part may import of other people's: AWS stays in aws/ and, for its errors, in runs/."""

OF_THE_TOOL: set[str] = {
    "errors", "names", "validation", "pipelines", "webhooks", "aws.configuration", "celonis.addresses",
    "celonis.connection", "celonis.errors", "celonis.records", "notifications.channels",
    "notifications.messages",
}  # fmt: skip
"""What the command line tool may import of the layer: what checks the configuration, and what records say."""
OUTSIDE_OF_THE_TOOL = {
    "boto3",
    "botocore",
    "click",
    "flask",
    "msgspec",
    "requests",
    "rich",
    "werkzeug",
    "yaml",
}

DATA = {"tzdata"}
"""Distributions without code: zoneinfo reads its time zones from there if the system has none."""
LONGEST_HANDLER = 25
LONGEST_APP = 200


def imported(path: Path) -> set[str]:
    """Full names of the modules that a module imports, also inside functions and for types only."""
    return _names(ast.parse(path.read_text(encoding="utf-8")), path)


def _names(tree: ast.Module, path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            module = str(node.module)
            found |= {f"{module}.{alias.name}" if _is_package(module) else module for alias in node.names}
    return found


def at_run_time(path: Path) -> set[str]:
    """As :func:`imported`, without what is imported for types only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    return _names(tree, path)


def _is_package(module: str) -> bool:
    return documents.LAYER.joinpath(*module.split(".")).is_dir()


def ours(names: set[str]) -> set[str]:
    """Those of this package, without its name."""
    prefix = "celonis_refresh."
    return {name.removeprefix(prefix) for name in names if name.startswith(prefix)}


def foreign(names: set[str]) -> set[str]:
    """The distributions behind the imports of other people's code."""
    tops = {name.partition(".")[0] for name in names}
    return tops - set(sys.stdlib_module_names) - {"celonis_refresh", "refresh_cli"}


def is_covered(name: str, allowed: set[str]) -> bool:
    return any(name == each or name.startswith(f"{each}.") for each in allowed)


def modules(part: str) -> list[Path]:
    return documents.sources(documents.PACKAGE / part)


def test_every_part_has_its_rules() -> None:
    parts = {path.name for path in documents.PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert parts == set(PARTS) == set(OUTSIDE)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_imports_only_the_parts_below_it(part: str) -> None:
    for path in modules(part):
        wrong = {name for name in ours(imported(path)) if not is_covered(name, PARTS[part])}
        assert wrong == set(), path.name


def test_a_module_beside_the_parts_imports_no_part_that_imports_it() -> None:
    found = {path.stem: path for path in documents.PACKAGE.glob("*.py")}
    assert set(found) - {"__init__", "wiring"} == set(ALONE)
    for name, allowed in ALONE.items():
        wrong = {each for each in ours(imported(found[name])) if not is_covered(each, allowed)}
        assert wrong == set(), name


def test_no_modules_import_each_other() -> None:
    """Except for types: what is only imported to check them runs nothing."""
    paths = {_module(path): path for path in documents.sources(documents.PACKAGE)}
    left = {name: {_known(each, paths) for each in ours(at_run_time(path))} for name, path in paths.items()}
    while free := {name for name, needs in left.items() if not (needs - {name}) & set(left)}:
        left = {name: needs for name, needs in left.items() if name not in free}
    assert left == {}


def test_no_two_classes_of_the_layer_share_a_name() -> None:
    names = [
        node.name
        for path in documents.sources(documents.PACKAGE)
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    assert [name for name, count in Counter(names).items() if count > 1] == []


def _module(path: Path) -> str:
    return ".".join(path.relative_to(documents.PACKAGE).with_suffix("").parts)


def _known(name: str, modules: Mapping[str, Path]) -> str:
    """The module in which an imported name is."""
    return name if name in modules else name.rpartition(".")[0]


@pytest.mark.parametrize("part", OUTSIDE)
def test_a_part_needs_only_what_it_should(part: str) -> None:
    for path in modules(part):
        assert foreign(imported(path)) <= OUTSIDE[part], path.name


def test_botocore_is_imported_for_types_and_errors_alone_outside_of_aws() -> None:
    names = {name for path in modules("runs") for name in imported(path) if name.startswith("botocore")}
    assert names == {"botocore.exceptions"}


def test_what_is_imported_is_required_and_what_is_required_is_imported() -> None:
    deployed = documents.sources(documents.PACKAGE) + documents.sources(documents.FUNCTIONS)
    imports = {name for path in deployed for name in foreign(imported(path))}
    direct = {name.replace("_", "-") for name in imports if not name.startswith("mypy_boto3_")}
    assert direct | DATA | set().union(*(brought(name) for name in direct)) == set(pins(DEPLOYED))


def brought(name: str) -> set[str]:
    """Everything that a package needs where the layer runs, and what that needs in turn."""
    here = {"extra": "", "python_version": "3.13", "platform_python_implementation": "CPython"}
    needs = [Requirement(line) for line in requires(name) or []]
    found = {canonicalize_name(need.name) for need in needs if not need.marker or need.marker.evaluate(here)}
    return found | set().union(*(brought(each) for each in found))


def test_deployed_code_does_not_import_the_development_tools() -> None:
    deployed = documents.sources(documents.PACKAGE) + documents.sources(documents.FUNCTIONS)
    tops = {name.partition(".")[0] for path in deployed for name in imported(path)}
    assert not tops & {"local", "tests", "moto", "pytest", "refresh_cli", "click", "rich", "flask", "yaml"}


@pytest.mark.parametrize("path", documents.sources(documents.TOOL), ids=lambda path: path.stem)
def test_the_tool_imports_of_the_layer_only_what_needs_no_stack(path: Path) -> None:
    names = imported(path)
    assert {name for name in ours(names) if not is_covered(name, OF_THE_TOOL)} == set()
    assert foreign(names) <= OUTSIDE_OF_THE_TOOL


def test_the_tool_requires_what_it_and_the_layer_import() -> None:
    """The exact versions in ``requirements/cli.txt`` are those packages, and what they need in turn."""
    project = tomllib.loads((documents.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    direct = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    assert direct | set().union(*(brought(name) for name in direct)) == set(pins(TOOL))
    needed = {name for path in documents.sources(documents.TOOL) for name in foreign(imported(path))}
    assert needed - {"botocore", "werkzeug", "yaml"} <= direct


@pytest.mark.parametrize("path", documents.sources(documents.FUNCTIONS), ids=lambda path: path.parent.name)
def test_a_handler_is_thin(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_APP
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            assert (node.end_lineno or 0) - first + 1 <= LONGEST_HANDLER, node.name


@pytest.mark.parametrize("path", documents.sources(documents.FUNCTIONS), ids=lambda path: path.parent.name)
def test_a_handler_makes_no_client_when_it_is_imported(path: Path) -> None:
    """What a module does at its top is defining: a call there would run before the first event."""
    quiet = (ast.FunctionDef, ast.Import, ast.ImportFrom, ast.Expr, ast.Assign)
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        assert isinstance(node, quiet)
        if isinstance(node, ast.Expr | ast.Assign):
            calls = [call for call in ast.walk(node) if isinstance(call, ast.Call)]
            assert [ast.unparse(call.func) for call in calls] in ([], ["APIGatewayHttpResolver"])
