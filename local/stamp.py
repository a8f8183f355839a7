"""Writes the digest of the layer's sources into the template.

Lambda publishes a new version of a function only if the function itself changes, and the content of a layer
does not belong to it. The digest is in every function's environment, so that a change of the layer alone also
creates the versions that the state machine calls.
"""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "template.yaml"
LAYER = ROOT / "layers" / "refresh"
STAMP = re.compile(r'(LAYER_DIGEST: ")([0-9a-f]{16})(")')
SUFFIXES = {".py", ".txt", ".typed", ""}


def digest() -> str:
    """Return the first 16 hex digits of the digest of names and contents of the layer's sources."""
    hash_ = hashlib.sha256()
    for path in sorted(LAYER.rglob("*")):
        if path.is_file() and path.suffix in SUFFIXES and "__pycache__" not in path.parts:
            hash_.update(path.relative_to(LAYER).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return hash_.hexdigest()[:16]


def stamped() -> str:
    """Return the digest in the template."""
    match = STAMP.search(TEMPLATE.read_text())
    if match is None:
        raise ValueError("template.yaml has no LAYER_DIGEST")
    return match[2]


def main() -> int:
    text = TEMPLATE.read_text()
    TEMPLATE.write_text(STAMP.sub(rf"\g<1>{digest()}\g<3>", text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
