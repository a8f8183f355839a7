"""moto as a function from request to response, without its development server.

That server closes each connection and waits for it to drain, which costs 10 ms per call.
"""

import io
from typing import Any
from urllib.parse import unquote

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.datastructures import Headers
from werkzeug.test import run_wsgi_app

from local.aws.http_server import HttpRequest, HttpResponse

_OWN_NAMES = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}


class MotoApp:
    """All services of moto in one function; `account`: the account of the requests."""

    def __init__(self, account: str) -> None:
        self._account = account
        self._app = DomainDispatcherApplication(create_backend_app)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        body, status, headers = run_wsgi_app(self._app, self._environ(request), buffered=True)
        return HttpResponse(int(status.split()[0]), b"".join(body), _kept(headers))

    def _environ(self, request: HttpRequest) -> dict[str, Any]:
        host = request.header("Host") or "127.0.0.1"
        name, _, port = host.partition(":")
        environ: dict[str, Any] = {
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(request.body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(request.path, "latin-1"),
            "QUERY_STRING": request.query,
            "REQUEST_URI": request.target,
            "RAW_URI": request.target,
            "REMOTE_ADDR": request.source_ip,
            "SERVER_NAME": name,
            "SERVER_PORT": port or "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
        }
        for key, value in request.headers:
            environ[_OWN_NAMES.get(key.lower(), f"HTTP_{key.upper().replace('-', '_')}")] = value
        environ["CONTENT_LENGTH"] = str(len(request.body))
        environ["HTTP_X_MOTO_ACCOUNT_ID"] = self._account
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        return environ


def _kept(headers: Headers) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name.lower() not in ("content-length", "connection")]
