"""Sends requests of botocore, each with time-outs of its own: botocore fixes them when it makes a client.

Connections are kept; proxies and certificates are those that botocore would take.
"""

from __future__ import annotations

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
)
from botocore.httpsession import ProxyConfiguration, get_cert_path
from botocore.utils import get_environ_proxies
from urllib3 import PoolManager, ProxyManager, Timeout, exceptions

from celonis_refresh.wire import bounded

KEPT = 10
"""Hosts whose connections are kept, one each: a process asks one thing after the other."""
TOLD_AS = (
    (exceptions.NewConnectionError, EndpointConnectionError),
    (exceptions.ConnectTimeoutError, ConnectTimeoutError),
    (exceptions.ReadTimeoutError, ReadTimeoutError),
    (exceptions.ProtocolError, ConnectionClosedError),
    (exceptions.HTTPError, HTTPClientError),
)
"""How botocore tells what urllib3 raises. All of it may pass; the first that fits counts."""


class Connections:
    """``ca_bundle``: the file of the certificates that are trusted; None: certifi's, or botocore's own."""

    def __init__(self, ca_bundle: str | None = None) -> None:
        self._ca_bundle = ca_bundle
        self._managers: dict[tuple[str, str | None], PoolManager] = {}

    def send(self, request: AWSPreparedRequest, timeout: Timeout) -> AWSResponse:
        """The answer, read whole. Raises the errors of botocore that say why there is none."""
        try:
            answer = self._manager(request.url).urlopen(
                request.method,
                request.url,
                body=request.body,
                headers=request.headers,
                timeout=timeout,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            told = AWSResponse(request.url, answer.status, answer.headers, answer)
            _ = told.content  # read here, where its time-out is known and the connection becomes free
        except exceptions.HTTPError as error:
            raise _told(error, request) from error
        return told

    def _manager(self, url: str) -> PoolManager:
        """The pools of an address's kind: made when it is first asked for, certificates only where needed."""
        scheme = url.partition(":")[0]
        proxies = ProxyConfiguration(get_environ_proxies(url))
        proxy: str | None = proxies.proxy_url_for(url)
        if (scheme, proxy) not in self._managers:
            trust = get_cert_path(self._ca_bundle or True) if scheme == "https" else None
            self._managers[scheme, proxy] = bounded(
                ProxyManager(proxy, KEPT, None, proxies.proxy_headers_for(proxy), ca_certs=trust)
                if proxy
                else PoolManager(KEPT, ca_certs=trust)
            )
        return self._managers[scheme, proxy]


def _told(error: Exception, request: AWSPreparedRequest) -> Exception:
    told = next(ours for theirs, ours in TOLD_AS if isinstance(error, theirs))
    found: Exception = told(endpoint_url=request.url, error=error, request=request)
    return found
