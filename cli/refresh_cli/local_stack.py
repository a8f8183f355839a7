"""The stack of ``make local``, which leaves a file with its addresses while it is running."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

CONNECT_SECONDS = 0.5
"""It is on the same machine."""


@dataclass(frozen=True)
class LocalStackFile:
    """What ``make local`` writes. ``local/state_files.py`` has the other side."""

    stack_name: str
    region: str
    api_url: str
    aws_endpoint_url: str
    access_key_id: str
    secret_access_key: str
    outputs: Mapping[str, str]


def local_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the path of the file, by XDG_STATE_HOME."""
    state = environment.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    return Path(state) / "celonis-refresh" / "local.json"


def find_local_stack(path: Path) -> LocalStackFile | None:
    """Return the local stack if one is running; None if not, or if a killed one has left the file."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        found = LocalStackFile(**{name: document[name] for name in LocalStackFile.__dataclass_fields__})
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return found if _listens(found.api_url) and _listens(found.aws_endpoint_url) else None


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 80), CONNECT_SECONDS):
            return True
    except OSError:
        return False
