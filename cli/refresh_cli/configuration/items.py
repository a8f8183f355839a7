"""The parts of a configuration that are compared and written one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from refresh_cli.configuration.schedules import Schedule


class Kind(StrEnum):
    """What a part is, in the order in which they are written: rules and schedules name pipelines."""

    PIPELINE = "pipeline"
    SOURCE = "source"
    SCHEDULE = "schedule"


FOLDERS = {Kind.PIPELINE: "pipelines", Kind.SOURCE: "sources"}
"""Folders of a configuration, which are also the last part of the path of the parameters."""


class Key(NamedTuple):
    """``name``: of the pipeline or source, or the full name of the schedule."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Item:
    """One pipeline, source or schedule in the files. ``path``: of its file, as it was given."""

    key: Key
    path: str
    content: Mapping[str, Any]
    schedule: Schedule | None = None
