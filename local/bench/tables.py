"""Tables of the figures, with the peers for comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rich.table import Table
from rich.text import Text

from local.bench import prices
from local.bench.crowd import ConcurrentPipelines
from local.bench.goals import GOALS
from local.bench.lambdas.figures import ColdStarts, LambdaFigures
from local.bench.lambdas.process import Measurement
from local.bench.lambdas.recording_proxy import Call

MS, MB = 1e3, 1e-6


def goals(figures: Mapping[str, float]) -> Table:
    """Every figure with its goal."""
    table = Table("figure", "", "found", "goal", "", title="Figures")
    for name, value in figures.items():
        goal = GOALS[name]
        result_text = Text("")
        if goal.limit is not None:
            is_met = goal.is_met(value)
            result_text = Text("met" if is_met else "NOT MET", style="green" if is_met else "bold red")
        table.add_row(name, goal.what, f"{value:g}", str(goal), result_text)
    return table


def unmet(figures: Mapping[str, float]) -> str:
    """One sentence for a log without colors."""
    names = [name for name, value in figures.items() if not GOALS[name].is_met(value)]
    return f"Not met: {', '.join(names)}." if names else "Every goal is met."


def lambdas(measured: LambdaFigures) -> Table:
    """Cold starts, each compared with the bare handler; then the requests of a warm trigger."""
    table = Table("", "ours", "bare boto3 + requests", "ratio", title="Lambda's runtime client, python3.13")
    rows: list[tuple[str, Callable[[Measurement], float], float]] = [
        ("start to first answer, ms", lambda one: one.wall, MS),
        ("processor time until then, ms", lambda one: one.cpu, MS),
        ("most memory, MB", lambda one: one.memory, MB),
    ]
    for function, cold in measured.cold.items():
        for what, of, scale in rows:
            table.add_row(f"{function}: {what}", *_row(cold, of, scale))
    for what, calls in (
        ("starts a run", measured.trips.start),
        ("joins", measured.trips.join),
        ("is sent again", measured.trips.duplicate),
    ):
        table.add_row(f"requests of a warm webhook that {what}", str(len(calls)), "", "")
        for call in calls:
            table.add_row("", _name(call), "", "")
    return table


def concurrent_pipelines(measured: ConcurrentPipelines) -> Table:
    """Responses of Celonis to two hundred concurrent runs, and their final statuses."""
    table = Table("200 runs at once, 20 requests a second allowed", "")
    table.add_row("maximum concurrent runs", str(measured.max_concurrent))
    for status, count in sorted(measured.answers.items()):
        table.add_row(f"answers {status}", str(count))
    for ended, count in sorted(measured.statuses.items()):
        if count:
            table.add_row(f"runs {ended}", str(count))
    return table


def costs(run: prices.Costs, idle: prices.Costs, fargate: float) -> Table:
    """1,000 runs and an idle month, part by part, with the peers."""
    table = Table("US dollars at list prices", "1,000 runs", "idle month", title="Costs")
    for part in dict.fromkeys([*run.usd, *idle.usd]):
        table.add_row(part, _usd(1000 * run.usd.get(part, 0.0)), _usd(idle.usd.get(part, 0.0)))
    table.add_row("all of it", _usd(1000 * run.total), _usd(idle.total), style="bold")
    table.add_row("the smallest Fargate task that waits", _usd(fargate), _usd(0.0))
    table.add_row("a small managed Airflow (mw1.small)", "within it", _usd(prices.airflow_month()))
    return table


def _row(cold: ColdStarts, of: Callable[[Measurement], float], scale: float) -> tuple[str, str, str]:
    ours, bare = cold.medians(of)
    return f"{scale * ours:.0f}", f"{scale * bare:.0f}", f"{cold.ratio(of):.2f} ×"


def _name(call: Call) -> str:
    if "service" in call:
        return f"{call['service']} {call['operation']}"
    return f"Celonis {call['method']} …/{call['url'].rpartition('/')[2].partition('?')[0]}"


def _usd(amount: float) -> str:
    return f"{amount:.2f}" if amount else ""
