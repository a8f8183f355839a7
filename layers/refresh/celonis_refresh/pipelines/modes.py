"""How much is extracted and how much is loaded. Both are ordered: the greater covers the lesser."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """What a data job extracts: ``DELTA`` only what changed, ``FULL`` everything."""

    DELTA = "DELTA"
    FULL = "FULL"


class LoadKind(StrEnum):
    """What a data model load reads anew: nothing, some tables, everything."""

    FROM_CACHE = "from_cache"
    PARTIAL = "partial"
    COMPLETE = "complete"


MODE_ORDER = (Mode.DELTA, Mode.FULL)
KIND_ORDER = (LoadKind.FROM_CACHE, LoadKind.PARTIAL, LoadKind.COMPLETE)
