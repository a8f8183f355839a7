"""Notification channels that fail: each notification still arrives, and nothing waits for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from local.aws.delivery.status_events import status_event
from local.aws.runtime.fault_injector import CrashFault
from local.faults.case import FaultCase, job_case, red
from local.faults.scenario import CaseScenario
from local.faults.suites.actions import MAX_SEND_WAIT, send_messages
from local.faults.suites.crashes import with_fault
from local.faults.team import Json
from local.receiver import Behaviour

KINDS = ("slack", "teams", "pagerduty", "webhook")
REASON = "VBELN is missing"
FAILS = {"outcome": "FAIL", "error_messages": [f"{REASON}."]}
BEHAVIOURS: tuple[Behaviour, ...] = ("500", "429", "404", "redirect", "slow", "drip", "close", "close after")
RECORDED_ONCE: frozenset[Behaviour] = frozenset({"close"})
"""The first request does not reach the receiver."""


def cases() -> Iterator[FaultCase]:
    yield _case("a notification to every channel", KINDS)
    for kind in KINDS:
        for behaviour in BEHAVIOURS if kind == "slack" else ("500", "slow"):
            yield _fails(kind, behaviour)
    yield _case("a slow channel before three others", KINDS, {"slack": ("slow",)}, tries={"slack": 2})
    for kind in KINDS:
        yield _crashes(kind, "before", 1)
        yield _crashes(kind, "sent", 2)
        yield _crashes(kind, "after", 2)
    yield _unknown()
    yield _twice()
    yield _twice_at_once()


def _fails(kind: str, behaviour: Behaviour) -> FaultCase:
    tries = 1 if behaviour in RECORDED_ONCE else 2
    return _case(f"{kind} fails once: {behaviour}", (kind,), {kind: (behaviour,)}, tries={kind: tries})


def _case(
    name: str,
    kinds: Sequence[str],
    behaviours: dict[str, tuple[Behaviour, ...]] | None = None,
    tries: dict[str, int] | None = None,
    before: Callable[[CaseScenario], None] = lambda _: None,
    *,
    has_token: bool = True,
) -> FaultCase:
    """A failing run whose pipeline has these channels in addition to the topic.

    ``has_token``: the addresses of the channels contain the token that must not be written anywhere.
    """

    def prepared(scenario: CaseScenario) -> None:
        _store(scenario, kinds, f"?token={scenario.environment.channel_token}" if has_token else "")
        for kind, answers in (behaviours or {}).items():
            scenario.environment.receiver.behave(_name(scenario, kind), *answers)
        before(scenario)

    def arrived(scenario: CaseScenario) -> Iterator[str]:
        for kind in kinds:
            requests = [
                one.body.decode() for one in scenario.environment.receiver.requests(_name(scenario, kind))
            ]
            if len(requests) != (tries or {}).get(kind, 1):
                yield f"{kind} received {len(requests)} requests"
            yield from (f"{kind} received no reason" for body in requests if REASON not in body)
            if len(set(requests)) > 1:
                yield f"the repeated requests to {kind} differ"
        if scenario.environment.receiver.requests("redirected"):
            yield "a redirect was followed"

    return _failing(name, before=prepared, also=arrived, max_wait=MAX_SEND_WAIT)


def _failing(name: str, **more: Any) -> FaultCase:
    """A job that fails; all notifications of it are sent."""
    return job_case(name, red("JobFailed"), job=FAILS, during=send_messages, quiet=True, **more)


def _name(scenario: CaseScenario, kind: str) -> str:
    number, *_ = scenario.name.split("-")
    return f"{number}-{kind}"


def _store(scenario: CaseScenario, kinds: Sequence[str], query: str) -> None:
    """Store the secrets of the channels, and name them in the pipeline."""
    environment = scenario.environment
    for kind in kinds:
        name = _name(scenario, kind)
        address = f"{environment.receiver.url}/{name}{query}"
        document: Json = {"type": kind, "url": address, "allow_http": True}
        document |= {"routing_key": "R0123"} if kind == "pagerduty" else {}
        document |= {"secret": environment.signing_secret} if kind == "webhook" else {}
        environment.store_secret(f"channels/{name}", document)
    names = ["topic", *(_name(scenario, kind) for kind in kinds)]
    scenario.define(scenario.name, notify={"channels": names})


def _crashes(kind: str, moment: str, tries: int) -> FaultCase:
    """The function that closes the run crashes while it sends; its event is delivered again."""
    # The log line of the fault contains the address.
    case = _case(
        f"close_run dies, {moment}: the request to {kind}", (kind,), tries={kind: tries}, has_token=False
    )
    return with_fault(case, "CloseRun", CrashFault(moment, 1, f"POST .*-{kind}", '"name": ?"{}-1"'))


def _unknown() -> FaultCase:
    def before(scenario: CaseScenario) -> None:
        scenario.define(scenario.name, notify={"channels": ["nobody-made-it"]})

    def reported(scenario: CaseScenario) -> Iterator[str]:
        about = f"Run {scenario.runs()[0]['run_id']} of pipeline "
        texts = [text for text in scenario.environment.notices() if about in text]
        if not any("nobody-made-it" in text and REASON in text for text in texts):
            yield "the topic does not say that the channel cannot be used"

    return _failing("a channel without a secret", before=before, also=reported)


def _twice() -> FaultCase:
    """The event of the end is repeated: no notification is repeated."""
    case = _case("the event of a failure comes again, to every channel", KINDS)

    def during(scenario: CaseScenario) -> None:
        send_messages(scenario)
        event = json.dumps(status_event(scenario.execution())).encode()
        for _ in range(2):
            scenario.environment.stack.invoke("CloseRun", event)

    return case.but(during=during)


def _twice_at_once() -> FaultCase:
    """Both events of the end arrive at the same time: two functions send each message once."""
    case = _case("the event of a failure comes twice at once, to every channel", KINDS)

    def before(scenario: CaseScenario) -> None:
        case.before(scenario)
        scenario.environment.stack.settings.events.twice_at_once += (f"{scenario.name}-1",)

    def during(scenario: CaseScenario) -> None:
        send_messages(scenario)
        scenario.environment.stack.settle()

    return case.but(before=before, during=during)
