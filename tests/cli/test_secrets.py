"""``secret``: asked for without echo, validated, written, rotated, and never printed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.fake_stack import NAME, FakeStack, fake_stack

VALUE, OLD, OLDER = "value-that-nobody-may-see", "old-value-to-hide", "older-value-to-hide"
CONNECTION = {
    "base_url": "https://acme.eu-1.celonis.cloud",
    "auth": {"type": "oauth_client", "client_id": "id", "client_secret": VALUE},
}


@pytest.fixture
def stack() -> Iterator[FakeStack]:
    with fake_stack() as made:
        yield made


def stored(stack: FakeStack, name: str) -> Any:
    answer = stack.client("secretsmanager").get_secret_value(SecretId=f"{NAME}/{name}")
    return json.loads(answer["SecretString"])


def store(stack: FakeStack, name: str, document: Any) -> None:
    text = document if isinstance(document, str) else json.dumps(document)
    stack.client("secretsmanager").create_secret(Name=f"{NAME}/{name}", SecretString=text)


def succeeded(ended: Any) -> str:
    """What was printed, which has no value of a secret."""
    assert ended.exit_code == 0, ended.output
    return without_values(ended)


def without_values(ended: Any) -> str:
    text = f"{ended.stdout}{ended.stderr}"
    assert not [value for value in (VALUE, OLD, OLDER) if value in text]
    return text


@pytest.mark.parametrize("words", [["webhook", "github"], ["connection"], ["channel", "ops"]])
def test_without_a_terminal_the_file_is_named(stack: FakeStack, words: list[str]) -> None:
    ended = stack.run("secret", *words, stdin="")
    assert (ended.exit_code, ended.stdout, stack.calls) == (2, "", [])
    assert ended.stderr.count("\n") == 1
    assert "there is no terminal to ask for the secret. Add --from-file FILE" in ended.stderr


@pytest.mark.usefixtures("terminal")
def test_a_connection_is_asked_for_without_echo(stack: FakeStack) -> None:
    text = succeeded(stack.run("secret", "connection", stdin=f"{CONNECTION['base_url']}\n\nid\n{VALUE}\n"))
    assert stored(stack, "connections/default") == CONNECTION
    assert f"created {NAME}/connections/default" in text
    assert stack.written == ["CreateSecret"]


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_a_connection_from_a_file(stack: FakeStack, tmp_path: Path, suffix: str) -> None:
    store(stack, "connections/team-b", {"base_url": "https://REPLACE-ME.celonis.cloud"})
    path = tmp_path / f"c{suffix}"
    path.write_text(json.dumps(CONNECTION))
    assert "updated" in succeeded(stack.run("secret", "connection", "team-b", "--from-file", str(path)))
    assert stored(stack, "connections/team-b") == CONNECTION
    assert "unchanged" in succeeded(stack.run("secret", "connection", "team-b", "--from-file", str(path)))
    assert stack.calls == []


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({**CONNECTION, "base_url": f"https://{VALUE}"}, "base_url: is not usable; expected https://{team}"),
        ({**CONNECTION, "auth": {"type": "app_key", "key": f"{VALUE} x"}}, "auth.key: is not usable"),
        ({**CONNECTION, "auth": {"type": "app_key", "key": "REPLACE-ME"}}, "was never filled in"),
        ([VALUE], "Expected a JSON object."),
    ],
)
def test_a_connection_that_cannot_work_is_not_written(stack: FakeStack, document: Any, says: str) -> None:
    ended = stack.run("secret", "connection", "--from-file", "-", stdin=json.dumps(document))
    assert (ended.exit_code, stack.calls) == (2, [])
    assert says in without_values(ended)


def test_a_secret_that_is_neither_json_nor_yaml_is_not_repeated(stack: FakeStack) -> None:
    ended = stack.run("secret", "channel", "ops", "--from-file", "-", stdin=f"type: [{VALUE}")
    assert (ended.exit_code, stack.calls) == (2, [])
    assert "The secret is not JSON or YAML: line 1 of stdin." in without_values(ended)


@pytest.mark.parametrize(
    ("typed", "document"),
    [
        (
            f"slack\nhttps://hooks.slack.com/{VALUE}\n",
            {"type": "slack", "url": f"https://hooks.slack.com/{VALUE}"},
        ),
        ("pagerduty\nabc123\n", {"type": "pagerduty", "routing_key": "abc123"}),
        (
            "webhook\nhttps://example.com/x\nwhsec_c2VjcmV0c2VjcmV0c2VjcmV0\n",
            {"type": "webhook", "url": "https://example.com/x", "secret": "whsec_c2VjcmV0c2VjcmV0c2VjcmV0"},
        ),
    ],
)
@pytest.mark.usefixtures("terminal")
def test_channels(stack: FakeStack, typed: str, document: Any) -> None:
    succeeded(stack.run("secret", "channel", "ops", stdin=typed))
    assert stored(stack, "channels/ops") == document


@pytest.mark.parametrize("secret", ["abc", "", " ", "whsec_", "whsec_%", "whpk_c2VjcmV0"])
def test_the_secret_of_a_channel_is_one_of_standard_webhooks(stack: FakeStack, secret: str) -> None:
    document = {"type": "webhook", "url": "https://example.com/x", "secret": secret}
    ended = stack.run("secret", "channel", "ops", "--from-file", "-", stdin=json.dumps(document))
    assert (ended.exit_code, stack.calls) == (2, [])
    assert "channels/ops (secret: expected whsec_ and then base64)" in ended.stderr
    assert "sender" not in ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["connection", "Prod"],
        ["channel", "https://hooks.example.com"],
        ["channel", "topic"],
        ["webhook", "ghp_0123456789012345678901234567890123456789"],
    ],
)
def test_a_name_that_no_configuration_can_use(stack: FakeStack, arguments: list[str]) -> None:
    ended = stack.run("secret", *arguments, stdin="x\n")
    assert (ended.exit_code, stack.calls) == (2, [])
    assert "ghp_" not in ended.output


# ------------------------------------------------------------------------------------------------ webhooks


@pytest.mark.usefixtures("terminal")
def test_a_new_webhook_secret(stack: FakeStack) -> None:
    text = succeeded(stack.run("secret", "webhook", "github", stdin=f"{VALUE}\n"))
    assert stored(stack, "webhooks/github") == {"current": VALUE}
    assert "It is used by source github." in text


def test_a_rotation_keeps_the_old_value_until_it_is_dropped(stack: FakeStack) -> None:
    store(stack, "webhooks/github", {"current": OLD})
    text = succeeded(stack.run("secret", "webhook", "github", "--from-file", "-", stdin=f"{VALUE}\n"))
    assert stored(stack, "webhooks/github") == {"current": VALUE, "previous": OLD}
    assert "--drop-previous" in text
    succeeded(stack.run("secret", "webhook", "github", "--drop-previous"))
    assert stored(stack, "webhooks/github") == {"current": VALUE}
    assert "unchanged" in succeeded(stack.run("secret", "webhook", "github", "--drop-previous"))


def test_the_same_value_is_not_a_rotation(stack: FakeStack) -> None:
    store(stack, "webhooks/github", {"current": VALUE, "previous": OLD})
    assert "unchanged" in succeeded(
        stack.run("secret", "webhook", "github", "--from-file", "-", stdin=f"{VALUE}\n")
    )
    assert stack.calls == []


def test_a_second_rotation_needs_a_confirmation(stack: FakeStack) -> None:
    store(stack, "webhooks/github", {"current": OLD, "previous": OLDER})
    ended = stack.run("secret", "webhook", "github", "--from-file", "-", stdin=f"{VALUE}\n")
    assert (ended.exit_code, stack.calls) == (2, [])
    assert "A rotation has not ended" in without_values(ended)
    succeeded(stack.run("secret", "webhook", "github", "--yes", "--from-file", "-", stdin=f"{VALUE}\n"))
    assert stored(stack, "webhooks/github") == {"current": VALUE, "previous": OLD}


def test_a_webhook_secret_without_a_usable_value_is_replaced(stack: FakeStack) -> None:
    store(stack, "webhooks/github", "not json")
    succeeded(stack.run("secret", "webhook", "github", "--from-file", "-", stdin=f"{VALUE}\n"))
    assert stored(stack, "webhooks/github") == {"current": VALUE}


@pytest.mark.parametrize(
    ("arguments", "value", "says"),
    [
        (["sap"], VALUE, "source sap. Expected user:password."),
        (["none", "--sender", "standard_webhooks"], "whsec_%", "Expected whsec_ and then base64"),
        (["none", "--sender", "nobody"], VALUE, "There is no such sender: nobody."),
        (["none"], "   ", "it is empty"),
    ],
)
def test_a_webhook_secret_that_no_request_could_match(
    stack: FakeStack, arguments: list[str], value: str, says: str
) -> None:
    source = {"sender": "sap", "secret": "sap", "rules": [{"pipeline": "order-to-cash"}]}
    stack.client("ssm").put_parameter(Name=f"/{NAME}/sources/sap", Value=json.dumps(source), Type="String")
    ended = stack.run("secret", "webhook", *arguments, "--from-file", "-", stdin=value)
    assert (ended.exit_code, stack.calls) == (2, [])
    assert says in without_values(ended)


def test_a_rotation_does_not_overwrite_one_at_the_same_time(stack: FakeStack) -> None:
    store(stack, "webhooks/github", {"current": OLDER})
    client = stack.client("secretsmanager")

    def rotate(**_: Any) -> None:
        client.meta.events.unregister("before-call.secretsmanager.DescribeSecret", rotate)
        client.put_secret_value(SecretId=f"{NAME}/webhooks/github", SecretString=json.dumps({"current": OLD}))

    client.meta.events.register("before-call.secretsmanager.DescribeSecret", rotate)
    ended = stack.run("secret", "webhook", "github", "--from-file", "-", stdin=f"{VALUE}\n")
    assert ended.exit_code == 2
    assert "it changed in the meantime" in without_values(ended)
    assert stored(stack, "webhooks/github") == {"current": OLD}


def test_json_has_no_value(stack: FakeStack) -> None:
    ended = stack.run("secret", "webhook", "github", "--json", "--from-file", "-", stdin=VALUE)
    assert json.loads(ended.stdout)["result"] == "created"
    without_values(ended)
