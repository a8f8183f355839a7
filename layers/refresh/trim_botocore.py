"""Trim the botocore in a folder to the services and operations that the functions call.

``python trim_botocore.py FOLDER``. botocore reads the whole description of a service when its client is
created. That of Systems Manager is more than a megabyte of JSON, of which two operations are used. The list
of all endpoints is as large.
"""

from __future__ import annotations

import gzip
import json
import shutil
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
    "events": ("PutEvents",),
    "secretsmanager": ("GetSecretValue",),
    "sns": ("Publish",),
    "ssm": ("GetParameter", "GetParameters", "GetParametersByPath"),
    "stepfunctions": ("StartExecution", "StopExecution", "DescribeExecution"),
}


def trim(data: Path) -> None:
    """Remove the folders of other services, and what is not needed from the descriptions of these."""
    for folder in data.iterdir():
        if folder.is_dir() and folder.name not in OPERATIONS:
            shutil.rmtree(folder)
    prefixes = set()
    for service, operations in OPERATIONS.items():
        path = max((data / service).glob("*/service-2.json.gz"))
        model = json.loads(gzip.decompress(path.read_bytes()))
        prefixes.add(model["metadata"]["endpointPrefix"])
        trimmed = json.dumps(
            _without_documentation(with_operations(model, operations)), separators=(",", ":")
        )
        path.write_bytes(gzip.compress(trimmed.encode()))
    endpoints = json.loads((data / "endpoints.json").read_text(encoding="utf-8"))
    for partition in endpoints["partitions"]:
        services = partition["services"]
        partition["services"] = {name: services[name] for name in services if name in prefixes}
    (data / "endpoints.json").write_text(json.dumps(endpoints, separators=(",", ":")), encoding="utf-8")


def with_operations(model: dict[str, Any], operations: tuple[str, ...]) -> dict[str, Any]:
    """Return the description with these operations alone, and the shapes that they refer to."""
    kept = {name: model["operations"][name] for name in operations}
    shapes: dict[str, Any] = {}
    queue = list(_referenced_shapes(kept))
    while queue:
        name = queue.pop()
        if name not in shapes:
            shapes[name] = model["shapes"][name]
            queue.extend(_referenced_shapes(shapes[name]))
    return {**model, "operations": kept, "shapes": shapes}


def _referenced_shapes(part: Any) -> Iterator[str]:
    """A reference to a shape is an object whose ``shape`` is a name."""
    if isinstance(part, dict):
        if isinstance(part.get("shape"), str):
            yield part["shape"]
        for value in part.values():
            yield from _referenced_shapes(value)
    elif isinstance(part, list):
        for value in part:
            yield from _referenced_shapes(value)


def _without_documentation(part: Any) -> Any:
    """Remove documentation texts; a shape member with this name is an object and stays."""
    if isinstance(part, dict):
        return {
            name: _without_documentation(value)
            for name, value in part.items()
            if not (name == "documentation" and isinstance(value, str))
        }
    return [_without_documentation(value) for value in part] if isinstance(part, list) else part


if __name__ == "__main__":
    trim(Path(sys.argv[1]) / "data")
