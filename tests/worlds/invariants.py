"""Findings about a world's runs, from the ground truth alone, and the assumptions that the world broke."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from tests.worlds.fake_celonis import OTHER_USER, PostedCancel, SentPost
from tests.worlds.harness import WorldResult
from tests.worlds.run_driver import ENDLESS, STOPPED, RunResult
from tests.worlds.truth import TrueExecution
from tests.worlds.world import Target, World, differences

RESULTS: dict[str, frozenset[str]] = {
    "SUCCEEDED": frozenset({"SUCCESS"}),
    "JobFailed": frozenset({"FAIL"}),
    "JobCanceled": frozenset({"CANCEL"}),
    "JobSkipped": frozenset({"SKIPPED"}),
    "LoadFailed": frozenset({"FAIL"}),
    "LoadCanceled": frozenset({"CANCEL"}),
    "LoadWarned": frozenset({"SKIPPED"}),
}
"""The results, in the words of a job, that each outcome reports. A load's WARNING is a success by default."""
TIMED_OUT = frozenset({"JobTimedOut", "LoadTimedOut"})
LONG = 900.0
"""An execution that ended so long before the timeout of its step should have been reported."""
POLL_SECONDS = 5.0
"""At most so long before a start, or a cancel, the poll before it begins."""
FUNCTION_SECONDS = 60.0
"""A function that dies may have sent its start until the end of its time."""

FAILING = ("a", "b", "d", "e", "x")
MEANINGS = {
    "a": "reported a result that is not its execution's, or before that ended",
    "b": "started more than one execution",
    "c": "failed although its execution ended undisturbed",
    "n": "failed before it started anything, though nothing of its own was lost",
    "d": "did not end, or at its time-out only",
    "e": "cancelled another user's execution although answers had shown that it was not ours",
    "x": "raised an exception that nothing expects",
    "e?": "cancelled another user's execution that no answer had shown (not counted as a failure)",
}


@dataclass(frozen=True)
class Finding:
    """One verdict on one run. ``kind``: a key of MEANINGS."""

    kind: str
    run: int
    text: str
    outcome: str = ""


def findings(world_result: WorldResult) -> list[Finding]:
    """All findings against a world's runs; empty if every run did what it could."""
    found = [finding for result in world_result.results for finding in _of_run(world_result, result)]
    return found + [
        one for cancel in world_result.celonis.cancels for one in _of_cancel(world_result, cancel)
    ]


def _of_run(world_result: WorldResult, result: RunResult) -> list[Finding]:
    ours = world_result.celonis.truths[result.target].of(result.run)
    found = []
    if result.bug:
        found.append(Finding("x", result.run, result.bug, result.outcome))
    if len(ours) > 1 and not result.is_inner:
        text = f"started {', '.join(one.id for one in ours)}"
        found.append(Finding("b", result.run, text, result.outcome))
    if result.outcome in RESULTS:
        problem = _false_result(result, ours)
        found += [Finding("a", result.run, problem, result.outcome)] if problem else []
    elif result.outcome == ENDLESS:
        found.append(Finding("d", result.run, "does not end", result.outcome))
    elif result.outcome not in (STOPPED, "Bug"):
        found += _unproven(world_result, result, ours[0]) if len(ours) == 1 else []
        is_expected = ours or result.is_inner or _is_explained(world_result, result)
        found += [] if is_expected else [Finding("n", result.run, result.outcome, result.outcome)]
    return found


def _is_explained(world_result: WorldResult, result: RunResult) -> bool:
    """Whether nothing was started for a reason: the time was over, or a start was lost or ignored."""
    posts = [post for post in world_result.celonis.posts if post.run == result.run]
    without_effect = any(not post.refused and post.fault != "429" for post in posts)
    return result.outcome in TIMED_OUT or without_effect or bool(result.crashed)


def _false_result(result: RunResult, ours: list[TrueExecution]) -> str:
    """What is wrong with a reported result, or nothing."""
    allowed = RESULTS[result.outcome]
    if result.target == "load" and result.outcome == "SUCCEEDED":
        allowed = allowed | {"SKIPPED"}
    if not ours:
        return f"{result.outcome}, and it started nothing"
    ended = [one for one in ours if one.ended <= result.ended]
    if not ended:
        return f"{result.outcome} before {ours[0].id} ended"
    if not any(one.result in allowed for one in ended):
        return f"{result.outcome}, and {ended[0].id} ended {ended[0].result}"
    return ""


def _unproven(world_result: WorldResult, result: RunResult, ours: TrueExecution) -> list[Finding]:
    """An end without a result, though there was one."""
    if ours.ended > result.ended:
        if result.outcome in TIMED_OUT or ours.began >= result.ended:
            return []
        # It keeps running: that it was not waited for is as bad, if nobody disturbed it.
        text = f"{result.outcome} while {ours.id} runs"
        return [] if is_disturbed(world_result, result) else [Finding("c", result.run, text, result.outcome)]
    text = f"{result.outcome}, and {ours.id} ended {ours.result} {result.ended - ours.ended:.0f} s before"
    if result.outcome in TIMED_OUT and result.ended - ours.ended > LONG:
        return [Finding("d", result.run, text, result.outcome)]
    return [] if is_disturbed(world_result, result) else [Finding("c", result.run, text, result.outcome)]


def is_disturbed(world_result: WorldResult, result: RunResult) -> bool:
    """Whether another user did anything at the target from ``settle`` before the run until its end."""
    since, until = result.began - world_result.world.settle, result.ended
    others = [one for truth in world_result.celonis.truths.values() for one in truth.of(OTHER_USER)]
    if any(one.began <= until and one.ended >= since for one in others):
        return True
    return any(since <= at <= until for at, _ in world_result.celonis.other_cancels)


def _of_cancel(world_result: WorldResult, cancel: PostedCancel) -> list[Finding]:
    found = cancel.found
    if found is None or found.owner == cancel.run:
        return []
    ours = world_result.celonis.truths["job"].of(cancel.run)
    polled = _first_request(world_result, cancel.run, cancel.sent)
    over = not ours or all(one.ended + world_result.world.settle < polled for one in ours)
    kind = "e" if over or cancel.knew or found.owner != OTHER_USER else "e?"
    return [Finding(kind, cancel.run, f"cancelled {found.id}")]


def broken_assumptions(world_result: WorldResult) -> frozenset[int]:
    """The numbers of the model's assumptions that this world broke."""
    broken = {7} if world_result.world.header_offset else set()
    if any(_finds_unseen(post) for post in world_result.celonis.posts):
        broken.add(3)
    for result in world_result.results:
        if _breaks_fourth(world_result, result):
            broken.add(4)
        if _breaks_fifth(world_result, result):
            broken.add(5)
        if result.is_inner and _breaks_sixth(world_result, result):
            broken.add(6)
    return frozenset(broken)


def _finds_unseen(post: SentPost) -> bool:
    """Something unseen ran when a start arrived. Where Celonis refused it, and said so, that does no harm."""
    is_unseen = post.found_unseen or post.found_unseen_load
    return is_unseen and not (post.refused and not post.is_lost)


def _starts_within(world_result: WorldResult, target: Target, since: float, until: float) -> bool:
    """Whether an execution of another user began, or left the queue, in that time."""
    others = world_result.celonis.truths[target].of(OTHER_USER)
    return any(since <= one.began <= until or since <= one.started <= until for one in others)


def _breaks_fourth(world_result: WorldResult, result: RunResult) -> bool:
    """Without a list that reaches back, others start nothing until ours was shown, or its step ended."""
    target, remains = result.target, world_result.world.id_remains(result.target)
    for ours in world_result.celonis.truths[target].of(result.run):
        until = min(ours.id_seen, result.closed) if remains else result.closed
        is_started = _starts_within(world_result, target, ours.sent, until)
        if is_started and not _list_reaches_back(world_result, target, ours, until):
            return True
    return False


def _breaks_sixth(world_result: WorldResult, result: RunResult) -> bool:
    """Others load the model after our job was started, and before its load began, if it ever did."""
    sent = [
        post.sent for post in world_result.celonis.posts if post.run == result.run and post.target == "job"
    ]
    ours = world_result.celonis.loads.of(result.run)
    until = ours[0].began if ours else result.closed
    return bool(sent) and _starts_within(world_result, "load", min(sent), until)


def _list_reaches_back(world_result: WorldResult, target: Target, ours: TrueExecution, until: float) -> bool:
    shows, executions = world_result.world.shows, world_result.celonis.truths[target].executions
    if target == "load" or shows.listing in ("404", "403"):
        return False
    if shows.listing == "complete" or len(executions) <= shows.page:
        return True
    if shows.listing == "oldest":
        return False
    since_ours = sum(one.began >= ours.began and one.began <= until for one in executions)
    return since_ours < shows.page


def _breaks_fifth(world_result: WorldResult, result: RunResult) -> bool:
    """When an answer to a start is lost, others start nothing until that start has been looked up."""
    settle, target = world_result.world.settle, result.target
    if result.is_inner:  # nothing is sent for it
        return False
    for post in world_result.celonis.posts:
        if post.run != result.run or not _is_lost(world_result, post):
            continue
        settled = (post.answered if post.answered < inf else post.sent) + settle
        until = _first_poll(world_result, result, settled)
        until = max([until, *(one.ended for one in world_result.celonis.truths[target].of(result.run))])
        if _starts_within(
            world_result, target, _first_request(world_result, result.run, post.sent) - settle, until
        ):
            return True
    for at in result.crashed:  # its start may have been sent until the end of the function's time
        until = _first_poll(world_result, result, at + FUNCTION_SECONDS + settle)
        if _starts_within(world_result, target, _first_request(world_result, result.run, at) - settle, until):
            return True
    return False


def _first_request(world_result: WorldResult, run: int, by: float) -> float:
    """When the requests that a function made just before ``by`` began: those of a poll."""
    return min((at for at in world_result.celonis.calls[run] if by - POLL_SECONDS <= at <= by), default=by)


def _is_lost(world_result: WorldResult, post: SentPost) -> bool:
    """Whether the answer to a start never came, or came after the run was stopped, and is not recorded."""
    stopped = post.fault == "unsent" and world_result.world.runs[post.run].stop_after is not None
    return post.is_lost or post.answered == inf or stopped


def _first_poll(world_result: WorldResult, result: RunResult, since: float) -> float:
    """When the first observation that the run asked for from then on was recorded, or the run was closed.

    An odd answer makes none.
    """
    observed = (until for asked_at, until in world_result.celonis.observed[result.run] if asked_at >= since)
    return min(observed, default=max(since, result.closed))


def features(world: World) -> tuple[str, ...]:
    """The main features of a world, to group findings by."""
    shows = world.shows
    kept = []
    if world.target != "job":
        ids = ("id" if shows.load_id else "") + ("+dates" if shows.load_dates else "")
        kept += [f"load shows {ids.strip('+') or 'status only'}"]
        kept += [] if shows.load_running else ["ended only"]
    if world.target != "load":
        names = "none" if shows.listing in ("404", "403") else shows.listing
        kept += [f"job, list {names}", f"current {shows.current}", f"latest {shows.latest}"]
        kept += [f"at {shows.latest_moves}"] if shows.latest != "none" else []
        kept += [one for one in differences(shows, type(shows)()) if one.startswith("list_")]
    faults = {fault for run in world.runs for fault in run.faults} - {"none"}
    kept += [f"start {fault}" for fault in sorted(faults)]
    kept += ["crash"] if any(run.crashes for run in world.runs) else []
    kept += [f"odd {odd.kind}" for odd in world.odd]
    kept += sorted({f"by {run.by}" for run in world.runs if run.by != "execution"})
    kept += ["overlap"] if world.overlap else []
    kept += ["stale"] if world.ages.kind != "zero" else []
    return tuple(kept)


@dataclass
class FindingCounts:
    """What numbered worlds did. ``numbers``: of those with each kind of finding, within the assumptions."""

    worlds: int = 0
    within: int = 0
    numbers: dict[str, list[int]] = field(default_factory=dict)

    def judge(self, number: int, world_result: WorldResult) -> None:
        """Count the world of this number."""
        self.worlds += 1
        if broken_assumptions(world_result):
            return
        self.within += 1
        for kind in sorted({one.kind for one in findings(world_result)}):
            self.numbers.setdefault(kind, []).append(number)

    def add(self, other: FindingCounts) -> None:
        self.worlds += other.worlds
        self.within += other.within
        for kind, numbers in other.numbers.items():
            self.numbers.setdefault(kind, []).extend(numbers)

    def count(self, kind: str) -> int:
        return len(self.numbers.get(kind, ()))

    @property
    def failed(self) -> list[int]:
        """The worlds in which a run broke an invariant."""
        return sorted({number for kind in FAILING for number in self.numbers.get(kind, ())})
