"""Code, documents, dashboard and alarms name the same metrics, with the same units and dimensions."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celonis_refresh.metrics import METRICS, NAMESPACE, SERVICE
from tests.template import documents, pages

METRICS_PAGE, CONFIGURATION = "docs/metrics.md", "docs/configuration.md"
ROWS = pages.table(METRICS_PAGE, "Metrics of the stack")
ALARMS = documents.resources("AWS::CloudWatch::Alarm")
RECORDING = {"count", "measure"}
AWS_METRICS = {
    "AWS/ApiGateway": {"4xx", "5xx", "Count"},
    "AWS/DynamoDB": {"ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"},
    "AWS/Lambda": {"Duration", "Errors", "Invocations", "Throttles"},
    "AWS/Logs": {"IncomingBytes"},
    "AWS/SNS": {"NumberOfNotificationsFailed"},
    "AWS/SQS": {"ApproximateNumberOfMessagesVisible", "NumberOfMessagesSent"},
    "AWS/States": {
        "ExecutionsAborted",
        "ExecutionsFailed",
        "ExecutionsStarted",
        "ExecutionsSucceeded",
        "ExecutionsTimedOut",
    },
}
"""Metrics of AWS that are shown or watched, as its documents name them."""


def sources() -> list[Path]:
    """Everything that is deployed, without the table of metrics itself."""
    found = documents.sources(documents.PACKAGE) + documents.sources(documents.FUNCTIONS)
    return [path for path in found if path.name != "metrics.py"]


def recordings() -> Iterator[tuple[Path, ast.Call]]:
    """The calls that record a metric."""
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RECORDING:
                yield path, node


def literals(node: ast.AST) -> set[str]:
    return {
        each.value
        for each in ast.walk(node)
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    }


def test_every_metric_that_is_emitted_is_named() -> None:
    named = {node.args[0].value for _, node in recordings() if isinstance(node.args[0], ast.Constant)}
    assert named
    assert named <= set(METRICS)


def test_every_metric_that_is_named_is_emitted() -> None:
    modules = [path for path in sources() if path.name != "observability.py"]
    found = set().union(*(literals(ast.parse(path.read_text(encoding="utf-8"))) for path in modules))
    assert set(METRICS) - found == set()


def test_a_metric_is_emitted_with_its_dimensions() -> None:
    for path, node in recordings():
        if isinstance(node.args[0], ast.Constant):
            given = {str(keyword.arg) for keyword in node.keywords}
            assert set(METRICS[str(node.args[0].value)].dimensions) <= given, f"{path}: {ast.unparse(node)}"


def test_the_table_in_the_documents_has_every_metric() -> None:
    assert list(ROWS) == list(METRICS)


@pytest.mark.parametrize("name", METRICS)
def test_the_row_of_a_metric_has_its_unit_and_dimensions(name: str) -> None:
    _, unit, dimensions, meaning = ROWS[name]
    assert unit == METRICS[name].unit
    assert tuple(pages.NAME.findall(dimensions)) == METRICS[name].dimensions
    assert meaning


def test_nothing_that_an_outsider_chooses_is_a_dimension() -> None:
    """Each combination is billed. Ids of deliveries, runs and executions have no bound."""
    bounded = {"pipeline", "outcome", "source", "result", "call", "status", "finding"}
    assert {dimension for metric in METRICS.values() for dimension in metric.dimensions} <= bounded


def dashboard() -> Any:
    """The body of the dashboard, with a word for each reference."""
    (properties,) = documents.resources("AWS::CloudWatch::Dashboard").values()
    return json.loads(references_replaced(properties["DashboardBody"]["Fn::Sub"]))


def references_replaced(text: str) -> str:
    return re.sub(r"\$\{(?!!)([\w:.]+)\}", r"<\1>", text).replace("${!", "${")


def widgets(kind: str) -> list[dict[str, Any]]:
    return [widget for widget in dashboard()["widgets"] if widget["type"] == kind]


def graphed() -> Iterator[tuple[str, str, frozenset[str]]]:
    """Namespace, name and dimensions of every metric on the dashboard."""
    for widget in widgets("metric"):
        for row in widget["properties"]["metrics"]:
            if isinstance(row[0], str):
                namespace, name, *rest = (each for each in row if isinstance(each, str))
                yield namespace, name, frozenset(rest[::2])
            else:
                for schema, name in re.findall(r"\{([^}]*)\} MetricName=\"(\w+)\"", row[0]["expression"]):
                    namespace, *dimensions = schema.split(",")
                    yield namespace, name, frozenset(dimensions)


def watched() -> Iterator[tuple[str, str, frozenset[str]]]:
    """The same of every metric that an alarm watches."""
    for alarm in ALARMS.values():
        stats = [query["MetricStat"]["Metric"] for query in alarm.get("Metrics", ()) if "MetricStat" in query]
        for metric in stats or [alarm]:
            dimensions = frozenset(each["Name"] for each in metric["Dimensions"])
            yield metric["Namespace"], metric["MetricName"], dimensions


def test_dashboard_and_alarms_use_metrics_that_there_are() -> None:
    for namespace, name, dimensions in [*graphed(), *watched()]:
        if namespace == NAMESPACE:
            assert dimensions == {SERVICE, *METRICS[name].dimensions}, name
        else:
            assert name in AWS_METRICS[namespace], name


def test_the_dashboard_shows_every_metric() -> None:
    assert {name for namespace, name, _ in graphed() if namespace == NAMESPACE} == set(METRICS)


def test_what_has_no_bound_is_found_by_a_search() -> None:
    """So the dashboard needs no change for a new pipeline, source or call, and works without any."""
    for widget in widgets("metric"):
        for row in widget["properties"]["metrics"]:
            if isinstance(row[0], str) and row[0] == NAMESPACE:
                assert METRICS[row[1]].dimensions == (), row[1]


def test_the_widgets_do_not_overlap_and_fit_the_width() -> None:
    taken: set[tuple[int, int]] = set()
    for widget in dashboard()["widgets"]:
        columns = range(widget["x"], widget["x"] + widget["width"])
        rows = range(widget["y"], widget["y"] + widget["height"])
        cells = {(x, y) for x in columns for y in rows}
        assert columns.stop <= 24
        assert not cells & taken
        taken |= cells


def test_the_dashboard_shows_every_alarm() -> None:
    (widget,) = widgets("alarm")
    assert widget["properties"]["alarms"] == [f"<{name}.Arn>" for name in ALARMS]


def test_every_function_and_log_group_is_on_the_dashboard() -> None:
    (properties,) = documents.resources("AWS::CloudWatch::Dashboard").values()
    body = properties["DashboardBody"]["Fn::Sub"]
    for name in (*documents.functions(), *documents.resources("AWS::Logs::LogGroup")):
        assert f"${{{name}}}" in body


def runbook_of(alarm: str) -> str:
    """The page that the description of an alarm names, where RunbookUrl is not set."""
    found = re.search(r"Runbook \$\{RunbookUrl\}([\w-]+\.md)$", ALARMS[alarm]["AlarmDescription"]["Fn::Sub"])
    assert found is not None, alarm
    return str(documents.template()["Parameters"]["RunbookUrl"]["Default"]) + found[1]


@pytest.mark.parametrize("address", ["https://wiki.example.com/runbooks/", "docs/runbooks/"])
def test_the_address_of_the_runbooks_is_a_parameter(address: str) -> None:
    pattern = documents.template()["Parameters"]["RunbookUrl"]["AllowedPattern"]
    assert re.fullmatch(pattern, address)
    assert not re.fullmatch(pattern, address.rstrip("/"))
    assert not re.fullmatch(pattern, address.replace("https", "http").replace("docs", "other"))


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_names_the_runbook_that_the_documents_link_to(name: str) -> None:
    page = runbook_of(name)
    assert page in pages.pages()
    (line,) = [
        each
        for each in pages.page(CONFIGURATION).splitlines()
        if f"| `{name}`" in each or f", `{name}`" in each
    ]
    assert f"({page.removeprefix('docs/')})" in line


def test_every_runbook_is_the_one_of_an_alarm_and_says_what_to_do() -> None:
    described = {runbook_of(name) for name in ALARMS}
    runbooks = [path for path in pages.pages() if path.startswith("docs/runbooks/")]
    assert runbooks
    for path in runbooks:
        assert path in described
        for heading in ("**What happened.**", "**Check.**", "**Do.**"):
            assert heading in pages.page(path), f"{path}: {heading}"


def test_the_alarm_about_slow_answers_counts_no_request_that_waits_on_purpose() -> None:
    """``GET /runs/{run_id}?wait=20`` and ``check`` are requests of the same HTTP API."""
    alarm = ALARMS["SlowAnswersAlarm"]
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/Lambda", "Duration")
    assert alarm["Dimensions"] == [{"Name": "FunctionName", "Value": {"Ref": "Trigger"}}]
    assert routes_of("Trigger") == {"POST /webhooks/{source}", "OPTIONS /webhooks/{source}"}
    assert not any(name == "Latency" for _, name, _ in [*graphed(), *watched()])


def test_the_query_for_slow_answers_shows_no_request_that_waits_on_purpose() -> None:
    query = QUERIES["SlowAnswersQuery"]
    assert {"Ref": "ApiLogs"} not in query["LogGroupNames"]
    assert '(route = "POST /webhooks/{source}" and latency * 1 > 1000)' in query["QueryString"]


def routes_of(function: str) -> set[str]:
    """The method and path of each route of the HTTP API that a function serves."""
    events = documents.functions()[function].get("Events", {}).values()
    routes = [event["Properties"] for event in events if event["Type"] == "HttpApi"]
    return {f"{route['Method'].upper()} {route['Path']}" for route in routes}


QUERIES = documents.resources("AWS::Logs::QueryDefinition")


def test_every_saved_query_is_described() -> None:
    names = [query["Name"]["Fn::Sub"].removeprefix("${AWS::StackName}/") for query in QUERIES.values()]
    assert names == list(pages.table(METRICS_PAGE, "Saved queries"))


def test_the_queries_for_ids_cover_the_log_of_every_function() -> None:
    logs = {f"{name}Logs" for name in documents.functions()}
    for name in ("OneRunQuery", "OneDeliveryQuery", "OneSourceQuery"):
        assert {group["Ref"] for group in QUERIES[name]["LogGroupNames"]} >= logs


def test_neither_a_query_nor_a_metric_filter_counts_lines_by_their_level() -> None:
    """With ``LogLevel`` ``ERROR``, the lines with metrics have this level, too."""
    assert documents.resources("AWS::Logs::MetricFilter") == {}
    for query in QUERIES.values():
        assert not re.search(r"level\s*(=|like|in)", query["QueryString"])
        assert "stats" not in query["QueryString"]
