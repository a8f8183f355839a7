"""A runs API that answers what a test says, over real HTTP on this machine."""

from __future__ import annotations

import faulthandler
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qsl, urlsplit

from click.testing import CliRunner

from refresh_cli.main import cli
from tests.contract import answer_problems, request_problems

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60
ODD, PLAIN = "\x1b]0;title\x07\x1b[2J\x9b31m\x00", "]0;title[2J31m"
"""A text that controls a terminal, and what is shown of it."""
CONTROL = r"[\x00-\x08\x0b-\x1f\x7f-\x9f]"


@dataclass(frozen=True)
class Sent:
    """One request that arrived."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]


Answer = tuple[int, Any]
"""Status and JSON; bytes are sent as they are, and None hangs up without an answer."""

Reply = Answer | Callable[[Sent], Answer] | None
"""An answer, or what makes it from the request."""


@dataclass
class FakeApi:
    """``answers``: by method and path, one after the other; the last one is repeated.

    ``problems``: of requests, and of answers with status 2xx, that differ from ``docs/openapi.json``.
    """

    url: str = ""
    answers: dict[str, list[Reply]] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def answer(self, request: str, *answers: Reply) -> None:
        """Set what a request (``GET /runs``) gets."""
        self.answers[request] = list(answers)

    def take(self, sent: Sent) -> Answer | None:
        self.sent.append(sent)
        answer = self._answer(sent)
        self.problems += request_problems(sent.method, sent.path, sent.query, sent.body)
        if answer is not None and answer[0] < 300 and not isinstance(answer[1], bytes):
            self.problems += answer_problems(sent.method, sent.path, *answer)
        return answer

    def _answer(self, sent: Sent) -> Answer | None:
        found = self.answers.get(f"{sent.method} {sent.path}")
        if not found:
            return 404, {"error": "NotFound", "message": f"Nothing is at {sent.path}."}
        reply = found[0] if len(found) == 1 else found.pop(0)
        return reply(sent) if callable(reply) else reply

    def requests(self) -> list[str]:
        return [f"{each.method} {each.path}" for each in self.sent]


@contextmanager
def fake_api() -> Iterator[FakeApi]:
    """A fake API that is served. Fails after an answer that the real one does not give."""
    fake = FakeApi()
    with serving(fake.take) as fake.url:
        yield fake
    assert fake.problems == []


@contextmanager
def serving(take: Callable[[Sent], Answer | None]) -> Iterator[str]:
    """Serve on a free port; gives the URL."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            parts = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            is_json = "json" in (self.headers.get("content-type") or "")
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = json.loads(raw) if raw and is_json else raw.decode()
            answer = take(Sent(self.command, parts.path, dict(parse_qsl(parts.query)), body, headers))
            if answer is None:
                self.close_connection = True
                return
            status, document = answer
            content = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _serve  # noqa: N815 - the names of the base class

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Ended:
    """How the tool ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Tool:
    """Runs the command in this process, in a folder that is not that of the project.

    ``environment``: all that it gets. An error that the tool does not know is raised; a command that does not
    end ends the process.
    """

    home: Path
    environment: Mapping[str, str]

    def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> Ended:
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            with replaced_environment({**self.environment, **environment}), chdir(self.home):
                ended = CliRunner().invoke(
                    cli, arguments, input=stdin, prog_name="refresh", catch_exceptions=False
                )
        finally:
            faulthandler.cancel_dump_traceback_later()
        return Ended(ended.exit_code, ended.stdout, ended.stderr)


@contextmanager
def replaced_environment(environment: Mapping[str, str]) -> Iterator[None]:
    """Replace the environment inside the block, and apply its time zone."""
    try:
        with patch.dict(os.environ, environment, clear=True):
            time.tzset()
            yield
    finally:
        time.tzset()


@dataclass(frozen=True)
class ToolProcess:
    """As :class:`Tool`, in a process of its own."""

    home: Path
    environment: Mapping[str, str]

    def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> Ended:
        ended = subprocess.run(
            [sys.executable, "-m", "refresh_cli", *arguments],
            cwd=self.home,
            env={**self.environment, **environment},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)


def environment(home: Path) -> dict[str, str]:
    """An environment without AWS, and without anything of the person who runs the tests."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": f"{ROOT / 'layers' / 'refresh'}:{ROOT / 'cli'}",
        "AWS_EC2_METADATA_DISABLED": "true",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
    }
