"""The state machine engine by itself: each state, each failure, stops, timeouts and redrives."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from local.aws.states.branch import StatesClock
from local.aws.states.definition import DefinitionError, load_definition
from local.aws.states.errors import StateError
from local.aws.states.execution import MachineExecution, MachineFacts
from local.wait import until
from tests.template import documents

Call = Callable[[str, Any], Any]
TASK = "arn:aws:lambda:eu-central-1:1:function:f:1"


def machine(states: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states, **more}


def task(**more: Any) -> dict[str, Any]:
    return {"Type": "Task", "Resource": TASK, **({} if "Next" in more else {"End": True}), **more}


class StartedExecution:
    """An execution, and every status that it went through."""

    def __init__(self, definition: dict[str, Any], data: Any, call: Call, factor: float) -> None:
        text = json.dumps(definition)
        facts = MachineFacts("arn:aws:states:r:1:stateMachine:m", "m", "role", load_definition(text), text)
        self.statuses: list[str] = []
        self.execution = MachineExecution(
            "arn:aws:states:r:1:execution:m:e",
            "e",
            facts,
            json.dumps(data),
            StatesClock(factor),
            call,
            lambda: 0.5,
            lambda execution: self.statuses.append(execution.status),
        )
        self.execution.start()

    def end(self) -> MachineExecution:
        until(lambda: self.execution.status != "RUNNING", "the end of the execution")
        return self.execution

    def events(self) -> list[str]:
        return [event["type"] for event in self.execution.history.events()]


def begin(
    definition: dict[str, Any],
    data: Any = None,
    call: Call = lambda _resource, arguments: arguments,
    factor: float = 0.01,
) -> StartedExecution:
    return StartedExecution(definition, {} if data is None else data, call, factor)


def output(definition: dict[str, Any], data: Any = None, **more: Any) -> Any:
    execution = begin(definition, data, **more).end()
    assert execution.status == "SUCCEEDED", (execution.error, execution.cause)
    return json.loads(execution.output or "null")


def failing(*errors: StateError | None) -> Call:
    """A task that fails with these, one after another; None, and the end of the list, mean success."""
    remaining = list(errors)
    lock = threading.Lock()

    def call(_resource: str, arguments: Any) -> Any:
        with lock:
            error = remaining.pop(0) if remaining else None
        if error:
            raise error
        return arguments

    return call


def test_pass_assign_and_output_see_the_variables_of_before() -> None:
    states = {
        "A": {"Type": "Pass", "Assign": {"x": 1}, "Next": "B"},
        "B": {"Type": "Pass", "Assign": {"x": "{% $x + 1 %}"}, "Output": {"in_b": "{% $x %}"}, "Next": "C"},
        "C": {"Type": "Pass", "Output": {"b": "{% $states.input.in_b %}", "c": "{% $x %}"}, "End": True},
    }
    assert output(machine(states)) == {"b": 1, "c": 2}


def test_the_context_names_the_execution_and_the_state() -> None:
    show = {"Type": "Pass", "Output": "{% $states.context %}", "End": True}
    context = output(machine({"Show": show}), {"a": 1})
    assert context["Execution"]["Id"].endswith(":execution:m:e")
    assert (context["Execution"]["Name"], context["Execution"]["Input"]) == ("e", {"a": 1})
    assert context["Execution"]["StartTime"].endswith("Z")
    assert context["State"]["Name"] == "Show"
    assert context["StateMachine"]["Name"] == "m"


def test_quotes_line_breaks_and_null_pass_through_expressions() -> None:
    data = {"text": 'he said "no"\nand {% left %}', "nothing": None}
    show = {"Type": "Pass", "Output": "{% $states.input %}", "End": True}
    assert output(machine({"Show": show}), data) == data


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("$parse('{\"a\": 1}').a", 1),
        ("$hash('a', 'SHA-1')", "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"),
        ("$partition([1,2,3], 2)", [[1, 2], [3]]),
        ("$range(1, 5, 2)", [1, 3, 5]),
        ("$length($uuid())", 36),
        ("$random() < 1", True),
        ("4 / 2", 2),
    ],
)
def test_the_functions_that_step_functions_adds(expression: str, value: Any) -> None:
    show = {"Type": "Pass", "Output": f"{{% {expression} %}}", "End": True}
    assert output(machine({"Show": show})) == value


@pytest.mark.parametrize("expression", ["$states.input.absent", "$error('no')", "$sum", "1 + 'a'"])
def test_an_expression_that_fails_or_gives_nothing_fails_the_execution(expression: str) -> None:
    show = {"Type": "Pass", "Output": f"{{% {expression} %}}", "End": True}
    execution = begin(machine({"Show": show})).end()
    assert (execution.status, execution.error) == ("FAILED", "States.QueryEvaluationError")


@pytest.mark.parametrize(("size", "kind"), [(1, "small"), (5, "large"), (9, "other")])
def test_choice_takes_the_first_rule_that_holds(size: int, kind: str) -> None:
    def rule(condition: str, text: str) -> dict[str, Any]:
        return {"Condition": f"{{% {condition} %}}", "Assign": {"kind": text}, "Next": "Show"}

    states = {
        "Choose": {
            "Type": "Choice",
            "Choices": [rule("$states.input.size < 3", "small"), rule("$states.input.size < 7", "large")],
            "Default": "Show",
            "Assign": {"kind": "other"},
        },
        "Show": {"Type": "Pass", "Output": "{% $kind %}", "End": True},
    }
    assert output(machine(states), {"size": size}) == kind


def test_choice_without_a_match_and_a_default_fails() -> None:
    states = {
        "Choose": {"Type": "Choice", "Choices": [{"Condition": "{% false %}", "Next": "End"}]},
        "End": {"Type": "Succeed"},
    }
    assert begin(machine(states)).end().error == "States.NoChoiceMatched"


def test_fail_names_its_error_and_its_cause() -> None:
    fail = {
        "Type": "Fail",
        "Error": "{% $states.input.kind %}",
        "Cause": "{% 'because of ' & $states.input.x %}",
    }
    started = begin(machine({"Fail": fail}), {"kind": "JobFailed", "x": "it"})
    execution = started.end()
    assert (execution.status, execution.error, execution.cause) == ("FAILED", "JobFailed", "because of it")
    assert execution.output is None
    assert started.statuses == ["RUNNING", "FAILED"]


def test_wait_takes_its_seconds_from_an_expression() -> None:
    wait = {"Type": "Wait", "Seconds": "{% $states.input.seconds %}", "End": True}
    began = time.monotonic()
    assert output(machine({"Wait": wait}), {"seconds": 30}) == {"seconds": 30}
    assert 0.25 < time.monotonic() - began < 5


@pytest.mark.parametrize("seconds", ["'soon'", "1.5", "-1", "null"])
def test_wait_refuses_what_is_no_number_of_seconds(seconds: str) -> None:
    wait = {"Type": "Wait", "Seconds": f"{{% {seconds} %}}", "End": True}
    assert begin(machine({"Wait": wait})).end().error == "States.QueryEvaluationError"


def test_wait_until_a_past_time_continues() -> None:
    wait = {"Type": "Wait", "Timestamp": "2020-01-01T00:00:00Z", "End": True}
    assert output(machine({"Wait": wait})) == {}


def test_a_task_gets_its_arguments_and_shapes_its_result() -> None:
    states = {
        "Do": task(Arguments={"n": "{% $states.input.n %}"}, Output={"r": "{% $states.result.n * 2 %}"}),
    }
    assert output(machine(states), {"n": 4}) == {"r": 8}
    assert output(machine({"Do": task()}), {"n": 4}) == {"n": 4}


def test_retry_repeats_up_to_max_attempts() -> None:
    retry = [{"ErrorEquals": ["Busy"], "IntervalSeconds": 1, "MaxAttempts": 2, "BackoffRate": 2}]
    definition = machine({"Do": task(Retry=retry)})
    assert output(definition, 7, call=failing(StateError("Busy"), StateError("Busy"))) == 7
    execution = begin(definition, call=failing(*[StateError("Busy", "still")] * 3)).end()
    assert (execution.error, execution.cause) == ("Busy", "still")


def test_the_wait_before_a_retry_grows_up_to_its_limit() -> None:
    retry = [
        {
            "ErrorEquals": ["Busy"],
            "IntervalSeconds": 10,
            "BackoffRate": 2,
            "MaxDelaySeconds": 15,
            "MaxAttempts": 3,
        }
    ]
    began = time.monotonic()
    assert output(machine({"Do": task(Retry=retry)}), 1, call=failing(*[StateError("Busy")] * 3)) == 1
    assert 0.35 < time.monotonic() - began < 5


def test_the_retry_count_is_in_the_context() -> None:
    retry = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1}]
    definition = machine({"Do": task(Retry=retry, Output="{% $states.context.State.RetryCount %}")})
    assert output(definition, call=failing(StateError("A"), StateError("B"))) == 2


@pytest.mark.parametrize(
    ("names", "error", "caught"),
    [
        (["Busy"], "Busy", True),
        (["Busy"], "Other", False),
        (["States.ALL"], "Anything", True),
        (["States.ALL"], "States.Timeout", True),
        (["States.ALL"], "States.DataLimitExceeded", False),
        (["States.ALL"], "States.Runtime", False),
        (["States.TaskFailed"], "Anything", True),
        (["States.TaskFailed"], "States.Timeout", False),
    ],
)
def test_catch_takes_what_it_names(names: list[str], error: str, caught: bool) -> None:
    catch = [{"ErrorEquals": names, "Next": "Caught", "Output": "{% $states.errorOutput %}"}]
    states = {"Do": task(Catch=catch), "Caught": {"Type": "Pass", "End": True}}
    execution = begin(machine(states), call=failing(StateError(error, "why"))).end()
    assert execution.status == ("SUCCEEDED" if caught else "FAILED")
    if caught:
        assert json.loads(execution.output or "") == {"Error": error, "Cause": "why"}


def test_what_is_caught_has_no_cause_where_there_is_none() -> None:
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Caught", "Output": "{% $states.errorOutput %}"}]
    states = {"Do": task(Catch=catch), "Caught": {"Type": "Succeed"}}
    assert output(machine(states), call=failing(StateError("States.Timeout"))) == {"Error": "States.Timeout"}


CATCHES = [
    state["Catch"][0]["Assign"] for _, state in documents.states(documents.machine()) if state.get("Catch")
]
FAILS = [state for _, state in documents.states(documents.machine()) if state["Type"] == "Fail"]


@pytest.mark.parametrize("assign", CATCHES)
@pytest.mark.parametrize(
    ("cause", "text"),
    [
        (None, ""),
        ("", ""),
        ("why", "why"),
        ('{"errorMessage": "why", "errorType": "A"}', "why"),
        ('{"errorType": "A"}', '{"errorType": "A"}'),
        ("{", "{"),
        ("} {", "} {"),
        ("{no JSON}", "{no JSON}"),
    ],
)
def test_every_caught_error_ends_the_run_with_its_cause_as_a_text(
    assign: dict[str, Any], cause: str | None, text: str
) -> None:
    """A Catch keeps the error as it is; the state that fails the run parses its cause."""
    ((name, _),) = assign.items()
    (fail,) = FAILS
    catch = [{"ErrorEquals": ["States.ALL"], "Assign": assign, "Next": "Keep"}]
    keep = {"Type": "Pass", "Assign": {"failure": f"{{% ${name} %}}"}, "Next": "Fail"}
    states = {"Do": task(Catch=catch), "Keep": keep, "Fail": fail}
    execution = begin(machine(states), call=failing(StateError("A", cause))).end()
    assert (execution.status, execution.error, execution.cause) == ("FAILED", "A", text)


def test_catch_assigns_and_keeps_the_input() -> None:
    catch = [
        {
            "ErrorEquals": ["States.ALL"],
            "Assign": {"why": "{% $states.errorOutput.Cause %}"},
            "Output": "{% $states.input %}",
            "Next": "Show",
        }
    ]
    states = {
        "Do": task(Catch=catch),
        "Show": {"Type": "Pass", "Output": {"why": "{% $why %}", "in": "{% $states.input %}"}, "End": True},
    }
    assert output(machine(states), 5, call=failing(StateError("A", "so"))) == {"why": "so", "in": 5}


@pytest.mark.parametrize("field", ["Arguments", "Output", "Assign"])
def test_a_failing_expression_of_a_task_can_be_caught(field: str) -> None:
    bad: Any = {"x": "{% $states.input.absent.deeper %}"}
    catch = [{"ErrorEquals": ["States.QueryEvaluationError"], "Next": "Caught", "Output": "caught"}]
    states = {"Do": task(**{field: bad, "Catch": catch}), "Caught": {"Type": "Succeed"}}
    assert output(machine(states), {}) == "caught"


def test_a_task_that_takes_too_long_times_out_and_can_be_caught() -> None:
    catch = [{"ErrorEquals": ["States.Timeout"], "Next": "Caught", "Output": "late"}]
    states = {"Do": task(TimeoutSeconds=10, Catch=catch), "Caught": {"Type": "Succeed"}}

    release = threading.Event()
    assert output(machine(states), call=lambda *_: release.wait(5)) == "late"
    release.set()


def test_map_keeps_the_order_and_its_own_variables() -> None:
    processor = machine(
        {
            "Set": {"Type": "Pass", "Assign": {"mine": "{% $states.input.item %}"}, "Next": "Do"},
            "Do": task(Output="{% $outer & $mine & $string($states.context.Map.Item.Index) %}"),
        }
    )
    states = {
        "Start": {"Type": "Pass", "Assign": {"outer": "o"}, "Next": "Each"},
        "Each": {
            "Type": "Map",
            "Items": "{% $states.input.items %}",
            "ItemSelector": {"item": "{% $states.context.Map.Item.Value %}"},
            "ItemProcessor": processor,
            "End": True,
        },
    }

    others = threading.Barrier(2)
    both = threading.Event()

    def uneven(_resource: str, arguments: Any) -> Any:
        """The first ends last: once both others are running."""
        if arguments["item"] == "a":
            assert both.wait(5)
        elif others.wait(5) == 0:
            both.set()
        return arguments

    assert output(machine(states), {"items": ["a", "b", "c"]}, call=uneven) == ["oa0", "ob1", "oc2"]


def each(processor_state: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "Type": "Map",
        "Items": "{% $states.input %}",
        "ItemProcessor": machine({"Do": processor_state}),
        **({} if "Next" in more else {"End": True}),
        **more,
    }


def test_map_over_nothing_gives_nothing() -> None:
    assert output(machine({"Each": each(task())}), []) == []


def test_map_of_something_that_is_no_list_fails() -> None:
    assert begin(machine({"Each": each(task())}), {"a": 1}).end().error == "States.QueryEvaluationError"


def test_map_runs_at_most_max_concurrency_at_once() -> None:
    running, peak, lock = [0], [0], threading.Lock()
    pairs = threading.Barrier(2)

    def count(_resource: str, arguments: Any) -> Any:
        """Two at a time: each waits for another to be running as well."""
        with lock:
            running[0] += 1
            peak[0] = max(peak[0], running[0])
        pairs.wait(5)
        with lock:
            running[0] -= 1
        return arguments

    definition = machine({"Each": each(task(), MaxConcurrency=2)})
    assert output(definition, [1, 2, 3, 4, 5, 6], call=count) == [1, 2, 3, 4, 5, 6]
    assert peak[0] == 2


def test_an_iteration_that_fails_stops_the_others_and_fails_the_map() -> None:
    both_wait = threading.Event()

    def call(_resource: str, arguments: Any) -> Any:
        if arguments == 1:
            assert both_wait.wait(5)
            raise StateError("Broken", "one")
        return arguments

    states = {"Each": each(task(Next="Wait"))}
    states["Each"]["ItemProcessor"]["States"]["Wait"] = {"Type": "Wait", "Seconds": 3600, "End": True}
    started = begin(machine(states), [1, 2, 3], call)
    until(lambda: started.events().count("WaitStateEntered") == 2, "the others to wait")
    both_wait.set()
    execution = started.end()
    assert (execution.status, execution.error) == ("FAILED", "Broken")
    assert started.events().count("MapIterationAborted") == 2


def test_parallel_gives_the_list_of_its_outputs() -> None:
    branches = [machine({"A": task(Output="a")}), machine({"B": task(Output="{% $states.input.x %}")})]
    states = {"Both": {"Type": "Parallel", "Branches": branches, "Arguments": {"x": 1}, "End": True}}
    assert output(machine(states)) == ["a", 1]


def test_a_failed_branch_can_be_caught_by_the_parallel() -> None:
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Caught", "Output": "{% $states.errorOutput.Error %}"}]
    states = {
        "Both": {"Type": "Parallel", "Branches": [machine({"A": task()})], "Catch": catch, "End": True},
        "Caught": {"Type": "Succeed"},
    }
    assert output(machine(states), call=failing(StateError("Broken"))) == "Broken"


def test_a_map_that_is_tried_again_starts_every_iteration_afresh() -> None:
    retry = [{"ErrorEquals": ["Broken"], "IntervalSeconds": 1}]
    calls: list[Any] = []

    def call(_resource: str, arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise StateError("Broken")
        return arguments

    assert output(machine({"Each": each(task(), MaxConcurrency=1, Retry=retry)}), [1, 2], call=call) == [1, 2]
    assert calls == [1, 2, 1, 2]


def test_more_than_256_kib_is_more_than_a_state_may_give() -> None:
    execution = begin(machine({"Do": task()}), call=lambda *_: "x" * 300_000).end()
    assert execution.error == "States.DataLimitExceeded"


def test_a_stop_ends_a_wait_at_once_even_inside_a_map() -> None:
    states = {"Each": each({"Type": "Wait", "Seconds": 3600, "End": True})}
    started = begin(machine(states), [1, 2], factor=1)
    until(lambda: started.events().count("WaitStateEntered") == 2, "both to wait")
    started.execution.stop("Cancelled", "by hand")
    execution = started.end()
    assert (execution.status, execution.error, execution.cause) == ("ABORTED", "Cancelled", "by hand")
    until(lambda: started.events().count("MapIterationAborted") == 2, "both to be aborted")
    assert started.statuses == ["RUNNING", "ABORTED"]


def _tasks_at_work() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name == "state-machine-task"]


def test_a_stop_does_not_wait_for_the_task_and_its_result_is_dropped() -> None:
    release = threading.Event()
    started = begin(machine({"Do": task(Next="More"), "More": task()}), call=lambda *_: release.wait(5))
    until(lambda: "LambdaFunctionStarted" in started.events(), "the task to start")
    started.execution.stop(None, None)
    assert started.execution.status == "ABORTED"
    release.set()
    until(lambda: not _tasks_at_work(), "the end of the task")
    assert "LambdaFunctionSucceeded" not in started.events()
    assert started.execution.status == "ABORTED"


def test_an_execution_that_runs_too_long_times_out() -> None:
    states = {"Each": each({"Type": "Wait", "Seconds": 3600, "End": True})}
    started = begin(machine(states, TimeoutSeconds=10), [1])
    assert started.end().status == "TIMED_OUT"
    assert started.statuses == ["RUNNING", "TIMED_OUT"]
    assert "ExecutionTimedOut" in started.events()


def test_a_redrive_continues_from_the_state_that_failed() -> None:
    calls: list[Any] = []

    def call(_resource: str, arguments: Any) -> Any:
        calls.append(arguments)
        if calls == ["first", "second"]:
            raise StateError("Broken")
        return arguments

    states = {
        "One": task(Arguments="first", Assign={"kept": "{% $states.result %}"}, Next="Two"),
        "Two": task(Arguments="second", Output={"kept": "{% $kept %}"}),
    }
    started = begin(machine(states), call=call)
    assert started.end().status == "FAILED"
    assert started.execution.redrive()
    execution = started.end()
    assert (execution.status, execution.redrive_count, calls) == (
        "SUCCEEDED",
        1,
        ["first", "second", "second"],
    )
    assert json.loads(execution.output or "") == {"kept": "first"}
    assert "ExecutionRedriven" in started.events()
    assert not started.execution.redrive()


def test_a_redrive_repeats_only_the_iterations_that_did_not_succeed() -> None:
    calls: list[Any] = []
    lock = threading.Lock()

    def call(_resource: str, arguments: Any) -> Any:
        with lock:
            calls.append(arguments)
            first = calls.count(2) == 1
        if arguments == 2 and first:
            raise StateError("Broken")
        return arguments * 10

    started = begin(machine({"Each": each(task(), MaxConcurrency=1)}), [1, 2, 3], call)
    assert started.end().status == "FAILED"
    started.execution.redrive()
    assert json.loads(started.end().output or "") == [10, 20, 30]
    assert calls == [1, 2, 2, 3]


def test_the_history_shows_what_happened_in_order() -> None:
    started = begin(machine({"Do": task(Next="End"), "End": {"Type": "Succeed"}}))
    started.end()
    assert started.events() == [
        "ExecutionStarted",
        "TaskStateEntered",
        "LambdaFunctionScheduled",
        "LambdaFunctionStarted",
        "LambdaFunctionSucceeded",
        "TaskStateExited",
        "SucceedStateEntered",
        "SucceedStateExited",
        "ExecutionSucceeded",
    ]
    assert [event["id"] for event in started.execution.history.events()] == list(range(1, 10))


def test_a_loop_ends_at_25000_events() -> None:
    states = {"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Pass", "Next": "A"}}
    execution = begin(machine(states)).end()
    assert execution.status == "FAILED"
    assert "25000" in (execution.cause or "")


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}, "only JSONata"),
        (machine({"A": {"Type": "Pass", "Next": "B"}}), "B, which is no state"),
        (machine({"A": {"Type": "Pass"}}), "either Next or End"),
        (machine({"A": {"Type": "Dance", "End": True}}), "unknown"),
        (machine({"A": {"Type": "Pass", "ResultPath": "$", "End": True}}), "ResultPath"),
        (machine({"A": {"Type": "Pass", "Output": "{% 1 + %}", "End": True}}), "1 \\+"),
        (
            machine({"A": task(Catch=[{"ErrorEquals": ["X"], "Next": "A", "ResultPath": "$.e"}])}),
            "Catch of state A .*ResultPath",
        ),
        (machine({"A": task(Resource="arn:aws:states:::lambda:invoke.waitForTaskToken")}), "is not run here"),
        (
            machine({"A": each({"Type": "Pass", "Assign": {"x": 1}, "End": True}, Assign={"x": 2})}),
            "outer scope",
        ),
        (
            machine(
                {
                    "A": {
                        "Type": "Map",
                        "ItemProcessor": machine({"P": task()}, ProcessorConfig={"Mode": "DISTRIBUTED"}),
                        "End": True,
                    }
                }
            ),
            "inline",
        ),
    ],
)
def test_a_definition_that_would_be_refused_or_is_not_run_here_is_refused(
    definition: dict[str, Any], words: str
) -> None:
    with pytest.raises(DefinitionError, match=words):
        load_definition(json.dumps(definition))
