"""The HTTP APIs of the stack on loopback: routes, IAM, throttling, and API Gateway's own responses."""

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from typing import Any

from local.aws.errors import LocalStackError
from local.aws.http_api.access_log import access_line
from local.aws.http_api.events import RoutedRequest, to_event, to_response
from local.aws.http_api.routes import HttpApi
from local.aws.http_api.throttling import Buckets
from local.aws.http_server import HttpRequest, HttpResponse
from local.aws.metrics import Metrics
from local.aws.runtime.outcomes import InvocationResult
from local.aws.states.branch import in_thread

log = logging.getLogger(__name__)

# Invokes a function: its ARN, the event, and the id of the request.
Invoke = Callable[[str, bytes, str], InvocationResult]
# Returns the caller on an IAM route: None for no valid caller, otherwise the `authorizer.iam` of the event.
Identify = Callable[[HttpRequest, str], dict[str, Any] | None]
# Whether API Gateway may invoke this function for this `execute-api` ARN.
MayInvoke = Callable[[str, str], bool]


def message(status: int, text: str) -> HttpResponse:
    """Return one of API Gateway's own responses."""
    return HttpResponse(
        status, json.dumps({"message": text}).encode(), [("Content-Type", "application/json")]
    )


class HttpApiServer:
    """Serves all deployed APIs; if there are several, the path starts with `/{api id}`."""

    def __init__(
        self,
        *,
        region: str,
        account: str,
        apis: Mapping[str, HttpApi],
        invoke: Invoke,
        identify: Identify,
        may_invoke: MayInvoke,
        clock: Callable[[], float],
        at_once: int,
        write_access_log: Callable[[str], None],
        metrics: Metrics,
    ) -> None:
        self._region = region
        self._account = account
        self._apis = apis
        self._invoke = invoke
        self._identify = identify
        self._may_invoke = may_invoke
        self._clock = clock
        self._places = threading.BoundedSemaphore(at_once)
        self._write_access_log = write_access_log
        self._metrics = metrics
        self._buckets = Buckets(time.monotonic)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        api_and_request = self._api(request)
        if api_and_request is None:
            return message(404, "Not Found")
        api, request = api_and_request
        request_id = str(uuid.uuid4())
        with self._places:
            route_key, response = self._answer(api, request, request_id)
        if response.status >= 400:
            kind = "5xx" if response.status >= 500 else "4xx"
            self._metrics.add("AWS/ApiGateway", kind, {"ApiId": api.api_id})
        if api.access_log_format:
            self._write_access_log(
                access_line(api.access_log_format, request, response, route_key, request_id)
            )
        return replace(response, headers=[*response.headers, ("Apigw-Requestid", request_id)])

    def _api(self, request: HttpRequest) -> tuple[HttpApi, HttpRequest] | None:
        if len(self._apis) == 1:
            return next(iter(self._apis.values())), request
        first, _, rest = request.target.lstrip("/").partition("/")
        api = self._apis.get(first)
        return None if api is None else (api, replace(request, target=f"/{rest}"))

    def _answer(self, api: HttpApi, request: HttpRequest, request_id: str) -> tuple[str, HttpResponse]:
        route_and_parameters = api.route_of(request.method, request.path)
        if route_and_parameters is None:
            return "-", message(404, "Not Found")
        route, parameters = route_and_parameters
        throttling = api.throttling_of(route)
        if throttling is not None and not self._buckets.take(f"{api.api_id} {route.key}", throttling):
            return route.key, message(429, "Too Many Requests")
        path = f"{api.api_id}/$default/{request.method}{request.path}"
        arn = f"arn:aws:execute-api:{self._region}:{self._account}:{path}"
        arrival = RoutedRequest(
            request, route, parameters, api.api_id, self._account, self._region, request_id, self._clock()
        )
        if route.iam:
            caller = self._identify(request, arn)
            if caller is None:
                return route.key, message(403, "Forbidden")
            arrival = replace(arrival, caller=caller)
        # The permission names the declared route, with `*` for its parameters.
        if not self._may_invoke(route.function, arn):
            log.error("%s: API Gateway has no permission to invoke %s", route.key, route.function)
            return route.key, message(500, "Internal Server Error")
        return route.key, self._from_function(arrival)

    def _from_function(self, arrival: RoutedRequest) -> HttpResponse:
        payload = json.dumps(to_event(arrival)).encode()
        future: Future[InvocationResult] = in_thread(
            "http-api-invocation", lambda: self._invoke(arrival.route.function, payload, str(uuid.uuid4()))
        )
        try:
            outcome = future.result(timeout=arrival.route.timeout)
        except (FutureTimeoutError, LocalStackError):
            return message(503, "Service Unavailable")
        if outcome.failed:
            return message(500, "Internal Server Error")
        try:
            return to_response(outcome.payload)
        except (ValueError, TypeError):
            log.exception("%s: the function's answer is malformed", arrival.route.key)
            return message(500, "Internal Server Error")
