"""``secret``: connections, webhook secrets and channels. No value is ever printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click
from rich.text import Text

from refresh_cli.app import App, RefreshGroup, pass_app
from refresh_cli.configuration.documents import MAX_BYTES, UnreadableDocumentError, read_json, read_yaml
from refresh_cli.configuration.secrets import (
    SecretKind,
    SecretStore,
    StoredSecret,
    check_document,
    check_name,
    check_webhook_value,
    rotated,
    scheme_of_sender,
    schemes_of,
    without_previous,
)
from refresh_cli.errors import CliError
from refresh_cli.output import Result, lines, unwrapped

AUTH_TYPES: Final = ("oauth_client", "app_key", "api_key")
CHANNEL_TYPES: Final = ("slack", "teams", "pagerduty", "webhook")

from_file = click.option(
    "--from-file",
    "file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="Read the secret from a file, or with - from stdin, instead of asking.",
)
kms_key = click.option("--kms-key-id", "key", metavar="KEY", help="KMS key of a secret that is created.")


def register(cli: click.Group) -> None:
    """Add the commands of this module."""
    cli.add_command(secret)


@click.group("secret", cls=RefreshGroup)
def secret() -> None:
    """Enter the secrets of connections, webhooks and channels.

    They are asked for without echo, validated, and written to Secrets Manager.
    """


@secret.command("connection")
@click.argument("name", default="default")
@from_file
@kms_key
@pass_app
def connection(app: App, name: str, file: Path | None, key: str | None) -> Result:
    """Enter the address and credentials of the connection NAME.

    A file has the JSON or YAML of the secret, as in docs/configuration.md.
    """
    check_name(SecretKind.CONNECTION, name)
    document = _document(file) if file else _ask_connection()
    after = f"The stack uses it within 5 minutes. Then try it: {app.command('doctor')}"
    return _write_document(app, SecretKind.CONNECTION, name, document, key, after)


@secret.command("channel")
@click.argument("name")
@from_file
@kms_key
@pass_app
def channel(app: App, name: str, file: Path | None, key: str | None) -> Result:
    """Enter the address of the notification channel NAME.

    A file has the JSON or YAML of the secret, as in docs/notifications.md.
    """
    check_name(SecretKind.CHANNEL, name)
    document = _document(file) if file else _ask_channel()
    after = f'Pipelines use it with "notify": {{"channels": ["{name}"]}}.'
    return _write_document(app, SecretKind.CHANNEL, name, document, key, after)


@secret.command("webhook")
@click.argument("name")
@from_file
@kms_key
@click.option("--sender", metavar="NAME", help="Validate it for this sender, if no source uses it yet.")
@click.option("--drop-previous", is_flag=True, help="End a rotation: the old value is not accepted any more.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
@pass_app
def webhook(
    app: App,
    name: str,
    file: Path | None,
    key: str | None,
    sender: str | None,
    drop_previous: bool,
    yes: bool,
) -> Result:
    """Enter the secret of a webhook, or rotate it.

    In a rotation, the old value stays valid as previous. A file has the value itself; white space around it
    does not matter. Change the sender 5 seconds later, then end the rotation with --drop-previous.
    """
    check_name(SecretKind.WEBHOOK, name)
    store = SecretStore(app.stack)
    if drop_previous:
        return _drop_previous(store, store.read(SecretKind.WEBHOOK, name))
    schemes = [scheme_of_sender(sender)] if sender else []
    schemes += schemes_of(app.stack, name)
    stored = store.read(SecretKind.WEBHOOK, name)
    value = _text(file).strip() if file else _ask("Secret of the webhook")
    check_webhook_value(value, schemes)
    document = rotated(stored, value)
    if document is None:
        return _result(stored, "unchanged", "It has this value already.")
    if stored.document is not None and "previous" in stored.document:
        _confirm_second_rotation(app, name, stored, yes=yes)
    created = store.write(stored, document, key)
    if "previous" not in document:
        used = (
            f"It is used by {', '.join(which for which, _ in schemes)}."
            if schemes
            else "No source uses it yet."
        )
        return _result(stored, "created" if created else "updated", used)
    after = (
        "The old value is still accepted. Change the sender after 5 seconds, then end the rotation: "
        + app.command("secret", "webhook", name, "--drop-previous")
    )
    return _result(stored, "rotated", after)


def _drop_previous(store: SecretStore, stored: StoredSecret) -> Result:
    document = without_previous(stored)
    if document is None:
        return _result(stored, "unchanged", "It has no previous value.")
    store.write(stored, document)
    return _result(stored, "updated", "The previous value is refused within 60 seconds.")


def _confirm_second_rotation(app: App, name: str, stored: StoredSecret, *, yes: bool) -> None:
    """Ask before a value is dropped that a sender may still use."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CliError(
            "A rotation has not ended, so the secret was not written",
            stored.name,
            "Its previous value would be lost. Add --yes, or end the rotation first: "
            + app.command("secret", "webhook", name, "--drop-previous"),
        )
    click.confirm(
        f"A rotation of {stored.name} has not ended: its previous value will be refused. Continue?",
        abort=True,
        err=True,
    )


def _write_document(
    app: App, kind: SecretKind, name: str, document: object, key: str | None, after: str
) -> Result:
    check_document(kind, name, document)
    if not isinstance(document, Mapping):
        raise CliError("The secret is not valid", f"{kind}/{name}", "Expected a JSON object.")
    store = SecretStore(app.stack)
    stored = store.read(kind, name)
    if stored.document == document:
        return _result(stored, "unchanged", "It has this content already.")
    created = store.write(stored, document, key)
    return _result(stored, "created" if created else "updated", after)


def _result(stored: StoredSecret, what: str, after: str) -> Result:
    style = "" if what == "unchanged" else "green"
    view = lines(Text(f"{what} {stored.name}", style=style), unwrapped(after))
    return Result({"secret": stored.name, "result": what, "note": after}, view)


# ------------------------------------------------------------------------------------------------ input


def _ask(question: str) -> str:
    _need_terminal()
    return str(click.prompt(question, hide_input=True, err=True)).strip()


def _need_terminal() -> None:
    """Raise ``CliError`` if nobody can be asked."""
    if not sys.stdin.isatty():
        raise CliError(
            "Nothing was written",
            "there is no terminal to ask for the secret",
            "Add --from-file FILE, or --from-file - to read it from stdin.",
        )


def _ask_connection() -> dict[str, Any]:
    _need_terminal()
    address = click.prompt("Address of the Celonis team (https://team.realm.celonis.cloud)", err=True)
    kind = click.prompt("Credentials", type=click.Choice(AUTH_TYPES), default=AUTH_TYPES[0], err=True)
    if kind != "oauth_client":
        return {"base_url": address.strip(), "auth": {"type": kind, "key": _ask("Key")}}
    client_id = str(click.prompt("Client id", err=True)).strip()
    return {
        "base_url": address.strip(),
        "auth": {"type": kind, "client_id": client_id, "client_secret": _ask("Client secret")},
    }


def _ask_channel() -> dict[str, Any]:
    _need_terminal()
    kind = click.prompt("Type", type=click.Choice(CHANNEL_TYPES), err=True)
    if kind == "pagerduty":
        return {"type": kind, "routing_key": _ask("Integration key")}
    document = {"type": kind, "url": _ask("Address (it is a secret)")}
    return {**document, "secret": _ask("Signing secret (whsec_…)")} if kind == "webhook" else document


def _text(file: Path) -> str:
    """Return the text of a file or of stdin."""
    try:
        text = sys.stdin.read(MAX_BYTES) if str(file) == "-" else file.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError):
        raise CliError("The secret cannot be read", str(file), "Name a text file in UTF-8.") from None
    return text


def _document(file: Path) -> object:
    """Return the JSON or YAML in a file. Errors do not repeat what is in it."""
    text = _text(file)
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return (read_json if file.suffix == ".json" else read_yaml)(text).value
    except UnreadableDocumentError as error:
        where = f"line {error.line} of {'stdin' if str(file) == '-' else file}"
        raise CliError("The secret is not JSON or YAML", where, "Correct the file.") from None
