"""CloudFormation's answer to DescribeStacks: the outputs of the stack that is deployed here."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape

from local.aws.gateway.calls import AwsCall
from local.aws.gateway.errors import error_response
from local.aws.gateway.gateway import Next
from local.aws.http_server import HttpRequest, HttpResponse

_NAMESPACE = "http://cloudformation.amazonaws.com/doc/2010-05-15/"


@dataclass(frozen=True)
class StackDescription:
    """What DescribeStacks shows. `created` is a date in ISO 8601."""

    name: str
    stack_id: str
    created: str
    outputs: Mapping[str, str]


class CloudFormation:
    """A layer of the gateway. `stack` gives the one stack that there is."""

    def __init__(self, stack: Callable[[], StackDescription]) -> None:
        self._stack = stack

    def __call__(self, call: AwsCall, _request: HttpRequest, proceed: Next) -> HttpResponse:
        if call.service != "cloudformation":
            return proceed()
        if call.operation != "DescribeStacks":
            message = f"{call.operation} is not available on the local stack; DescribeStacks is."
            return error_response(call, "ValidationError", message)
        stack = self._stack()
        wanted = call.parameters.get("StackName")
        if wanted not in (None, stack.name, stack.stack_id):
            return error_response(call, "ValidationError", f"Stack with id {wanted} does not exist")
        return HttpResponse(200, _described(stack).encode(), [("Content-Type", "text/xml")])


def _described(stack: StackDescription) -> str:
    outputs = "".join(_output(key, value) for key, value in stack.outputs.items())
    member = (
        f"{_element('StackId', stack.stack_id)}{_element('StackName', stack.name)}"
        f"{_element('CreationTime', stack.created)}{_element('StackStatus', 'CREATE_COMPLETE')}"
        f"<Outputs>{outputs}</Outputs>"
    )
    metadata = _element("RequestId", str(uuid.uuid4()))
    return (
        f'<DescribeStacksResponse xmlns="{_NAMESPACE}">'
        f"<DescribeStacksResult><Stacks><member>{member}</member></Stacks></DescribeStacksResult>"
        f"<ResponseMetadata>{metadata}</ResponseMetadata></DescribeStacksResponse>"
    )


def _output(key: str, value: str) -> str:
    return f"<member>{_element('OutputKey', key)}{_element('OutputValue', value)}</member>"


def _element(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>"
