"""Searches for secrets in everything that was written: logs, histories, records, notifications, responses."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence

from local.celonis import world
from local.faults.environment import FaultEnvironment

Texts = Mapping[str, Sequence[str]]


def written(environment: FaultEnvironment) -> Texts:
    """Return everything that the stack wrote, by place."""
    stack = environment.stack
    executions = stack.executions
    events = [json.dumps(event, default=str) for one in executions for event in one.history.events()]
    ends = [str(part) for one in executions for part in (one.input_text, one.output, one.error, one.cause)]
    return {
        "log lines": [line.text for line in stack.logs()],
        "history events": events,
        "inputs, outputs, errors": ends,
        "table items": [json.dumps(item) for item in _items(environment)],
        "notices": environment.notices(),
        "answers": environment.answers,
    }


def _items(environment: FaultEnvironment) -> Iterator[object]:
    client, table = environment.stack.client("dynamodb"), environment.stack.outputs["TableName"]
    for page in client.get_paginator("scan").paginate(TableName=table):
        yield from page["Items"]


def secrets_of(environment: FaultEnvironment) -> list[str]:
    """Return every secret that was in use, also encoded as in an Authorization header."""
    created = [secret for team in environment.teams for secret in team.secrets]
    pairs = [f"{world.CLIENT_ID}:{secret}" for secret in created if secret.startswith("client_secret-")]
    return [
        *created,
        *(base64.b64encode(pair.encode()).decode() for pair in pairs),
        environment.webhook_secret,
        environment.channel_token,
        environment.signing_secret.removeprefix("whsec_"),
    ]


def leaked_places(texts: Texts, secrets: Sequence[str]) -> list[str]:
    """Return the places that contain a secret, without the secret itself."""
    reported = []
    for place, lines in texts.items():
        whole = "\n".join(lines)
        hits = [secret for secret in secrets if secret in whole]
        reported += [f"a secret ({secret.partition('-')[0]}) stands in the {place}" for secret in hits]
    return reported


def unseen(texts: Texts) -> list[str]:
    """Return the places that lack their expected word: the search cannot work there."""
    words = {"log lines": "requestId", "history events": "run_id", "table items": "run_id"}
    return [place for place, word in words.items() if not any(word in line for line in texts[place])]
