"""All cases, in the order of their suites."""

from __future__ import annotations

from collections import Counter

from local.faults.case import Case
from local.faults.suites import (
    answers,
    asked,
    aws_errors,
    busy,
    crashes,
    ended,
    ends,
    inner_loads,
    lost,
    other_users,
    reconciled,
    refused,
    shapes,
    sign_in,
    stale,
    stops,
    timeouts,
    together,
)

THEMES = (
    *(stale, shapes, lost, answers, refused, sign_in, ends, busy, other_users),
    *(together, timeouts, inner_loads, stops, ended, crashes, aws_errors, asked, reconciled),
)


def all_cases() -> list[Case]:
    """Every case once; a name that stands for two is a mistake."""
    cases = [case for suite in THEMES for case in suite.cases()]
    twice = [name for name, number in Counter(case.name for case in cases).items() if number > 1]
    if twice:
        raise ValueError(f"cases of the same name: {', '.join(twice)}")
    return cases
