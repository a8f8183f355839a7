"""Opens the page's server on a port of this machine, with a new token."""

from __future__ import annotations

import os
import secrets
import socket
from functools import partial
from typing import Final

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from refresh_cli.errors import CliError
from refresh_cli.page.backend import Backend
from refresh_cli.page.guard import Guard
from refresh_cli.page.peers import is_own_user
from refresh_cli.page.server import create_app

HOST: Final = "127.0.0.1"
PORT: Final = 8460
POLL_SECONDS: Final = 0.05
"""How often the server checks whether it is to stop."""


class _Quiet(WSGIRequestHandler):
    """Handles requests without a line for each on the terminal."""

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - the signature of the base
        """Log nothing."""


class PageServer:
    """A server that stops listening at the end."""

    def __init__(self, server: BaseWSGIServer) -> None:
        self._server = server

    def __enter__(self) -> PageServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.server_close()

    def serve_forever(self) -> None:
        """Serve until ``stop`` or Ctrl-C."""
        self._server.serve_forever(poll_interval=POLL_SECONDS)

    def stop(self) -> None:
        """Let ``serve_forever`` return. Call it from another thread."""
        self._server.shutdown()


def open_server(backend: Backend, port: int | None) -> tuple[PageServer, str]:
    """Return a server that listens, and its link with the token of this start. Raises ``CliError``.

    ``port``: None for the usual one, or a free one if that is taken; 0 for a free one.
    """
    listening = _listen(port)
    number, token = listening.getsockname()[1], secrets.token_urlsafe(32)
    app = create_app(backend, Guard(number, token), partial(is_own_user, number))
    with listening:
        made = make_server(HOST, number, app, threaded=True, request_handler=_Quiet, fd=listening.fileno())
    return PageServer(made), f"http://{HOST}:{number}/#token={token}"


def _listen(port: int | None) -> socket.socket:
    for number in (PORT, 0) if port is None else (port,):
        listening = socket.socket()
        if os.name == "posix":  # elsewhere, this option lets two programs listen on one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, number))
            listening.listen(128)
        except OSError:
            listening.close()
        else:
            return listening
    raise CliError("The port is in use", f"{HOST}:{port}", "Choose another one with --port, or leave it out.")
