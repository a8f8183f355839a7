"""Callback addresses in events: which ones a source allows.

The result of a run is posted to the address that an event has. The address usually contains a token, so it is
a secret: it is never part of an error or a ``repr``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from celonis_refresh.webhooks.senders import CallbackFormat

MAX_ADDRESS: Final = 2048
# All parsers agree on these forms: the host right after the scheme, then visible ASCII without \ and #.
_HOST: Final = r"(?:[a-z0-9-]+\.)+[a-z0-9-]+"
_PATH: Final = r"[/?][\x21\x22\x24-\x5b\x5d-\x7e]*"
_LABEL: Final = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SHOWN_HOST: Final = rf"(?=.{{1,253}}$)(?:{_LABEL}\.)+{_LABEL}"
"""A host that a server can have; longer parts may be a token in the wrong place."""
_ON_THIS_MACHINE: Final = rf"http://127\.0\.0\.1:[0-9]{{1,5}}(?:{_PATH})?"


class CallbackAddress(Struct, frozen=True):
    """An allowed address, and what is posted there."""

    url: str
    format: CallbackFormat

    def __repr__(self) -> str:
        return f"CallbackAddress(format={self.format!r})"  # the address is a secret


def address_problem(value: object, hosts: Iterable[str], *, allow_http: bool = False) -> str:
    """Return why a callback address is refused, with at most its host; empty if it is allowed.

    ``hosts``: names in lower case, or ``*.example.com`` for all names that end with ``.example.com``.
    ``allow_http``: ``http://127.0.0.1:{port}`` is allowed too, on the local stack.
    """
    if not isinstance(value, str) or not value:
        return "gave no text"
    if len(value) > MAX_ADDRESS:
        return f"gave an address of more than {MAX_ADDRESS} characters"
    if allow_http and re.fullmatch(_ON_THIS_MACHINE, value, re.ASCII):
        return ""
    found = re.fullmatch(f"https://({_HOST})(?::443)?(?:{_PATH})?", value, re.IGNORECASE | re.ASCII)
    if found is None:
        return (
            "gave no address of the form https://host/path: it needs a host name, and can have no user, "
            "no IP address, no port other than 443 and no fragment"
        )
    if not any(_is_covered(found[1].lower(), host) for host in hosts):
        return _not_allowed(found[1].lower())
    return ""


def _not_allowed(host: str) -> str:
    """Return the problem of a host, which it names unless it may be a secret."""
    if not re.fullmatch(_SHOWN_HOST, host):
        return "gave an address whose host is not in callback_hosts"
    return f"gave an address whose host {host} is not in callback_hosts"


def _is_covered(host: str, allowed: str) -> bool:
    if allowed.startswith("*."):
        return host.endswith(allowed[1:]) and len(host) > len(allowed) - 1
    return host == allowed
