"""One pipeline that receives many deliveries at the same time, in virtual time.

Processes of the trigger accept them with the service's own code, over a table that has the conflicts and the
limits of DynamoDB. As Lambda does, a delivery goes to an idle process, or to a new one, which takes a moment
to start. ``python -m tests.fakes.hot_pipeline`` prints the figures as one line of JSON.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from random import Random
from typing import Any, NamedTuple, cast

from celonis_refresh.pipelines.definition import Definition, read_definition
from celonis_refresh.runs.claims import Claims, Delivery
from celonis_refresh.runs.errors import TableBusy
from celonis_refresh.runs.table import Table, signed_key, webhook_key
from celonis_refresh.timing import Deadline
from celonis_refresh.workflow.accept import Trigger, TriggerAcceptor, accept_batch
from celonis_refresh.workflow.webhook import RESPONSE_SECONDS, RequestTime
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
TRANSACTIONS = ("TransactWriteItems", "TransactGetItems")
EXPECTED_RUNS = 2
"""The run that the first delivery starts, and the one that follows it: the job runs longer than both."""
DOCUMENT: dict[str, Any] = {"data_pool": "pool-1", "jobs": [{"job": "job-1"}]}
DEFINITION = read_definition("The definition", Definition, DOCUMENT)


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
    reason: str = REASON

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
            self.made += 1
            self.workers.spawn(partial(self._deliver, self.made), "", self.clock.now)

    def _process(self) -> TriggerAcceptor:
        if self.idle:
            return self.idle.pop()
        self.processes += 1
        number = self.processes
        self.workers.sleep(self.random.uniform(*COLD_SECONDS))
        chance = Random(1000 * self.seed + number)  # noqa: S311 - a simulation
        table = Table(cast("Any", self.dynamodb), "table", chance, self.workers.sleep)
        ids = count()
        return TriggerAcceptor(
            Claims(table, self.clock),
            lambda _: DEFINITION,
            lambda name: f"{name}-{number}-{next(ids)}",
            self.clock,
        )

    def _deliver(self, number: int) -> None:
        arrived = self.clock.now
        time = RequestTime(
            Deadline(arrived + RESPONSE_SECONDS, self.clock), Deadline(arrived + FUNCTION_SECONDS, self.clock)
        )
        acceptor = self._process()
        self.workers.sleep(self.random.uniform(*HANDLING_SECONDS))
        keys = [webhook_key("erp", f"delivery-{number}"), signed_key("erp", f"digest-{number}")]
        claims, _ = acceptor.valid_claims([Trigger("otc", None, None, "erp", self.reason)], keys)
        try:
            (acceptance,) = accept_batch(acceptor.claims, [Delivery(claims, keys)], time.for_claim())
            (result,) = acceptance.results
            status, run_id = str(result.status), result.run_id
            if status == "started":
                self.workers.sleep(START_SECONDS)
        except TableBusy:
            status, run_id = "refused", ""
        self.workers.sleep(self.random.uniform(*HANDLING_SECONDS))
        self.answers.append(Answer(status, run_id, self.clock.now - arrived))
        self.idle.append(acceptor)

    @property
    def statuses(self) -> Counter[str]:
        return Counter(answer.status for answer in self.answers)

    @property
    def runs(self) -> set[str]:
        return {answer.run_id for answer in self.answers} - {""}

    def per_delivery(self, operations: Sequence[str]) -> float:
        """How often these requests were sent, repeated ones included."""
        return sum(self.dynamodb.requests[name] for name in operations) / len(self.answers)


def figures() -> dict[str, float]:
    """``hot_ok``: the share of the deliveries that were accepted; 0 if that took more or fewer than two runs.
    ``hot_transactions``: of a delivery on average, repeated ones included. ``hot_slowest_s``: from the
    arrival of a delivery to its answer, with the start of a process where one was needed."""
    hot = HotPipeline().run()
    accepted = sum(answer.run_id != "" for answer in hot.answers)
    return {
        "hot_ok": round(accepted / len(hot.answers), 4) if len(hot.runs) == EXPECTED_RUNS else 0.0,
        "hot_transactions": round(hot.per_delivery(TRANSACTIONS), 2),
        "hot_slowest_s": round(max(answer.seconds for answer in hot.answers), 2),
    }


if __name__ == "__main__":
    print(json.dumps(figures()))
