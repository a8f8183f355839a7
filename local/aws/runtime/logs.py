"""Logs of the functions: one file per function, and all lines in memory for tests."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO


@dataclass(frozen=True)
class FunctionLogLine:
    """One line of a function's output. `time` is epoch seconds, `request_id` the call that it came in."""

    function: str
    text: str
    time: float
    request_id: str


class FunctionLogs:
    """Lines by logical id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._lines: list[FunctionLogLine] = []
        self._files: dict[str, TextIO] = {}

    def append(self, function: str, text: str, request_id: str) -> None:
        line = FunctionLogLine(function, text, time.time(), request_id)
        with self._lock:
            self._lines.append(line)
            if function not in self._files:
                path = self.folder / f"{function}.log"
                self._files[function] = path.open("a", encoding="utf-8", buffering=1)
            self._files[function].write(text + "\n")

    def lines(self, function: str | None = None) -> list[FunctionLogLine]:
        """Every line, or those of one function, in the order they came."""
        with self._lock:
            return [line for line in self._lines if function in (None, line.function)]

    def clear(self) -> None:
        with self._lock:
            self._lines.clear()
            self._close()
            for file in self.folder.glob("*.log"):
                file.unlink()

    def close(self) -> None:
        """Close the files; a later line opens its file again."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()
