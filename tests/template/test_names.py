"""One name in four places: state, folder, logical id, substitution."""

from __future__ import annotations

import ast
import re

import pytest

from tests.template import documents


def task_states() -> dict[str, documents.Document]:
    found = documents.states(documents.machine())
    return {name: state for name, state in found if state["Type"] == "Task"}


def substitutions() -> documents.Document:
    (machine,) = documents.resources("AWS::Serverless::StateMachine").values()
    given: documents.Document = machine["DefinitionSubstitutions"]
    return given


def function_of(state: str) -> str:
    """One function starts jobs and loads, one checks both; the states keep the kinds apart in the console."""
    return re.sub("(?<=Start|Check)(Job|Load)$", "Step", state)


def test_every_task_calls_the_function_that_it_is_named_after() -> None:
    assert {name: state["Resource"] for name, state in task_states().items()} == {
        name: f"${{{function_of(name)}}}" for name in task_states()
    }
    assert {function_of(name) for name in task_states()} == set(substitutions())


def test_every_substitution_is_the_published_version_of_the_function_of_that_name() -> None:
    assert substitutions() == {name: {"Ref": f"{name}.Version"} for name in substitutions()}


def test_the_template_names_the_file_of_the_state_machine() -> None:
    (machine,) = documents.resources("AWS::Serverless::StateMachine").values()
    assert (documents.ROOT / machine["DefinitionUri"]).is_file()


def test_every_folder_is_a_function_and_every_function_a_folder() -> None:
    folders = {path.name for path in documents.FUNCTIONS.iterdir() if (path / "app.py").is_file()}
    assert folders == {documents.folder_name(name) for name in documents.functions()}


@pytest.mark.parametrize("name", documents.functions())
def test_code_and_handler_exist_where_the_template_refers_to_them(name: str) -> None:
    function = documents.functions()[name]
    assert function["CodeUri"] == f"functions/{documents.folder_name(name)}/"
    module, _, handler = function["Handler"].partition(".")
    source = (documents.ROOT / function["CodeUri"] / f"{module}.py").read_text(encoding="utf-8")
    defined = [node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    assert handler in defined


def test_the_machine_may_invoke_its_functions_and_no_others() -> None:
    (machine,) = documents.resources("AWS::Serverless::StateMachine").values()
    statements = [each for policy in machine["Policies"] for each in policy["Statement"]]
    (invoke,) = [each for each in statements if each["Action"] == "lambda:InvokeFunction"]
    assert invoke["Resource"] == [{"Fn::Sub": f"${{{name}.Arn}}:*"} for name in substitutions()]


def test_a_task_gives_its_function_more_time_than_the_function_has() -> None:
    functions = documents.functions()
    for name, state in task_states().items():
        assert state["TimeoutSeconds"] > functions[function_of(name)]["Timeout"]
