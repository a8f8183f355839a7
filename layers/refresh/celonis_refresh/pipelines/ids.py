"""Ids of Celonis as one compares them: a UUID may be written in capitals, any other id is opaque."""

from __future__ import annotations

import re
from typing import Final

UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


def canonical_id(value: str) -> str:
    """The same text for all spellings of an id: a UUID in lower case, any other id as it is."""
    return value.lower() if UUID.fullmatch(value) else value
