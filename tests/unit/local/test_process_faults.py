"""A fault in a function's process: which of its calls it takes."""

from __future__ import annotations

from typing import Any

import pytest

from local.aws.runtime.faults import _answered, _counted, _Fault


class FaultRecorder:
    """One fault, and the moments at which it struck."""

    def __init__(self, moment: str, monkeypatch: pytest.MonkeyPatch, call: int = 1) -> None:
        self.struck: list[str] = []
        self._fault = _Fault(moment, call, "UpdateItem", "", 0.0)
        monkeypatch.setattr("os.kill", lambda *_: self.struck.append(moment))

    def fault(self) -> _Fault:
        return self._fault


class ScriptedConnection:
    """``answers``: the results of the calls, in order."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = iter(answers)

    def call(self, arms: Any) -> None:
        self._fault_line = "POST http://127.0.0.1 UpdateItem"
        _counted(lambda _: None, arms)(self)
        _answered(ScriptedConnection._answer, arms)(self)

    def _answer(self) -> None:
        if error := next(self.answers):
            raise error


@pytest.mark.parametrize("error", [TimeoutError("timed out"), ConnectionResetError()])
def test_after_a_call_means_after_its_answer_on_whichever_try_it_came(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms, connection = FaultRecorder("after", monkeypatch), ScriptedConnection(error, None, None)
    with pytest.raises(type(error)):
        connection.call(arms)
    assert arms.struck == []
    connection.call(arms)
    connection.call(arms)
    assert arms.struck == ["after"]


@pytest.mark.parametrize("moment", ["before", "sent", "after"])
def test_a_call_that_is_sent_again_counts_once(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arms, connection = (
        FaultRecorder(moment, monkeypatch, call=2),
        ScriptedConnection(TimeoutError("timed out"), None, None),
    )
    with pytest.raises(TimeoutError):
        connection.call(arms)
    connection.call(arms)
    assert arms.struck == []
    connection.call(arms)
    assert arms.struck == [moment]


@pytest.mark.parametrize("moment", ["before", "sent"])
def test_what_strikes_before_the_answer_strikes_on_the_first_try(
    moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms, connection = FaultRecorder(moment, monkeypatch), ScriptedConnection(TimeoutError("timed out"), None)
    with pytest.raises(TimeoutError):
        connection.call(arms)
    connection.call(arms)
    assert arms.struck == [moment]


def test_calls_of_two_threads_at_the_same_time_have_numbers_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While a thread logs its call, another one may begin the next call."""
    fault = _Fault("before", 1, "DeleteItem", "", 0.0)
    others: list[int] = []

    def print_slowly(*_: object, **__: object) -> None:
        if not others:
            others.append(0)
            others[0] = fault.note("DeleteItem")

    monkeypatch.setattr("builtins.print", print_slowly)
    assert (fault.note("DeleteItem"), *others) == (1, 2)
