"""Which resource types can be created, and what a creator gets and gives back."""

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
    """What `Ref` gives, and what `Fn::GetAtt` gives by attribute."""

    ref: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


class Properties:
    """The resolved properties of one resource, noting what was read: nothing is dropped in silence."""

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
        """Those of the named properties that are set, for an API whose parameters have the same names."""
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
        """The name that the template gives, or `stack-logicalId-SUFFIX` as CloudFormation would make it."""
        given = self.properties.get(property_name)
        if given is not None:
            return str(given)
        digest = hashlib.sha256(f"{self.stack_context.stack_name}/{self.logical_id}".encode()).digest()
        suffix = base64.b32encode(digest).decode()[:12]
        stem = f"{self.stack_context.stack_name}-{self.logical_id}"
        return f"{stem[: longest - 13]}-{suffix}"

    def client(self, service: str) -> Any:
        """A client of the administrator that converts values as CloudFormation does."""
        return CoercingClient(self.stack_context.clients.admin(service))

    def tags(self) -> list[dict[str, str]]:
        """The template's tags and those that CloudFormation adds, as a list of Key and Value."""
        given = self.properties.get("Tags", [])
        if isinstance(given, dict):
            given = [{"Key": key, "Value": value} for key, value in given.items()]
        ours = {"aws:cloudformation:stack-name": self.stack_context.stack_name}
        ours["aws:cloudformation:logical-id"] = self.logical_id
        return [*given, *({"Key": key, "Value": value} for key, value in ours.items())]


Creator = Callable[[ResourceRequest], CreatedResource]

_CREATORS: dict[str, Creator] = {}


def creates(kind: str) -> Callable[[Creator], Creator]:
    """Declare the function that creates resources of this CloudFormation type."""

    def register(creator: Creator) -> Creator:
        _CREATORS[kind] = creator
        return creator

    return register


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
