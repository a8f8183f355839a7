"""The state of a branch: its variables, the context object, and its progress."""

from dataclasses import dataclass, field
from typing import Any

Path = tuple[str | int, ...]


@dataclass
class Checkpoint:
    """The next state of a branch with its input, or the output of a finished branch."""

    state: str
    data: Any
    variables: dict[str, Any]
    done: bool = False


class Checkpoints:
    """The progress of each branch of an execution, by its path; a redrive continues from it."""

    def __init__(self) -> None:
        self._by_path: dict[Path, Checkpoint] = {}

    def set(self, path: Path, checkpoint: Checkpoint) -> None:
        self._by_path[path] = checkpoint

    def get(self, path: Path) -> Checkpoint | None:
        return self._by_path.get(path)

    def forget_below(self, path: Path) -> None:
        """Forget the progress of the branches of a Map or Parallel that starts again."""
        below = [each for each in list(self._by_path) if len(each) > len(path) and each[: len(path)] == path]
        for each in below:
            self._by_path.pop(each, None)


@dataclass
class Scope:
    """Variables are also read from outer scopes, and assigned in this one."""

    path: Path
    context: dict[str, Any]
    variables: dict[str, Any] = field(default_factory=dict)
    outer: dict[str, Any] = field(default_factory=dict)

    def visible(self) -> dict[str, Any]:
        return {**self.outer, **self.variables}

    def inner(self, *step: str | int, **context: Any) -> "Scope":
        return Scope((*self.path, *step), {**self.context, **context}, {}, self.visible())
