"""The supported resource types, and the input and result of their creators."""

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.aws.errors import DeploymentError, UnsupportedResourceError
from local.aws.resources.coercion import CoercingClient
from local.aws.resources.stack_context import StackContext


@dataclass(frozen=True)
class CreatedResource:
    """The values of `Ref` and, by attribute, of `Fn::GetAtt`."""

    ref: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


class Properties:
    """The resolved properties of one resource; those that are read are recorded, to find ignored ones."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)
        self._unread = set(values)

    def get(self, name: str, default: Any = None) -> Any:
        self._unread.discard(name)
        value = self._values.get(name)
        return default if value is None else value

    def need(self, name: str) -> Any:
        value = self.get(name)
        if value is None:
            raise DeploymentError(f"the required property {name} is missing")
        return value

    def pick(self, *names: str) -> dict[str, Any]:
        """Return the named properties that are set, for an API with the same parameter names."""
        return {name: self.get(name) for name in names if self.get(name) is not None}

    def unread(self) -> list[str]:
        return sorted(self._unread)


@dataclass(frozen=True)
class ResourceRequest:
    """One resource to create."""

    logical_id: str
    kind: str
    properties: Properties
    stack_context: StackContext

    def name(self, property_name: str, *, longest: int = 64) -> str:
        """Return the name in the template, or `stack-logicalId-SUFFIX` as CloudFormation generates it."""
        value = self.properties.get(property_name)
        if value is not None:
            return str(value)
        digest = hashlib.sha256(f"{self.stack_context.stack_name}/{self.logical_id}".encode()).digest()
        suffix = base64.b32encode(digest).decode()[:12]
        stem = f"{self.stack_context.stack_name}-{self.logical_id}"
        return f"{stem[: longest - 13]}-{suffix}"

    def client(self, service: str) -> Any:
        """Return a client of the administrator that converts values as CloudFormation does."""
        return CoercingClient(self.stack_context.clients.admin(service))

    def tags(self) -> list[dict[str, str]]:
        """Return the template's tags and those that CloudFormation adds, as a list of Key and Value."""
        own = self.properties.get("Tags", [])
        if isinstance(own, dict):
            own = [{"Key": key, "Value": value} for key, value in own.items()]
        ours = {"aws:cloudformation:stack-name": self.stack_context.stack_name}
        ours["aws:cloudformation:logical-id"] = self.logical_id
        return [*own, *({"Key": key, "Value": value} for key, value in ours.items())]


Creator = Callable[[ResourceRequest], CreatedResource]

_CREATORS: dict[str, Creator] = {}


def creates(kind: str) -> Callable[[Creator], Creator]:
    """Declare the function that creates resources of this CloudFormation type."""

    def register(creator: Creator) -> Creator:
        _CREATORS[kind] = creator
        return creator

    return register


Updater = Callable[[ResourceRequest, CreatedResource], CreatedResource]

_UPDATERS: dict[str, Updater] = {}


def updates(kind: str) -> Callable[[Updater], Updater]:
    """Declare the function that updates resources of this type in place; it gets what was created before."""

    def register(updater: Updater) -> Updater:
        _UPDATERS[kind] = updater
        return updater

    return register


def update(request: ResourceRequest, created: CreatedResource) -> CreatedResource:
    """Update one resource; one whose type has no updater is kept as it is."""
    updater = _UPDATERS.get(request.kind)
    return updater(request, created) if updater else created


def supported_types() -> frozenset[str]:
    return frozenset(_CREATORS)


def create(request: ResourceRequest) -> CreatedResource:
    """Create one resource. Raises UnsupportedResourceError for a property that was not read."""
    created = _CREATORS[request.kind](request)
    unread = request.properties.unread()
    if unread:
        raise UnsupportedResourceError(
            f"{request.logical_id} ({request.kind}): {', '.join(unread)} would be dropped here"
        )
    return created
