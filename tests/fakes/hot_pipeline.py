"""One pipeline that receives many deliveries at the same time, in virtual time.

Processes of the trigger accept them with the service's own code, over a table that has the conflicts and the
limits of DynamoDB. As Lambda does, a delivery goes to an idle process, or to a new one, which takes a moment to
start. ``python -m tests.fakes.hot_pipeline`` prints the figures as one line of JSON.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple, cast

from celonis_refresh.pipelines.definition import Definition, read_definition
from celonis_refresh.runs.claims import Claims
from celonis_refresh.runs.errors import TableBusy
from celonis_refresh.runs.table import Table, signed_key, slot_key, webhook_key
from celonis_refresh.timing import Deadline
from celonis_refresh.workflow.accept import Trigger, TriggerAcceptor, accept_batch
from celonis_refresh.workflow.webhook import ANSWER_SECONDS, EventClaims, RequestTime
from celonis_refresh.runs.claims import Delivery
from tests.fakes.clock import FakeClock
from tests.fakes.contended_dynamodb import ContendedDynamoDB
from tests.fakes.interleaving import Interleaving

COLD_SECONDS = (0.4, 1.4)
"""How long a new process takes to start; its delivery waits for it."""
HANDLING_SECONDS = (0.005, 0.03)
"""How long a process works on a delivery before its claim, and again after it."""
START_SECONDS = 1.0
"""How long the delivery that starts the run calls Celonis and Step Functions."""
FUNCTION_SECONDS = 9.5
REASON = "Load of the sales documents in the source system has completed: 12 packages, no errors."
WRITES = ("TransactWriteItems", "UpdateItem", "PutItem", "DeleteItem")


class Answer(NamedTuple):
    """``status``: of the claim, or ``refused``; ``seconds``: from the arrival to the answer."""

    status: str
    run_id: str
    seconds: float


@dataclass
class HotPipeline:
    """Deliveries to one pipeline, ``a_second`` on average, at random moments."""

    a_second: float = 100.0
    seconds: float = 30.0
    seed: int = 1
    definition: dict[str, Any] = field(
        default_factory=lambda: {"data_pool": "pool-1", "jobs": [{"job": "job-1"}]}
    )

    def __post_init__(self) -> None:
        self.clock, self.random = FakeClock(), Random(self.seed)  # noqa: S311 - a simulation
        self.workers = Interleaving(self.clock, self.random)
        self.dynamodb = ContendedDynamoDB(self.clock, self.workers.sleep, self.random)
        self.answers: list[Answer] = []
        self.idle: list[TriggerAcceptor] = []
        self.processes = 0
        self.made = 0

    def run(self) -> HotPipeline:
        """Sends the deliveries, and returns once all are answered."""
        self.workers.spawn(self._send, "", self.clock.now)
        self.workers.run()
        return self

    def _send(self) -> None:
        ends = self.clock.now + self.seconds
        while (wait := self.random.expovariate(self.a_second)) + self.clock.now < ends:
            self.workers.sleep(wait)
            number = len(self.workers.workers) and self.made
            self.made += 1
            self.workers.spawn(lambda number=number: self._deliver(number), "", self.clock.now)

    def _process(self) -> TriggerAcceptor:
        if self.idle:
            return self.idle.pop()
        self.processes += 1
        number = self.processes
        self.workers.sleep(self.random.uniform(*COLD_SECONDS))
        table = Table(
            cast("Any", self.dynamodb), "table", Random(1000 * self.seed + number), self.workers.sleep
        )  # noqa: S311
        definition = read_definition("The definition", Definition, self.definition)
        ids = iter(range(1_000_000))
        return TriggerAcceptor(
            Claims(table, self.clock),
            lambda _: definition,
            lambda name: f"{name}-{number}-{next(ids)}",
            self.clock,
        )

    def _deliver(self, number: int) -> None:
        arrived = self.clock.now
        time = RequestTime(
            Deadline(arrived + ANSWER_SECONDS, self.clock), Deadline(arrived + FUNCTION_SECONDS, self.clock)
        )
        acceptor = self._process()
        self.workers.sleep(self.random.uniform(*HANDLING_SECONDS))
        keys = [webhook_key("erp", f"delivery-{number}"), signed_key("erp", f"digest-{number}")]
        claims, _ = acceptor.sound([Trigger("otc", None, None, "erp", REASON)], keys)
        try:
            (acceptance,) = accept_batch(acceptor.claims, [Delivery(claims, keys)], time.for_claim())
            (result,) = acceptance.results
            found = result.status, result.run_id
            if found[0] == "started":
                self.workers.sleep(START_SECONDS)
        except TableBusy:
            found = "refused", ""
        self.workers.sleep(self.random.uniform(*HANDLING_SECONDS))
        self.answers.append(Answer(*found, self.clock.now - arrived))
        self.idle.append(acceptor)

    def slot(self) -> dict[str, Any]:
        return self.dynamodb.dynamodb.document(slot_key("otc"))

    @property
    def statuses(self) -> Counter[str]:
        return Counter(answer.status for answer in self.answers)

    @property
    def runs(self) -> set[str]:
        return {answer.run_id for answer in self.answers} - {""}

    def per_delivery(self, operations: Sequence[str]) -> float:
        return sum(self.dynamodb.requests[name] for name in operations) / len(self.answers)


def figures() -> dict[str, float]:
    hot = HotPipeline().run()
    return {
        "hot_transactions": round(hot.per_delivery(["TransactWriteItems", "TransactGetItems"]), 2),
        "hot_slowest_s": round(max(answer.seconds for answer in hot.answers), 2),
    }


if __name__ == "__main__":
    import sys, time

    began = time.time()
    for seed in map(int, sys.argv[1:] or ["1"]):
        hot = HotPipeline(seed=seed).run()
        print(
            seed,
            len(hot.answers),
            dict(hot.statuses),
            len(hot.runs),
            "processes",
            hot.processes,
            dict(hot.dynamodb.requests),
            "conflicts",
            hot.dynamodb.conflicts,
            "throttled",
            hot.dynamodb.throttled,
            "tx/delivery",
            round(hot.per_delivery(["TransactWriteItems", "TransactGetItems"]), 2),
            "slowest",
            sorted(round(a.seconds, 2) for a in hot.answers)[-5:],
            "units slot",
            hot.dynamodb.units["slot#otc"],
            round(time.time() - began, 1),
        )
