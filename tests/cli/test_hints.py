"""Commands in messages can be pasted: they repeat the options that lead to the stack."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from refresh_cli.app import App
from refresh_cli.commands.configuration import _outcome_view
from refresh_cli.configuration.difference import Action, Change
from refresh_cli.configuration.items import Key, Kind
from refresh_cli.configuration.writing import Outcome
from refresh_cli.main import cli
from refresh_cli.output import Result, show
from tests.cli.fake_api import ROOT, FakeApi, Tool
from tests.cli.fake_stack import NAME, FakeStack, fake_stack, write_files
from tests.cli.test_runs import FAILED, OLD, RUN, page, pipeline, record, started, summary

GIVEN = ("--stack", "prod", "--profile", "ops", "--region", "eu-west-1")
PREFIX = f"refresh {' '.join(GIVEN)} "
ANY_HINT = re.compile(rf"\brefresh (?:-|(?:{'|'.join(cli.commands)})\b)")
NO_HINTS = {
    "Starts pipeline {}; written by refresh push",
    "Open the link that refresh page printed last; it has the token of this start.",
}
"""The description of a schedule in AWS, and what a command did that is still running."""


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts of a module with their lines, without docstrings; values in them are braces."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [each.value if isinstance(each, ast.Constant) else "{}" for each in node.values]
            skipped |= {id(each) for each in node.values}
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.lineno, node.value


def test_every_hint_is_made_by_the_app() -> None:
    """Docstrings, which are the texts of --help, name commands as they are."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in sorted((ROOT / "cli" / "refresh_cli").rglob("*.py"))
        for line, text in texts(path)
        if ANY_HINT.search(text) and text not in NO_HINTS
    ]
    assert found == [], "use App.command, which repeats --stack, --profile and --region"


def test_a_hint_that_is_written_by_hand_is_found(tmp_path: Path) -> None:
    source = (
        'def f(a):\n    """As refresh runs does."""\n    return f"See refresh show {a}.", "refresh a stack"\n'
    )
    path = tmp_path / "m.py"
    path.write_text(source)
    assert [text for _, text in texts(path) if ANY_HINT.search(text)] == ["See refresh show {}."]


@pytest.fixture
def with_options(tool: Tool) -> Tool:
    """The tool with a profile that can be named."""
    profile = "[profile ops]\naws_access_key_id = AKIATEST\naws_secret_access_key = secret\n"
    write_files(tool.home, {".aws/config": profile})
    return tool


PAUSE = {"by": "arn:x", "at": "2026-11-28T10:00:00+00:00", "reason": "release"}
PAUSED: dict[str, Any] = {"pipeline": "orders", "paused": True, "pause": PAUSE}
ACTIVE = pipeline(active_run=RUN, **PAUSED)
RESUMED = {
    "pipeline": "orders",
    "paused": False,
    "pause": None,
    "started": {"pipeline": "orders", "run_id": RUN, "status": "started"},
}
UNKNOWN_RUN = {
    "error": "RunNotFound",
    "message": "There is no record. List the runs.",
    "hint": "List the runs.",
}
INVALID = {
    "error": "InvalidDefinition",
    "message": "The definition of pipeline 'orders' is not valid: jobs: x.",
}
EMPTY: dict[str, Any] = {"pipelines": [], "freshness": {}, "details": [], "next": None}
DELIVERY: dict[str, Any] = {
    "source": "dbt", "delivery": "d", "received_at": "2026-11-28T10:00:00+00:00", "result": "ignored",
    "reason": "no", "runs": [], "errors": [],
}  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "answers", "hints"),
    [
        ("runs orders --status failed", {"GET /runs": page(summary(), before="p 1")},
         ["runs orders --status FAILED --before 'p 1'"]),
        ("show", {"GET /pipelines": (200, EMPTY)}, ["push FOLDER"]),
        ("show orders", {"GET /pipelines/orders": (200, ACTIVE), "GET /runs": page(summary(OLD, "FAILED"))},
         ["resume orders", f"watch {RUN}", f"show {OLD}"]),
        (f"show {RUN}", {f"GET /runs/{RUN}": (200, FAILED), "GET /runs": page()}, [f"retry {RUN}"]),
        (f"show {RUN}", {f"GET /runs/{RUN}": (200, record())}, [f"watch {RUN}"]),
        (f"show {RUN}", {f"GET /runs/{RUN}": (404, UNKNOWN_RUN)}, ["runs"]),
        ("start orders", {"POST /runs": started()}, [f"watch {RUN}"]),
        ("start orders", {"POST /runs": (422, INVALID)}, ["push FOLDER"]),
        (f"watch {RUN}", {f"GET /runs/{RUN}": (200, FAILED)}, [f"retry {RUN}"]),
        (f"watch {RUN} --timeout 1", {f"GET /runs/{RUN}": (200, record())}, [f"watch {RUN}"]),
        ("watch orders", {"GET /pipelines/orders": (200, pipeline()), "GET /runs": page()}, ["start orders"]),
        (f"retry {RUN}", {f"POST /runs/{RUN}/retry": started()}, [f"watch {RUN}"]),
        (f"cancel {RUN}", {f"POST /runs/{RUN}/cancel": (202, {"run_id": RUN, "status": "cancelling"})},
         [f"watch {RUN}"]),
        ("cancel orders", {"GET /pipelines/orders": (200, pipeline())}, ["runs orders"]),
        ("pause orders", {"POST /pipelines/orders/pause": (200, PAUSED)}, ["resume orders"]),
        ("resume orders", {"POST /pipelines/orders/resume": (200, RESUMED)}, [f"watch {RUN}"]),
        ("deliveries dbt", {"GET /deliveries": (200, {"deliveries": [DELIVERY], "before": "p"})},
         ["deliveries dbt --before p"]),
        ("sources test dbt - --source s.yaml", {}, ["check s.yaml"]),
        ("push bad", {}, ["check bad"]),
    ],
)  # fmt: skip
def test_a_hint_has_the_options_that_were_given(
    with_options: Tool, api: FakeApi, arguments: str, answers: dict[str, Any], hints: list[str]
) -> None:
    files = {"s.yaml": "sender: x\n", "bad/pipelines/a.yaml": "data_pool: 1\n"}
    write_files(with_options.home, files)
    for request, answer in answers.items():
        api.answer(request, answer)
    ended = with_options(*GIVEN, *arguments.split(), stdin="{}")
    shown = ended.out + ended.err
    assert [each for each in hints if f"{PREFIX}{each}\n" not in f"{shown}\n".replace(")\n", "\n")] == [], (
        shown
    )
    assert len(ANY_HINT.findall(shown)) == shown.count(PREFIX)


@pytest.fixture
def stack() -> Iterator[FakeStack]:
    with fake_stack() as made:
        made.stack.name = NAME
        yield made


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(
    ("arguments", "stdin", "hint"),
    [
        (["secret", "webhook", "github"], "new-value-new-value\n", "secret webhook github --drop-previous"),
        (["secret", "connection"], "https://a.eu-1.celonis.cloud\napp_key\nabcdefgh\n", "doctor"),
    ],
)
def test_a_hint_about_a_secret(stack: FakeStack, arguments: list[str], stdin: str, hint: str) -> None:
    stack.client("secretsmanager").create_secret(
        Name=f"{NAME}/webhooks/github", SecretString='{"current": "old-value-old-value"}'
    )
    ended = stack.run(*GIVEN, *arguments, stdin=stdin)
    assert ended.exit_code == 0, ended.output
    assert f"{PREFIX}{hint}\n" in ended.output


def test_a_push_that_fails_names_the_command_that_continues(capsys: pytest.CaptureFixture[str]) -> None:
    change = Change(Action.CREATE, Key(Kind.PIPELINE, "a"), "/s/pipelines/a", None, None)
    outcome = Outcome(refused=[(change, "it changed")], failed=change, failure=KeyboardInterrupt())
    view = _outcome_view(App("prod", "ops", "eu-west-1"), Path("config"), outcome, [], has_writes=True)
    show(Result({}, view), as_json=False)
    assert capsys.readouterr().out.count(f"{PREFIX}push config\n") == 2


def test_a_hint_is_one_line_in_a_narrow_terminal(with_options: Tool, api: FakeApi) -> None:
    api.answer("POST /runs", started())
    ended = with_options(*GIVEN, "start", "orders", COLUMNS="40")
    assert f"To follow it: {PREFIX}watch {RUN}" in ended.out.splitlines()


def test_options_that_were_not_given_are_not_repeated() -> None:
    assert App(region="eu-west-1").command("show", "a b") == "refresh --region eu-west-1 show 'a b'"
    assert App().command("cancel", RUN) == f"refresh cancel {RUN}"
