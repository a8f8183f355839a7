"""The bare handler of the comparison: it only makes the calls in its event with boto3 and requests.

``requests`` is in its package, with byte code as in our layer. Clients are created once per service, and the
connection to Celonis is kept.
"""

from typing import Any

import boto3
import requests

clients: dict[str, Any] = {}
session = requests.Session()


def handler(event: dict[str, Any], _: object) -> dict[str, Any]:
    """``event``: calls of AWS (service, operation, parameters), of Celonis (method, url, body, headers)."""
    for call in event["calls"]:
        if "service" in call:
            if call["service"] not in clients:
                clients[call["service"]] = boto3.client(call["service"])
            getattr(clients[call["service"]], call["operation"])(**call["parameters"])
        else:
            session.request(
                call["method"], call["url"], data=call["body"], headers=call["headers"], timeout=5
            ).raise_for_status()
    return {"statusCode": 202}
