"""What a line of an execution knows: its variables, the context object, and how far it has come."""

from dataclasses import dataclass, field
from typing import Any

Path = tuple[str | int, ...]


@dataclass
class Checkpoint:
    """The next state of a line, with what it would enter it with; or its output, when the line is done."""

    state: str
    data: Any
    variables: dict[str, Any]
    done: bool = False


class Checkpoints:
    """How far every line of an execution has come, by its path: what a redrive starts from."""

    def __init__(self) -> None:
        self._by_path: dict[Path, Checkpoint] = {}

    def set(self, path: Path, checkpoint: Checkpoint) -> None:
        self._by_path[path] = checkpoint

    def get(self, path: Path) -> Checkpoint | None:
        return self._by_path.get(path)

    def forget_below(self, path: Path) -> None:
        """A Map or Parallel starts afresh: what its lines did before does not count."""
        below = [
            known for known in list(self._by_path) if len(known) > len(path) and known[: len(path)] == path
        ]
        for known in below:
            self._by_path.pop(known, None)


@dataclass
class Scope:
    """Variables are read from the outer scopes too, and assigned in this one."""

    path: Path
    context: dict[str, Any]
    variables: dict[str, Any] = field(default_factory=dict)
    outer: dict[str, Any] = field(default_factory=dict)

    def visible(self) -> dict[str, Any]:
        return {**self.outer, **self.variables}

    def inner(self, *step: str | int, **context: Any) -> "Scope":
        return Scope((*self.path, *step), {**self.context, **context}, {}, self.visible())
