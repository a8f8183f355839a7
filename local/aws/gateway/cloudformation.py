"""CloudFormation's answers to DescribeStacks and ListStackResources for the stack that is deployed here."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from xml.sax.saxutils import escape

from local.aws.gateway.calls import AwsCall
from local.aws.gateway.errors import error_response
from local.aws.gateway.gateway import Next
from local.aws.http_server import HttpRequest, HttpResponse

_NAMESPACE = "http://cloudformation.amazonaws.com/doc/2010-05-15/"


@dataclass(frozen=True)
class StackDescription:
    """What DescribeStacks shows. `created` is a date in ISO 8601; `resources`: all of the stack."""

    name: str
    stack_id: str
    created: str
    outputs: Mapping[str, str]
    resources: Sequence["StackResource"] = ()


class StackResource(NamedTuple):
    """A resource of a stack, as ListStackResources shows it."""

    logical_id: str
    physical_id: str
    kind: str


class CloudFormation:
    """A layer of the gateway. `stack` returns the only stack."""

    def __init__(self, stack: Callable[[], StackDescription]) -> None:
        self._stack = stack

    def __call__(self, call: AwsCall, _request: HttpRequest, proceed: Next) -> HttpResponse:
        if call.service != "cloudformation":
            return proceed()
        show = _OPERATIONS.get(call.operation)
        if show is None:
            message = f"{call.operation} is not available on the local stack; {', '.join(_OPERATIONS)} are."
            return error_response(call, "ValidationError", message)
        stack = self._stack()
        stack_name = call.parameters.get("StackName")
        if stack_name not in (None, stack.name, stack.stack_id):
            return error_response(call, "ValidationError", f"Stack with id {stack_name} does not exist")
        return HttpResponse(200, show(stack).encode(), [("Content-Type", "text/xml")])


def _described(stack: StackDescription) -> str:
    outputs = "".join(_output(key, value) for key, value in stack.outputs.items())
    member = (
        f"{_element('StackId', stack.stack_id)}{_element('StackName', stack.name)}"
        f"{_element('CreationTime', stack.created)}{_element('StackStatus', 'CREATE_COMPLETE')}"
        f"<Outputs>{outputs}</Outputs>"
    )
    return _response("DescribeStacks", f"<Stacks><member>{member}</member></Stacks>")


def _listed(stack: StackDescription) -> str:
    members = "".join(_resource(each, stack.created) for each in stack.resources)
    return _response("ListStackResources", f"<StackResourceSummaries>{members}</StackResourceSummaries>")


def _response(operation: str, result: str) -> str:
    metadata = _element("RequestId", str(uuid.uuid4()))
    return (
        f'<{operation}Response xmlns="{_NAMESPACE}"><{operation}Result>{result}</{operation}Result>'
        f"<ResponseMetadata>{metadata}</ResponseMetadata></{operation}Response>"
    )


def _resource(resource: StackResource, created: str) -> str:
    return (
        f"<member>{_element('LogicalResourceId', resource.logical_id)}"
        f"{_element('PhysicalResourceId', resource.physical_id)}{_element('ResourceType', resource.kind)}"
        f"{_element('LastUpdatedTimestamp', created)}{_element('ResourceStatus', 'CREATE_COMPLETE')}</member>"
    )


_OPERATIONS: Mapping[str, Callable[[StackDescription], str]] = {
    "DescribeStacks": _described,
    "ListStackResources": _listed,
}


def _output(key: str, value: str) -> str:
    return f"<member>{_element('OutputKey', key)}{_element('OutputValue', value)}</member>"


def _element(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>"
