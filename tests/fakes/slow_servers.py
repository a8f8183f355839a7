"""Servers that take their time."""

from __future__ import annotations

import select
import socket


def hung_up(connection: socket.socket, seconds: float) -> bool:
    """Lets so much time pass before a server goes on; less if the client hangs up, and that is told."""
    reported, _, _ = select.select([connection], [], [], seconds)
    return bool(reported)
