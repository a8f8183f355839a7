"""The files in ``.local`` by which other programs and shells reach the stack of ``make local``."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from local.aws.errors import LocalStackError

STACK, ENVIRONMENT, CONNECTION, LOCK = "stack.json", "env.sh", "connection.json", "local.lock"


class AlreadyRunningError(LocalStackError):
    """Another process serves the stack of this folder. ``pid`` is its process, where that is known."""

    def __init__(self, state: Path, pid: str) -> None:
        super().__init__(
            f"a local stack is already running in this clone{f' (process {pid})' if pid else ''}. "
            f"Use it (its addresses are in {state / STACK}), "
            f"stop it with Ctrl-C in its terminal{f' (kill {pid})' if pid else ''}, "
            "or start a second one in another clone."
        )
        self.pid = pid


@contextlib.contextmanager
def only_one(state: Path) -> Iterator[None]:
    """Hold the lock of a folder; the system releases it when the process ends, however it ends.

    Raises AlreadyRunningError. Files that a process which was killed has left are removed.
    """
    state.mkdir(parents=True, exist_ok=True)
    with (state / LOCK).open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise AlreadyRunningError(state, lock.read().strip()) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        remove(state)
        try:
            yield
        finally:
            remove(state)
            lock.truncate(0)


def write(
    state: Path, addresses: Mapping[str, Any], environment: Mapping[str, str], connection: Mapping[str, Any]
) -> None:
    """``environment`` becomes a part of ``stack.json``, and a file that a shell can source."""
    document = {**addresses, "environment": dict(environment)}
    (state / STACK).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    exports = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    text = "\n".join(["unset AWS_PROFILE AWS_SESSION_TOKEN", *exports])
    (state / ENVIRONMENT).write_text(text + "\n", encoding="utf-8")
    (state / CONNECTION).write_text(json.dumps(connection, indent=2) + "\n", encoding="utf-8")


def remove(state: Path) -> None:
    """Remove what ``write`` wrote."""
    for name in (STACK, ENVIRONMENT, CONNECTION):
        (state / name).unlink(missing_ok=True)
