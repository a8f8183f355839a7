"""What all commands share: the global options, the stack, the API, and how results and errors are shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from shlex import join
from typing import IO, Any

import click
from botocore.exceptions import BotoCoreError, ClientError

from celonis_refresh.errors import RefreshError
from refresh_cli.api import RunsApi
from refresh_cli.aws_errors import from_aws
from refresh_cli.errors import EXIT_ERROR, ApiError, CliError, UsageError
from refresh_cli.output import Result, show, show_error
from refresh_cli.stack import Stack, resolve

RETRY_REQUEST = re.compile(r"POST /runs/(\S+)/retry")
"""How the service names a command of the tool."""


@dataclass
class App:
    """One call of the tool: its global options, and what they lead to.

    ``shows_usage_as_json``: whether ``--json`` is an argument; a mistake may keep it from being read.
    """

    stack_name: str | None = None
    profile: str | None = None
    region: str | None = None
    as_json: bool = False
    shows_usage_as_json: bool = False

    @cached_property
    def stack(self) -> Stack:
        """The stack that the command works on. Raises ``CliError``, errors of boto3."""
        return resolve(self.stack_name, self.profile, self.region)

    @cached_property
    def api(self) -> RunsApi:
        """The stack's API. Raises ``CliError``, errors of boto3."""
        stack = self.stack
        return RunsApi(stack.api_url, stack.region, stack.credentials, is_local=stack.is_local)

    @property
    def where(self) -> str:
        """What error messages say about the credentials."""
        if "stack" in self.__dict__:
            return self.stack.where
        return f"profile {self.profile}" if self.profile else "default credentials"

    def command(self, *words: str) -> str:
        """Return a command of the tool for the same stack: it repeats --stack, --profile and --region."""
        given = (("--stack", self.stack_name), ("--profile", self.profile), ("--region", self.region))
        options = [word for name, value in given if value for word in (name, value)]
        return join(["refresh", *options, *words])

    def error_of(self, error: Exception) -> CliError:
        """Return how an error is shown."""
        match error:
            case ApiError():
                error.action = self._with_commands(error)
                return error
            case CliError():
                return error
            case RefreshError():
                return CliError(error.message, "", error.hint)
            case BotoCoreError() | ClientError():
                return from_aws(error, self.where)
        raise error

    def usage_error(self, error: click.UsageError) -> click.ClickException:
        """Return how wrong usage is shown."""
        return _JsonUsageError(error) if self.shows_usage_as_json else error

    def _with_commands(self, error: ApiError) -> str:
        """Return what to do about an error of the API, with commands of the tool instead of requests."""
        action = RETRY_REQUEST.sub(lambda found: self.command("retry", found[1]), error.action)
        if error.name == "RunNotFound":
            return f"{action} To list them: {self.command('runs')}"
        if error.name == "InvalidDefinition":
            return f"Correct its file, then: {self.command('push', 'FOLDER')}"
        return action


pass_app = click.make_pass_decorator(App, ensure=True)


def _set(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    """Return a callback that stores a global option, given before or after the command."""

    def store(context: click.Context, _: click.Parameter, value: Any) -> None:
        if value:
            setattr(context.ensure_object(App), name, value)

    return store


def global_options(stack_variable: str | None = None) -> list[click.Option]:
    """Return the options of the tool, or of a command.

    ``stack_variable``: only for the tool, because a variable of the environment must not replace an option
    that stands before the command.
    """

    def option(declaration: str, name: str, text: str, **more: Any) -> click.Option:
        return click.Option([declaration, name], help=text, expose_value=False, callback=_set(name), **more)

    return [
        option(
            "--stack",
            "stack_name",
            "Name of the CloudFormation stack.  [env var: REFRESH_STACK; default: the stack of make local if "
            "it is running, else celonis-refresh]",
            metavar="NAME",
            envvar=stack_variable,
        ),
        option("--profile", "profile", "Profile of the AWS CLI.", metavar="NAME"),
        option("--region", "region", "AWS region.", metavar="NAME"),
        option("--json", "as_json", "Print JSON.", is_flag=True),
    ]


class RefreshCommand(click.Command):
    """A command that has the global options, and may return a ``Result``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(global_options())

    def invoke(self, ctx: click.Context) -> Any:
        """Execute the command, and print its result."""
        result = super().invoke(ctx)
        if isinstance(result, Result):
            app = ctx.ensure_object(App)
            show(result, as_json=app.as_json)
            for error in result.errors:
                show_error(error, as_json=app.as_json)
            ctx.exit(result.exit_code)
        return result


class _JsonUsageError(click.ClickException):
    """Wrong usage, shown as JSON."""

    exit_code = EXIT_ERROR

    def __init__(self, error: click.UsageError) -> None:
        is_empty = isinstance(error, click.exceptions.NoArgsIsHelpError)  # its message is the whole help
        super().__init__("Missing command." if is_empty else error.format_message())
        command = error.ctx.command_path if error.ctx else "refresh"
        action = f"To see its options: {command} --help"
        self.error = UsageError(self.message.removesuffix("."), command, action)

    def show(self, file: IO[Any] | None = None) -> None:  # noqa: ARG002 - the signature of the base
        """Print it on stderr."""
        show_error(self.error, as_json=True)


class RefreshGroup(click.Group):
    """A group of such commands, in the order in which they were added. The outermost shows the errors."""

    command_class = RefreshCommand
    group_class = type

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature of the base
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the global options. Wrong usage is JSON even if ``--json`` comes after the mistake."""
        if ctx.parent is not None:
            return super().parse_args(ctx, args)
        app = ctx.ensure_object(App)
        options = args[: args.index("--")] if "--" in args else args
        app.shows_usage_as_json = "--json" in options
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            raise app.usage_error(error) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Execute the command. An error that the tool knows is printed, with exit code 2."""
        if ctx.parent is not None:
            return super().invoke(ctx)
        app = ctx.ensure_object(App)
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise app.usage_error(error) from None
        except (CliError, RefreshError, BotoCoreError, ClientError) as error:
            show_error(app.error_of(error), as_json=app.as_json)
            ctx.exit(EXIT_ERROR)
