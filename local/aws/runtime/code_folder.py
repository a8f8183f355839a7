"""Where deployed code is copied to: a folder per deployment, named after the process that it belongs to."""

import os
import shutil
import tempfile
from pathlib import Path


def new_code_folder(parent: Path) -> Path:
    """A new folder below `parent`; those of processes that were killed and could not tidy up are removed."""
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
        # A process of another user: it runs, and its folder must stay.
        return True
    return True
