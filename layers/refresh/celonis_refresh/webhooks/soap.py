"""Salesforce outbound messages in SOAP.

A DOCTYPE is refused, so that there are no entities to expand or fetch.
"""

from __future__ import annotations

from typing import Any, Final
from xml.parsers import expat

from celonis_refresh.webhooks.errors import Malformed
from celonis_refresh.webhooks.request import MAX_DEPTH, Json, text_of

_MESSAGE: Final = "http://soap.sforce.com/2005/09/outbound"
_TYPE: Final = "http://www.w3.org/2001/XMLSchema-instance type"
_KEPT: Final = ("OrganizationId", "ActionId", "EnterpriseUrl", "PartnerUrl")
"""Common fields. ``SessionId`` is left out, because it gives access to Salesforce."""

MAX_ELEMENTS: Final = 100_000

ACK: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
    f'<notificationsResponse xmlns="{_MESSAGE}"><Ack>true</Ack></notificationsResponse>'
    "</soapenv:Body></soapenv:Envelope>"
)


class _Element:
    """An element; its name is ``namespace name``, as in expat."""

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name = name
        self.attributes = attributes
        self.children: list[_Element] = []
        self.text: list[str] = []

    @property
    def local_name(self) -> str:
        return self.name.rpartition(" ")[2]

    def find(self, name: str) -> _Element | None:
        return next((child for child in self.children if child.name == f"{_MESSAGE} {name}"), None)


def read_notifications(body: bytes) -> list[Json]:
    """Return ``{"OrganizationId", "ActionId", "Notification": {"Id", "sObject"}}`` per notification.

    ``sObject`` has the fields of the record as text, and its ``type``. Raises ``Malformed``.
    """
    message = _parse(body)
    for name in ("Body", "notifications"):
        matches = [child for child in message.children if child.local_name == name]
        if len(matches) != 1:
            raise Malformed("The body is not a Salesforce outbound message.")
        message = matches[0]
    common = {name: _text(message, name) for name in _KEPT if message.find(name)}
    notifications = [child for child in message.children if child.name == f"{_MESSAGE} Notification"]
    return [{**common, "Notification": _notification(element)} for element in notifications]


def _notification(element: _Element) -> Json:
    record = element.find("sObject")
    fields: dict[str, Json] = {}
    if record is not None:
        fields = {child.local_name: "".join(child.text) for child in record.children}
        kind = record.attributes.get(_TYPE)
        fields |= {"type": kind.rpartition(":")[2]} if kind else {}
    return {"Id": _text(element, "Id"), "sObject": fields}


def _text(element: _Element, name: str) -> str:
    child = element.find(name)
    return "".join(child.text).strip() if child is not None else ""


def _parse(body: bytes) -> _Element:
    """Return the root element, decoded as UTF-8 whatever its declaration says. Raises ``Malformed``."""
    text = text_of(body)
    document = _Element("", {})
    path = [document]
    remaining = iter(range(MAX_ELEMENTS))
    parser = expat.ParserCreate("utf-8", namespace_separator=" ")

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(path) > MAX_DEPTH or next(remaining, None) is None:
            raise Malformed(f"The XML has more than {MAX_DEPTH} levels or {MAX_ELEMENTS} elements.")
        element = _Element(name, attributes)
        path[-1].children.append(element)
        path.append(element)

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: path.pop()
    parser.CharacterDataHandler = lambda text: path[-1].text.append(text)
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, ValueError):
        raise Malformed("The body is not XML.") from None
    return document.children[0]


def _refuse_doctype(*_: Any) -> None:
    raise Malformed("The XML has a DOCTYPE, which is refused.")
