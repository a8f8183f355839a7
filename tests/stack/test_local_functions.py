"""Functions in processes of their own: environment, layers, concurrency, and every way to fail."""

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.aws.runtime.outcomes import InvocationResult
from local.aws.runtime.pool import Limits
from local.aws.settings import Settings
from local.aws.stack import LocalStack
from tests.stack.local_fixtures import aws, call, deploy_shop, messages, shop

__all__ = ["shop"]


def step(stack: LocalStack, **event: Any) -> InvocationResult:
    return stack.invoke("StepFunction", json.dumps(event).encode())


def error_of(outcome: InvocationResult) -> dict[str, Any]:
    assert outcome.error == "Unhandled"
    found: dict[str, Any] = json.loads(outcome.payload)
    return found


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    results: list[Any] = [None] * count
    threads = [
        threading.Thread(target=lambda index=index: results.__setitem__(index, work(index)))
        for index in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_the_environment_is_lambdas_and_the_templates_and_nothing_else(
    shop: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FROM_THIS_SHELL", "1")
    shop.reset()
    environment = call(shop, do="environment")["environment"]
    assert environment["TABLE_NAME"] == shop.outputs["TableName"]
    assert environment["STAGE"] == "test"
    assert environment["AWS_REGION"] == "eu-central-1"
    assert environment["AWS_ENDPOINT_URL"] == shop.aws_endpoint_url
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == shop.physical_ids["ApiFunction"]
    assert environment["AWS_LAMBDA_FUNCTION_VERSION"] == "$LATEST"
    assert environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert environment["_HANDLER"] == "app.handler"
    assert environment["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert environment["AWS_SESSION_TOKEN"]
    assert environment["LAMBDA_TASK_ROOT"].endswith("/ApiFunction")
    assert "FROM_THIS_SHELL" not in environment
    assert environment["HOME"] != os.environ.get("HOME")


def test_the_code_and_the_layer_are_importable_and_this_project_is_not(shop: LocalStack) -> None:
    answer = call(shop, do="environment")
    assert answer["greeting"] == "from the layer"
    root = str(Path(__file__).parents[2])
    assert root not in answer["path"]
    assert answer["cwd"] == answer["environment"]["LAMBDA_TASK_ROOT"]


def test_the_context_has_the_deadline_and_the_version(shop: LocalStack) -> None:
    context = call(shop, do="context")
    assert 3_000 < context["remaining"] <= 5_000
    assert context["memory"] == "256"
    assert context["trace"].startswith("Root=1-")
    assert context["arn"].endswith(shop.physical_ids["ApiFunction"])


def test_a_process_is_kept_for_the_next_call(shop: LocalStack) -> None:
    assert call(shop, do="context")["pid"] == call(shop, do="context")["pid"]


def test_a_published_version_is_a_process_of_its_own(shop: LocalStack) -> None:
    name = shop.physical_ids["ApiFunction"]
    answer = shop.client("lambda").invoke(FunctionName=f"{name}:live", Payload=b'{"do": "context"}')
    context = json.loads(answer["Payload"].read())
    assert answer["ExecutedVersion"] == "1"
    assert context["version"] == "1"
    assert context["arn"].endswith(":live")


def test_calls_at_once_get_processes_of_their_own(shop: LocalStack) -> None:
    shop.warm("StepFunction", 8)
    name = shop.physical_ids["StepFunctionAliaslive"]
    client = shop.client("lambda")
    began = time.monotonic()

    def sleep(_index: int) -> Any:
        answer = client.invoke(FunctionName=name, Payload=b'{"do": "sleep", "seconds": 1}')
        return json.loads(answer["Payload"].read())

    assert at_once(8, sleep) == [{"did": "sleep"}] * 8
    assert time.monotonic() - began < 7


def test_a_handler_error_has_type_message_and_stack(shop: LocalStack) -> None:
    error = error_of(step(shop, do="fail"))
    assert error["errorType"] == "OutOfStockError"
    assert error["errorMessage"] == "none left of it"
    assert "app.py" in "".join(error["stackTrace"])


def test_the_lambda_api_says_that_the_function_failed(shop: LocalStack) -> None:
    answer = shop.client("lambda").invoke(
        FunctionName=shop.physical_ids["StepFunction"], Payload=b'{"do": "fail"}'
    )
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")


def test_a_function_that_runs_too_long_is_ended(shop: LocalStack) -> None:
    began = time.monotonic()
    error = error_of(step(shop, do="sleep", seconds=30))
    assert error["errorType"] == "Sandbox.Timedout"
    assert "Task timed out after 2.00 seconds" in error["errorMessage"]
    assert time.monotonic() - began < 20
    assert json.loads(step(shop, do="sleep", seconds=0).payload) == {"did": "sleep"}


@pytest.mark.parametrize(("status", "words"), [(3, "exit status 3"), (0, "without providing a reason")])
def test_a_process_that_dies_is_an_exit_error(shop: LocalStack, status: int, words: str) -> None:
    error = error_of(step(shop, do="exit", status=status))
    assert error["errorType"] == "Runtime.ExitError"
    assert words in error["errorMessage"]


def test_a_module_that_cannot_be_imported_is_said_so(tmp_path: Path, shop: LocalStack) -> None:
    shop.close()
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "app.py").write_text("import not_there\n", encoding="utf-8")
    (tmp_path / "template.yaml").write_text(
        "Transform: AWS::Serverless-2016-10-31\nResources: {F: {Type: 'AWS::Serverless::Function', "
        "Properties: {Handler: app.handler, Runtime: python3.13, CodeUri: code}}}\n",
        encoding="utf-8",
    )
    with deploy_shop(tmp_path / "state", template=tmp_path / "template.yaml") as stack:
        error = error_of(stack.invoke("F", b"{}"))
        assert error["errorType"] == "Runtime.ImportModuleError"
        assert "not_there" in error["errorMessage"]


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory, shop: LocalStack) -> Any:
    """A shop of its own for what comes after the one above was closed."""
    shop.close()
    settings = Settings(limits=Limits(per_function=2, starting=2))
    settings.events.retry_delays = (0.0,)
    with deploy_shop(tmp_path_factory.mktemp("second"), settings=settings) as stack:
        yield stack


def test_more_calls_than_allowed_are_throttled(second: LocalStack) -> None:
    name, client = second.physical_ids["InlineFunction"], second.client("lambda")
    second.warm("InlineFunction", 1)

    def invoke(_index: int) -> str:
        try:
            client.invoke(FunctionName=name, Payload=b'{"sleep": 0.5}')
        except client.exceptions.TooManyRequestsException:
            return "throttled"
        return "answered"

    assert sorted(at_once(3, invoke)) == ["answered", "throttled", "throttled"]
    assert invoke(0) == "answered"


def test_what_is_printed_is_kept_by_function_and_in_a_file(second: LocalStack) -> None:
    outcome = step(second, do="count")
    texts = [line.text for line in second.logs("StepFunction") if line.request_id == outcome.request_id]
    assert "step count" in texts
    assert any(text.startswith("REPORT RequestId") for text in texts)
    file = second.state_dir / "logs" / "StepFunction.log"
    assert "step count" in file.read_text(encoding="utf-8")
    assert not any(line.text == "step count" for line in second.logs("ApiFunction"))


def test_every_line_of_a_call_is_known_when_its_answer_is(second: LocalStack) -> None:
    outcome = step(second, do="chatter", words=5_000)
    assert not outcome.failed
    texts = [line.text for line in second.logs("StepFunction") if line.request_id == outcome.request_id]
    assert sum(text.startswith("word ") for text in texts) == 5_000


def test_a_function_invokes_another(second: LocalStack) -> None:
    name = second.physical_ids["StepFunction"]
    answer = aws(second, "lambda", "invoke", FunctionName=name, Payload='{"do": "nothing"}')
    assert answer["Payload"] == {"did": "nothing"}


def test_an_event_is_tried_three_times_and_then_goes_to_the_failure_queue(second: LocalStack) -> None:
    name = second.physical_ids["ListenerFunctionAliaslive"]
    event = {"id": "1", "detail": {"fail": True}}
    answer = second.client("lambda").invoke(
        FunctionName=name, InvocationType="Event", Payload=json.dumps(event).encode()
    )
    assert answer["StatusCode"] == 202
    assert second.settle()
    heard = [line for line in second.logs("ListenerFunction") if '"fail": true' in line.text]
    assert len(heard) == 3
    (message,) = messages(second, second.outputs["FailuresUrl"])
    record = json.loads(message["Body"])
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["requestPayload"] == event
    assert record["responsePayload"]["errorType"] == "RuntimeError"


def test_an_unknown_function_is_not_found(second: LocalStack) -> None:
    client = second.client("lambda")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.invoke(FunctionName="nobody", Payload=b"{}")


def test_a_changed_configuration_holds_from_the_next_call_on(second: LocalStack) -> None:
    name, client = second.physical_ids["ApiFunction"], second.client("lambda")
    before = call(second, do="context")["pid"]
    client.update_function_configuration(
        FunctionName=name, Timeout=9, Environment={"Variables": {"STAGE": "changed", "TABLE_NAME": "t"}}
    )
    after = call(second, do="environment")["environment"]
    assert after["STAGE"] == "changed"
    context = call(second, do="context")
    assert context["remaining"] > 5_000
    assert context["pid"] != before


def test_the_own_runtime_loop_uses_the_same_runtime_api(second: LocalStack) -> None:
    second.client("lambda").update_function_configuration(
        FunctionName=second.physical_ids["StepFunction"],
        Environment={"Variables": {"LOCAL_RUNTIME": "own", "TABLE_NAME": second.outputs["TableName"]}},
    )
    assert json.loads(step(second, do="nothing").payload) == {"did": "nothing"}
    error = error_of(step(second, do="fail"))
    assert (error["errorType"], error["errorMessage"]) == ("OutOfStockError", "none left of it")
    assert json.loads(step(second, do="count", key="own").payload) == {"count": 1}
