"""Writes what botocore needs to know of the AWS services: the operations that are used here, no others.

``python service_models.py FROM TO``: from the folder of a botocore to a folder that ``AWS_DATA_PATH`` names.
botocore reads the whole description of a service when its client is made; that of Systems Manager alone is
more than a megabyte of JSON, for two operations, and so is the list of all services' endpoints. What is not
found here, such as the rules for endpoints, it takes from its own data.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OPERATIONS: dict[str, tuple[str, ...]] = {
    "dynamodb": (
        "GetItem",
        "PutItem",
        "UpdateItem",
        "DeleteItem",
        "Query",
        "TransactGetItems",
        "TransactWriteItems",
    ),
    "secretsmanager": ("GetSecretValue",),
    "sns": ("Publish",),
    "ssm": ("GetParameter", "GetParametersByPath"),
    "stepfunctions": ("StartExecution", "StopExecution", "DescribeExecution"),
}


def write(botocore: Path, target: Path) -> None:
    """Cuts down the newest description of each service, and the list of endpoints to these services."""
    prefixes = set()
    for service, operations in OPERATIONS.items():
        newest = max((botocore / "data" / service).glob("*/service-2.json.gz"))
        model = json.loads(gzip.decompress(newest.read_bytes()))
        place = target / service / newest.parent.name
        place.mkdir(parents=True)
        _save(_without_documentation(cut_down(model, operations)), place / "service-2.json")
        prefixes.add(model["metadata"]["endpointPrefix"])
    endpoints = json.loads((botocore / "data" / "endpoints.json").read_text(encoding="utf-8"))
    for partition in endpoints["partitions"]:
        services = partition["services"]
        partition["services"] = {name: services[name] for name in services if name in prefixes}
    _save(endpoints, target / "endpoints.json")


def cut_down(model: dict[str, Any], operations: tuple[str, ...]) -> dict[str, Any]:
    """The description with these operations, and with the shapes that they lead to."""
    kept = {name: model["operations"][name] for name in operations}
    shapes: dict[str, Any] = {}
    waiting = list(_shapes_named_in(kept))
    while waiting:
        name = waiting.pop()
        if name not in shapes:
            shapes[name] = model["shapes"][name]
            waiting.extend(_shapes_named_in(shapes[name]))
    return {**model, "operations": kept, "shapes": shapes}


def _save(document: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(document, separators=(",", ":")), encoding="utf-8")


def _shapes_named_in(part: Any) -> Iterator[str]:
    """A reference to a shape is an object whose ``shape`` is a name."""
    if isinstance(part, dict):
        if isinstance(part.get("shape"), str):
            yield part["shape"]
        for value in part.values():
            yield from _shapes_named_in(value)
    elif isinstance(part, list):
        for value in part:
            yield from _shapes_named_in(value)


def _without_documentation(part: Any) -> Any:
    """Texts for people; a member of a shape that has that name is an object, and stays."""
    if isinstance(part, dict):
        return {
            name: _without_documentation(value)
            for name, value in part.items()
            if not (name == "documentation" and isinstance(value, str))
        }
    return [_without_documentation(value) for value in part] if isinstance(part, list) else part


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
