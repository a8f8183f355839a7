"""How many modules of the layer execute for one webhook and for one poll: the length of a reader's path.

A module executes if one of its functions is called; what an import runs does not count. The limits hold for a
process that has served before, as most have: what is read once per process (configuration, connection) is
printed as well.
"""

from __future__ import annotations

from tests.unit.functions_over_fakes import Functions, clear_caches

MAX_WEBHOOK = 35
MAX_POLL = 25


def check(what: str, first: list[str], later: list[str], limit: int) -> None:
    """Print the modules and compare their number with the limit."""
    listed = f"{len(later)} modules execute for {what}:\n  " + "\n  ".join(later)
    once = [module for module in first if module not in later]
    listed += f"\n{len(once)} more in a new process:\n  " + "\n  ".join(once)
    print(f"\n{listed}")
    assert len(later) <= limit, listed


def test_a_webhook_that_starts_a_run_executes_few_modules(functions: Functions) -> None:
    first = functions.deliver()
    assert [sent.method for sent in functions.celonis.sent] == ["GET", "GET", "POST"]
    functions.empty_table()
    check("a webhook that starts a run", first, functions.deliver(), MAX_WEBHOOK)
    assert len(functions.aws.attempts_of("StartExecution")) == 1


def test_a_poll_executes_few_modules(functions: Functions) -> None:
    functions.deliver()
    functions.open()
    clear_caches()
    new_process = functions.poll()
    functions.empty_table()
    functions.deliver()
    functions.open()
    for what in ("the first poll of a job", "a later poll"):
        check(what, new_process, functions.poll(), MAX_POLL)
    assert functions.celonis.steps == []
