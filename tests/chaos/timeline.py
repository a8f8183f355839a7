"""A scenario as text: what there is, what happened when, and the violated invariants."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.invariants import findings
from tests.chaos.simulation import SimulationResult


def timeline(result: SimulationResult) -> str:
    """Times are hours, minutes and seconds from the beginning."""
    return "\n".join(_lines(result))


def _lines(result: SimulationResult) -> Iterator[str]:
    scenario = result.scenario
    yield f"seed {scenario.seed}, calm from {_time(scenario.calm_at)}"
    for target in (*scenario.jobs, *scenario.models):
        yield f"   {target}"
    for pipeline in scenario.pipelines:
        yield f"   {pipeline}"
    yield f"   {scenario.rates}"
    for at, label, text in result.log:
        yield f"{_time(at)}  {label:<28} {text}"
    for found in findings(result):
        yield f"BROKEN {found}"


def _time(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:3}:{whole // 60 % 60:02}:{whole % 60:02}.{int(seconds * 1000) % 1000:03}"
