"""Signed requests to the runs API."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from refresh_cli.errors import ApiError, ApiUnavailable, CliError

CONNECT_SECONDS, READ_SECONDS = 5.0, 35.0
"""API Gateway answers within 30 s."""
TRANSIENT = frozenset({429, 500, 502, 503, 504})
TRY_AGAIN = "Try again. If this persists, see the log of the function Api."
CHECK_ADDRESS = "Check that the address is that of the stack's API."

Query = Mapping[str, object]


class RunsApi:
    """``credentials``: returns the current ones, because temporary ones are renewed."""

    def __init__(
        self, url: str, region: str, credentials: Callable[[], Any], *, is_local: bool = False
    ) -> None:
        self.url = url
        self._region = region
        self._credentials = credentials
        self._session = requests.Session()
        self._session.trust_env = not is_local  # the proxy of a company does not reach this machine

    def get(self, path: str, query: Query | None = None) -> Any:
        """Return the JSON of a GET. A value of None in ``query`` is left out. Raises ``ApiError``."""
        return _document(self.respond("GET", path, query=query), f"GET {path}", _thing(path, query))

    def post(self, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Any:
        """Return the JSON of a POST, which is sent once. Raises ``ApiError``."""
        answer = self.respond("POST", path, body=body, headers=headers)
        return _document(answer, f"POST {path}", _thing(path, body))

    def respond(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Return the response, whatever its status. ``body``: JSON, or bytes as they are.

        Raises ``ApiUnavailable`` without a response, and errors of boto3.
        """
        url = self.url + quote(path, safe="/") + _query_string(query or {})
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        given = {"content-type": "application/json", **(headers or {})} if data else dict(headers or {})
        signed = AWSRequest(method=method, url=url, data=data, headers=given)
        SigV4Auth(self._credentials(), "execute-api", self._region).add_auth(signed)
        try:
            return self._session.request(
                method,
                url,
                data=data,
                headers=dict(signed.headers),
                timeout=(CONNECT_SECONDS, READ_SECONDS),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise ApiUnavailable(
                0,
                "NoAnswer",
                "The API did not answer",
                f"{method} {self.url}{path} ({_reason(error)})",
                "Check the network and the stack, then try again.",
            ) from error


def error_of(response: requests.Response, request: str, thing: str = "") -> ApiError:
    """Return the error of a response. ``request``: its method and path; ``thing``: what it is about."""
    status, body = response.status_code, _error_body(response)
    name, message = str(body.get("error") or ""), str(body.get("message") or "")
    if status == HTTPStatus.FORBIDDEN and not name:
        return _forbidden(message, request)
    kind = ApiUnavailable if status in TRANSIENT else ApiError
    if not name:
        text = message or response.reason or "no message"
        action = TRY_AGAIN if kind is ApiUnavailable else CHECK_ADDRESS
        return kind(status, f"Http{status}", f"The API answered {status}", f"{request} ({text})", action)
    hint = str(body.get("hint") or "")
    what, which = message.removesuffix(hint).rstrip(" ."), thing or request
    if body.get("request_id"):
        which = f"{request}, request id {body['request_id']}"
    if fields := body.get("fields"):
        what, which = _split_problems(what, fields)
    return kind(status, name, what, which, hint or f"docs/errors.md describes {name}.")


def _split_problems(text: str, fields: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Return what is not valid, and its fields with what was expected."""
    what, found, problems = text.partition(f": {fields[0]['field']}: ")
    if found:
        return what, found.removeprefix(": ") + problems
    return text, "; ".join(f"{each['field']}: {each['expected']}" for each in fields)


def _thing(path: str, fields: object) -> str:
    """Return what a request is about, such as ``run otc-1``, by its path, its query or its body."""
    kind, *names = path.strip("/").split("/")
    if names:
        return f"{kind.removesuffix('s')} {names[0]}"
    given = fields if isinstance(fields, Mapping) else {}
    return next((f"{name} {given[name]}" for name in ("pipeline", "source") if given.get(name)), "")


def _forbidden(message: str, request: str) -> ApiError:
    """Return the error for a request that IAM refused, so that no function has seen it."""
    if "expired" in message or "security token" in message:
        return ApiError(
            403,
            "CredentialsRefused",
            "The API does not accept the credentials",
            f"{request} ({message})",
            "Sign in again (for example: aws sso login), or use another --profile.",
        )
    return ApiError(
        403,
        "Forbidden",
        "A permission is missing",
        f"execute-api:Invoke for {request}",
        "Ask for it (docs/waiting.md has a policy), or use another --profile.",
    )


def _error_body(response: requests.Response) -> Mapping[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _document(response: requests.Response, request: str, thing: str) -> Any:
    """Return the JSON of a response. Raises ``ApiError`` for one that is no success."""
    if not response.ok:
        raise error_of(response, request, thing)
    try:
        return response.json()
    except ValueError as error:
        raise CliError("The answer of the API is not JSON", request, CHECK_ADDRESS) from error


def _query_string(query: Query) -> str:
    """Return the query in the order in which it is signed."""
    pairs = [(name, value) for name, value in sorted(query.items()) if value is not None]
    return f"?{urlencode(pairs, quote_via=quote)}" if pairs else ""


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "the connection failed"
    return type(error).__name__
