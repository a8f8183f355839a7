"""The grid of small worlds: a union of full products, each of a few aspects of the model.

Written from ``docs/ownership.md`` alone, without the rules that decide which execution is ours.
A world has one or two runs of ours, at most four executions and at most two faults (of a start, an odd
answer, a crash). What is shown is fresh, half of ``settle`` old or all of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any, Literal, get_args

from tests.worlds.world import (
    Anchor,
    Busy,
    Fault,
    InnerLoads,
    ListKind,
    Moment,
    OddKind,
    OddResponse,
    OtherUserAction,
    OurRun,
    PastExecution,
    Reply,
    ResponseFields,
    Staleness,
    World,
)

SETTLE, FLOOR = 60, 15
FRESH, HALF, OLD = 0.0, SETTLE / 2, float(SETTLE)
AGES = (FRESH, HALF, OLD)
INSTANT, SHORT, MEDIUM, LONG = 1.0, 5.0, 40.0, 150.0
"""How long executions take: less than any time between two polls, up to more than twice ``settle``."""

Choice = Mapping[str, Any]
"""One value of an aspect: fields of a world; ``first`` and ``second``: fields of our runs."""
Axis = Sequence[Choice]
LISTS = frozenset({"past", "others", "odd"})
"""Fields to which several aspects add."""
RUNS = ("first", "second")


def compose(choices: Sequence[Choice]) -> World:
    """The world of one value of each aspect. Ours fails and others succeed, unless an aspect differs."""
    fields: dict[str, Any] = {"settle": SETTLE, "floor": FLOOR}
    runs: dict[str, dict[str, Any]] = {"first": {"result": "FAIL", "seconds": MEDIUM}}
    for choice in choices:
        for name, value in choice.items():
            if name in RUNS:
                runs.setdefault(name, {}).update(value)
            elif name in LISTS:
                fields[name] = (*fields.get(name, ()), *value)
            else:
                fields[name] = value
    return World(runs=tuple(OurRun(**runs[name]) for name in RUNS if name in runs), **fields)


# What Celonis shows


@dataclass(frozen=True)
class TargetView:
    """What a target's answers contain, and how old the parts of them that exist may be."""

    target: str
    shows: ResponseFields

    @property
    def is_job(self) -> bool:
        return self.target == "job"

    @property
    def has_list(self) -> bool:
        return self.is_job and self.shows.listing not in ("404", "403")

    def choice(self) -> Choice:
        return {"target": self.target, "shows": self.shows}

    def at_ages(self) -> Iterator[Staleness]:
        """Every combination of the ages of the parts that are shown: 3 for each part."""
        if not self.is_job:  # the age of the row, and that of its status, which is not newer
            yield from (Staleness("fixed", (row, status)) for row in AGES for status in AGES if row <= status)
            return
        current = AGES if self.shows.current != "never" else (FRESH,)
        latest = AGES if self.shows.latest != "none" else (FRESH,)
        listed = AGES if self.has_list else (FRESH,)
        yield from (Staleness("fixed", values) for values in product(AGES, current, latest, listed))

    def by_poll(self, *ages: float) -> Staleness:
        """The ages of the first polls, of which the last stays. A job's poll asks for record and list."""
        if not self.has_list:
            return Staleness("script", ages)
        return Staleness("script", tuple(age for age in ages for _ in range(2)))

    def scripts(self) -> Iterator[Staleness]:
        """All ages of three polls that are not all the same, the last stays; and four longer ones."""
        for ages in product(AGES, AGES, AGES):
            if len(set(ages)) > 1:
                yield self.by_poll(*ages)
        yield self.by_poll(*(FRESH, OLD) * 10)
        yield self.by_poll(*(OLD, FRESH) * 10)
        yield self.by_poll(*[FRESH] * 5, OLD)
        yield self.by_poll(*[OLD] * 5, FRESH)

    def ages(self, name: str) -> Staleness:
        """One of a few ages by name."""
        if name == "list old":
            return Staleness("fixed", (FRESH, FRESH, FRESH, OLD))
        named = {
            "fresh": (FRESH,),
            "half": (HALF,),
            "old": (OLD,),
            "old, fresh": (OLD, FRESH),
            "fresh, old": (FRESH, OLD),
            "alternate": (FRESH, OLD) * 10,
        }
        return self.by_poll(*named[name])


CURRENT: tuple[Literal["running", "never", "stays"], ...] = ("running", "never", "stays")
NEVER: tuple[Literal["404", "null", "{}"], ...] = ("404", "null", "{}")


def _spaces() -> Iterator[ResponseFields]:
    """The 15 id spaces of a job's record."""
    latest: list[dict[str, Any]] = [
        {"latest": "none"},
        *(
            {"latest": space, "latest_moves": moves}
            for space in ("same", "own")
            for moves in ("start", "end")
        ),
    ]
    for current in CURRENT:
        yield from (ResponseFields(current=current, **one) for one in latest)


def _jobs(*lists: Mapping[str, Any]) -> list[TargetView]:
    return [TargetView("job", replace(shows, **one)) for shows in _spaces() for one in lists]


COMPLETE: Mapping[str, Any] = {}
ENDED_ONLY = {"list_running": False}
NO_DATES = {"list_dates": False}
NO_LIST: dict[str, ListKind] = {"listing": "404"}
NEWEST, OLDEST = {"listing": "newest", "page": 1}, {"listing": "oldest", "page": 1}
RARE: tuple[Mapping[str, Any], ...] = (
    {"list_status": False},
    {"newest_first": False},
    {"newest_first": False, "list_dates": False},
    {"newest_first": False, "list_running": False, "list_status": False},
    {"listing": "newest", "page": 2},
    {"listing": "oldest", "page": 2},
    {"undated_last": True},
    {"listing": "newest", "page": 2, "list_running": False},
)
LOADS = [
    TargetView("load", ResponseFields(load_id=ids, load_dates=dates, load_running=running))
    for ids, dates, running in product((True, False), (True, False), (True, False))
]
ALL = [*_jobs(COMPLETE, ENDED_ONLY, NO_DATES, NEWEST, OLDEST, NO_LIST), *LOADS]
"""98 views: 15 id spaces by 6 kinds of list, and 8 kinds of last load."""
SOME = [*_jobs(COMPLETE, ENDED_ONLY, NO_LIST), *LOADS]
"""53 of them."""
FEW = [*_jobs(COMPLETE, NO_LIST), *LOADS]
"""38 of them."""


def _aged(views: Sequence[TargetView], *names: str) -> Axis:
    """Each view with each of these ages."""
    return [{**view.choice(), "ages": view.ages(name)} for view in views for name in names]


def _at_all_ages(views: Sequence[TargetView]) -> Axis:
    return [{**view.choice(), "ages": ages} for view in views for ages in view.at_ages()]


def _scripted(views: Sequence[TargetView]) -> Axis:
    return [{**view.choice(), "ages": ages} for view in views for ages in view.scripts()]


# Where another user's execution lies


YESTERDAY = PastExecution(5000.0, 100.0, "SUCCESS")


def _past(ago: float, seconds: float) -> Choice:
    """An execution that ended ``ago`` seconds before our run; a negative ``ago`` is still to come."""
    return {"past": (PastExecution(ago + seconds, seconds, "SUCCESS"),)}


def _later(anchor: Anchor, delay: float, seconds: float, run: int = 0) -> Choice:
    return {"others": (OtherUserAction("start", anchor, delay, seconds, "SUCCESS", run),)}


def _after_yesterday(choice: Choice) -> Choice:
    return {**choice, "past": (YESTERDAY,)}


LONG_AGO: Choice = {"past": (YESTERDAY,)}
WITHIN, JUST_BEFORE = _past(HALF, 20.0), _past(1.0, 20.0)
"""They began, and ended, within ``settle`` before our run."""
JUST_BEFORE_LONG = _past(1.0, 100.0)
"""It began before that."""
AT_SETTLE = _past(OLD - 1, 20.0)
SHOWN, SHOWN_LONG = _later("shown", 0.1, SHORT), _later("shown", 0.1, LONG)
ENDED, ENDED_LONG = _later("ended", 0.1, SHORT), _later("ended", 0.1, LONG)
ENDED_HALF = _later("ended", HALF, SHORT)
RUNNING, RUNNING_LONG = _past(-HALF, 40.0), _past(-100.0, 140.0)
AS_OURS_LEAVES = _later("posted", 0.01, 20.0)
DURING = _later("began", 3.0, SHORT)

BEFORE: Axis = (LONG_AGO, WITHIN, JUST_BEFORE)
AFTER: Axis = tuple(_after_yesterday(one) for one in (SHOWN, SHOWN_LONG, ENDED, ENDED_LONG, ENDED_HALF))
POSITIONS: Axis = (*BEFORE, JUST_BEFORE_LONG, *AFTER)


def _first(**values: Sequence[Any]) -> Axis:
    """The values of one field of our first run."""
    ((name, several),) = values.items()
    return [{"first": {name: one}} for one in several]


def _second(**values: Any) -> Choice:
    return {"second": {"result": "FAIL", **values}}


# Faults


STARTS: tuple[Fault, ...] = tuple(fault for fault in get_args(Fault) if fault != "none")
NO_EFFECT: tuple[Fault, ...] = ("timeout_before", "502_before", "unsent", "429")
"""The faults of a start after which there may be another one."""
PAIRS = [(first, second) for first in NO_EFFECT for second in STARTS]
SLOW: Choice = {"up": 2.0, "down": 2.0}
DATES: Axis = ({"date": True}, {"date": False})
ODD_KINDS: tuple[OddKind, ...] = get_args(OddKind)
MOMENTS: tuple[Moment, ...] = get_args(Moment)
ODD_AT_RUN = tuple(OddResponse("500", number, "run") for number in range(4))
ODD_AT_POST = tuple(OddResponse("500", number, "posted") for number in range(3))
ODD_AT_END = tuple(OddResponse("500", number, "ended") for number in range(3))
ODD_LISTS = tuple(replace(one[0], endpoint="list") for one in (ODD_AT_RUN, ODD_AT_POST, ODD_AT_END))
SUBSETS = (*range(11), 16, 19, 22, 37, 49)
"""Seeds: a partial record keeps each subset of its status, ids and dates with one of them."""
OURS_SUCCEEDS: Axis = ({"first": {"result": "SUCCESS"}},)


def _odd(kinds: Sequence[OddKind], places: Sequence[OddResponse]) -> Axis:
    return [{"odd": (replace(place, kind=kind),)} for kind in kinds for place in places]


def _crashes(calls: Sequence[int]) -> Axis:
    return _first(crashes=[((call, moment),) for call in calls for moment in MOMENTS])


def _others_fail(choice: Choice) -> Choice:
    """The same, but others fail."""
    changed = {
        name: tuple(replace(one, result="FAIL") for one in choice[name])
        for name in ("past", "others")
        if name in choice
    }
    return {**choice, **changed}


# Runs at the same time, webhooks, and jobs that load a model


ORDERS: Axis = [{"seed": seed} for seed in range(3)]
"""Seeds: orders in which functions take turns."""
BY_WEBHOOK: Choice = {"first": {"by": "webhook", "reconciled": 60.0}}


def _beside(**values: Any) -> Choice:
    return {"overlap": True, **_second(**values)}


def _both(*views: TargetView) -> list[TargetView]:
    """Each kind of last load beside each of these jobs."""
    loads = ("load_id", "load_dates", "load_running")
    kinds = [{name: getattr(load.shows, name) for name in loads} for load in LOADS]
    return [TargetView("job", replace(view.shows, **kind)) for view in views for kind in kinds]


def _loading(views: Sequence[TargetView], *names: str) -> Axis:
    """Each view of a job that loads a model, with each of these ages."""
    return [{**choice, "target": "both"} for choice in _aged(views, *names)]


INNER = _both(
    TargetView("job", ResponseFields()), TargetView("job", ResponseFields(latest="own", listing="404"))
)
OURS_LOAD: Choice = {"first": {"result": "SUCCESS", "load": "FAIL"}}
LOADED = InnerLoads(seconds=20.0, past=(YESTERDAY,))
LOADED_JUST_NOW = (PastExecution(23.0, 20.0, "SUCCESS"),)


def _load(anchor: Anchor, delay: float) -> Choice:
    return {"others": (OtherUserAction("start", anchor, delay, SHORT, "SUCCESS", at_model=True),)}


# The grid


@dataclass(frozen=True)
class GridPart:
    """The full product of some aspects. The last one varies fastest."""

    name: str
    text: str
    axes: tuple[Axis, ...]

    @property
    def size(self) -> int:
        return prod(len(axis) for axis in self.axes)

    def world(self, number: int) -> World:
        choices: list[Choice] = []
        for axis in reversed(self.axes):
            number, place = divmod(number, len(axis))
            choices.insert(0, axis[place])
        return compose(choices)


PARTS: tuple[GridPart, ...] = (
    GridPart(
        "other",
        "every view at all ages × position of one other execution × ours short or long",
        (_at_all_ages(ALL), POSITIONS, _first(seconds=(SHORT, LONG))),
    ),
    GridPart(
        "scripts",
        "every view × ages that change from poll to poll × position of one other × ours instant or medium",
        (
            _scripted(ALL),
            (LONG_AGO, JUST_BEFORE, *AFTER[1:4]),
            _first(seconds=(INSTANT, MEDIUM)),
        ),
    ),
    GridPart(
        "green",
        "ours succeeds, others fail: every view × fresh, half, old × position of one other × short or long",
        (
            OURS_SUCCEEDS,
            _aged(ALL, "fresh", "half", "old"),
            tuple(_others_fail(one) for one in POSITIONS),
            _first(seconds=(SHORT, LONG)),
        ),
    ),
    GridPart(
        "lists",
        "15 id spaces × 8 rarer lists × 4 ages × position of one other × ours short or long",
        (
            _aged(_jobs(*RARE), "fresh", "half", "old", "list old"),
            (LONG_AGO, JUST_BEFORE, *AFTER[1:4]),
            _first(seconds=(SHORT, LONG)),
        ),
    ),
    GridPart(
        "lists-starts",
        "15 id spaces × 8 rarer lists × fresh, old × start fault × another just before or long ago",
        (
            _aged(_jobs(*RARE), "fresh", "old"),
            _first(faults=[(fault,) for fault in STARTS]),
            (LONG_AGO, JUST_BEFORE_LONG),
        ),
    ),
    GridPart(
        "starts",
        "every view × 4 ages × start fault × date header or none × one other before × ours short or long",
        (
            _aged(ALL, "fresh", "old", "old, fresh", "fresh, old"),
            _first(faults=[(fault,) for fault in STARTS]),
            DATES,
            (LONG_AGO, JUST_BEFORE_LONG),
            _first(seconds=(SHORT, LONG)),
        ),
    ),
    GridPart(
        "starts-twice",
        "every view × fresh, old × a start without effect × fault of the next start",
        (_aged(ALL, "fresh", "old"), (LONG_AGO,), _first(faults=PAIRS)),
    ),
    GridPart(
        "starts-flight",
        "slow network: 53 views × fresh, old × start fault or none × moment of effect × of header × past",
        (
            (SLOW,),
            _aged(SOME, "fresh", "old"),
            _first(faults=[(), ("timeout_after",), ("timeout_before",), ("502_after",)]),
            _first(effect=(0.0, 1.0)),
            _first(stamp=(0.0, 1.0)),
            (LONG_AGO, JUST_BEFORE_LONG),
        ),
    ),
    GridPart(
        "clock",
        "every view × fresh, old × start fault or none × Celonis's clock 70 s ahead or behind",
        (
            (LONG_AGO,),
            _aged(ALL, "fresh", "old"),
            _first(faults=[(), *((fault,) for fault in STARTS)]),
            ({"clock_offset": 70.0}, {"clock_offset": -70.0}),
        ),
    ),
    GridPart(
        "first",
        "the target never ran: job views, load views with 3 answers for that × 3 ages × start fault or none",
        (
            [
                {**view.choice(), "ages": view.ages(name)}
                for view in (
                    *_jobs(COMPLETE, ENDED_ONLY, NO_DATES, NEWEST, OLDEST, NO_LIST),
                    *(
                        replace(view, shows=replace(view.shows, never=never))
                        for view in LOADS
                        for never in NEVER
                    ),
                )
                for name in ("fresh", "old", "alternate")
            ],
            _first(faults=[(), *((fault,) for fault in STARTS)]),
        ),
    ),
    GridPart(
        "odd",
        "53 views × fresh, old × odd answer × 9 positions × ours long, or medium and another's just before",
        (
            _aged(SOME, "fresh", "old"),
            _odd(ODD_KINDS, (*ODD_AT_RUN, *ODD_AT_POST, *ODD_AT_END[:2])),
            ({**LONG_AGO, "first": {"seconds": LONG}}, JUST_BEFORE),
        ),
    ),
    GridPart(
        "odd-lists",
        "30 job views with a list × fresh, old × odd answer to the list × 3 positions × one other",
        (
            _aged(_jobs(COMPLETE, ENDED_ONLY), "fresh", "old"),
            _odd(ODD_KINDS, ODD_LISTS),
            (LONG_AGO, JUST_BEFORE, _after_yesterday(ENDED)),
        ),
    ),
    GridPart(
        "odd-partial",
        "38 views × fresh, old × record with each of 16 subsets of its keys × 6 positions",
        (
            (LONG_AGO,),
            _aged(FEW, "fresh", "old"),
            [{"seed": seed} for seed in SUBSETS],
            _odd(("partial",), (*ODD_AT_RUN[:2], *ODD_AT_POST[:2], *ODD_AT_END[:2])),
        ),
    ),
    GridPart(
        "odd-starts",
        "38 views × fresh, old × odd answer × 4 positions × 3 start faults",
        (
            (LONG_AGO,),
            _aged(FEW, "fresh", "old"),
            _odd(ODD_KINDS, (ODD_AT_RUN[0], *ODD_AT_POST[:2], ODD_AT_END[0])),
            _first(faults=[(fault,) for fault in ("502_before", "timeout_after", "429")]),
        ),
    ),
    GridPart(
        "odd-twice",
        "38 views × fresh, old × 5 odd answers before × 5 after the start or the end × another just before",
        (
            (JUST_BEFORE,),
            _aged(FEW, "fresh", "old"),
            _odd(("503", "404", "null", "envelope", "keyless"), (ODD_AT_RUN[0],)),
            _odd(("503", "404", "null", "envelope", "keyless"), (ODD_AT_POST[0], ODD_AT_END[0])),
        ),
    ),
    GridPart(
        "crashes",
        "53 views × fresh, old × death at each of 27 calls, before or after its effect × short or long",
        (
            (LONG_AGO,),
            _aged(SOME, "fresh", "old"),
            _crashes(range(27)),
            _first(seconds=(SHORT, LONG)),
        ),
    ),
    GridPart(
        "crashes-starts",
        "38 views × fresh, old × death at each of 12 calls × 3 start faults",
        (
            (LONG_AGO,),
            _aged(FEW, "fresh", "old"),
            _crashes(range(12)),
            _first(faults=[(fault,) for fault in ("502_before", "timeout_after", "429")]),
        ),
    ),
    GridPart(
        "crashes-twice",
        "38 views × fresh, old × death at each of 10 calls × death at each of the next 4 again",
        (
            (LONG_AGO,),
            _aged(FEW, "fresh", "old"),
            _first(
                crashes=[
                    ((first, moment), (second, "after"))
                    for first in range(10)
                    for moment in MOMENTS
                    for second in range(4)
                ]
            ),
        ),
    ),
    GridPart(
        "two-runs",
        "every view at all ages × our next run at once or after half of settle, short or long",
        (
            (LONG_AGO,),
            _at_all_ages(ALL),
            ({"first": {"seconds": SHORT, "result": "SUCCESS"}},),
            [_second(gap=gap, seconds=seconds) for gap in (0.0, HALF) for seconds in (SHORT, LONG)],
        ),
    ),
    GridPart(
        "two-runs-scripts",
        "every view × ages that change from poll to poll × our next run after three gaps",
        (
            (LONG_AGO,),
            _scripted(ALL),
            OURS_SUCCEEDS,
            [_second(gap=gap, seconds=LONG) for gap in (0.0, HALF, OLD + 1)],
        ),
    ),
    GridPart(
        "two-runs-starts",
        "every view × fresh, half, old × start fault of the first run × its length × gap to the next",
        (
            (LONG_AGO,),
            _aged(ALL, "fresh", "half", "old"),
            _first(faults=[(fault,) for fault in STARTS]),
            [{"first": {"seconds": seconds, "result": "SUCCESS"}} for seconds in (SHORT, LONG)],
            [_second(gap=gap, seconds=MEDIUM) for gap in (0.0, HALF)],
        ),
    ),
    GridPart(
        "two-runs-second-starts",
        "every view × fresh, half, old × start fault of the second run × gap",
        (
            (LONG_AGO,),
            _aged(ALL, "fresh", "half", "old"),
            OURS_SUCCEEDS,
            [_second(gap=gap, seconds=LONG, faults=(fault,)) for gap in (0.0, HALF) for fault in STARTS],
        ),
    ),
    GridPart(
        "two-runs-stopped",
        "every view × fresh, half, old × our first run is stopped after 3 times × gap to the next",
        (
            (LONG_AGO,),
            _aged(ALL, "fresh", "half", "old"),
            _first(stop_after=(1.0, 10.0, HALF)),
            ({"first": {"seconds": LONG, "result": "SUCCESS"}},),
            [_second(gap=gap, seconds=MEDIUM) for gap in (0.0, HALF, OLD + 1)],
        ),
    ),
    GridPart(
        "two-runs-other",
        "every view × fresh, half, old × another's execution around our two runs, 5 positions × gap",
        (
            (LONG_AGO,),
            _aged(ALL, "fresh", "half", "old"),
            (
                ENDED,
                ENDED_LONG,
                _later("shown", 0.1, SHORT, run=1),
                _later("ended", 0.1, SHORT, run=1),
                _later("ended", 0.1, LONG, run=1),
            ),
            [_second(gap=gap, seconds=MEDIUM) for gap in (1.0, HALF)],
        ),
    ),
    GridPart(
        "two-others",
        "every view × 4 ages × position of one other before × of one after × ours short or long",
        (
            _aged(ALL, "fresh", "half", "old", "old, fresh"),
            (WITHIN, JUST_BEFORE, AT_SETTLE),
            (SHOWN, ENDED, ENDED_LONG, ENDED_HALF),
            _first(seconds=(SHORT, LONG)),
        ),
    ),
    GridPart(
        "three-others",
        "every view × 3 ages × two others before × one after",
        (
            _aged(ALL, "fresh", "old", "alternate"),
            (
                {"past": (*WITHIN["past"], *JUST_BEFORE["past"])},
                {"past": (*JUST_BEFORE["past"], *AT_SETTLE["past"])},
            ),
            (ENDED, ENDED_LONG, ENDED_HALF),
        ),
    ),
    GridPart(
        "busy",
        "every view × 4 ages × what runs or comes while we start, 4 positions × refused, queued or ignored",
        (
            _aged(ALL, "fresh", "half", "old", "alternate"),
            (RUNNING, RUNNING_LONG, _after_yesterday(AS_OURS_LEAVES), _after_yesterday(DURING)),
            [{"busy": busy} for busy in get_args(Busy)],
            _first(seconds=(SHORT, LONG)),
        ),
    ),
    GridPart(
        "replies",
        "every view × fresh, half, old × body of the answer to the start × position of one other",
        (
            _aged(ALL, "fresh", "half", "old"),
            [{"reply": reply} for reply in get_args(Reply)],
            (JUST_BEFORE, *AFTER[1:4]),
        ),
    ),
    GridPart(
        "queued",
        "every view × fresh, old × ours waits in the queue, shown there or not × start fault or none",
        (
            (LONG_AGO,),
            [
                {**choice, "shows": replace(choice["shows"], while_queued=queued, load_queued=queued)}
                for choice in _aged(ALL, "fresh", "old")
                for queued in (True, False)
            ],
            _first(queue=(HALF, 1.5 * OLD)),
            _first(faults=[(), ("502_after",), ("502_before",)]),
        ),
    ),
    GridPart(
        "stopped",
        "every view × fresh, half, old × our run is stopped after 3 times × position of one other × length",
        (
            _aged(ALL, "fresh", "half", "old"),
            _first(stop_after=(1.0, HALF, OLD)),
            (JUST_BEFORE, RUNNING_LONG, _after_yesterday(ENDED_LONG)),
            _first(seconds=(SHORT, LONG)),
        ),
    ),
    GridPart(
        "cancelled",
        "every view × 4 ages × another user cancels what runs, at 3 moments",
        (
            (LONG_AGO,),
            _first(seconds=(LONG,)),
            _aged(ALL, "fresh", "half", "old", "fresh, old"),
            [
                {"others": (one,)}
                for one in (
                    OtherUserAction("cancel", "began", 1.0),
                    OtherUserAction("cancel", "shown", 0.1),
                    OtherUserAction("cancel", "began", OLD),
                )
            ],
        ),
    ),
    GridPart(
        "overlap",
        "two runs at the same time: 38 views × 4 ages × what runs when they begin × gap × 3 orders of calls",
        (
            _aged(FEW, "fresh", "half", "old", "alternate"),
            (LONG_AGO, RUNNING, JUST_BEFORE, _after_yesterday(_later("run", 0.5, 30.0))),
            [_beside(gap=gap, seconds=MEDIUM) for gap in (0.0, 1.0, HALF)],
            ORDERS,
        ),
    ),
    GridPart(
        "overlap-odd",
        "the same: 38 views × old, alternating × a poll that fails × of which run × what runs × 3 orders",
        (
            _aged(FEW, "old", "alternate"),
            _odd(("503",), [OddResponse("503", number, "run", run) for number in (0, 1) for run in (0, 1)]),
            (RUNNING, RUNNING_LONG),
            (_beside(gap=1.0, seconds=MEDIUM),),
            ORDERS,
        ),
    ),
    GridPart(
        "overlap-starts",
        "the same: 38 views × fresh, old × start fault of the first run × its length × 3 orders",
        (
            (LONG_AGO,),
            _aged(FEW, "fresh", "old"),
            _first(faults=[(fault,) for fault in STARTS]),
            _first(seconds=(SHORT, LONG)),
            (_beside(gap=1.0, seconds=MEDIUM),),
            ORDERS,
        ),
    ),
    GridPart(
        "webhook",
        "a webhook's run: 30 job views × fresh, old × death at each of 20 calls, before or after its effect",
        (
            (LONG_AGO,),
            (BY_WEBHOOK,),
            _aged(_jobs(COMPLETE, NO_LIST), "fresh", "old"),
            _crashes(range(20)),
        ),
    ),
    GridPart(
        "webhook-starts",
        "the same: 30 job views × fresh, old × start fault × hand-over lost × sent again × past",
        (
            (BY_WEBHOOK,),
            _aged(_jobs(COMPLETE, NO_LIST), "fresh", "old"),
            _first(faults=[(), *((fault,) for fault in STARTS)]),
            _first(lost_handover=(False, True)),
            _first(again=((), (0.5,))),
            (LONG_AGO, JUST_BEFORE),
        ),
    ),
    GridPart(
        "inner",
        "a job loads a model: 16 views × 4 ages × when in it × loads before × others' after × fault",
        (
            (OURS_LOAD,),
            _loading(INNER, "fresh", "half", "old", "alternate"),
            [
                {"inner": replace(LOADED, share=share, past=past, others=others)}
                for share in (0.0, 0.5, 1.0)
                for past, others in (((YESTERDAY,), False), (LOADED_JUST_NOW, False), ((YESTERDAY,), True))
            ],
            (LONG_AGO, *(_after_yesterday(_load(*one)) for one in (("shown", 0.1), ("ended", 0.1)))),
            _first(faults=[(), ("502_before",), ("timeout_after",)]),
        ),
    ),
    GridPart(
        "inner-two",
        "the same, and our next run: 16 views × 4 ages × when × length of a load × end of the first × gap",
        (
            (LONG_AGO,),
            _loading(INNER, "fresh", "half", "old", "alternate"),
            [
                {"inner": replace(LOADED, share=share, seconds=seconds)}
                for share in (0.0, 1.0)
                for seconds in (SHORT, MEDIUM, LONG)
            ],
            [{"first": {"result": result, "load": "SUCCESS"}} for result in ("SUCCESS", "FAIL")],
            [_second(gap=gap, result="SUCCESS", load="FAIL") for gap in (0.0, HALF)],
        ),
    ),
    GridPart(
        "inner-crashes",
        "a job loads a model: 16 views × fresh, old × death at each of 24 calls, before or after its effect",
        (
            (LONG_AGO,),
            (OURS_LOAD,),
            _loading(INNER, "fresh", "old"),
            _crashes(range(24)),
            ({"inner": LOADED},),
        ),
    ),
)
