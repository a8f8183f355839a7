"""Where Chromium is, for the tests of the page and its screenshots."""

from __future__ import annotations

import os
import shutil
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ("--no-sandbox", "--disable-dev-shm-usage")
"""In a container there is neither a sandbox nor much shared memory."""
ADVICE = "install chromium, or name it in CHROMIUM"


def find_browser() -> str | None:
    """Return the path of Chromium, which the variable CHROMIUM may name."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


if __name__ == "__main__":
    path = find_browser()
    if path is None:
        sys.exit(ADVICE)
    print(path)
