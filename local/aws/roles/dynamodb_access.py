"""Access requests of DynamoDB calls: one per item of a transaction; a query of an index is for the index."""

import re
from collections.abc import Callable
from typing import Any

from local.aws.gateway.calls import AwsCall
from local.aws.roles.evaluation import AccessRequest

TableArn = Callable[[str], str]

_TRANSACTION_ACTIONS = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
}
_PARTIQL = {"ExecuteStatement", "BatchExecuteStatement", "ExecuteTransaction"}


def dynamodb_access(call: AwsCall, table_arn: TableArn) -> list[AccessRequest]:
    """Return actions and table or index ARNs, with the leading key as context if the call has the item's key.

    PartiQL is not supported: it has no access request and is denied.
    """
    parameters = call.parameters
    if call.operation in _PARTIQL:
        return []
    if call.operation == "TransactWriteItems":
        return [
            _ask(_TRANSACTION_ACTIONS[kind], request, table_arn)
            for item in parameters.get("TransactItems", [])
            for kind, request in item.items()
        ]
    if call.operation == "TransactGetItems":
        return [_ask("GetItem", item["Get"], table_arn) for item in parameters.get("TransactItems", [])]
    if call.operation in ("BatchGetItem", "BatchWriteItem"):
        tables = parameters.get("RequestItems", {})
        return [AccessRequest(f"dynamodb:{call.operation}", table_arn(name)) for name in tables]
    if not parameters.get("TableName"):
        return []
    return [_ask(call.operation, parameters, table_arn)]


def _ask(action: str, request: dict[str, Any], table_arn: TableArn) -> AccessRequest:
    resource = table_arn(str(request["TableName"]))
    if request.get("IndexName"):
        resource += f"/index/{request['IndexName']}"
    keys = _leading_keys(request)
    return AccessRequest(f"dynamodb:{action}", resource, {"dynamodb:LeadingKeys": keys} if keys else {})


def _leading_keys(request: dict[str, Any]) -> list[str]:
    """Return the partition key: the first attribute of the key, or the first equality of a key condition."""
    item = request.get("Key") or request.get("Item")
    if item:
        first = next(iter(item.values()))
        return [str(next(iter(first.values())))]
    match = re.search(r"=\s*(:\w+)", str(request.get("KeyConditionExpression", "")))
    values = request.get("ExpressionAttributeValues", {})
    if match is None or match.group(1) not in values:
        return []
    return [str(next(iter(values[match.group(1)].values())))]
