"""What each kind of channel receives. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from celonis_refresh.notifications.messages import Notification
from celonis_refresh.webhooks.senders import standard_webhooks
from celonis_refresh.webhooks.verification import encode, hmac_digest, key_of, signed_content

SIGNATURE: Final = standard_webhooks("webhook")
MAX_BODY: Final = 2500
"""Characters of the body of a notification in a chat."""
SLACK_TEXT: Final = 2900
"""Characters of one text."""
SLACK_HEADER, SLACK_FIELD = 150, 500
PAGERDUTY_SUMMARY, PAGERDUTY_KEY, PAGERDUTY_DETAIL = 1024, 255, 2000
TEAMS_COLORS: Final = {"error": "Attention", "warning": "Warning", "ok": "Good"}
CIRCLES: Final = {
    "error": "\N{LARGE RED CIRCLE}",
    "warning": "\N{LARGE YELLOW CIRCLE}",
    "ok": "\N{LARGE GREEN CIRCLE}",
}
SYMBOLS: Final = {"error": ":red_circle:", "warning": ":large_yellow_circle:", "ok": ":large_green_circle:"}


def shortened(text: str, limit: int) -> str:
    """Return the text, cut to ``limit`` characters with an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def slack(notification: Notification) -> dict[str, Any]:
    """Return the body for an incoming webhook of Slack.

    Rich text shows every text as it is: there is no markup in the texts of others.
    """
    lead = "\n\n".join(filter(None, [notification.lead, shortened(notification.body, MAX_BODY)]))
    fields: list[dict[str, Any]] = []
    for label, value in notification.fields:
        fields += [_run(f"{label}: ", bold=True), _run(f"{shortened(value, SLACK_FIELD)}\n")]
    links: list[dict[str, Any]] = []
    for name, address in notification.links:
        links += [{"type": "link", "url": address, "text": name}, _run("\n")]
    advice = [_run("What to do: ", bold=True), _run(notification.advice)] if notification.advice else []
    command = [_run(notification.command)] if notification.command else []
    sections = [
        _rich("rich_text_section", [_run(lead)]),
        _rich("rich_text_section", fields),
        *(_rich("rich_text_section", each) for each in (links, advice) if each),
        *(_rich("rich_text_preformatted", each) for each in (command,) if each),
    ]
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(shortened(notification.title, SLACK_HEADER))},
        *({"type": "rich_text", "elements": [section]} for section in sections),
        {"type": "context", "elements": [_plain(notification.message_id)]},
    ]
    return {
        "text": f"{CIRCLES[notification.severity]} {_escaped(notification.title)}",
        "mrkdwn": False,
        "blocks": blocks,
    }


def _escaped(text: str) -> str:
    """Return a text without control sequences, such as ``<!channel>``."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _rich(kind: str, elements: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": kind, "elements": elements}


def _run(text: str, *, bold: bool = False) -> dict[str, Any]:
    return {
        "type": "text",
        "text": shortened(text, SLACK_TEXT),
        **({"style": {"bold": True}} if bold else {}),
    }


def teams(notification: Notification) -> dict[str, Any]:
    """Return the body for a workflow "When a Teams webhook request is received": an adaptive card."""
    body: list[dict[str, Any]] = [
        _text_block(
            notification.title,
            size="Large",
            weight="Bolder",
            color=TEAMS_COLORS[notification.severity],
        ),
        _text_block(notification.lead),
    ]
    if notification.body:
        body.append(_text_block(shortened(notification.body, MAX_BODY)))
    facts = [
        {"title": label, "value": _teams(shortened(value, MAX_BODY))} for label, value in notification.fields
    ]
    body.append({"type": "FactSet", "facts": facts})
    if notification.advice:
        body.append(_text_block(f"What to do: {notification.advice}", weight="Bolder"))
    if notification.command:
        body += [_code(line) for line in notification.command.splitlines()]
    body.append(_text_block(notification.message_id, isSubtle=True, size="Small"))
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": body,
        "actions": [
            {"type": "Action.OpenUrl", "title": name, "url": address} for name, address in notification.links
        ],
    }
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return {"type": "message", "attachments": [attachment]}


def _text_block(text: str, **style: Any) -> dict[str, Any]:
    return {"type": "TextBlock", "text": _teams(text), "wrap": True, **style}


def _code(line: str) -> dict[str, Any]:
    """Return a line to be copied: unlike a TextBlock, a TextRun has no Markdown and needs no escapes."""
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": line, "fontType": "Monospace"}]}


def _teams(text: str) -> str:
    """Return a text that the Markdown of adaptive cards shows as it is."""
    return re.sub(r"([\\*_\[\]])", r"\\\1", text)


def pagerduty(notification: Notification, routing_key: str) -> dict[str, Any]:
    """Return an event of the Events API v2. All events of an incident have the same ``dedup_key``."""
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": "trigger" if notification.opens else "resolve",
        "dedup_key": notification.key[:PAGERDUTY_KEY],
    }
    if not notification.opens:
        return event
    place, run_id = notification.place, str(notification.facts.get("run_id") or "")
    details = ({"Run": run_id} if run_id else {}) | dict(notification.fields)
    details |= {"Notification": notification.message_id}
    others = {
        "What happened": notification.body,
        "What to do": notification.advice,
        "Command": notification.command,
    }
    details |= {name: text for name, text in others.items() if text}
    return event | {
        "client": "Celonis Refresh",
        "payload": {
            "summary": shortened(
                f"{notification.title}. {notification.body or notification.lead}", PAGERDUTY_SUMMARY
            ),
            "source": f"{place.stack} in {place.account}, {place.region}",
            "severity": notification.severity,
            "timestamp": notification.created_at,
            "custom_details": {name: shortened(text, PAGERDUTY_DETAIL) for name, text in details.items()},
        },
        "links": [{"href": address, "text": name} for name, address in notification.links],
    }


def webhook(notification: Notification) -> dict[str, Any]:
    """Return the body of a Standard Webhook. ``type``: ``notification.failed``, for example.

    events/schemas/notification.json describes it.
    """
    place = notification.place
    return {
        "type": f"notification.{_word(notification)}",
        "timestamp": notification.created_at,
        "data": {
            **notification.facts,
            "stack": place.stack,
            "account": place.account,
            "region": place.region,
            "severity": notification.severity,
            "late": notification.is_late,
            "title": notification.title,
            "text": notification.text,
            "advice": notification.advice,
            "command": notification.command,
            "links": dict(notification.links),
        },
    }


def _word(notification: Notification) -> str:
    return re.sub(r"\W+", "_", str(notification.facts.get("what", "unknown")))


def signed_headers(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers of Standard Webhooks that sign a body. ``timestamp``: epoch seconds."""
    signed = signed_content(SIGNATURE, body, message_id, str(timestamp))
    signature = hmac_digest(SIGNATURE, key_of(SIGNATURE, secret), signed)
    return {
        SIGNATURE.id_header: message_id,
        SIGNATURE.timestamp_header: str(timestamp),
        SIGNATURE.header: f"{SIGNATURE.version},{encode(SIGNATURE, signature)}",
    }


def amazon_q(notification: Notification) -> dict[str, Any]:
    """Return a custom notification of Amazon Q Developer in chat applications."""
    facts = notification.facts
    fields = "\n".join(f"*{label}:* {value}" for label, value in notification.fields)
    links = "\n".join(f"<{address}|{name}>" for name, address in notification.links)
    body = shortened(notification.body, MAX_BODY)
    keywords = [str(facts[name]) for name in ("pipeline", "status", "error") if facts.get(name)]
    arn = facts.get("execution_arn")
    return {
        "version": "1.0",
        "source": "custom",
        "id": notification.message_id,
        "content": {
            "textType": "client-markdown",
            "title": f"{SYMBOLS[notification.severity]} {notification.title}",
            "description": "\n\n".join(filter(None, [notification.lead, body, fields, links])),
            "nextSteps": [text for text in (notification.advice, notification.command) if text],
            "keywords": keywords,
        },
        "metadata": {
            "threadId": notification.key,
            "summary": notification.title,
            "eventType": _word(notification),
            "relatedResources": [arn] if arn else [],
        },
    }


def to_body(document: Mapping[str, Any]) -> bytes:
    """Return a payload as it is sent: the same bytes for the same payload."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
