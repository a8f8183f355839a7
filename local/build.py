"""``make build``: runs ``sam build`` with a python3.13, and checks its output.

``--find`` prints the folder of that Python only; it needs nothing but the standard library.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILT = ROOT / ".aws-sam" / "build"
LAYER = BUILT / "RefreshLayer" / "python"
LARGEST_LAYER = 45 * 1024 * 1024
"""Bytes; Lambda's limit is 250 MB for function and layers together, and a cold start reads every byte."""
SERVICES = {"dynamodb", "events", "secretsmanager", "sns", "ssm", "stepfunctions"}
"""AWS services that the functions call; layers/refresh/Makefile keeps only their descriptions."""
AARCH64 = 183
"""``e_machine`` in the header of an ELF file."""
NO_PYTHON = """\
python3.13 with pip was not found: the layer is built with the Python that AWS runs.
Install it: apt install python3.13 python3.13-venv, brew install python@3.13, or pyenv install 3.13."""


class BuildError(Exception):
    """The output of ``sam build`` does not match the template."""


def python313_folder() -> Path:
    """Return the folder of a python3.13: on PATH, of pyenv or uv, or beside this one. Raises BuildError."""
    folder = _find()
    if folder is None:
        raise BuildError(NO_PYTHON)
    return folder


def _find() -> Path | None:
    named = shutil.which("python3.13")
    homes = [Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"]
    homes.append(Path.home() / ".local" / "share" / "uv" / "python")
    # Beside this Python and those on PATH: their folders may hold other versions.
    bins = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    homes += [Path(sys.base_prefix).parent, *(folder.parent.parent for folder in bins)]
    places = [Path(named).parent] if named else []
    places += [path.parent for home in homes for path in sorted(home.glob("*3.13*/bin/python3.13"))]
    return next((place for place in places if _has_pip(place / "python3.13")), None)


def _has_pip(python: Path) -> bool:
    return (
        subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0
    )


def build(*, quiet: bool = False) -> None:
    """Run ``sam build`` as documented in the README. ``quiet``: print its output only if it fails."""
    path = f"{python313_folder()}{os.pathsep}{os.environ['PATH']}"
    environment = {"AWS_DEFAULT_REGION": "eu-central-1", **os.environ, "PATH": path, "SAM_CLI_TELEMETRY": "0"}
    sam = ROOT / ".tools" / "bin" / "sam"
    done = subprocess.run(
        [sam, "build", "--build-dir", BUILT],
        cwd=ROOT,
        env=environment,
        check=False,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
    )
    if done.returncode:
        raise BuildError(f"sam build failed\n{done.stdout or ''}")


def functions() -> list[str]:
    """Return the logical ids of the functions: ``StartStep`` is in ``functions/start_step``."""
    folders = sorted(path.parent.name for path in (ROOT / "functions").glob("*/app.py"))
    return [name.title().replace("_", "") for name in folders]


def problems() -> Iterator[str]:
    """Return what is missing or wrong in the built artifacts."""
    for name in functions():
        if not (BUILT / name / "app.py").is_file():
            yield f"{name}: no app.py"
    if not (LAYER / "celonis_refresh" / "wiring.py").is_file():
        yield "RefreshLayer: no celonis_refresh"
    for package in _required():
        if not list(LAYER.glob(f"{package}-*.dist-info")):
            yield f"RefreshLayer: {package} of requirements.txt is missing"
    yield from (f"RefreshLayer: {path} has no byte code" for path in _without_byte_code())
    described = {path.parent.parent.name for path in LAYER.glob("botocore/data/*/*/service-2.json.gz")}
    if described != SERVICES:
        yield f"RefreshLayer: botocore describes {sorted(described)}"
    foreign = [path for path in LAYER.rglob("*.so*") if not _is_for_arm64(path)]
    yield from (f"RefreshLayer: {path.name} is not for arm64" for path in foreign)
    size = sum(path.stat().st_size for path in LAYER.rglob("*") if path.is_file())
    if size > LARGEST_LAYER:
        yield f"RefreshLayer: {size} bytes"


def _without_byte_code() -> Iterator[Path]:
    """Return modules whose byte code is missing or is checked against its source at a cold start.

    The second word of byte code holds its flags; 1 means hash-based and unchecked (PEP 552).
    """
    for path in LAYER.rglob("*.py"):
        compiled = path.parent / "__pycache__" / f"{path.stem}.cpython-313.pyc"
        if not compiled.is_file() or int.from_bytes(compiled.read_bytes()[4:8], "little") != 1:
            yield path.relative_to(LAYER)


def _is_for_arm64(library: Path) -> bool:
    """Read the header of the file: the name of a library does not always show its architecture."""
    with library.open("rb") as file:
        header = file.read(20)
    return header[:4] == b"\x7fELF" and int.from_bytes(header[18:20], "little") == AARCH64


def _required() -> list[str]:
    lines = (ROOT / "layers" / "refresh" / "requirements.txt").read_text().splitlines()
    names = [re.match(r"[A-Za-z0-9_.-]+", line) for line in lines if not line.startswith("#")]
    return [name[0].replace("-", "_").lower() for name in names if name]


def main() -> int:
    try:
        if sys.argv[1:] == ["--find"]:
            print(python313_folder())
            return 0
        build()
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    reported = list(problems())
    for problem in reported:
        print(problem, file=sys.stderr)
    summary = f"{len(functions())} functions and the layer in {BUILT.relative_to(ROOT)}"
    print(f"build: {summary}, {len(reported)} problems")
    return 1 if reported else 0


if __name__ == "__main__":
    sys.exit(main())
