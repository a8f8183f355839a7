"""Ctrl-C and SIGTERM as something that the main thread waits for."""

from __future__ import annotations

import os
import select
import signal

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _ignore(*_: object) -> None:
    """Do nothing: ``SIG_IGN`` would also keep the signal from the pipe."""


class StopRequest:
    """Is made by SIGINT and SIGTERM from now on, until the end of the process.

    The interpreter itself writes the number of a signal to a pipe. A handler in Python would be too late: it
    runs between two instructions of the main thread, and a signal that arrives just before ``wait``, or on
    another thread, does not interrupt ``wait``.
    """

    def __init__(self) -> None:
        self._read, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)  # a full pipe holds a request
        # A shell starts background processes with SIGINT ignored.
        for number in STOP_SIGNALS:
            signal.signal(number, _ignore)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until a stop is requested or the time is over; return whether it is requested.

        Further signals are then blocked in the main thread, so that none of them kills the process while
        Python ends, when it has removed the handlers. The handlers stay: Python complains about a signal that
        arrives while its handler is replaced.
        """
        readable, _, _ = select.select([self._read], [], [], seconds)
        if readable:
            signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        return bool(readable)
