"""Access log lines: the stage's format with its `$context` variables, `-` for unknown ones."""

import re
import time

from local.aws.http_server import HttpRequest, HttpResponse

_VARIABLE = re.compile(r"\$context\.([A-Za-z.]+[A-Za-z])")


def access_line(
    layout: str, request: HttpRequest, response: HttpResponse, route_key: str, request_id: str
) -> str:
    """Return the line of one request."""
    values = {
        "requestId": request_id,
        "extendedRequestId": request_id,
        "routeKey": route_key,
        "httpMethod": request.method,
        "path": request.path,
        "protocol": "HTTP/1.1",
        "stage": "$default",
        "status": str(response.status),
        "responseLength": str(len(response.body)),
        "requestTime": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime()),
        "requestTimeEpoch": str(int(time.time() * 1000)),
        "identity.sourceIp": request.source_ip,
        "identity.userAgent": request.header("User-Agent") or "-",
    }
    return _VARIABLE.sub(lambda match: values.get(match.group(1), "-"), layout)
