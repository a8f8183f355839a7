"""Reads the output of a process line by line, and detects its end."""

import os
import select
import subprocess
import threading
from collections.abc import Callable


class OutputReader:
    """Passes each line to `line`, and calls `ended` once the process has ended."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", line: Callable[[str], None], ended: Callable[[], None]
    ) -> None:
        if process.stdout is None:
            raise ValueError("the process must have a pipe as standard output")
        self._process = process
        self._pipe = process.stdout
        self._descriptor = process.stdout.fileno()
        self._line = line
        self._ended = ended
        self._lock = threading.Lock()
        self._rest = b""
        self._closed = False
        self._thread = threading.Thread(target=self._read, daemon=True, name="function-output")
        self._thread.start()

    def drain(self) -> None:
        """Read all available output, so that the lines of a call are known when its answer is returned."""
        with self._lock:
            while not self._closed and self._is_readable(0):
                if not self._take():
                    return

    def join(self) -> None:
        self._thread.join(timeout=5)

    def _read(self) -> None:
        while not self._closed:
            self._is_readable(None)
            with self._lock:
                if not self._closed and self._is_readable(0):
                    self._take()
        self._process.wait()
        self._ended()
        self._pipe.close()

    def _is_readable(self, milliseconds: int | None) -> bool:
        """Use poll(), because select() supports no descriptors above 1023, and many processes need them."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(milliseconds))

    def _take(self) -> bool:
        data = os.read(self._descriptor, 65536)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if not data:
            self._closed = True
            lines, self._rest = ([self._rest] if self._rest else []), b""
        for text in lines:
            self._line(text.decode("utf-8", "replace"))
        return bool(data)
