"""Serves the page in a thread of this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from refresh_cli.page.backend import Backend
from refresh_cli.page.listener import open_server


@contextmanager
def serving(backend: Backend, port: int | None = 0) -> Iterator[str]:
    """Serve the page, and yield its link. ``port``: 0 for a free one; None for the usual one."""
    server, link = open_server(backend, port)
    thread = threading.Thread(target=server.serve_forever, name="page")
    with server:
        thread.start()
        try:
            yield link
        finally:
            server.stop()
            thread.join()
