"""Worlds that broke an older version of the rules, written out. Random worlds contain their kinds as well."""

from __future__ import annotations

from tests.worlds.world import Action, Ages, Odd, OddKind, OurRun, Past, Shows, Target, World

YESTERDAY = Past(5000.0, 100.0, "SUCCESS")
RECENT = Past(120.0, 100.0, "FAIL")
NO_LIST = Shows(listing="404")
FAILS = OurRun(seconds=600.0, result="FAIL")

TARGETS: tuple[Target, ...] = ("job", "load")
EMPTY_KINDS: tuple[OddKind, ...] = ("empty", "null", "{}", "[]", "envelope", "keyless", "404")

CASES: dict[str, World] = {
    "a job's baseline does not show our run before": World(
        past=(YESTERDAY,),
        runs=(OurRun(seconds=20.0), FAILS),
        ages=Ages("script", (30.0, 30.0, 0.0)),
    ),
    "a load's baseline does not show our run before": World(
        target="load",
        past=(YESTERDAY,),
        runs=(OurRun(seconds=20.0), FAILS),
        ages=Ages("script", (30.0, 0.0)),
    ),
    "an answer shows the load before the one of the baseline": World(
        target="load",
        past=(YESTERDAY, Past(30.0, 10.0, "FAIL")),
        runs=(FAILS,),
        ages=Ages("script", (0.0, 45.0, 0.0)),
    ),
    "the same, and the start was lost": World(
        target="load",
        past=(YESTERDAY, Past(100.0, 80.0, "FAIL")),
        runs=(OurRun(seconds=600.0, result="FAIL", faults=("502_before",)),),
        ages=Ages("script", (0.0, 45.0, 0.0)),
    ),
    "ids lag, move at the end, and the start was lost": World(
        shows=Shows(listing="404", current="never", latest_moves="end"),
        past=(YESTERDAY, Past(200.0, 205.0, "SUCCESS")),
        runs=(OurRun(faults=("timeout_before",), result="FAIL"),),
        ages=Ages("fixed", (0.0, 5.0, 5.0, 0.0)),
    ),
    "the answer to the start is of another id space, and another user's execution follows": World(
        shows=Shows(latest="own"),
        past=(YESTERDAY,),
        runs=(OurRun(seconds=20.0, result="FAIL"),),
        others=(Action("start", "ended", 0.5, 5.0, "SUCCESS"),),
        reply="other_space",
    ),
    "the answer carries our id, and only ended loads are shown": World(
        target="load",
        shows=Shows(load_running=False),
        past=(YESTERDAY,),
        runs=(FAILS,),
        reply="own",
    ),
    "a start takes effect behind a 502, and the list has ended executions only": World(
        shows=Shows(list_running=False),
        past=(YESTERDAY,),
        runs=(OurRun(seconds=300.0, faults=("502_after",)),),
    ),
    "the same with a list whose oldest entry comes first": World(
        shows=Shows(newest_first=False),
        past=(YESTERDAY,),
        runs=(OurRun(seconds=300.0, faults=("502_after",)),),
    ),
    "the same with a list that never reaches what is new": World(
        shows=Shows(listing="oldest", page=1),
        past=(YESTERDAY, RECENT),
        runs=(OurRun(seconds=300.0, faults=("502_after",)),),
    ),
    "the list is not served at the answer that shows the end, and another user starts then": World(
        past=(YESTERDAY,),
        runs=(OurRun(seconds=20.0, result="FAIL"),),
        others=(Action("start", "ended", 1.0, 2.0, "SUCCESS"),),
        odd=(Odd("503", 0, "ended", 0, "list"),),
    ),
    "the list has no statuses and another user's execution is on top": World(
        shows=Shows(list_status=False),
        past=(YESTERDAY,),
        runs=(OurRun(seconds=20.0, result="FAIL"),),
        others=(Action("start", "ended", 1.0, 2.0, "SUCCESS"),),
    ),
    "the list has one entry and another user's execution takes it": World(
        shows=Shows(listing="newest", page=1),
        past=(YESTERDAY,),
        runs=(OurRun(seconds=20.0, result="FAIL"),),
        others=(Action("start", "ended", 1.0, 200.0, "SUCCESS"),),
    ),
    "ours runs for long, and the list omits what runs": World(
        shows=Shows(list_running=False), past=(YESTERDAY,), runs=(FAILS,)
    ),
    "ours runs for long, and the oldest entry comes first, without dates": World(
        shows=Shows(newest_first=False, list_dates=False), past=(YESTERDAY,), runs=(FAILS,)
    ),
    "ours waits in a queue for long and is listed last": World(
        shows=Shows(undated_last=True),
        past=(YESTERDAY,),
        runs=(OurRun(queue=200.0, seconds=100.0, result="FAIL"),),
    ),
    "the function dies after it saw the end": World(
        shows=NO_LIST,
        past=(YESTERDAY,),
        runs=(OurRun(seconds=20.0, result="FAIL", crashes=((16, "before"),)),),
        others=(Action("start", "ended", 30.0, 1.0, "SUCCESS"),),
    ),
    "while it waits, the record names one execution as running and the list an older one": World(
        seed=2004106,
        past=(Past(66.3, 57.6, "FAIL"),),
        runs=(OurRun(),),
        others=(Action("start", "run", 1.0, 139.0, "SUCCESS"),),
        odd=(Odd("{}", 1, "run"),),
        ages=Ages("fields", (), 30.0),
        busy="ignore",
    ),
    "a list of one entry skips ours, which only an id of another space showed": World(
        shows=Shows(latest="own", current="never", listing="newest", page=1),
        past=(YESTERDAY,),
        runs=(OurRun(seconds=5.0, result="FAIL"),),
        others=(Action("start", "ended", 0.1, 150.0, "SUCCESS"),),
        ages=Ages("fixed", (0.0, 0.0, 0.0, 60.0)),
        floor=15,
    ),
    **{
        f"the baseline of a {target} is answered with {kind}, then a start is lost": World(
            target=target,
            past=(YESTERDAY,),
            runs=(OurRun(seconds=300.0, result="FAIL", faults=("timeout_before",)),),
            odd=(Odd(kind, 0, "run", 0, "list" if target == "job" else "any"),),
        )
        for target in TARGETS
        for kind in EMPTY_KINDS
    },
}
"""Each keeps to the assumptions: none may end in a result that is not ours, or in two starts."""
