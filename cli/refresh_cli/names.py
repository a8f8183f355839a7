"""Names of runs and pipelines on the command line: what they mean, and their completion."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click
from botocore.exceptions import BotoCoreError, ClientError
from click.shell_completion import CompletionItem

from celonis_refresh.names import is_name
from refresh_cli.api import RunsApi
from refresh_cli.app import App
from refresh_cli.errors import ApiError, CliError

RUN_ID = re.compile(r".+-\d{8}T\d{6}Z-[0-9a-zA-Z]+")
"""The id of a run; an execution started by hand may have any other name."""
MAX_PAGES = 100


def is_run_id(text: str) -> bool:
    """Return whether this can only be the id of a run."""
    return RUN_ID.fullmatch(text) is not None or not is_name(text)


def find_run(app: App, name: str, of_pipeline: Callable[[App, str], str]) -> str:
    """Return the run that ``name`` means: its id, or what ``of_pipeline`` finds for a pipeline.

    Raises ``ApiError``, ``CliError``.
    """
    if is_run_id(name):
        return name
    try:
        return of_pipeline(app, name)
    except ApiError as error:
        return str(run_of_name(app, name, error)["run_id"])


def run_of_name(app: App, name: str, no_pipeline: ApiError) -> Mapping[str, Any]:
    """Return the run with a name that is not that of a pipeline: an execution that was started by hand.

    Raises ``no_pipeline``, or that there is neither.
    """
    if no_pipeline.name != "UnknownPipeline":
        raise no_pipeline
    try:
        run: Mapping[str, Any] = app.api.get(f"/runs/{name}")
    except ApiError as error:
        if error.name != "RunNotFound":
            raise
        no_pipeline.what = "There is neither a pipeline nor a run of this name"
        no_pipeline.which = name
        raise no_pipeline from None
    return run


def newest_run(app: App, pipeline: str) -> str:
    """Return the newest run of a pipeline. Raises ``CliError`` if it has none."""
    api = app.api
    query: dict[str, object] = {"pipeline": pipeline, "limit": 1}
    for _ in range(MAX_PAGES):
        page = api.get("/runs", query)
        for run in page["runs"]:
            return str(run["run_id"])
        query["before"] = page["before"]
        if page["before"] is None:
            break
    api.get(f"/pipelines/{pipeline}")  # an unknown pipeline has no runs either
    raise CliError("The pipeline has no runs", pipeline, f"Start one: {app.command('start', pipeline)}")


def pages(api: RunsApi, query: Mapping[str, object]) -> Iterator[Mapping[str, Any]]:
    """Yield the pages of ``GET /pipelines``."""
    after: str | None = None
    while True:
        page = api.get("/pipelines", {**query, "after": after})
        yield page
        after = page["next"]
        if after is None:
            return


class PipelineName(click.ParamType[str]):
    """The name of a pipeline."""

    name = "pipeline"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not is_name(value):
            self.fail(f"{value!r} is not the name of a pipeline.", param, ctx)
        return value

    def shell_complete(self, ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in _known(ctx) if name.startswith(incomplete)]


class RunName(click.ParamType[str]):
    """The id of a run, or the name of a pipeline, which means one of its runs."""

    name = "run"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value or "/" in value:
            self.fail(f"{value!r} is neither a run nor a pipeline.", param, ctx)
        return value

    def shell_complete(self, ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in _known(ctx) if name.startswith(incomplete)]


PIPELINE, RUN = PipelineName(), RunName()


def _known(ctx: click.Context) -> list[str]:
    """Return the names on the first page of pipelines; none if they cannot be read."""
    try:
        return [str(name) for name in ctx.ensure_object(App).api.get("/pipelines")["pipelines"]]
    except (CliError, BotoCoreError, ClientError):
        return []
