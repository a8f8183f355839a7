"""The command ``refresh``."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import click

from refresh_cli.app import RefreshGroup, global_options
from refresh_cli.commands import (
    completion,
    configuration,
    doctor,
    page,
    runs,
    secrets,
    sources,
)

MODULES = (
    configuration,
    runs,
    sources,
    secrets,
    doctor,
    page,
    completion,
)  # fmt: skip
"""The modules of the commands, in the order of ``refresh --help``."""


def _version() -> str:
    try:
        return version("celonis-refresh")
    except PackageNotFoundError:
        return "not installed"


@click.group(
    cls=RefreshGroup,
    params=list(global_options("REFRESH_STACK")),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(_version(), prog_name="refresh")
def cli() -> None:
    """Work with a stack of Celonis Refresh: check and push pipelines, start and watch runs.

    Without options, it uses the stack of make local if that is running, else the stack celonis-refresh with
    your default AWS credentials.

    Exit codes: 0 success; 1 the run failed, or a check found mistakes; 2 the command could not be executed.
    """


for _module in MODULES:
    _module.register(cli)


def main() -> None:
    """Run the tool; the entry point of the package."""
    cli(prog_name="refresh")
