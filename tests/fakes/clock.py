"""A clock that only moves when a test moves it."""

from __future__ import annotations

from dataclasses import dataclass

START = 1_767_225_600.0


@dataclass
class FakeClock:
    """Seconds since the epoch; sleeping advances the clock."""

    now: float = START

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
