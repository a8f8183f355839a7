"""The shell commands of README and docs: those in blocks, and those in a line of text."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from tests.template import pages

BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
IN_LINE = re.compile(r"`(?P<text>[^`\n]+)`")
WRITTEN = re.compile(
    r"Write `(?P<name>[\w./-]+)`[^`]*(?:`[^`\n]+`[^`]*)*?^```(?:json|yaml)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
PROGRAMS = {
    "aws",
    "brew",
    "cp",
    "curl",
    "docker",
    "git",
    "make",
    "npm",
    "openssl",
    "pip",
    "rm",
    "sam",
    "signed",
}
SHELL, OTHERS = "sh", {"hcl", "json", "mermaid", "python", "xml", "yaml", ""}

MAKE = "make "
_TOOL = "the tests call refresh as it is in this folder"
_PAGE = "it serves until Ctrl-C; tests/page runs it"
_SAM = "sam builds for AWS and deploys to it"
NOT_RUN = {
    "pipx install .": _TOOL,
    "pip install .": _TOOL,
    "pip install --constraint requirements/cli.txt .": _TOOL,
    "refresh page": _PAGE,
    "refresh --stack prod-refresh --profile prod page": _PAGE,
    "refresh page --port 9000 --no-browser": _PAGE,
    "aws sso login": "the local AWS has no IAM Identity Center",
    "sam deploy --guided": _SAM,
    "sam build": "make build runs it",
    "sam build --use-container": "it needs Docker",
    "sam build && sam deploy": _SAM,
    "sam deploy": _SAM,
    "sam package": _SAM,
    "sam deploy --config-env dev": _SAM,
    "sam deploy --parameter-overrides DeletionProtection=false": _SAM,
    "sam deploy --role-arn": _SAM,
    "sam delete": _SAM,
    "docker run --privileged --rm tonistiigi/binfmt --install arm64": "it needs Docker",
    "aws ssm update-service-setting --setting-id /ssm/parameter-store/high-throughput-enabled"
    " --setting-value true": "the local AWS has no service settings",
}
"""What cannot run against the local stack, and why. Of commands of make, the targets are checked."""
LOCAL = "docs/local.md"
README, WITHOUT_TOOL, RUNS = "README.md", "docs/deployment.md", "docs/runs.md"
"""The second and the third one have the functions that the commands of all others use."""
LAST = "aws secretsmanager delete-secret "


@dataclass(frozen=True)
class DocumentedCommand:
    """``text`` as in the page; a block has several."""

    page: str
    text: str

    def is_last(self) -> bool:
        """Whether it removes what other commands need."""
        return self.text.startswith(LAST)

    @property
    def bare(self) -> str:
        """Without a comment at the end."""
        return re.sub(r"\s+#.*$", "", self.text)


def commands() -> list[DocumentedCommand]:
    """All of them, in the order in which they are read: README first."""
    return [DocumentedCommand(path, text) for path in pages.pages() for text in _texts(pages.page(path))]


def runnable() -> list[DocumentedCommand]:
    """The commands that the local stack runs, in a working order: those of LOCAL use functions of others."""
    found = [each for each in commands() if each.bare not in NOT_RUN and not each.text.startswith(MAKE)]
    order = {README: -3, WITHOUT_TOOL: -2, RUNS: -1, LOCAL: 1}
    return sorted(found, key=lambda each: (each.is_last(), order.get(each.page, 0)))


def files() -> dict[str, str]:
    """The files that README and WITHOUT_TOOL ask to write, by name."""
    texts = [pages.page(page) for page in (README, WITHOUT_TOOL)]
    return {found["name"]: found["text"] for text in texts for found in WRITTEN.finditer(text)}


def _texts(page: str) -> Iterator[str]:
    end = 0
    for block in BLOCK.finditer(page):
        yield from _in_line(page[end : block.start()])
        assert block["language"] in {SHELL, *OTHERS}, f"does a shell run {block['language']}?"
        if block["language"] == SHELL:
            yield from split(block["text"])
        end = block.end()
    yield from _in_line(page[end:])


def _in_line(text: str) -> Iterator[str]:
    for found in IN_LINE.finditer(text):
        first, _, more = found["text"].partition(" ")
        if first in PROGRAMS and more:
            yield found["text"]


def split(block: str) -> Iterator[str]:
    """The commands of a block. One ends with the first line after which a shell could run it."""
    lines: list[str] = []
    for line in block.splitlines():
        lines.append(line)
        text = "\n".join(lines)
        if not line.endswith("\\") and _is_complete(text):
            lines.clear()
            if text.strip():
                yield text
    assert not lines, f"no shell can run this: {lines}"


def _is_complete(text: str) -> bool:
    checked = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    return checked.returncode == 0
