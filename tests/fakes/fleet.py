"""Many tasks in many processes that ask one Celonis with a rate limit, in virtual time."""

from __future__ import annotations

import heapq
from collections.abc import Generator
from dataclasses import dataclass, field
from itertools import count
from math import ceil
from random import Random

from celonis_refresh.celonis.errors import CelonisThrottled
from celonis_refresh.celonis.transport import Call, RateLimit, execute_job, get_executions, get_job
from celonis_refresh.rate_limits.limiter import SharedRateLimiter
from local.celonis import setups
from local.celonis.limits import Window
from tests.fakes.clock import FakeClock
from tests.fakes.dynamodb import FakeDynamoDB, table_of

POOL, JOB = "pool-1", "job-a"
START = (get_job(POOL, JOB), get_executions(POOL, JOB), execute_job(POOL, JOB, "FULL"))
CHECK = (get_job(POOL, JOB), get_executions(POOL, JOB))
LATENCY = 0.03
TASK_SECONDS = 12.0
COLD_SECONDS = 0.2


@dataclass
class Fleet:
    """``processes`` of each function serve the tasks.

    ``answers``: the moments of all answers, and whether each was a 429; ``refusals``: tasks sent away.
    """

    limit: setups.RateLimitSetup
    processes: int = 60
    seed: int = 1
    clock: FakeClock = field(default_factory=FakeClock)
    answers: list[tuple[float, bool]] = field(default_factory=list)
    refusals: int = 0

    def __post_init__(self) -> None:
        self.random = Random(self.seed)  # noqa: S311 - a simulation
        self.window = Window(self.clock)
        self.dynamodb = FakeDynamoDB()
        self.table = table_of(self.dynamodb, self.clock, self.seed)
        self.slept = 0.0
        self.idle: dict[int, list[SharedRateLimiter]] = {len(START): [], len(CHECK): []}
        self.busy = dict.fromkeys(self.idle, 0)

    def _sleep(self, seconds: float) -> None:
        self.slept = seconds

    @property
    def share_of_429(self) -> float:
        return sum(refused for _, refused in self.answers) / len(self.answers)

    def run(self, runs: int, within: float, polls: int = 4) -> float:
        """``runs`` start evenly and poll ``polls`` times each; returns the seconds until all have ended."""
        begun, order = self.clock.now, count()
        tasks = [(begun + within * number / runs, next(order), self._life(polls)) for number in range(runs)]
        heapq.heapify(tasks)
        while tasks:
            self.clock.now, _, life = heapq.heappop(tasks)
            wait = next(life, None)
            if wait is not None:
                heapq.heappush(tasks, (self.clock.now + wait, next(order), life))
        return self.clock.now - begun

    def _life(self, polls: int) -> Generator[float, None, None]:
        for number in range(polls + 1):
            task = CHECK if number else START
            while True:
                wait = yield from self._task(task)
                if wait is None:
                    break
                yield ceil(wait * self.random.uniform(1, 1.1)) + self.random.uniform(0.05, 0.3)
            yield self.random.randint(2, 6) + self.random.uniform(0.05, 0.3)

    def _task(self, task: tuple[Call, ...]) -> Generator[float, None, float | None]:
        """One task in a process of its own; returns the seconds until its retry, or None when it is done."""
        kind = len(task)
        while self.busy[kind] >= self.processes:
            yield self.random.uniform(0.1, 0.5)
        self.busy[kind] += 1
        idle = self.idle[kind]
        rate_limiter = (
            idle.pop() if idle else SharedRateLimiter(self.table, "default", self.clock, self._sleep)
        )
        wait = yield from self._ask(rate_limiter, task)
        idle.append(rate_limiter)
        self.busy[kind] -= 1
        return wait

    def _ask(
        self, rate_limiter: SharedRateLimiter, task: tuple[Call, ...]
    ) -> Generator[float, None, float | None]:
        for call in task:
            try:
                rate_limiter.enter(call, TASK_SECONDS)
            except CelonisThrottled as refused:
                self.refusals += 1
                return refused.retry_after
            slept, self.slept = self.slept, 0.0
            yield slept + LATENCY * self.random.uniform(0.5, 1.5)
            within, headers = self.window.admit(self.limit)
            self.answers.append((self.clock.now, not within))
            reported = [float(headers[f"x-ratelimit-{name}"]) for name in ("limit", "remaining", "reset")]
            limit = RateLimit(int(reported[0]), int(reported[1]), reported[2])
            rate_limiter.answered(limit, None if within else reported[2])
            if not within:
                return reported[2]
        return None
