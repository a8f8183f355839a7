"""A client for a connection that cannot be used: every call fails as if Celonis were unavailable."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, cast

from celonis_refresh.celonis.client import CelonisClient
from celonis_refresh.celonis.connection import Connection
from celonis_refresh.celonis.errors import ConnectionUnusable
from celonis_refresh.errors import RefreshError


def nothing_sent(reason: RefreshError) -> ConnectionUnusable:
    """Return the error of a call that was not sent for this reason."""
    return ConnectionUnusable(
        f"Celonis cannot be called: {reason.message}", hint=reason.hint, method="", path=""
    )


def unusable_client(reason: RefreshError) -> CelonisClient:
    """Return a client whose every call raises ``ConnectionUnusable`` with this reason."""
    return cast("CelonisClient", _Unusable(reason))


def reload_or_wait(reload: Callable[[], Connection], unusable: tuple[type[RefreshError], ...]) -> Connection:
    """Return the reloaded connection. Raises ``ConnectionUnusable`` in the place of ``unusable`` errors."""
    try:
        return reload()
    except unusable as reason:
        raise nothing_sent(reason) from None


class _Unusable:
    def __init__(self, reason: RefreshError) -> None:
        self._reason = reason

    def ignoring_rate_limit(self) -> _Unusable:
        return self

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        def call(*_: object, **__: object) -> NoReturn:
            raise nothing_sent(self._reason)

        return call
