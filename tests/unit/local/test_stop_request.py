"""A stop signal is noticed at any time and on any thread."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from local.stop_request import STOP_SIGNALS, StopRequest

SECONDS = 20


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    """Handlers and blocked signals are as before when a test ends."""
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    wakeup = signal.set_wakeup_fd(-1)
    yield
    signal.set_wakeup_fd(wakeup)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_that_another_thread_receives_ends_the_wait(number: signal.Signals) -> None:
    """The kernel chooses the thread of a signal, and does not interrupt the system calls of the others."""
    stop = StopRequest()
    thread = threading.Thread(target=lambda: signal.pthread_kill(threading.get_ident(), number))
    waits = threading.Timer(0.2, thread.start)
    waits.start()
    assert stop.wait(SECONDS)
    waits.join()
    thread.join()


def test_a_signal_before_the_wait_is_not_lost() -> None:
    stop = StopRequest()
    signal.raise_signal(signal.SIGTERM)
    assert stop.wait(0)


def test_more_signals_than_the_pipe_holds_are_one_request() -> None:
    stop = StopRequest()
    for _ in range(70_000):
        signal.raise_signal(signal.SIGTERM)
    assert stop.wait(0)


def test_without_a_signal_the_wait_ends_with_its_time() -> None:
    assert not StopRequest().wait(0.001)
