"""CI does not skip the tests of the page, and agrees with them on the names of the browser."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from local.browser import ADVICE, NAMES
from tests.template import documents

CI = (documents.ROOT / ".ci" / "run").read_text(encoding="utf-8")
BROWSER = documents.ROOT / "local" / "browser.py"


def test_ci_fails_without_a_browser() -> None:
    assert CI.index("export REQUIRE_BROWSER=1\n") < CI.index("make test\n")


def test_ci_finds_a_browser_as_the_tests_do() -> None:
    assert "python3 local/browser.py --find" in CI
    assert not re.search(r"command -v \S*chrom", CI)


def find(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BROWSER), "--find"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_found(tmp_path: Path, name: str) -> None:
    program = tmp_path / name
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    assert find({"PATH": str(tmp_path)}).stdout == f"{program}\n"


def test_a_browser_that_is_named_is_found_and_none_is_an_error(tmp_path: Path) -> None:
    assert find({"PATH": str(tmp_path), "CHROMIUM": "/opt/chromium"}).stdout == "/opt/chromium\n"
    missing = find({"PATH": str(tmp_path)})
    assert (missing.returncode, missing.stderr) == (1, f"{ADVICE}\n")


def test_no_text_file_has_markers_of_a_merge() -> None:
    markers = re.compile("^(<{7} |={7}$|>{7} )|«(OURS|THEIRS|END)|»(OURS|THEIRS|END)«?", re.MULTILINE)
    listed = subprocess.run(
        ["git", "ls-files"], cwd=documents.ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    for name in listed.stdout.splitlines():
        path = documents.ROOT / name
        if path == Path(__file__) or path.is_symlink():
            continue
        text = path.read_bytes().decode("utf-8", errors="ignore")
        assert not markers.search(text), name
