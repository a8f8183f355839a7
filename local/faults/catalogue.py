"""The catalogue of cases, in the order of their suites."""

from __future__ import annotations

from collections import Counter

from local.faults.case import FaultCase
from local.faults.suites import (
    after_end,
    api_requests,
    aws_errors,
    busy,
    callbacks,
    channels,
    concurrent_triggers,
    crashes,
    end_statuses,
    events,
    freshness,
    inner_loads,
    lost_responses,
    other_users,
    poll_responses,
    reconcile,
    record_shapes,
    refused,
    sign_in,
    stale_reads,
    stops,
    timeouts,
)

SUITES = (
    *(
        stale_reads,
        record_shapes,
        lost_responses,
        poll_responses,
        refused,
        sign_in,
        end_statuses,
        busy,
        other_users,
    ),
    *(
        concurrent_triggers,
        timeouts,
        inner_loads,
        stops,
        after_end,
        crashes,
        aws_errors,
        api_requests,
        reconcile,
        channels,
        callbacks,
        events,
        freshness,
    ),
)


def all_cases() -> list[FaultCase]:
    """Return all cases. Raises ValueError if a name occurs twice."""
    cases = [case for suite in SUITES for case in suite.cases()]
    twice = [name for name, number in Counter(case.name for case in cases).items() if number > 1]
    if twice:
        raise ValueError(f"cases of the same name: {', '.join(twice)}")
    return cases
