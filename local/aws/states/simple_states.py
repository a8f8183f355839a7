"""States without a call: Pass, Wait, Choice, Succeed and Fail."""

import datetime
from typing import Any

from local.aws.states.errors import NO_CHOICE, QUERY, StateError
from local.aws.states.expressions import evaluate
from local.aws.states.interpreter import Transition, Visit


def run_pass(visit: Visit) -> Transition:
    return visit.finish(visit.data, visit.state.get("Next"))


def run_succeed(visit: Visit) -> Transition:
    return visit.finish(visit.data, None)


def run_wait(visit: Visit) -> Transition:
    """Seconds or Timestamp, each a value or an expression."""
    if "Timestamp" in visit.state:
        text = visit.evaluate("Timestamp", None)
        try:
            moment = datetime.datetime.fromisoformat(str(text).replace("Z", "+00:00"))
        except ValueError as error:
            raise StateError(QUERY, f"The field 'Timestamp' is not a timestamp: {text}") from error
        visit.line.branch.sleep_until(moment.timestamp())
    else:
        visit.line.branch.sleep(_seconds(visit.evaluate("Seconds", None)))
    return visit.finish(visit.data, visit.state.get("Next"))


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 99_999_999:
        raise StateError(
            QUERY, f"The field 'Seconds' must be an integer between 0 and 99999999, but was: {value!r}"
        )
    return float(value)


def run_choice(visit: Visit) -> Transition:
    """Take the first rule that holds, with its Assign and Output; else Default, with the state's."""
    variables = visit.line.scope.visible()
    for rule in visit.state["Choices"]:
        holds = evaluate(rule["Condition"], visit.states(), variables, "Condition")
        if not isinstance(holds, bool):
            raise StateError(
                QUERY, f"The expression '{rule['Condition']}' gave {holds!r} instead of a boolean"
            )
        if holds:
            states = visit.states()
            output = evaluate(rule["Output"], states, variables, "Output") if "Output" in rule else visit.data
            return Transition(
                output, rule["Next"], evaluate(rule.get("Assign", {}), states, variables, "Assign")
            )
    if "Default" not in visit.state:
        raise StateError(NO_CHOICE, f"No rule of the state '{visit.name}' matched, and it has no Default")
    return visit.finish(visit.data, visit.state["Default"])


def run_fail(visit: Visit) -> Transition:
    raise StateError(visit.evaluate("Error", None), visit.evaluate("Cause", None))
