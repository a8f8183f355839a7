"""The functions that Step Functions adds to JSONata."""

import hashlib
import json
import random
import uuid
from collections.abc import Callable
from typing import Any

from jsonata.jsonata import Jsonata

_HASHES = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}


def _partition(items: Any = None, size: Any = None) -> Any:
    if items is None or size is None:
        return None
    values = list(items) if isinstance(items, list) else [items]
    return [values[start : start + int(size)] for start in range(0, len(values), int(size))]


def _range(first: Any = None, last: Any = None, step: Any = 1) -> Any:
    if first is None or last is None:
        return None
    end = last + (1 if step > 0 else -1)
    return list(range(int(first), int(end), int(step)))


def _hash(value: Any = None, algorithm: Any = "SHA-256") -> Any:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    return hashlib.new(_HASHES[str(algorithm)], text.encode()).hexdigest()


def _random(seed: Any = None) -> float:
    return random.Random(seed).random() if seed is not None else random.random()  # noqa: S311 - no secret


def _parse(text: Any = None) -> Any:
    return None if text is None else json.loads(text)


def _uuid() -> str:
    return str(uuid.uuid4())


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "partition": _partition,
    "range": _range,
    "hash": _hash,
    "random": _random,
    "parse": _parse,
    "uuid": _uuid,
}


def bindings() -> dict[str, Any]:
    """Return the functions `$partition`, `$range`, `$hash`, `$random`, `$parse` and `$uuid`."""
    return {name: Jsonata.JLambda(function) for name, function in _FUNCTIONS.items()}
