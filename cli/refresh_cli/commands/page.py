"""``page``: pipelines, runs and deliveries in the browser."""

from __future__ import annotations

import webbrowser
from functools import partial

import click

from refresh_cli.app import App, RefreshCommand, pass_app
from refresh_cli.errors import CliError
from refresh_cli.output import to_json
from refresh_cli.stack import Stack, resolve

TEXT = """\
The page of {where}:

  {link}

The link is for you alone: it acts with your AWS credentials. Ctrl-C ends it."""


def register(cli: click.Group) -> None:
    """Add the commands of this module."""
    cli.add_command(page)


def open_again(app: App) -> Stack:
    """Return the stack of the command with a new session. Raises ``CliError``, also for another stack.

    Without options, a local stack that was started or has stopped since would decide which stack it is.
    """
    if not app.stack.is_local:
        return resolve(app.stack.name, app.profile, app.region)
    stack = resolve(app.stack_name, app.profile, app.region)
    if not stack.is_local:
        raise CliError("The local stack has stopped", app.stack.where, "Run make local again.")
    return stack


@click.command("page", cls=RefreshCommand)
@click.option(
    "--port", type=click.IntRange(0, 65_535), help="Port on this machine.  [default: 8460, or a free one]"
)
@click.option("--no-browser", is_flag=True, help="Print the link, and do not open it.")
@pass_app
def page(app: App, port: int | None, no_browser: bool) -> None:
    """Show pipelines, runs and deliveries in the browser.

    The page is served on this machine only, until Ctrl-C, and uses your AWS credentials.
    """
    from refresh_cli.page.listener import open_server  # no other command needs a web server
    from refresh_cli.page.viewer import Viewer

    _ = app.stack.api_url  # a missing stack is an error of the command, not of the page
    viewer = Viewer(partial(open_again, app))
    server, link = open_server(viewer, port)
    with server:
        click.echo(to_json({"link": link}) if app.as_json else TEXT.format(where=app.stack.where, link=link))
        if not no_browser:
            webbrowser.open(link)
        server.serve_forever()
