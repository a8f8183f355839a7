"""Verifies SigV4 signatures for `execute-api` with botocore, and returns the signer's access key."""

import datetime
import hashlib
import hmac
import re
from collections.abc import Callable

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.aws.http_server import HttpRequest

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=(?P<key>[^/]+)/(?P<date>\d{8})/(?P<region>[^/]+)/execute-api/aws4_request,"
    r"\s*SignedHeaders=(?P<headers>[^,]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)
_SKEW_SECONDS = 300.0


def signer(
    request: HttpRequest, region: str, secret_of: Callable[[str], str | None], now: float
) -> str | None:
    """Return the access key of a valid signature, or None. `now` is epoch seconds."""
    match = _AUTHORIZATION.fullmatch((request.header("Authorization") or "").strip())
    stamp = request.header("X-Amz-Date") or ""
    if match is None or match["region"] != region or not _is_recent(stamp, now) or stamp[:8] != match["date"]:
        return None
    names = match["headers"].split(";")
    declared = request.header("X-Amz-Content-SHA256")
    actual = hashlib.sha256(request.body).hexdigest()
    secret = secret_of(match["key"])
    if secret is None or "host" not in names or declared not in (None, actual, "UNSIGNED-PAYLOAD"):
        return None
    expected = _signature(request, region, names, stamp, match["key"], secret)
    return match["key"] if hmac.compare_digest(expected, match["signature"]) else None


def _signature(request: HttpRequest, region: str, names: list[str], stamp: str, key: str, secret: str) -> str:
    url = f"http://{request.header('Host')}{request.target}"
    signed = AWSRequest(method=request.method, url=url, data=request.body)
    for name in names:
        values = [value.strip() for header, value in request.headers if header.lower() == name]
        signed.headers[name] = ",".join(values)
    signed.context["timestamp"] = stamp
    auth = SigV4Auth(Credentials(key, secret), "execute-api", region)
    text = auth.string_to_sign(signed, auth.canonical_request(signed))
    return str(auth.signature(text, signed))


def _is_recent(stamp: str, now: float) -> bool:
    try:
        moment = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
    except ValueError:
        return False
    return abs(moment.timestamp() - now) <= _SKEW_SECONDS
