"""The deployed functions: settings, versions, aliases, layers and permissions."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from local.aws.arns import Arn
from local.aws.errors import NotFoundError

LATEST = "$LATEST"


@dataclass(frozen=True)
class Function:
    """One version of one function. `timeout` in seconds, `memory` in MB."""

    logical_id: str
    name: str
    arn: str
    handler: str
    role_arn: str
    code: Path
    timeout: int = 3
    memory: int = 128
    environment: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[Path, ...] = ()
    version: str = LATEST
    runtime: str = "python3.13"
    log_group: str = ""
    log_format: str = "Text"
    log_level: str = ""
    concurrency: int | None = None
    dead_letter_arn: str | None = None

    @property
    def qualified_arn(self) -> str:
        return self.arn if self.version == LATEST else f"{self.arn}:{self.version}"


@dataclass(frozen=True)
class AsyncSettings:
    """The settings of failed asynchronous invocations."""

    retries: int = 2
    on_failure_arn: str | None = None
    on_success_arn: str | None = None


class Functions:
    """Finds functions by name, ARN, version or alias."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._versions: dict[tuple[str, str], Function] = {}
        self._aliases: dict[tuple[str, str], str] = {}
        self._permissions: dict[str, list[dict[str, Any]]] = {}
        self._async: dict[tuple[str, str], AsyncSettings] = {}
        self.layers: dict[str, Path] = {}

    def add(self, function: Function) -> None:
        with self._lock:
            self._versions[(function.name, function.version)] = function

    def publish(self, name: str, version: str) -> Function:
        """Publish the current settings of a function as a version."""
        function = replace(self.resolve(name), version=version)
        self.add(function)
        return function

    def alias(self, name: str, alias: str, version: str) -> None:
        with self._lock:
            self._aliases[(name, alias)] = version

    def update(self, name: str, **changes: Any) -> None:
        """Change the settings of $LATEST; versions keep theirs."""
        self.add(replace(self.resolve(name), **changes))

    def reserve(self, name: str, concurrency: int) -> None:
        """Limit how many events a function handles at once; it holds for every version, as in Lambda."""
        with self._lock:
            for key, function in self._versions.items():
                if key[0] == name:
                    self._versions[key] = replace(function, concurrency=concurrency)

    def resolve(self, reference: str, qualifier: str | None = None) -> Function:
        """Return the function for a name or an ARN, with or without a qualifier. Raises NotFoundError."""
        name, own_qualifier = split_reference(reference)
        version_or_alias = qualifier or own_qualifier or LATEST
        with self._lock:
            version = self._aliases.get((name, version_or_alias), version_or_alias)
            function = self._versions.get((name, version))
        if function is None:
            raise NotFoundError(f"Function not found: {reference}:{version_or_alias}")
        return function

    def all(self) -> list[Function]:
        """Return the $LATEST of every function, by logical id."""
        with self._lock:
            latest = [function for (_, version), function in self._versions.items() if version == LATEST]
        return sorted(latest, key=lambda function: function.logical_id)

    def published(self, name: str) -> Function:
        """Return the latest published version, or $LATEST if none is published."""
        with self._lock:
            versions = [
                version for function, version in self._versions if function == name and version != LATEST
            ]
        return self.resolve(name, max(versions, key=int, default=LATEST))

    def allow(self, reference: str, statement: dict[str, Any]) -> None:
        """Add a statement to the resource policy of a function, a version or an alias."""
        self._permissions.setdefault(_key(reference), []).append(statement)

    def permissions(self, reference: str) -> list[dict[str, Any]]:
        return self._permissions.get(_key(reference), [])

    def set_async(self, name: str, qualifier: str, settings: AsyncSettings) -> None:
        self._async[(name, qualifier)] = settings

    def async_settings(self, reference: str, qualifier: str | None = None) -> AsyncSettings:
        name, own = split_reference(reference)
        version_or_alias = qualifier or own or LATEST
        settings = self._async.get((name, version_or_alias))
        dead_letter = self.resolve(reference, qualifier).dead_letter_arn
        if settings is None:
            return AsyncSettings(on_failure_arn=dead_letter)
        return settings if settings.on_failure_arn else replace(settings, on_failure_arn=dead_letter)


def split_reference(reference: str) -> tuple[str, str | None]:
    """Return function name and qualifier of `name`, `name:qualifier`, `account:function:name` or an ARN."""
    resource = Arn.parse(reference).resource if reference.startswith("arn:") else reference
    parts = resource.split(":")
    if "function" in parts[:-1]:
        parts = parts[parts.index("function") + 1 :]
    return parts[0], parts[1] if len(parts) > 1 else None


def _key(reference: str) -> str:
    name, qualifier = split_reference(reference)
    return f"{name}:{qualifier or LATEST}"
