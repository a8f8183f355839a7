"""AWS error responses in the format of each protocol."""

import json
import uuid
from xml.sax.saxutils import escape

from local.aws.gateway.calls import AwsCall
from local.aws.http_server import HttpResponse


def error_response(
    call: AwsCall, code: str, message: str, *, status: int = 400, **fields: object
) -> HttpResponse:
    """Return an error response for boto3; `fields`: further members of a JSON error."""
    request_id = str(uuid.uuid4())
    if call.protocol == "query":
        body = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{escape(code)}</Code>"
            f"<Message>{escape(message)}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        return HttpResponse(status, body.encode(), [("Content-Type", "text/xml")])
    document = {"__type": code, "message": message, "Message": message, **fields}
    headers = [
        ("Content-Type", "application/x-amz-json-1.0" if call.protocol == "json" else "application/json"),
        ("x-amzn-ErrorType", code),
        ("x-amzn-RequestId", request_id),
    ]
    return HttpResponse(status, json.dumps(document).encode(), headers)


def access_denied(call: AwsCall, message: str) -> HttpResponse:
    """Return the response to a caller without the permission."""
    code = "AccessDenied" if call.protocol == "query" else "AccessDeniedException"
    return error_response(call, code, message, status=403 if call.protocol != "json" else 400)
