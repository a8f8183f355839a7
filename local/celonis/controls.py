"""The controls: a small JSON API that changes how the platform behaves and returns what really happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from local.celonis import defaults, knobs, ledger
from local.celonis.answers import ApiResponse, as_json
from local.celonis.dispatcher import Dispatcher
from local.celonis.faults import RequestFault, describe
from local.celonis.fields import FieldError, parse, read
from local.celonis.routing import ApiRequest, ApiRoute, find, route
from local.celonis.target_controls import TargetControls

Reply = Any


class Controls:
    """Handles the control requests, which control ``dispatcher``."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._platform = dispatcher.platform
        self._targets = TargetControls(dispatcher.platform)
        self._routes = self._make_routes()

    def handle(self, method: str, path: str, body: bytes = b"") -> ApiResponse:
        """Answer one control request: 200 with JSON, 400 naming a field, 404, 405."""
        match = find(self._routes, method, path)
        if match.route is None:
            status = 405 if match.allowed else 404
            return as_json(
                {"error": f"{method} {path} is not a control", "allowed": list(match.allowed)}, status
            )
        try:
            with self._platform.lock:
                return match.route.handler(ApiRequest(match.params, {}, body))
        except FieldError as problem:
            return as_json({"error": str(problem), "field": problem.field}, 400)
        except LookupError as problem:
            return as_json({"error": f"{problem.args[0]} does not exist"}, 404)

    def _make_routes(self) -> list[ApiRoute]:
        own: list[tuple[str, str, Callable[[ApiRequest], Reply]]] = [
            ("GET", "/state", self._state),
            ("POST", "/reset", self._reset),
            ("GET", "/settings", lambda _: asdict(self._platform.settings)),
            ("PUT", "/settings", self._change_settings),
            ("GET", "/faults", self._show_faults),
            ("POST", "/faults", self._add_fault),
            ("DELETE", "/faults", lambda _: {"removed": self._dispatcher.faults.remove()}),
            ("DELETE", "/faults/{fault}", self._remove_fault),
            ("PUT", "/credentials", self._change_credentials),
            ("DELETE", "/tokens", lambda _: {"revoked": self._dispatcher.sign_in.revoke_all()}),
            ("GET", "/ledger", self._ledger),
        ]
        return [
            route(path, method, path, _jsonify(handler))
            for method, path, handler in (*own, *self._targets.handlers())
        ]

    def _state(self, _: ApiRequest) -> Reply:
        return {
            "now": self._platform.clock(),
            "pools": self._platform.pools,
            "jobs": self._targets.jobs(),
            "models": self._targets.models(),
            "settings": asdict(self._platform.settings),
            "faults": [describe(fault) for fault in self._dispatcher.faults.all],
            "valid_tokens": self._dispatcher.sign_in.valid_tokens,
        }

    def _reset(self, request: ApiRequest) -> Reply:
        settings = read(parse(request.body), knobs.RESET)
        self._platform.clear()
        defaults.fill(self._platform, history=settings.get("history", True))
        self._dispatcher.faults.remove()
        self._dispatcher.sign_in.clear()
        self._dispatcher.ledger.clear()
        self._dispatcher.window.clear()
        return {"reset": True}

    def _change_settings(self, request: ApiRequest) -> Reply:
        changes = read(parse(request.body), knobs.settings(self._dispatcher.call_names))
        if "undocumented" in changes.get("not_served", ()):
            named = {one for one in changes["not_served"] if one != "undocumented"}
            undocumented = {one.call for one in self._dispatcher.routes if not one.documented}
            changes["not_served"] = tuple(sorted(named | undocumented))
        self._platform.settings = replace(self._platform.settings, **changes)
        return asdict(self._platform.settings)

    def _show_faults(self, _: ApiRequest) -> Reply:
        return [describe(fault) for fault in self._dispatcher.faults.all]

    def _add_fault(self, request: ApiRequest) -> Reply:
        fields = read(parse(request.body), knobs.fault(self._dispatcher.call_names))
        if "call" not in fields:
            raise FieldError("call", "is needed: the name of a call, or *")
        if fields.get("count", 1) == 0:
            raise FieldError("count", "must be 1 or more, or null for ever")
        return describe(self._dispatcher.faults.add(RequestFault(**fields)))

    def _remove_fault(self, request: ApiRequest) -> Reply:
        number = request.params["fault"]
        if len(number) > 9 or not number.isdecimal() or not self._dispatcher.faults.remove(int(number)):
            raise LookupError(f"fault {number}")
        return {"removed": 1}

    def _change_credentials(self, request: ApiRequest) -> Reply:
        changes = read(parse(request.body), knobs.CREDENTIALS)
        self._dispatcher.sign_in.credentials = replace(self._dispatcher.sign_in.credentials, **changes)
        return {"changed": sorted(changes)}

    def _ledger(self, _: ApiRequest) -> Reply:
        return {
            "executions": ledger.executions(self._platform),
            "loads": ledger.loads(self._platform),
            "requests": self._dispatcher.ledger.requests(),
        }


def _jsonify(handler: Callable[[ApiRequest], Reply]) -> Callable[[ApiRequest], ApiResponse]:
    return lambda request: as_json(handler(request))
