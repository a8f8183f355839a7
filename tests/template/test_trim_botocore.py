"""The trimmed botocore of the layer describes every operation that the functions call."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path
from typing import Any

import botocore
import botocore.session
import pytest
from botocore import xform_name
from botocore.loaders import Loader

from tests.template import documents

BOTOCORE = Path(botocore.__file__).parent
SERVICES = {"states": "stepfunctions"}
"""Where IAM has another name for a service than botocore."""
WITHIN_TRANSACTIONS = {"ConditionCheckItem"}


def operations() -> dict[str, tuple[str, ...]]:
    """``OPERATIONS`` of the script that the build runs."""
    tree = ast.parse((documents.LAYER / "trim_botocore.py").read_text(encoding="utf-8"))
    (found,) = (node for node in tree.body if isinstance(node, ast.AnnAssign))
    assert found.value is not None
    value: dict[str, tuple[str, ...]] = ast.literal_eval(found.value)
    return value


def test_every_permission_of_a_function_is_for_an_operation_that_is_there() -> None:
    known = {(service, name) for service, names in operations().items() for name in names}
    called: set[tuple[str, str]] = set()
    for function in documents.resources("AWS::Serverless::Function").values():
        for policy in function.get("Policies", []):
            for statement in policy["Statement"]:
                actions = statement["Action"]
                for action in [actions] if isinstance(actions, str) else actions:
                    service, _, name = action.partition(":")
                    called.add((SERVICES.get(service, service), name))
    assert {one for one in called if one[1] not in WITHIN_TRANSACTIONS} <= known


def test_every_operation_that_the_code_calls_is_there() -> None:
    session = botocore.session.get_session()
    listed = operations()
    left_out = {
        xform_name(name)
        for service, names in listed.items()
        for name in session.get_service_model(service).operation_names
        if name not in names
    } - {xform_name(name) for names in listed.values() for name in names}
    for path in documents.sources(documents.PACKAGE):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.Attribute) and node.attr in left_out), f"{path}: {node.attr}"


@pytest.mark.parametrize("service", sorted(operations()))
def test_a_trimmed_description_is_the_whole_one_for_these_operations(service: str, tmp_path: Path) -> None:
    shutil.copytree(BOTOCORE / "data", tmp_path / "data", ignore=_other_services)
    scope: dict[str, Any] = {"__name__": "trim_botocore"}
    script = documents.LAYER / "trim_botocore.py"
    exec(compile(script.read_text(encoding="utf-8"), str(script), "exec"), scope)  # noqa: S102
    scope["trim"](tmp_path / "data")
    short = botocore.session.get_session()
    short.register_component(
        "data_loader", Loader([str(tmp_path / "data")], include_default_search_paths=False)
    )
    whole = botocore.session.get_session().get_service_model(service)
    model = short.get_service_model(service)
    assert set(model.operation_names) == set(operations()[service])
    assert not (tmp_path / "data" / "s3").exists()
    for name in model.operation_names:
        one, other = model.operation_model(name), whole.operation_model(name)
        assert _form(one.input_shape) == _form(other.input_shape)
        assert _form(one.output_shape) == _form(other.output_shape)
        assert [shape.name for shape in one.error_shapes] == [shape.name for shape in other.error_shapes]
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    client = short.create_client(service, region_name="eu-central-1", **keys)
    assert client.meta.endpoint_url.endswith(".eu-central-1.amazonaws.com")
    for partition in ("aws", "aws-cn", "aws-us-gov"):
        regions = botocore.session.get_session().get_available_regions(service, partition)
        assert regions
        assert short.get_available_regions(service, partition) == regions


def _other_services(folder: str, names: list[str]) -> set[str]:
    """Copy one folder beside those that the functions need: it has to be removed."""
    is_data = Path(folder).name == "data"
    return {name for name in names if is_data and (BOTOCORE / "data" / name).is_dir()} - {*operations(), "s3"}


def _form(shape: Any, above: tuple[str, ...] = ()) -> Any:
    """A shape down to its leaves; one that contains itself is given by its name."""
    if shape is None or shape.name in above:
        return shape and shape.name
    inner = (*above, shape.name)
    if shape.type_name == "structure":
        return {name: _form(member, inner) for name, member in shape.members.items()}, shape.required_members
    if shape.type_name == "list":
        return [_form(shape.member, inner)]
    if shape.type_name == "map":
        return {"key": _form(shape.key, inner), "value": _form(shape.value, inner)}
    return shape.type_name, shape.serialization
