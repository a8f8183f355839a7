"""Folders for copies of deployed code: one per deployment, named after its process."""

import os
import shutil
import tempfile
from pathlib import Path


def new_code_folder(parent: Path) -> Path:
    """Return a new folder below `parent`; remove those of processes that were killed."""
    parent.mkdir(parents=True, exist_ok=True)
    for folder in parent.iterdir():
        if not _runs(folder.name.partition("-")[0]):
            shutil.rmtree(folder, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=parent))


def _runs(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        # A running process of another user: keep its folder.
        return True
    return True
