"""Worlds that broke an older version of the rules. Random worlds include similar ones."""

from __future__ import annotations

from tests.worlds.world import (
    InnerLoads,
    OddKind,
    OddResponse,
    OtherUserAction,
    OurRun,
    PastExecution,
    ResponseFields,
    Staleness,
    Target,
    World,
)

YESTERDAY = PastExecution(5000.0, 100.0, "SUCCESS")
RECENT = PastExecution(120.0, 100.0, "FAIL")
NO_LIST = ResponseFields(listing="404")
FAILS = OurRun(seconds=600.0, result="FAIL")

TARGETS: tuple[Target, ...] = ("job", "load")
EMPTY_KINDS: tuple[OddKind, ...] = ("empty", "null", "{}", "[]", "envelope", "keyless", "404")

CASES: dict[str, World] = {
    "a job's baseline does not show our run before": World(
        past=(YESTERDAY,),
        runs=(OurRun(seconds=20.0), FAILS),
        ages=Staleness("script", (30.0, 30.0, 0.0)),
    ),
    "a load's baseline does not show our run before": World(
        target="load",
        past=(YESTERDAY,),
        runs=(OurRun(seconds=20.0), FAILS),
        ages=Staleness("script", (30.0, 0.0)),
    ),
    "an answer shows the load before the one of the baseline": World(
        target="load",
        past=(YESTERDAY, PastExecution(30.0, 10.0, "FAIL")),
        runs=(FAILS,),
        ages=Staleness("script", (0.0, 45.0, 0.0)),
    ),
    "the same, and the start was lost": World(
        target="load",
        past=(YESTERDAY, PastExecution(100.0, 80.0, "FAIL")),
        runs=(OurRun(seconds=600.0, result="FAIL", faults=("502_before",)),),
        ages=Staleness("script", (0.0, 45.0, 0.0)),
    ),
    "ids lag, move at the end, and the start was lost": World(
        shows=ResponseFields(listing="404", current="never", latest_moves="end"),
        past=(YESTERDAY, PastExecution(200.0, 205.0, "SUCCESS")),
        runs=(OurRun(faults=("timeout_before",), result="FAIL"),),
        ages=Staleness("fixed", (0.0, 5.0, 5.0, 0.0)),
    ),
    "the answer to the start is of another id space, and another user's execution follows": World(
        shows=ResponseFields(latest="own"),
        past=(YESTERDAY,),
        runs=(OurRun(seconds=20.0, result="FAIL"),),
        others=(OtherUserAction("start", "ended", 0.5, 5.0, "SUCCESS"),),
        reply="other_space",
    ),
    "the answer carries our id, and only ended loads are shown": World(
        target="load",
        shows=ResponseFields(load_running=False),
        past=(YESTERDAY,),
        runs=(FAILS,),
        reply="own",
    ),
    "a start takes effect behind a 502, and the list has ended executions only": World(
        shows=ResponseFields(list_running=False),
        past=(YESTERDAY,),
        runs=(OurRun(seconds=300.0, faults=("502_after",)),),
    ),
    "the same with a list whose oldest entry comes first": World(
        shows=ResponseFields(newest_first=False),
        past=(YESTERDAY,),
        runs=(OurRun(seconds=300.0, faults=("502_after",)),),
    ),
    "the same with a list that never reaches what is new": World(
        shows=ResponseFields(listing="oldest", page=1),
        past=(YESTERDAY, RECENT),
        runs=(OurRun(seconds=300.0, faults=("502_after",)),),
    ),
    "the list is not served at the answer that shows the end, and another user starts then": World(
        past=(YESTERDAY,),
        runs=(OurRun(seconds=20.0, result="FAIL"),),
        others=(OtherUserAction("start", "ended", 1.0, 2.0, "SUCCESS"),),
        odd=(OddResponse("503", 0, "ended", 0, "list"),),
    ),
    "the list has no statuses and another user's execution is on top": World(
        shows=ResponseFields(list_status=False),
        past=(YESTERDAY,),
        runs=(OurRun(seconds=20.0, result="FAIL"),),
        others=(OtherUserAction("start", "ended", 1.0, 2.0, "SUCCESS"),),
    ),
    "the list has one entry and another user's execution takes it": World(
        shows=ResponseFields(listing="newest", page=1),
        past=(YESTERDAY,),
        runs=(OurRun(seconds=20.0, result="FAIL"),),
        others=(OtherUserAction("start", "ended", 1.0, 200.0, "SUCCESS"),),
    ),
    "ours runs for long, and the list omits what runs": World(
        shows=ResponseFields(list_running=False), past=(YESTERDAY,), runs=(FAILS,)
    ),
    "ours runs for long, and the oldest entry comes first, without dates": World(
        shows=ResponseFields(newest_first=False, list_dates=False), past=(YESTERDAY,), runs=(FAILS,)
    ),
    "ours waits in a queue for long and is listed last": World(
        shows=ResponseFields(undated_last=True),
        past=(YESTERDAY,),
        runs=(OurRun(queue=200.0, seconds=100.0, result="FAIL"),),
    ),
    "the function dies after it saw the end": World(
        shows=NO_LIST,
        past=(YESTERDAY,),
        runs=(OurRun(seconds=20.0, result="FAIL", crashes=((16, "before"),)),),
        others=(OtherUserAction("start", "ended", 30.0, 1.0, "SUCCESS"),),
    ),
    "while it waits, the record names one execution as running and the list an older one": World(
        seed=2004106,
        past=(PastExecution(66.3, 57.6, "FAIL"),),
        runs=(OurRun(),),
        others=(OtherUserAction("start", "run", 1.0, 139.0, "SUCCESS"),),
        odd=(OddResponse("{}", 1, "run"),),
        ages=Staleness("fields", (), 30.0),
        busy="ignore",
    ),
    "a start is lost, another user starts after it was looked up, and the repeat is refused": World(
        past=(YESTERDAY,),
        runs=(OurRun(result="FAIL", faults=("502_before",)),),
        others=(OtherUserAction("start", "posted", 108.0, 255.0, "SUCCESS"),),
        ages=Staleness("script", (0.0, 30.0)),
    ),
    **{
        f"the baseline of a {target} is answered with {kind}, then a start is lost": World(
            target=target,
            past=(YESTERDAY,),
            runs=(OurRun(seconds=300.0, result="FAIL", faults=("timeout_before",)),),
            odd=(OddResponse(kind, 0, "run", 0, "list" if target == "job" else "any"),),
        )
        for target in TARGETS
        for kind in EMPTY_KINDS
    },
}
"""Each satisfies the assumptions: none may end with a result that is not ours, or with two starts."""

LOADS_ENDED_ONLY = ResponseFields(load_dates=False, load_running=False)
WITH_OTHERS: dict[str, World] = {
    "a load that the baseline does not show yet ends before the start, and ours runs unseen": World(
        seed=2511,
        target="load",
        shows=ResponseFields(load_running=False),
        down=4.0,
        past=(PastExecution(0.02, 3.02, "SUCCESS"), PastExecution(2000.0, 10.0, "SKIPPED")),
        runs=(OurRun(seconds=638.0),),
        overlap=True,
    ),
    "another user's execution runs and ends while our start is in flight, and is shown as running": World(
        seed=1824,
        shows=ResponseFields(current="stays"),
        ages=Staleness("fields"),
        up=0.0,
        down=4.0,
        reply="echo",
        past=(PastExecution(1000.0, 10.0, "FAIL"),),
        runs=(OurRun(result="FAIL", effect=1.0, by="webhook"),),
        others=(OtherUserAction("start", "posted", 1.0, 1.0, "SUCCESS"),),
        overlap=True,
    ),
    "another run stores what runs between a run's poll and its start": World(
        seed=3307,
        ages=Staleness("answers"),
        up=2.0,
        down=0.5,
        busy="ignore",
        runs=(
            OurRun(by="webhook", again=(10.0,), lost_handover=True),
            OurRun(gap=0.5, by="webhook", again=(2.0,)),
        ),
        others=(OtherUserAction("start", "run", 0.0, 280.0, "SUCCESS"),),
        overlap=True,
    ),
    "a model's baseline is older than a poll that was thrown away, and our load runs unseen": World(
        seed=1691,
        target="both",
        shows=ResponseFields(listing="404", load_running=False),
        ages=Staleness("fields", (), 30.0),
        date=False,
        runs=(OurRun(faults=("429",)),),
        overlap=True,
        inner=InnerLoads(
            1.0, 772.0, past=(PastExecution(65.2, 2.0, "SKIPPED"), PastExecution(187.7, 198.583, "SUCCESS"))
        ),
    ),
    "the load of our failed job runs on unseen, and the next start is lost and repeated": World(
        seed=1730,
        target="both",
        shows=LOADS_ENDED_ONLY,
        runs=(OurRun(result="FAIL"), OurRun(faults=("502_before",))),
        inner=InnerLoads(0.5, 137.648, past=(PastExecution(769.404, 5.0, "SUCCESS"),)),
    ),
    "a waiting run has seen the model being loaded, and another one has not": World(
        seed=2067,
        target="both",
        ages=Staleness("fields", (), 30.0),
        runs=(OurRun(), OurRun()),
        overlap=True,
        inner=InnerLoads(
            0.5,
            19.674,
            past=(PastExecution(1.2, 49.806, "SUCCESS"), PastExecution(1987.249, 168.743, "SUCCESS")),
        ),
    ),
    "a model's baseline lacks a load that had ended, and ours runs unseen": World(
        seed=2244,
        target="both",
        shows=LOADS_ENDED_ONLY,
        ages=Staleness("script", (60.0, 0.0)),
        inner=InnerLoads(
            1.0,
            160.264,
            past=(PastExecution(860.157, 808.234, "SUCCESS"), PastExecution(887.744, 0.3, "SUCCESS")),
        ),
    ),
    "a run has seen the model being loaded, and its next poll is older": World(
        seed=3621,
        target="both",
        ages=Staleness("script", (0.0, 60.0, 0.0)),
        inner=InnerLoads(
            0.01,
            8.0,
            past=(PastExecution(12.543, 206.399, "SUCCESS"), PastExecution(397.497, 174.14, "SUCCESS")),
        ),
    ),
    "an older part shows ours running, a newer one another user's id: taken for one execution": World(
        seed=30178,
        target="both",
        shows=ResponseFields(latest_moves="end", listing="404"),
        ages=Staleness("fields", (), 59.0),
        down=0.01,
        reply="other_space",
        past=(PastExecution(19.394, 10.715, "FAIL"), PastExecution(2000.0, 10.0, "FAIL")),
        runs=(OurRun(seconds=754.0, faults=("unsent",)),),
        others=(
            OtherUserAction("start", "posted", 0.0, 25.0, "FAIL", number=2),
            OtherUserAction("start", "ended", 0.0, 1.0, "CANCEL", number=4),
        ),
        inner=InnerLoads(
            0.5,
            167.46,
            past=(PastExecution(3566.277, 148.171, "SUCCESS"), PastExecution(3743.981, 127.749, "SUCCESS")),
        ),
    ),
}
"""The same for runs beside others, runs that a webhook opens, and jobs that load a model."""
