"""The simulator: the platform's API on one port, its controls on another."""

from __future__ import annotations

import secrets
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from local.celonis import defaults
from local.celonis.controls import Controls
from local.celonis.dispatcher import DispatchedResponse, Dispatcher, RawRequest
from local.celonis.faults import RequestFaults
from local.celonis.http_server import Server
from local.celonis.ledger import Ledger
from local.celonis.model import Platform
from local.celonis.sign_in import SignIn
from local.celonis.tls import make_certificate


class CelonisSimulator:
    """A Celonis team on this machine. Serves between ``start`` and ``stop``, or inside a ``with`` block.

    ``port`` and ``control_port`` of 0 choose free ones. ``clock`` gives seconds since the epoch; all
    durations except delays of faults use it. ``url`` and ``control_url`` are known before ``start``;
    ``ca_path`` is the certificate to trust, or None without TLS.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        control_port: int = 0,
        *,
        tls: bool = False,
        clock: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
        new_token: Callable[[], str] = lambda: secrets.token_urlsafe(32),
        history: bool = True,
    ) -> None:
        self.model = Platform(clock, new_id)
        self.sign_in = SignIn(clock, new_token)
        self.faults = RequestFaults()
        self.ledger = Ledger()
        defaults.fill(self.model, history=history)
        self.dispatcher = Dispatcher(self.model, self.sign_in, self.faults, self.ledger, self._wait)
        self.controls = Controls(self.dispatcher)
        self._folder = tempfile.TemporaryDirectory(prefix="celonis-simulator-") if tls else None
        self.ca_path: Path | None = None
        context = None
        if self._folder is not None:
            context, self.ca_path = make_certificate(Path(self._folder.name))
        self._api = Server((host, port), self.dispatcher.handle, context, self.dispatcher.date_header)
        self._control = Server((host, control_port), self._serve_control)
        self.url = f"{'https' if tls else 'http'}://{host}:{self._api.server_port}"
        self.control_url = f"http://{host}:{self._control.server_port}"

    def start(self) -> None:
        """Begin to serve."""
        self._api.start()
        self._control.start()

    def stop(self) -> None:
        """Stop serving and free the ports."""
        self._api.stop()
        self._control.stop()
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> CelonisSimulator:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _wait(self, seconds: float) -> None:
        self._api.wait(seconds)

    def _serve_control(self, incoming: RawRequest) -> DispatchedResponse:
        return DispatchedResponse(self.controls.handle(incoming.method, incoming.path, incoming.body))
