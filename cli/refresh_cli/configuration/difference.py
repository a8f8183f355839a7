"""What ``push`` would change, and how it is shown."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from refresh_cli.configuration.documents import canonical, to_yaml
from refresh_cli.configuration.items import Item, Key, Kind
from refresh_cli.configuration.remote import RemoteItem


class Action(StrEnum):
    """What a push does with a part. KEEP and the ones after it write nothing."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    ONLY_IN_STACK = "only in the stack"
    OWNED = "belongs to the stack"
    FOREIGN = "not expressible in a file"
    KEEP = "unchanged"


WRITING = (Action.CREATE, Action.UPDATE, Action.DELETE)


@dataclass(frozen=True)
class Change:
    """One part, in the files and in the stack."""

    action: Action
    key: Key
    address: str
    item: Item | None
    remote: RemoteItem | None

    @property
    def is_refused(self) -> bool:
        """Whether the files want to change what belongs to the stack."""
        return self.action in (Action.OWNED, Action.FOREIGN) and self.item is not None


def compare(
    items: Mapping[Key, Item],
    remote: Mapping[Key, RemoteItem],
    content: Callable[[Item], Any],
    address: Callable[[Key], str],
    *,
    prune: bool,
) -> list[Change]:
    """Return all parts of the files and of the stack, in the order in which they are written.

    ``content``: of a part of the files, to be compared with ``RemoteItem.content``.
    """
    changes = [
        Change(
            _action(items.get(key), remote.get(key), content, prune=prune),
            key,
            address(key),
            items.get(key),
            remote.get(key),
        )
        for key in {**items, **remote}
    ]
    return sorted(changes, key=_order)


def _action(
    item: Item | None, remote: RemoteItem | None, content: Callable[[Item], Any], *, prune: bool
) -> Action:
    if remote is None:
        return Action.CREATE
    if item is not None and canonical(content(item)) == canonical(remote.content):
        return Action.KEEP
    if remote.is_owned:
        return Action.OWNED
    if remote.is_foreign:
        return Action.FOREIGN
    if item is not None:
        return Action.UPDATE
    return Action.DELETE if prune else Action.ONLY_IN_STACK


def _order(change: Change) -> tuple[int, int, str]:
    """Pipelines are written before what names them, and deleted after it."""
    kinds = list(Kind)
    position = kinds.index(change.key.kind)
    is_delete = change.action is Action.DELETE
    return int(is_delete), -position if is_delete else position, change.key.name


def unified(change: Change) -> Iterator[str]:
    """Yield the lines of a unified diff from the stack to the files."""
    before = "" if change.remote is None else _shown(change.remote.content, change.remote)
    after = "" if change.item is None or change.action is Action.DELETE else _shown_item(change.item, change)
    of_file = change.item.path if change.item else "(no file)"
    if change.item and change.item.schedule:
        of_file = f"{of_file} (schedule {change.item.schedule.name})"
    of_stack = change.address if change.remote else "(not in the stack)"
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), of_stack, of_file, n=3, lineterm="")
    yield from lines


def _shown(content: Any, remote: RemoteItem) -> str:
    if remote.schedule is not None:
        return to_yaml(remote.schedule.to_entry())
    return to_yaml(content) if isinstance(content, dict) else str(content)


def _shown_item(item: Item, change: Change) -> str:
    """Return the part as YAML, its fields in the order of the stack's."""
    content = item.content
    if change.remote is not None and isinstance(change.remote.content, dict) and item.schedule is None:
        content = _ordered(content, change.remote.content)
    return to_yaml(content)


def _ordered(value: Any, like: Any) -> Any:
    if isinstance(value, dict) and isinstance(like, dict):
        names = [name for name in like if name in value] + [name for name in value if name not in like]
        return {name: _ordered(value[name], like.get(name)) for name in names}
    if isinstance(value, list) and isinstance(like, list):
        pairs = [*like, *([None] * len(value))]
        return [_ordered(each, other) for each, other in zip(value, pairs, strict=False)]
    return value
