"""Servers that answer slowly."""

from __future__ import annotations

import select
import socket


def hung_up(connection: socket.socket, seconds: float) -> bool:
    """Waits before a server continues; shorter if the client hangs up. Returns whether it did."""
    reported, _, _ = select.select([connection], [], [], seconds)
    return bool(reported)
