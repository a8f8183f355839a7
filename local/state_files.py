"""The files by which programs and shells reach the stack of ``make local``."""

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
PROGRAMS = Path(__file__).parents[1] / ".venv" / "bin"
"""Where ``make local`` installs ``refresh``: the end of the PATH of a shell that has no other."""


def tool_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the file that ``refresh`` reads in any folder, by XDG_STATE_HOME."""
    state = environment.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    return Path(state) / "celonis-refresh" / "local.json"


class AlreadyRunningError(LocalStackError):
    """Another process serves the stack of this folder. ``pid``: its process id, if known."""

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
    """Hold the lock of a folder, which the system releases at the end of the process.

    Raises AlreadyRunningError. Remaining files of a killed process are removed.
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
    """Write ``environment`` to ``stack.json`` and to a file that a shell can source."""
    document = {**addresses, "environment": dict(environment)}
    (state / STACK).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    exports = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    programs = shlex.quote(str(PROGRAMS))
    tool = f'command -v refresh > /dev/null || export PATH="$PATH":{programs}'
    text = "\n".join(["unset AWS_PROFILE AWS_SESSION_TOKEN", *exports, tool])
    (state / ENVIRONMENT).write_text(text + "\n", encoding="utf-8")
    (state / CONNECTION).write_text(json.dumps(connection, indent=2) + "\n", encoding="utf-8")


def remove(state: Path) -> None:
    """Remove what ``write`` wrote."""
    for name in (STACK, ENVIRONMENT, CONNECTION):
        (state / name).unlink(missing_ok=True)


@contextlib.contextmanager
def announced(path: Path, addresses: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[None]:
    """Write the file of the tool, which its user alone may read; remove it at the end.

    If the stack of another clone has replaced it in the meantime, it is left as it is.
    """
    keys = {
        "access_key_id": environment["AWS_ACCESS_KEY_ID"],
        "secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
    }
    text = json.dumps({**addresses, **keys, "pid": os.getpid()}, indent=2) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}")
    new.touch(mode=0o600)
    new.write_text(text, encoding="utf-8")
    new.replace(path)
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            if path.read_text(encoding="utf-8") == text:
                path.unlink()
