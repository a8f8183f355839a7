"""Map and Parallel: several branches at once. The first failure stops the others."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from local.aws.states.branch import in_thread
from local.aws.states.errors import QUERY, BranchStopped, ExecutionTimedOut, StateError
from local.aws.states.expressions import evaluate
from local.aws.states.interpreter import Runner, StateContext, Transition, Visit, check_size, run_machine
from local.aws.states.retrying import with_retries

# The maximum concurrency of an inline Map in Step Functions.
_AT_ONCE = 40


def run_parallel(visit: Visit, runners: Mapping[str, Runner]) -> Transition:
    """Run every branch with Arguments or the state's input; return the list of their outputs."""
    history = visit.line.history
    resumed = [visit.resumed]

    def attempt(visit: Visit) -> Transition:
        _start_afresh_unless(resumed, visit)
        data = visit.evaluate("Arguments", visit.data)
        history.add("ParallelStateStarted")
        lines = [
            visit.line.below(visit.line.scope.inner(visit.name, index))
            for index in range(len(visit.state["Branches"]))
        ]
        tasks = [
            _machine_task(branch, data, line, runners)
            for branch, line in zip(visit.state["Branches"], lines, strict=True)
        ]
        result = _run_concurrently(tasks, lines, len(tasks))
        check_size(result, visit.name)
        history.add("ParallelStateSucceeded")
        return visit.finish(result, visit.state.get("Next"), result=result)

    return with_retries(visit, attempt, lambda _: history.add("ParallelStateFailed"))


def run_map(visit: Visit, runners: Mapping[str, Runner]) -> Transition:
    """Run one iteration per item, at most MaxConcurrency at once; results keep the order of items."""
    history = visit.line.history
    resumed = [visit.resumed]

    def attempt(visit: Visit) -> Transition:
        _start_afresh_unless(resumed, visit)
        items = visit.evaluate("Items", visit.data)
        if not isinstance(items, list):
            raise StateError(QUERY, f"The field 'Items' must give an array, but was: {type(items).__name__}")
        at_once = int(visit.evaluate("MaxConcurrency", 0)) or len(items)
        history.add("MapStateStarted", {"length": len(items)})
        lines = [_iteration_line(visit, index, item) for index, item in enumerate(items)]
        tasks = [
            _iteration(visit, index, item, line, runners)
            for index, (item, line) in enumerate(zip(items, lines, strict=True))
        ]
        result = _run_concurrently(tasks, lines, at_once)
        check_size(result, visit.name)
        history.add("MapStateSucceeded")
        return visit.finish(result, visit.state.get("Next"), result=result)

    return with_retries(visit, attempt, lambda _: history.add("MapStateFailed"))


def _start_afresh_unless(resumed: list[bool], visit: Visit) -> None:
    """Only the first attempt after a redrive continues where its branches stopped."""
    if not resumed[0]:
        visit.line.checkpoints.forget_below((*visit.line.scope.path, visit.name))
    resumed[0] = False


def _iteration_line(visit: Visit, index: int, item: Any) -> StateContext:
    place = {"Item": {"Index": index, "Value": item}}
    return visit.line.below(visit.line.scope.inner(visit.name, index, Map=place))


def _iteration(
    visit: Visit, index: int, item: Any, line: StateContext, runners: Mapping[str, Runner]
) -> Callable[[], Any]:
    details = {"name": visit.name, "index": index}
    processor = visit.state["ItemProcessor"]

    def task() -> Any:
        history = line.history
        history.add("MapIterationStarted", details)
        try:
            data = item
            if "ItemSelector" in visit.state:
                states = {"input": visit.data, "context": line.scope.context}
                data = evaluate(visit.state["ItemSelector"], states, line.scope.visible(), "ItemSelector")
            output = run_machine(processor, data, line, runners)
        except StateError:
            history.add("MapIterationFailed", details)
            raise
        except (BranchStopped, ExecutionTimedOut):
            history.add("MapIterationAborted", details)
            raise
        history.add("MapIterationSucceeded", details)
        return output

    return task


def _machine_task(
    machine: Any, data: Any, line: StateContext, runners: Mapping[str, Runner]
) -> Callable[[], Any]:
    return lambda: run_machine(machine, data, line, runners)


def _run_concurrently(
    tasks: Sequence[Callable[[], Any]], lines: Sequence[StateContext], at_once: int
) -> list[Any]:
    """Run all, at most `at_once` at a time; the first failure stops the rest and is raised at the end."""
    results: list[Any] = [None] * len(tasks)
    failures: list[BaseException] = []
    waiting = iter(range(len(tasks)))
    taking = threading.Lock()

    def run_tasks() -> None:
        while True:
            with taking:
                index = next(waiting, None)
            if index is None:
                return
            try:
                lines[index].branch.check()
                results[index] = tasks[index]()
            except BaseException as error:
                failures.append(error)
                for line in lines:
                    line.branch.stop()
                raise

    threads = [in_thread("state-machine-line", run_tasks) for _ in range(min(at_once, len(tasks), _AT_ONCE))]
    for thread in threads:
        thread.exception()
    if failures:
        raise next((error for error in failures if not isinstance(error, BranchStopped)), failures[0])
    return results
