"""Queues, topics and event rules."""

import json
from typing import Any

from local.aws.arns import Arn
from local.aws.errors import UnsupportedResourceError
from local.aws.resources.registry import CreatedResource, ResourceRequest, creates

_QUEUE_ATTRIBUTES = (
    "DelaySeconds", "MaximumMessageSize", "MessageRetentionPeriod", "ReceiveMessageWaitTimeSeconds",
    "VisibilityTimeout", "RedrivePolicy", "RedriveAllowPolicy", "FifoQueue", "ContentBasedDeduplication",
    "DeduplicationScope", "FifoThroughputLimit", "SqsManagedSseEnabled", "KmsMasterKeyId",
    "KmsDataKeyReusePeriodSeconds",
)  # fmt: skip
_SUBSCRIPTION_ATTRIBUTES = (
    "RawMessageDelivery", "FilterPolicy", "FilterPolicyScope", "RedrivePolicy", "DeliveryPolicy",
)  # fmt: skip


@creates("AWS::SQS::Queue")
def queue(request: ResourceRequest) -> CreatedResource:
    client = request.client("sqs")
    name = request.name("QueueName", longest=80)
    attributes = {key: _text(value) for key, value in request.properties.pick(*_QUEUE_ATTRIBUTES).items()}
    tags = {tag["Key"]: tag["Value"] for tag in request.tags()}
    url = client.create_queue(QueueName=name, Attributes=attributes, tags=tags)["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return CreatedResource(url, {"Arn": arn, "QueueName": name, "QueueUrl": url})


@creates("AWS::SQS::QueuePolicy")
def queue_policy(request: ResourceRequest) -> CreatedResource:
    document = json.dumps(request.properties.need("PolicyDocument"))
    for url in request.properties.need("Queues"):
        request.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": document})
    return CreatedResource(request.name("Id"))


@creates("AWS::SNS::Topic")
def topic(request: ResourceRequest) -> CreatedResource:
    properties, client = request.properties, request.client("sns")
    name = request.name("TopicName", longest=256)
    names = (
        "DisplayName",
        "KmsMasterKeyId",
        "FifoTopic",
        "ContentBasedDeduplication",
        "TracingConfig",
        "SignatureVersion",
    )
    attributes = {key: _text(value) for key, value in properties.pick(*names).items()}
    arn = client.create_topic(Name=name, Attributes=attributes, Tags=request.tags())["TopicArn"]
    for item in properties.get("Subscription", []):
        _refuse_function(request, item["Protocol"])
        client.subscribe(TopicArn=arn, Protocol=item["Protocol"], Endpoint=item["Endpoint"])
    return CreatedResource(arn, {"TopicArn": arn, "TopicName": name})


@creates("AWS::SNS::Subscription")
def subscription(request: ResourceRequest) -> CreatedResource:
    properties = request.properties
    protocol = properties.need("Protocol")
    _refuse_function(request, protocol)
    attributes = {key: _text(value) for key, value in properties.pick(*_SUBSCRIPTION_ATTRIBUTES).items()}
    answer = request.client("sns").subscribe(
        TopicArn=properties.need("TopicArn"),
        Protocol=protocol,
        Endpoint=properties.need("Endpoint"),
        Attributes=attributes,
        ReturnSubscriptionArn=True,
    )
    return CreatedResource(answer["SubscriptionArn"], {"Arn": answer["SubscriptionArn"]})


def _refuse_function(request: ResourceRequest, protocol: str) -> None:
    if protocol in ("lambda", "firehose"):
        raise UnsupportedResourceError(
            f"{request.logical_id} ({request.kind}): the protocol {protocol} is not delivered here"
        )


@creates("AWS::SNS::TopicPolicy")
def topic_policy(request: ResourceRequest) -> CreatedResource:
    document = json.dumps(request.properties.need("PolicyDocument"))
    for arn in request.properties.need("Topics"):
        request.client("sns").set_topic_attributes(
            TopicArn=arn, AttributeName="Policy", AttributeValue=document
        )
    return CreatedResource(request.name("Id"))


@creates("AWS::Events::Rule")
def rule(request: ResourceRequest) -> CreatedResource:
    properties, client = request.properties, request.client("events")
    name = request.name("Name")
    settings = properties.pick("Description", "State", "ScheduleExpression", "EventBusName", "RoleArn")
    pattern = properties.get("EventPattern")
    if pattern is not None:
        settings["EventPattern"] = json.dumps(pattern)
    arn = client.put_rule(Name=name, Tags=request.tags(), **settings)["RuleArn"]
    targets = properties.get("Targets", [])
    if targets:
        bus = {"EventBusName": settings["EventBusName"]} if "EventBusName" in settings else {}
        client.put_targets(Rule=name, Targets=targets, **bus)
    return CreatedResource(Arn.parse(arn).resource.split("/")[-1], {"Arn": arn})


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
