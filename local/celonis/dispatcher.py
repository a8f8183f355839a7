"""Processes one request: route, fault, rate limit, sign-in, permission, call, ledger."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.utils import formatdate
from functools import cached_property
from urllib.parse import parse_qsl

from local.celonis.answers import ApiResponse, error, nothing, refusal
from local.celonis.calls import ProductCalls, UnknownObjectError
from local.celonis.faults import LOGIN_PAGE, RequestFault, RequestFaults, answer_of
from local.celonis.ledger import Ledger, LedgerEntry
from local.celonis.limits import Window
from local.celonis.model import Platform
from local.celonis.parameters import BadRequestError
from local.celonis.routing import ApiRequest, ApiRoute, RequestTarget, RouteMatch, find, read_target, route
from local.celonis.sdk_calls import SdkCalls
from local.celonis.sign_in import Caller, SignIn
from local.celonis.world import SCOPE

UNKNOWN = "unknown"
LOGGED_QUERY = frozenset(
    {"mode", "fullReload", "forceComplete", "executionId", "type", "id", "limit", "page"}
)
LOGIN_PATH = "/login"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
TOKEN_PATH = "/oauth2/token"  # noqa: S105  a path


@dataclass(frozen=True)
class RawRequest:
    """A request as received. ``target`` is the target of the request line."""

    method: str
    target: str
    authorization: str | None = None
    body: bytes = b""

    @cached_property
    def _parts(self) -> RequestTarget | None:
        return read_target(self.target)

    @property
    def is_malformed(self) -> bool:
        """Return whether the target is invalid in HTTP. ``*`` is valid only for OPTIONS."""
        return self._parts is None or (self._parts.path == "*" and self.method != "OPTIONS")

    @property
    def path(self) -> str:
        """Return the path without the query; the whole target if it is malformed."""
        return self.target if self._parts is None else self._parts.path

    @property
    def query(self) -> dict[str, str]:
        """Return the query; values of a repeated parameter are joined with commas."""
        joined: dict[str, str] = {}
        query = "" if self._parts is None else self._parts.query
        for key, value in parse_qsl(query, keep_blank_values=True):
            joined[key] = f"{joined[key]},{value}" if key in joined else value
        return joined


@dataclass(frozen=True)
class DispatchedResponse:
    """The response to send, and the fault that affects its transmission, if any."""

    answer: ApiResponse
    fault: RequestFault | None = None


class Dispatcher:
    """Handles requests. ``wait`` sleeps real seconds, for faults that delay."""

    def __init__(
        self,
        platform: Platform,
        sign_in: SignIn,
        faults: RequestFaults,
        ledger: Ledger,
        wait: Callable[[float], None],
    ) -> None:
        self.platform = platform
        self.sign_in = sign_in
        self.faults = faults
        self.ledger = ledger
        self.window = Window(platform.clock)
        self._wait = wait
        calls = ProductCalls(platform)
        token = route("token", "POST", re.escape(TOKEN_PATH), lambda _: nothing(500))
        self.routes = [token, *calls.routes(), *SdkCalls(platform, calls).routes()]
        self.documented = frozenset(one.call for one in self.routes if one.documented)

    @property
    def call_names(self) -> list[str]:
        """Return the names of all calls."""
        return [one.call for one in self.routes]

    def date_header(self) -> dict[str, str]:
        """Return the ``Date`` header of a response that is sent now; empty if the settings omit it."""
        settings = self.platform.settings
        if not settings.date_header:
            return {}
        return {"Date": formatdate(self.platform.clock() + settings.date_skew_seconds, usegmt=True)}

    def handle(self, incoming: RawRequest) -> DispatchedResponse:
        """Handle one request and record it in the ledger."""
        match = find(self.routes, incoming.method, incoming.path)
        call = match.route.call if match.route is not None else UNKNOWN
        fault = self.faults.strike(call, incoming.path)
        caller = self.sign_in.caller(incoming.authorization)
        answer = (
            self._struck(fault, match, incoming, caller) if fault else self._answer(match, incoming, caller)
        )
        self._note(incoming, call, caller, answer, fault)
        return DispatchedResponse(answer, fault)

    def _struck(
        self, fault: RequestFault, match: RouteMatch, incoming: RawRequest, caller: Caller
    ) -> ApiResponse:
        seconds = 0.0 if fault.kind == "drip" else fault.seconds
        if fault.when == "before":
            self._wait(seconds)
        real = nothing()
        if fault.lets_through(incoming.method):
            real = self._answer(match, incoming, caller)
        if fault.kind == "twice":
            real = self._answer(match, incoming, caller)
        if fault.when == "after":
            self._wait(seconds)
        return answer_of(fault, real)

    def _answer(self, match: RouteMatch, incoming: RawRequest, caller: Caller) -> ApiResponse:
        if incoming.method not in METHODS:
            return error(501, "The method of the request is not known.")
        if incoming.is_malformed:
            return error(400, "The target of the request is not valid.")
        if incoming.path == LOGIN_PATH:
            return ApiResponse(200, LOGIN_PAGE, "text/html;charset=UTF-8")
        settings = self.platform.settings
        signing_in = match.route is not None and match.route.call == "token"
        within, headers = self.window.admit(settings.rate_limit, cost=0 if signing_in else 1)
        if signing_in:
            answer = self.sign_in.token(incoming.authorization, incoming.body, settings)
        else:
            answer = self._allowed(match, incoming, caller) if within else error(429)
        return (
            replace(answer, headers={**headers, **answer.headers}) if settings.rate_limit_headers else answer
        )

    def _allowed(self, match: RouteMatch, incoming: RawRequest, caller: Caller) -> ApiResponse:
        settings = self.platform.settings
        if not caller.is_known:
            return refusal(401, settings.unauthorized_shape)
        if match.route is None and match.allowed:
            return replace(error(405), headers={"Allow": ", ".join(match.allowed)})
        if match.route is None or match.route.call in settings.not_served:
            return error(404)
        if match.route.call in settings.forbidden_calls or (
            caller.scopes is not None and SCOPE not in caller.scopes
        ):
            return refusal(403, settings.forbidden_shape)
        return self._call(match.route, ApiRequest(match.params, incoming.query, incoming.body))

    def _call(self, route: ApiRoute, request: ApiRequest) -> ApiResponse:
        with self.platform.one_moment():
            try:
                return route.handler(request)
            except UnknownObjectError:
                return error(404)
            except BadRequestError as problem:
                return error(400, str(problem))

    def _note(
        self, incoming: RawRequest, call: str, caller: Caller, answer: ApiResponse, fault: RequestFault | None
    ) -> None:
        unanswered = fault is not None and fault.kind in {"drop", "reset"}
        kind = caller.kind
        if call == "token":
            kind = "client"
        self.ledger.note(
            LedgerEntry(
                at=self.platform.clock(),
                call=call,
                method=incoming.method,
                path=incoming.path,
                query={key: value for key, value in incoming.query.items() if key in LOGGED_QUERY},
                credential=kind,
                token=caller.token,
                status=None if unanswered else answer.status,
                fault=fault.kind if fault else None,
                effect=answer.effect,
            )
        )
