"""Retry and Catch of a state that can fail."""

from collections.abc import Callable
from typing import Any

from local.aws.states.errors import QUERY, StateError, matches
from local.aws.states.expressions import evaluate
from local.aws.states.interpreter import Transition, Visit


def with_retries(
    visit: Visit, attempt: Callable[[Visit], Transition], failed: Callable[[StateError], None]
) -> Transition:
    """Run `attempt` as often as its retriers allow, then let a catcher handle the error, or raise it.

    `failed` is called with every failure, for the history.
    """
    counts = [0] * len(visit.state.get("Retry", []))
    while True:
        try:
            return attempt(visit)
        except StateError as error:
            if error.error == QUERY:
                _note_evaluation(visit, error)
            failed(error)
            delay = _next_delay(visit, error, counts)
            if delay is None:
                return _caught(visit, error)
            visit.line.branch.sleep(delay)
            visit.line.scope.context["State"]["RetryCount"] += 1


def _next_delay(visit: Visit, error: StateError, counts: list[int]) -> float | None:
    """Seconds until the next attempt, or None when there is none."""
    for index, retrier in enumerate(visit.state.get("Retry", [])):
        if not matches(retrier["ErrorEquals"], error.error):
            continue
        done = counts[index]
        if done >= int(retrier.get("MaxAttempts", 3)):
            return None
        counts[index] += 1
        delay = float(retrier.get("IntervalSeconds", 1)) * float(retrier.get("BackoffRate", 2.0)) ** done
        delay = min(delay, float(retrier.get("MaxDelaySeconds", delay)))
        return delay * visit.line.seed() if retrier.get("JitterStrategy") == "FULL" else delay
    return None


def _caught(visit: Visit, error: StateError) -> Transition:
    for catcher in visit.state.get("Catch", []):
        if matches(catcher["ErrorEquals"], error.error):
            output = error.output()
            states = visit.states(errorOutput=output)
            variables = visit.line.scope.visible()

            def field(
                name: str,
                default: Any,
                catcher: Any = catcher,
                states: Any = states,
                variables: Any = variables,
            ) -> Any:
                return evaluate(catcher[name], states, variables, name) if name in catcher else default

            return Transition(field("Output", output), catcher["Next"], field("Assign", {}))
    raise error


def _note_evaluation(visit: Visit, error: StateError) -> None:
    details = {"error": error.error, "cause": error.cause, "state": visit.name}
    visit.line.history.add("EvaluationFailed", details)
