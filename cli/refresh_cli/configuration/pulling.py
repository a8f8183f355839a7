"""Plans and writes the files of ``pull``."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from refresh_cli.configuration.difference import Action, Change
from refresh_cli.configuration.documents import to_yaml
from refresh_cli.configuration.files import SCHEDULES, Configuration
from refresh_cli.configuration.items import FOLDERS, Key, Kind
from refresh_cli.configuration.remote import RemoteItem


@dataclass
class Pull:
    """Files to write. ``texts``: by path, for files to create and to replace.

    ``extra``: files of what is not in the stack, which stay. ``skipped``: parts of the stack that get no
    file, with the reason. ``is_incomplete``: one of them cannot be written to a file at all.
    """

    texts: dict[Path, str] = field(default_factory=dict)
    created: list[Path] = field(default_factory=list)
    replaced: list[Path] = field(default_factory=list)
    deleted: list[Path] = field(default_factory=list)
    unchanged: list[Path] = field(default_factory=list)
    extra: list[Path] = field(default_factory=list)
    skipped: dict[Key, str] = field(default_factory=dict)
    is_incomplete: bool = False

    def differences(self) -> Iterator[tuple[Path, Iterator[str]]]:
        """Yield a unified diff of each file to replace."""
        for path in self.replaced:
            before, after = path.read_text(encoding="utf-8-sig"), self.texts[path]
            names = (str(path), f"{path} (from the stack)")
            yield path, difflib.unified_diff(before.splitlines(), after.splitlines(), *names, lineterm="")

    def apply(self) -> None:
        """Write and delete the files; each is replaced as a whole."""
        for path in (*self.created, *self.replaced):
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
            beside.write_text(self.texts[path], encoding="utf-8")
            beside.replace(path)
        for path in self.deleted:
            path.unlink()


def plan_pull(
    folder: Path,
    local: Configuration,
    remote: Mapping[Key, RemoteItem],
    changes: Sequence[Change],
    *,
    prune: bool,
) -> Pull:
    """Return what to write. ``changes``: the comparison of the files with the stack."""
    plan = Pull()
    schedules = _schedules(remote, plan)
    for key, item in remote.items():
        if key.kind is Kind.SCHEDULE:
            continue
        own = schedules.pop(key.name, []) if key.kind is Kind.PIPELINE else []
        _plan_file(folder, local, item, own, changes, plan)
    for pipeline, entries in schedules.items():
        reason = "its pipeline is not in the stack"
        plan.skipped |= {Key(Kind.SCHEDULE, f"{pipeline}.{entry['name']}"): reason for entry in entries}
    for key, file in local.items.items():
        if key.kind is not Kind.SCHEDULE and key not in remote:
            (plan.deleted if prune else plan.extra).append(Path(file.path))
    return plan


def _schedules(remote: Mapping[Key, RemoteItem], plan: Pull) -> dict[str, list[dict[str, Any]]]:
    """Return the entries of all schedules by pipeline."""
    schedules: dict[str, list[dict[str, Any]]] = {}
    for key, item in sorted(remote.items()):
        if key.kind is not Kind.SCHEDULE:
            continue
        if item.schedule is None or not item.is_ours:
            plan.skipped[key] = f"{item.address} was not written by refresh; no file can express it"
        else:
            schedules.setdefault(item.schedule.pipeline, []).append(item.schedule.to_entry())
    return schedules


def _plan_file(
    folder: Path,
    local: Configuration,
    item: RemoteItem,
    schedules: Sequence[Mapping[str, Any]],
    changes: Sequence[Change],
    plan: Pull,
) -> None:
    """Decide about the file of one pipeline or source."""
    key = item.key
    existing = local.items.get(key)
    if item.is_foreign or not item.is_readable:
        plan.skipped[key] = f"{item.address} has an invalid name, or is not a JSON object"
        plan.is_incomplete = True
        return
    if item.is_owned and existing is None and not schedules:
        plan.skipped[key] = f"{item.address} belongs to the CloudFormation stack"
        return
    path = Path(existing.path) if existing else folder / FOLDERS[key.kind] / f"{key.name}.yaml"
    has_mistakes = existing is not None and any(each.file == existing.path for each in local.mistakes)
    if existing and not has_mistakes and not _differs(key, changes):
        plan.unchanged.append(path)
        return
    content = {**item.content, **({SCHEDULES: list(schedules)} if schedules else {})}
    plan.texts[path] = _text(content, path)
    (plan.replaced if existing else plan.created).append(path)


def _differs(key: Key, changes: Sequence[Change]) -> bool:
    """Return whether the file of a pipeline or source, with its schedules, differs from the stack."""
    of_file = [
        change
        for change in changes
        if change.key == key
        or (
            change.key.kind is Kind.SCHEDULE
            and key.kind is Kind.PIPELINE
            and change.key.name.startswith(f"{key.name}.")
        )
    ]
    return any(
        change.action is not Action.KEEP and not (change.action is Action.FOREIGN and change.item is None)
        for change in of_file
    )


def _text(content: Mapping[str, Any], path: Path) -> str:
    if path.suffix.lower() == ".json":
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    return to_yaml(dict(content))
