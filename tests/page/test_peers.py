"""The server answers only programs of the same user, also to one that has read the link."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from local.page import serving
from local.week.backend import HistoryBackend
from refresh_cli.page.peers import TABLES, is_own_user

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
PORT, PEER = 0x210C, 0xC350
SERVER, CLIENT, MAPPED = "0100007F:210C", "0100007F:C350", "0000000000000000FFFF0000"
NOWHERE = "00000000:0000"
OWN, OTHER = os.getuid(), os.getuid() + 1
SECONDS = 10


def line(local: str, remote: str, user: int, state: str = "01", inode: int = 7) -> str:
    queues = "00000000:00000000 00:00000000 00000000"
    return f"   0: {local} {remote} {state} {queues} {user:5}        0 {inode} 1 0 20 4 30 10 -1\n"


LISTENING = line(SERVER, NOWHERE, OWN, "0A")
ACCEPTED = line(SERVER, CLIENT, OWN)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([LISTENING, ACCEPTED, line(CLIENT, SERVER, OWN)], True),
        ([LISTENING, ACCEPTED, line(MAPPED + CLIENT, MAPPED + SERVER, OWN)], True),
        ([LISTENING, ACCEPTED, line(CLIENT, SERVER, OTHER)], False),
        ([LISTENING, ACCEPTED, line(MAPPED + CLIENT, MAPPED + SERVER, OTHER)], False),
        ([LISTENING, ACCEPTED, line("0200007F:C350", SERVER, OWN), line(CLIENT, SERVER, OTHER)], False),
        ([LISTENING, ACCEPTED, line(CLIENT, SERVER, OWN, "05", inode=0)], False),
        ([LISTENING, ACCEPTED, line(CLIENT, SERVER, 0)], True),
        ([LISTENING, ACCEPTED, line(CLIENT, SERVER, 0, "06", inode=0)], False),
        ([LISTENING, ACCEPTED], True),
        ([LISTENING, line(SERVER, CLIENT, OWN, "08")], False),
        ([LISTENING], False),
        ([], True),
    ],
    ids=[
        *("own", "own IPv6", "other", "other IPv6", "another address", "closed", "root", "closed by any"),
        *("another kernel", "closed long ago", "reset", "no table"),
    ],
)
def test_the_user_of_a_connection(tmp_path: Path, lines: list[str], expected: bool) -> None:
    (tmp_path / "tcp").write_text(HEAD + "".join(lines))
    assert is_own_user(PORT, PEER, [tmp_path / "tcp", tmp_path / "tcp6"]) is expected


@pytest.mark.skipif(os.getuid() != 0 or not TABLES[0].exists(), reason="needs root, to be another user")
@pytest.mark.parametrize("leaves", [False, True])
def test_another_user_with_the_link_gets_and_starts_nothing(backend: HistoryBackend, leaves: bool) -> None:
    with serving(backend) as link:
        address, token = link.split("/#token=")
        port = int(address.rpartition(":")[2])
        text = (
            "import encodings.idna, os, socket\n"
            "os.setgid(65534), os.setuid(65534)\n"
            f"peer = socket.create_connection(('127.0.0.1', {port}))\n"
            f"peer.sendall(b'POST /api/pipelines/workforce/resume HTTP/1.0\\r\\nHost: 127.0.0.1:{port}\\r\\n"
            f"Origin: {address}\\r\\nAuthorization: Bearer {token}\\r\\nContent-Length: 0\\r\\n\\r\\n')\n"
            + ("" if leaves else "print(peer.recv(99).decode(), end='')\n")
        )
        done = subprocess.run(
            [sys.executable, "-c", text], capture_output=True, text=True, timeout=SECONDS, check=False
        )
        own = requests.get(
            f"{address}/api/runs", headers={"Authorization": f"Bearer {token}"}, timeout=SECONDS
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert ("403 FORBIDDEN" in done.stdout) is not leaves
    assert own.status_code == 200
    assert backend.requests == [("GET", "/runs")]
