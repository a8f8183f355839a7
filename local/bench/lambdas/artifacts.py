"""The files that a function has in Lambda, laid out on this machine.

``layer``: the packages of the layer that ``sam build`` made, with byte code; ``models``: its other files. It
is built for arm64; on another machine its native libraries are replaced by those of the same versions for
this one (wheels, not compiled here), and nothing else is touched. ``runtime``: the content of Lambda's image
(its runtime client and boto3), in the versions pinned here and with byte code, as in the image. ``bare``: the
package of the bare handler, in the versions pinned here and also with byte code. Our functions do not see it.

All three are made read-only. A function's process writes no byte code either, as it could not in Lambda.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from local.build import BUILT, LAYER, ROOT, BuildError, build, problems, python313_folder

RUNTIME_PACKAGES = (
    "awslambdaric", "simplejson", "snapshot-restore-py",
    "boto3", "botocore", "s3transfer", "jmespath", "python-dateutil", "six", "urllib3",
)  # fmt: skip
BARE_PACKAGES = ("requests", "certifi", "charset-normalizer", "idna", "urllib3")
NATIVE = re.compile(r"\.(so|dylib|pyd)$")
BYTE_CODE = ("-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash")


@dataclass(frozen=True)
class Artifacts:
    """``functions``: a folder with one folder per function, by logical id."""

    python: Path
    functions: Path
    layer: Path
    runtime: Path
    bare: Path


def prepare(folder: Path) -> Artifacts:
    """Builds, checks what was built, and lays it out below ``folder``. Raises ``BuildError``."""
    build(quiet=True)
    reported = list(problems())
    if reported:
        raise BuildError("; ".join(reported))
    python = python313_folder() / "python3.13"
    artifacts = Artifacts(python, BUILT, folder / "layer", folder / "runtime", folder / "bare")
    for place in (artifacts.layer, artifacts.runtime, artifacts.bare):
        _remove(place)
    shutil.copytree(LAYER, artifacts.layer)
    _use_native_parts_of_this_machine(python, artifacts.layer)
    for packages, place in ((RUNTIME_PACKAGES, artifacts.runtime), (BARE_PACKAGES, artifacts.bare)):
        _install(python, _pins("requirements/local.txt", packages), place)
        subprocess.run([python, *BYTE_CODE, place], check=True)
    for place in (artifacts.layer, artifacts.runtime, artifacts.bare):
        _make_read_only(place)
    return artifacts


def _use_native_parts_of_this_machine(python: Path, layer: Path) -> None:
    foreign = [path for path in layer.rglob("*") if NATIVE.search(path.name)]
    for path in foreign:
        path.unlink()
    with TemporaryDirectory() as folder:
        wheels = Path(folder)
        _install(python, _pins("layers/refresh/requirements.txt"), wheels)
        for path in wheels.rglob("*"):
            if NATIVE.search(path.name):
                shutil.copy(path, layer / path.relative_to(wheels))


def _install(python: Path, pins: Iterable[str], target: Path) -> None:
    quiet = ("--quiet", "--disable-pip-version-check")
    exact = ("--no-deps", "--no-compile", "--target", target)
    done = subprocess.run(
        [python, "-m", "pip", "install", *quiet, *exact, *pins], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise BuildError(f"pip install failed\n{done.stderr}")


def _pins(file: str, names: Iterable[str] = ()) -> list[str]:
    """The pins of a file; those of some packages if ``names`` are given."""
    lines = [line.partition(" ;")[0] for line in (ROOT / file).read_text().splitlines()]
    pins = [line for line in lines if line and not line.startswith("#")]
    chosen = set(names)
    return [pin for pin in pins if not chosen or pin.partition("==")[0] in chosen]


def _make_read_only(place: Path) -> None:
    for path in (place, *place.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)


def _remove(place: Path) -> None:
    if place.exists():
        for path in (place, *place.rglob("*")):
            path.chmod(path.stat().st_mode | 0o700)
        shutil.rmtree(place)
