"""Whether a request comes from a program of the same user.

The link with the token is an argument of the browser, and on Linux all users of a machine may read arguments
of programs. The kernel lists the user of each end of a connection on this machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
"""The connections of this machine; a browser may use IPv6 sockets for 127.0.0.1."""
LOOPBACK: Final = "0100007F"
OPEN: Final = "01"
LISTENING: Final = "0A"
ROOT: Final = 0


class _End(NamedTuple):
    """One end of a connection. ``inode``: 0 if no program has it open any more."""

    local: str
    remote: str
    state: str
    user: int
    inode: int


def is_own_user(port: int, peer: int, tables: Sequence[Path] = TABLES) -> bool:
    """Return whether the connection from ``peer`` to ``port``, two ports of this machine, is of this user.

    So are those of root, which may do everything, and those from outside of this kernel, such as from Windows
    to its Linux. True where there are no such tables, as on macOS and Windows. A connection that has
    closed since has no owner.
    """
    ends = [*_ends(tables)]
    if not any(end.state == LISTENING and _is(end.local, port) for end in ends):
        return True
    theirs = [end for end in ends if _is(end.local, peer) and _is(end.remote, port)]
    if not theirs:
        return any(end.state == OPEN and _is(end.local, port) and _is(end.remote, peer) for end in ends)
    return all(end.inode and end.user in (ROOT, os.getuid()) for end in theirs)


def _is(address: str, port: int) -> bool:
    return address.endswith(f"{LOOPBACK}:{port:04X}")


def _ends(tables: Sequence[Path]) -> Iterator[_End]:
    for table in tables:
        try:
            text = table.read_text(encoding="ascii")
        except OSError:
            continue
        for line in text.splitlines()[1:]:
            fields = line.split()
            yield _End(fields[1], fields[2], fields[3], int(fields[7]), int(fields[9]))
