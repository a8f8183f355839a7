"""Which events of a function have a fault."""

from __future__ import annotations

from pathlib import Path

from local.aws.runtime.fault_injector import CrashFault, FaultInjector
from local.aws.runtime.functions import Function

FUNCTION = Function("CloseRun", "close-run", "arn", "handler", "role", Path())


def test_a_fault_is_for_the_next_event_only() -> None:
    injector, fault = FaultInjector(), CrashFault(event="a")
    injector.arm("CloseRun", fault)
    assert injector.take(FUNCTION, b"b") is None
    assert injector.take(FUNCTION, b"a") == fault
    assert injector.take(FUNCTION, b"a") is None


def test_a_fault_that_stays_is_for_all_events_until_one_of_them_meets_it() -> None:
    """Of two equal events at the same time only one comes to the call: the other must not take its fault."""
    injector, fault = FaultInjector(), CrashFault(event="a", stays=True)
    injector.arm("CloseRun", fault)
    assert injector.take(FUNCTION, b"a") == injector.take(FUNCTION, b"a") == fault
    injector.met(FUNCTION, fault)
    injector.met(FUNCTION, fault)
    assert injector.take(FUNCTION, b"a") is None


def test_equal_faults_are_for_one_event_each() -> None:
    """A retry of the event that has failed meets the second of them."""
    injector, fault = FaultInjector(), CrashFault()
    for _ in range(2):
        injector.arm("CloseRun", fault)
    for _ in range(2):
        assert injector.take(FUNCTION, b"a") == fault
        injector.met(FUNCTION, fault)
    assert injector.take(FUNCTION, b"a") is None
