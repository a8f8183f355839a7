"""Simulations without the log lines and metrics of the service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

from celonis_refresh.observability import logger


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress log lines, of which one takes longer than a simulated call, and metrics, which are printed."""
    before = logger.log_level
    logger.setLevel("CRITICAL")
    try:
        with redirect_stdout(None):
            yield
    finally:
        logger.setLevel(before)
