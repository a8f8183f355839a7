"""Faults: network problems, separate from the behaviour of the platform."""

from __future__ import annotations

import itertools
import json
import threading
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from local.celonis.answers import ApiResponse, as_json, error, nothing, refusal

Kind = Literal[
    "status",
    "html",
    "empty",
    "truncated",
    "reset",
    "drop",
    "delay",
    "drip",
    "garbage",
    "redirect",
    "twice",
    "json",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
ON_THE_WIRE = frozenset({"truncated", "reset", "drop", "drip"})  # these affect only the transmission
KEEP_EFFECT = frozenset({"delay", "twice"})  # these send the platform's own response
LOGIN_PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>"
SHAPES = ("envelope", "error", "plain", "empty", "html")


@dataclass(frozen=True)
class RequestFault:
    """One fault. It affects requests of ``call`` ("*" for all) after the first ``skip`` of them.

    ``count``: the number of affected requests; None until the fault is removed. ``when``: "before" or "after"
    the call takes effect. Before, nothing is started; after, only the response is affected. ``seconds``: real
    time that is waited at that moment, or during the transmission with ``drip``. ``delay`` and ``twice`` send
    the real response.
    """

    call: str
    kind: Kind = "status"
    when: Literal["before", "after"] = "before"
    count: int | None = 1
    skip: int = 0
    seconds: float = 0.0
    status: int | None = None
    shape: Literal["envelope", "error", "plain", "empty", "html"] = "envelope"
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    reset: int | None = None
    location: str = "/login"
    target: str | None = None
    id: int = 0

    def matches(self, call: str, path: str) -> bool:
        """Return whether the fault is for this request; ``target`` is a text that the path must contain."""
        return self.call in {"*", call} and (self.target is None or self.target in path)

    def lets_through(self, method: str) -> bool:
        """Return whether the platform handles the request. A read has no effect to prevent."""
        return self.when == "after" or self.kind in KEEP_EFFECT or method in {"GET", "HEAD"}


def answer_of(fault: RequestFault, real: ApiResponse) -> ApiResponse:
    """Return the answer that replaces ``real``, the platform's own answer."""
    if fault.kind in KEEP_EFFECT | ON_THE_WIRE:
        return real
    makers = {
        "status": _status,
        "html": _html,
        "empty": _empty,
        "garbage": _garbage,
        "redirect": _redirect,
        "json": _json,
    }
    answer = makers[fault.kind](fault)
    return replace(answer, headers={**answer.headers, **fault.headers}, effect=real.effect)


def _status(fault: RequestFault) -> ApiResponse:
    status = fault.status or 500
    if fault.body is not None:
        answer = ApiResponse(status, fault.body.encode(), "text/plain") if isinstance(fault.body, str) else (
            as_json(fault.body, status)
        )  # fmt: skip
    elif fault.shape == "html":
        answer = ApiResponse(status, f"<html><body><h1>{status}</h1></body></html>".encode(), "text/html")
    else:
        answer = error(status) if fault.shape == "envelope" else refusal(status, fault.shape)
    if status != 429 and fault.reset is None:
        return answer
    reset = 1 if fault.reset is None else fault.reset
    return replace(answer, headers={"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(reset)})


def _html(fault: RequestFault) -> ApiResponse:
    return ApiResponse(fault.status or 200, LOGIN_PAGE, "text/html;charset=UTF-8")


def _empty(fault: RequestFault) -> ApiResponse:
    return nothing(fault.status or 200)


def _garbage(fault: RequestFault) -> ApiResponse:
    return ApiResponse(fault.status or 200, b'{"status": "SUCC', "application/json")


def _redirect(fault: RequestFault) -> ApiResponse:
    return replace(nothing(fault.status or 302), headers={"Location": fault.location})


def _json(fault: RequestFault) -> ApiResponse:
    return as_json(fault.body, fault.status or 200)


class RequestFaults:
    """The current faults, oldest first. At most one of them affects a request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._set: list[RequestFault] = []

    @property
    def all(self) -> list[RequestFault]:
        """Return the remaining faults, with their remaining ``skip`` and ``count``."""
        with self._lock:
            return list(self._set)

    def add(self, fault: RequestFault) -> RequestFault:
        """Add a fault. Return it with its id."""
        with self._lock:
            fault = replace(fault, id=next(self._numbers))
            self._set.append(fault)
            return fault

    def remove(self, fault_id: int | None = None) -> int:
        """Remove one fault, or all. Return how many."""
        with self._lock:
            kept = [fault for fault in self._set if fault_id is not None and fault.id != fault_id]
            removed = len(self._set) - len(kept)
            self._set = kept
            return removed

    def strike(self, call: str, path: str) -> RequestFault | None:
        """Return the fault for this request; all matching faults that still skip requests count it."""
        with self._lock:
            for index, fault in enumerate(self._set):
                if not fault.matches(call, path):
                    continue
                if fault.skip > 0:
                    self._set[index] = replace(fault, skip=fault.skip - 1)
                    continue
                self._use(index, fault)
                return fault
            return None

    def _use(self, index: int, fault: RequestFault) -> None:
        if fault.count is None:
            return
        if fault.count <= 1:
            del self._set[index]
        else:
            self._set[index] = replace(fault, count=fault.count - 1)


def describe(fault: RequestFault) -> dict[str, Any]:
    """Return a fault as the control API shows it."""
    return json.loads(json.dumps(vars(fault)))  # type: ignore[no-any-return]
