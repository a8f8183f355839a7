"""The environment that a function reads is the environment that the template gives it: no less, no more.

What a function reads is found in the source: the models of ``aws/environment.py`` that its handler reaches,
directly or through the functions of ``wiring.py``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

import pytest
from aws_lambda_powertools.shared import constants

from celonis_refresh.aws import environment
from tests.template import documents

POWERTOOLS = {"POWERTOOLS_SERVICE_NAME"}
"""Read by the logger of Powertools, which every function uses."""
LIBRARIES: set[str] = set()
"""Read by botocore."""
UNREAD = {"LAYER_DIGEST"}
"""Not read by any code: its change publishes a new version when only the layer changed."""

MODELS = {
    name: model
    for name, model in vars(environment).items()
    if isinstance(model, type) and issubclass(model, environment.TaskEnvironment)
}
FUNCTIONS = documents.functions()


def definitions(tree: ast.Module) -> dict[str, ast.stmt]:
    """The module's own functions and classes by name."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {node.name: node for node in tree.body if isinstance(node, kinds)}


def names(node: ast.AST) -> Iterator[str]:
    for child in ast.walk(node):
        if isinstance(child, ast.Name):
            yield child.id
        elif isinstance(child, ast.Attribute):
            yield child.attr


def reached(start: ast.AST, known: Mapping[str, ast.stmt]) -> set[str]:
    """Every name that ``start`` mentions, and those that the known functions behind them mention."""
    found: set[str] = set()
    waiting = list(names(start))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += names(known[name]) if name in known else []
    return found


def parsed(*path: str) -> ast.Module:
    return ast.parse(documents.ROOT.joinpath(*path).read_text(encoding="utf-8"))


def read_by(function: str) -> set[str]:
    """The variables that the function's code reads."""
    handler = parsed("functions", documents.folder_name(function), "app.py")
    wiring = definitions(parsed("layers", "refresh", "celonis_refresh", "wiring.py"))
    used = reached(handler, wiring)
    return {field.upper() for name in used & set(MODELS) for field in MODELS[name].__struct_fields__}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_template_gives_what_the_function_reads(function: str) -> None:
    given = set(FUNCTIONS[function]["Environment"]["Variables"])
    assert given == read_by(function) | POWERTOOLS | LIBRARIES | UNREAD


def test_nothing_else_reads_the_environment() -> None:
    """``os.environ`` is passed to functions of ``aws/environment.py``, and used for nothing else."""
    modules = documents.sources(documents.PACKAGE) + documents.sources(documents.FUNCTIONS)
    uses = [
        line.strip()
        for path in modules
        for line in path.read_text(encoding="utf-8").splitlines()
        if "environ" in line and "os." in line
    ]
    assert uses
    known = (
        "environment.read(",
        "read(Closer",
        "environment.allows_http_callbacks(",
        "environment.is_local_stack(",
    )
    assert [line for line in uses if not any(call in line for call in known)] == []


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_function_of_a_deployed_stack_posts_callbacks_over_plain_http(function: str) -> None:
    assert environment.ALLOW_HTTP_CALLBACKS not in FUNCTIONS[function]["Environment"]["Variables"]
    assert environment.ALLOW_HTTP_CALLBACKS not in documents.template_text()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_function_of_a_deployed_stack_is_one_of_the_local_stack(function: str) -> None:
    """Its notifications would name commands without options, which use another stack."""
    assert environment.LOCAL_STACK not in FUNCTIONS[function]["Environment"]["Variables"]
    assert environment.LOCAL_STACK not in documents.template_text()


def test_no_function_reads_the_digest_of_the_layer() -> None:
    modules = documents.sources(documents.PACKAGE) + documents.sources(documents.FUNCTIONS)
    assert not any("LAYER_DIGEST" in path.read_text(encoding="utf-8") for path in modules)


def test_powertools_reads_its_variables() -> None:
    """The names are those that the pinned release knows: a rename would go unnoticed otherwise."""
    known = {value for value in vars(constants).values() if isinstance(value, str)}
    assert known >= POWERTOOLS


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_secret_is_in_the_environment(function: str) -> None:
    values = FUNCTIONS[function]["Environment"]["Variables"].values()
    assert not any("resolve:secretsmanager" in text for text in documents.strings(list(values)))
