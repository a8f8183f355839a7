"""How many bytes a run's record may take: DynamoDB refuses a write that makes an item larger than 400 KB.

What a run brings along (definition, options, tables) is checked when it opens. What follows has limits of its
own: so many bytes for each step, and so many for the end. So a run that was opened can always be closed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from msgspec import Struct

from celonis_refresh.errors import RefreshError

MAX_ITEM = 400 * 1024
JOB_BYTES, LOAD_BYTES = 8 * 1024, 5 * 1024
"""What the state of one step takes at most; a job's baseline has the ids of a list."""
END_BYTES = 16 * 1024
"""What opening and closing a run add to its record at most."""
MAX_OUTCOME = 8 * 1024
MAX_SENTENCE = 4 * 1024
"""Of an outcome: the sentence of the error, before what was found when the run was closed."""
MAX_ERROR = 256
MAX_WARNING = 768
"""Of each warning of a run: there are fewer than ten."""


class RunTooLarge(RefreshError):
    """The record of a run would leave no room for its steps and its end. Sizes in bytes."""

    def __init__(self, run_id: str, size: int, limit: int) -> None:
        self.run_id = run_id
        self.size = size
        self.limit = limit
        super().__init__(
            f"The definition, options and tables of run {run_id} take {size} bytes of its record, which "
            f"has room for {limit} beside the steps.",
            hint="Name fewer tables, load the models completely, or split the pipeline. Nothing was started.",
        )


class _Bounds(Struct, frozen=True):
    """``message``, ``note``: bytes of the texts of a step; ``ids``: of each set; ``picture``: bytes."""

    message: int
    note: int
    ids: int
    picture: int


BOUNDS = (_Bounds(2048, 512, 10, 1024), _Bounds(384, 80, 3, 0))
"""Of the evidence and texts of a step; the second for one that has long ids or texts everywhere."""
NOTES = ("trouble", "waiting_for", "rejected")


def item_size(document: Mapping[str, Any]) -> int:
    """Bytes that DynamoDB counts for an item of these JSON values."""
    return sum(_bytes(name) + size_of(value) for name, value in document.items())


def size_of(value: Any) -> int:
    """Bytes that DynamoDB counts for one JSON value."""
    match value:
        case bool() | None:
            return 1
        case str():
            return _bytes(value)
        case int() | float():
            return len(repr(value)) // 2 + 2  # at most: zeros at its ends do not count
        case Mapping():
            return 3 + sum(1 + _bytes(name) + size_of(inner) for name, inner in value.items())
    return 3 + sum(1 + size_of(inner) for inner in value)


def cut(text: str, limit: int) -> str:
    """The text, cut to ``limit`` bytes; an ellipsis says so."""
    if _bytes(text) <= limit:
        return text
    return text.encode(errors="replace")[: max(0, limit - 3)].decode(errors="ignore") + "…"


def room_for_opening(steps: Iterable[str]) -> int:
    """Bytes that a record with these steps may have when it opens."""
    return MAX_ITEM - END_BYTES - sum(_name_and(step_bytes(step), step) for step in steps)


def step_bytes(step: str) -> int:
    """Bytes that the state of a step may take."""
    return JOB_BYTES if step.startswith("job-") else LOAD_BYTES


def fit_step(step: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a step within its limit: texts are cut, and sets of ids that say no more by their number.

    Whatever comes from Celonis beyond that is bounded where it is read.
    """
    fitted: dict[str, Any] = {}
    for bounds in BOUNDS:
        fitted = _fitted(state, bounds)
        if size_of(fitted) <= step_bytes(step):
            break
    return fitted


def _fitted(state: Mapping[str, Any], bounds: _Bounds) -> dict[str, Any]:
    fitted = dict(state)
    for name in ("message", *NOTES):
        if isinstance(fitted.get(name), str):
            fitted[name] = cut(fitted[name], bounds.note if name in NOTES else bounds.message)
    if "evidence" in fitted:
        fitted["evidence"] = _fitted_evidence(fitted["evidence"], state.get("answered_id"), bounds)
    if "busy" in fitted:
        fitted["busy"] = {**fitted["busy"], "ids": fitted["busy"]["ids"][: bounds.ids]}
    return fitted


def _fitted_evidence(evidence: Mapping[str, Any], answered: str | None, bounds: _Bounds) -> dict[str, Any]:
    """Of each set of ids ours, that of the answer and a few others: what counts is whether there are several.

    The picture (``same``) grows with the ids that it shows: one that is too long is not remembered.
    """
    kept = {evidence.get("ours"), answered}
    fitted = {
        name: _some(value, kept, bounds.ids) if isinstance(value, list) else value
        for name, value in evidence.items()
    }
    is_long = _bytes(str(fitted.get("same", ""))) > bounds.picture
    return {**fitted, "same": ""} if is_long else fitted


def _some(ids: Collection[str], kept: Collection[str | None], limit: int) -> list[str]:
    """At most ``limit`` ids, those of ``kept`` among them."""
    return sorted(sorted(ids, key=lambda found: (found not in kept, found))[:limit])


def _name_and(size: int, name: str) -> int:
    return 1 + _bytes(name) + size


def _bytes(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))
