"""Log groups, saved queries, alarms and dashboards."""

import json

from local.aws.errors import DeploymentError
from local.aws.resources.registry import CreatedResource, ResourceRequest, creates


@creates("AWS::Logs::LogGroup")
def log_group(request: ResourceRequest) -> CreatedResource:
    properties, client = request.properties, request.client("logs")
    name = request.name("LogGroupName", longest=512)
    settings = properties.pick("KmsKeyId", "LogGroupClass")
    renamed = {"KmsKeyId": "kmsKeyId", "LogGroupClass": "logGroupClass"}
    tags = {tag["Key"]: tag["Value"] for tag in request.tags()}
    client.create_log_group(
        logGroupName=name, tags=tags, **{renamed[key]: value for key, value in settings.items()}
    )
    retention = properties.get("RetentionInDays")
    if retention is not None:
        client.put_retention_policy(logGroupName=name, retentionInDays=int(retention))
    arn = f"arn:aws:logs:{request.stack_context.region}:{request.stack_context.account}:log-group:{name}:*"
    return CreatedResource(name, {"Arn": arn})


@creates("AWS::Logs::MetricFilter")
def metric_filter(request: ResourceRequest) -> CreatedResource:
    properties = request.properties
    name = request.name("FilterName", longest=512)
    transformations = [
        {key[:1].lower() + key[1:]: value for key, value in item.items()}
        for item in properties.need("MetricTransformations")
    ]
    request.client("logs").put_metric_filter(
        logGroupName=properties.need("LogGroupName"),
        filterName=name,
        filterPattern=properties.get("FilterPattern", ""),
        metricTransformations=transformations,
    )
    return CreatedResource(name)


@creates("AWS::CloudWatch::Alarm")
def alarm(request: ResourceRequest) -> CreatedResource:
    properties, client = request.properties, request.client("cloudwatch")
    name = request.name("AlarmName", longest=255)
    settings = properties.pick(
        "AlarmDescription", "ActionsEnabled", "OKActions", "AlarmActions", "InsufficientDataActions",
        "MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Dimensions", "Period", "Unit",
        "EvaluationPeriods", "DatapointsToAlarm", "Threshold", "ComparisonOperator", "TreatMissingData",
        "Metrics", "ThresholdMetricId", "EvaluateLowSampleCountPercentile",
    )  # fmt: skip
    client.put_metric_alarm(AlarmName=name, Tags=request.tags(), **settings)
    arn = f"arn:aws:cloudwatch:{request.stack_context.region}:{request.stack_context.account}:alarm:{name}"
    return CreatedResource(name, {"Arn": arn})


@creates("AWS::CloudWatch::Dashboard")
def dashboard(request: ResourceRequest) -> CreatedResource:
    name = request.name("DashboardName", longest=255)
    body = request.properties.need("DashboardBody")
    json.loads(body)
    request.client("cloudwatch").put_dashboard(DashboardName=name, DashboardBody=body)
    return CreatedResource(name)


@creates("AWS::Logs::QueryDefinition")
def query_definition(request: ResourceRequest) -> CreatedResource:
    """Check a saved query. It is not created, because moto has none and nothing runs it."""
    properties = request.properties
    query, groups = str(properties.need("QueryString")), properties.get("LogGroupNames", [])
    properties.need("Name")
    if not query.strip():
        raise DeploymentError("QueryString is empty")
    found = request.client("logs").describe_log_groups()["logGroups"]
    unknown = sorted(set(groups) - {group["logGroupName"] for group in found})
    if unknown:
        raise DeploymentError(f"there is no log group {unknown[0]}")
    return CreatedResource(request.logical_id, {"QueryDefinitionId": request.logical_id})
