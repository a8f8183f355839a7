"""IAM policy evaluation: an explicit Deny wins, then an Allow; everything else is denied."""

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from local.aws.roles.conditions import conditions_hold


@dataclass(frozen=True)
class AccessRequest:
    """A request for an action on a resource. `context` has the condition keys with their values."""

    action: str
    resource: str
    context: Mapping[str, Sequence[str]] = field(default_factory=dict)


def is_allowed(access_request: AccessRequest, documents: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether the identity policies in `documents` together allow the request."""
    statements = [statement for document in documents for statement in _list(document.get("Statement"))]
    matching = [statement for statement in statements if _matches(statement, access_request)]
    if any(statement["Effect"] == "Deny" for statement in matching):
        return False
    return any(statement["Effect"] == "Allow" for statement in matching)


def is_service_allowed(
    service: str, access_request: AccessRequest, statements: Iterable[Mapping[str, Any]]
) -> bool:
    """Return whether a resource policy allows the request of a service such as `events.amazonaws.com`."""
    matching = [
        statement
        for statement in statements
        if _names_service(statement.get("Principal"), service)
        and _matches({"Resource": access_request.resource, **statement}, access_request)
    ]
    if any(statement["Effect"] == "Deny" for statement in matching):
        return False
    return any(statement["Effect"] == "Allow" for statement in matching)


def wildcard_match(pattern: str, value: str, *, ignore_case: bool = False) -> bool:
    """Match a pattern in which `*` stands for any characters and `?` for one."""
    return _wildcards(pattern, ignore_case=ignore_case).fullmatch(value) is not None


@functools.lru_cache(maxsize=4096)
def _wildcards(pattern: str, *, ignore_case: bool) -> re.Pattern[str]:
    text = "".join(".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern)
    return re.compile(text, re.DOTALL | (re.IGNORECASE if ignore_case else re.NOFLAG))


def _matches(statement: Mapping[str, Any], access_request: AccessRequest) -> bool:
    return (
        _action_matches(statement, access_request.action)
        and _resource_matches(statement, access_request.resource)
        and conditions_hold(statement.get("Condition", {}), access_request.context)
    )


def _action_matches(statement: Mapping[str, Any], action: str) -> bool:
    if "NotAction" in statement:
        excluded = _list(statement["NotAction"])
        return not any(wildcard_match(pattern, action, ignore_case=True) for pattern in excluded)
    return any(
        wildcard_match(pattern, action, ignore_case=True) for pattern in _list(statement.get("Action"))
    )


def _resource_matches(statement: Mapping[str, Any], resource: str) -> bool:
    if "NotResource" in statement:
        return not any(wildcard_match(pattern, resource) for pattern in _list(statement["NotResource"]))
    return any(wildcard_match(pattern, resource) for pattern in _list(statement.get("Resource")))


def _names_service(principal: Any, service: str) -> bool:
    if principal == "*":
        return True
    return isinstance(principal, Mapping) and service in _list(principal.get("Service"))


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
