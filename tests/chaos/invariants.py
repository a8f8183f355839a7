"""The invariants, checked against the fakes once all has ended. A finding starts with the invariant."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from celonis_refresh.runs.records import Run
from celonis_refresh.runs.table import refusal_key
from celonis_refresh.timing import epoch
from celonis_refresh.workflow.executions import refusal_cause
from tests.chaos.celonis import ReceivedStart, StepIdentity
from tests.chaos.scenario import ScenarioLoad
from tests.chaos.simulation import CommandResponse, SimulationResult, TriggerResponse
from tests.fakes.celonis import FakeStart
from tests.fakes.clock import START

RANK = {"DELTA": 0, "FULL": 1}
GOOD = {"SUCCESS", "WARNING"}
TRUE_ENDS = {"JobFailed": "FAIL", "JobCanceled": "CANCEL", "LoadFailed": "FAIL", "LoadCanceled": "CANCEL"}
UNFINISHED = ("was not cancelled", "keeps running", "could not be", "has not ended")
"""How a record says that something of a stopped run may still be running."""


def findings(result: SimulationResult) -> list[str]:
    """The violations; empty if there are none."""
    return sorted({*result.broken, *Invariants(result).findings()})


class Invariants:
    """One scenario that was run."""

    def __init__(self, result: SimulationResult) -> None:
        self.result, self.simulation = result, result.simulation
        table, celonis = self.simulation.service.dynamodb, self.simulation.service.chaos
        self.runs = {str(item["run_id"]): Run(item) for item in table.documents("run#")}
        self.pipelines = {each.name: each for each in result.scenario.pipelines}
        self.sent: dict[str, list[ReceivedStart]] = defaultdict(list)
        for sent in celonis.starts:
            self.sent[sent.who.run_id].append(sent)
        self.cancels = celonis.cancels
        self.notified = set(self.simulation.functions.notified)

    def findings(self) -> Iterator[str]:
        yield from self.everything_ends()
        yield from self.nothing_lost()
        yield from self.nothing_twice()
        yield from self.one_at_a_time()
        yield from self.only_our_own()
        yield from self.failures_are_notified()
        yield from self.commands_do_what_they_say()

    # ------------------------------------------------------------ ends

    def everything_ends(self) -> Iterator[str]:
        for left in self.simulation.left_over():
            yield f"ends: {left} is left over"
        for name in self.simulation.functions.executions.running():
            yield f"ends: execution {name} is still running"
        for run_id, run in self.runs.items():
            if run.is_open:
                yield f"ends: run {run_id} is still {run.status}"

    # ------------------------------------------------------------ nothing lost

    def nothing_lost(self) -> Iterator[str]:
        for ack in [*self.result.acks, *self._joined()]:
            run = self.runs.get(ack.run_id)
            if ack.status == "skipped":
                continue
            if run is None:
                if ack.run_id not in self.result.drops_asked:
                    yield f"lost: {ack.pipeline} was answered {ack.run_id}, which there is not ({ack.key})"
                continue
            if not run.is_open and run.status == "SUCCEEDED":
                yield from (f"lost: {ack.run_id} {what} ({ack.key})" for what in self._uncovered(ack, run))

    def _joined(self) -> Iterator[TriggerResponse]:
        """Executions whose triggers joined a run."""
        inputs = self.simulation.machine.inputs
        first: dict[str, float] = {}
        for name, document in inputs.items():
            began = self.simulation.functions.executions.visible_from[name] - 1.0
            first.setdefault(document.get("delivery", name), began)
        for name, opened in self.simulation.machine.opened.items():
            document = inputs[name]
            if "pipeline" in document and opened["status"] == "joined":
                tables = document.get("tables")
                wanted = tuple(tables) if isinstance(tables, list) else tables
                began = first[document.get("delivery", name)]
                yield TriggerResponse(
                    began,
                    name,
                    document["pipeline"],
                    opened["run_id"],
                    "joined",
                    document.get("mode"),
                    wanted,
                )

    def _uncovered(self, ack: TriggerResponse, run: Run) -> Iterator[str]:
        """What the trigger requested and the successful run did not do after it was sent."""
        pipeline = self.pipelines[ack.pipeline]
        if "retry_of" in run.item:
            return
        sent = [one for one in self.sent[ack.run_id] if one.start is not None and one.at >= ack.sent_at]
        rank = RANK[ack.mode or pipeline.mode] if ack.mode != "DELTA" else 0
        for job in self._undisturbed(run, pipeline.jobs):
            if not any(one.target == job and RANK[one.detail] >= rank for one in sent):
                yield f"has not executed {job} {ack.mode or pipeline.mode} since"
        models = self._undisturbed(run, [load.model for load in pipeline.loads if load.started_by == "run"])
        for load in pipeline.loads:
            if load.model in models and not any(_covers(one, load, ack) for one in sent):
                yield f"has not loaded {load.model} with {ack.tables or load.kind} since"

    def _undisturbed(self, run: Run, targets: Iterable[str]) -> list[str]:
        """The targets that no other user started around our start."""
        sent_at = {_target(run, step): float(state.get("sent_by", 0.0)) for step, state in run.steps.items()}
        return [name for name in targets if not self.result.is_disturbed(name, sent_at.get(name, 0.0))]

    # ------------------------------------------------------------ nothing twice

    def nothing_twice(self) -> Iterator[str]:
        counted = Counter(one.who for sent in self.sent.values() for one in sent if one.start is not None)
        for who, count in counted.items():
            if count > 1:
                yield f"twice: {who.step} of {who.run_id} was started {count} times"
        answered: dict[tuple[str, str], set[str]] = defaultdict(set)
        for ack in self.result.acks:
            if ack.key and ack.status != "skipped":
                answered[ack.key, ack.pipeline].add(ack.run_id)
        for (key, pipeline), runs in answered.items():
            if len(runs) > 1:
                yield f"twice: {key} led to {sorted(runs)} of {pipeline}"
        yield from self._triggers_twice()

    def _triggers_twice(self) -> Iterator[str]:
        """The same trigger is in one run only, except for a retry."""
        found: dict[tuple[str, str], set[str]] = defaultdict(set)
        for run_id, run in self.runs.items():
            for reason in run.item["options"]["reasons"]:
                if "retry_of" not in run.item and str(reason["trigger"]).startswith(("delivery#", "signed#")):
                    found[str(reason["trigger"]).rsplit("#", 1)[0], run.pipeline].add(run_id)
        for (trigger, pipeline), runs in found.items():
            if len(runs) > 1:
                yield f"twice: {trigger} stands in {sorted(runs)} of {pipeline}"

    # ------------------------------------------------------------ one at a time

    def one_at_a_time(self) -> Iterator[str]:
        """A start arrives only where no execution of another of our runs is running."""
        for sent in self.simulation.service.chaos.starts:
            owner = self._owner(sent.target, sent.running)
            if owner is not None and owner.run_id != sent.who.run_id:
                yield f"one at a time: {sent.who.run_id} starts {sent.target} while {owner.run_id} uses it"

    def _owner(self, target: str, start: FakeStart | None) -> StepIdentity | None:
        """The step of ours that began an execution."""
        for one in self.simulation.service.chaos.starts:
            if start is not None and one.start is start and one.target == target:
                return one.who
        return None

    # ------------------------------------------------------------ only our own

    def only_our_own(self) -> Iterator[str]:
        for run_id, run in self.runs.items():
            ended = {step: state for step, state in run.steps.items() if "ended_at" in state}
            for step, state in ended.items():
                yield from self._step_is_true(run, step, state)
            if run.status == "SUCCEEDED":
                steps = [job.step for job in run.plan.jobs] + [load.step for load in run.plan.loads]
                for step in steps:
                    if run.steps.get(step, {}).get("outcome") != "SUCCEEDED":
                        yield f"own: {run_id} succeeded without {step}"

    def _step_is_true(self, run: Run, step: str, state: Mapping[str, Any]) -> Iterator[str]:
        target, ended_at = _target(run, step), str(state["ended_at"])
        if self.result.is_disturbed(target, float(state.get("sent_by", state.get("began", 0.0)))):
            return
        ours = self._ours(run, step, state)
        results = {one.result for one in ours if one.ended_at <= epoch(ended_at)}
        if state.get("outcome") == "SUCCEEDED" and not results & GOOD:
            yield f"own: {step} of {run.run_id} is reported SUCCEEDED; in truth {_shown(ours)}"
        expected = TRUE_ENDS.get(str(state.get("error")))
        if expected is not None and expected not in results:
            yield f"own: {step} of {run.run_id} is reported {state['error']}; in truth {_shown(ours)}"

    def _loading_jobs(self, model: str) -> list[str]:
        return [job.name for job in self.result.scenario.jobs if model in job.inner]

    def _ours(self, run: Run, step: str, state: Mapping[str, Any]) -> list[FakeStart]:
        """The executions that the step, or the one that it resumed, really began."""
        target, run_ids = _target(run, step), {run.run_id, str(state.get("resumed_from", run.run_id))}
        if _resumes(run):  # of a load that a job starts, the job may be the one that was resumed
            run_ids |= self._line(run.run_id)
        sent = [one for run_id in sorted(run_ids) for one in self.sent[run_id] if one.start is not None]
        found = [one.start for one in sent if one.target == target and one.start is not None]
        for one in sent:
            if one.target in self._loading_jobs(target) and one.start is not None:
                found += self.simulation.service.chaos.target(one.target).inner_loads_of(one.start, target)
        return found

    # ------------------------------------------------------------ visible

    def failures_are_notified(self) -> Iterator[str]:
        for run_id, run in self.runs.items():
            if run.status in ("FAILED", "TIMED_OUT") and run_id not in self.notified:
                yield f"visible: {run_id} ended {run.status} and nobody was notified"
        executions = self.simulation.functions.executions.known
        for name, execution in executions.items():
            is_heard = name in self.runs or name not in self.result.lost_events
            is_well = name in self.runs and self.runs[name].status in ("SUCCEEDED", "ABORTED")
            if execution.status in ("RUNNING", "SUCCEEDED") or is_well or not is_heard:
                continue
            if name not in self.notified and not self._is_repeated(name):
                yield f"visible: execution {name} ended {execution.status} and nobody was notified"

    def _is_repeated(self, name: str) -> bool:
        """Whether a refusal is known, and its notification was left out after one with the same cause."""
        known, table = self.simulation.functions.executions.known, self.simulation.service.table
        if name in self.runs or table.get(refusal_key(name)) is None:
            return False
        cause = refusal_cause(known[name])
        return any(refusal_cause(known[each]) == cause for each in self.notified if each in known)

    # ------------------------------------------------------------ commands

    def commands_do_what_they_say(self) -> Iterator[str]:
        for command in self.result.commands:
            if command.kind == "cancel" and command.answer is not None:
                yield from self._cancelled(command, command.answer)
        yield from self._retried()
        yield from self._cancels_its_own()
        yield from self._stops_stop()

    def _retried(self) -> Iterator[str]:
        retried: dict[str, set[str]] = defaultdict(set)
        for command in self.result.commands:
            if command.kind == "retry" and command.answer is not None:
                retried[command.run_id] |= {run["run_id"] for run in command.answer["runs"]}
        for run_id, run in self.runs.items():
            if "retry_of" in run.item:
                retried[str(run.item["retry_of"])].add(run_id)
                yield from self._skips_what_was_done(run)
        for run_id, again in retried.items():
            if len(again) > 1:
                yield f"retry: {run_id} was retried by {sorted(again)}"
            for new in again - self.runs.keys():
                yield f"retry: {run_id} is to be retried by {new}, which there is not"

    def _cancelled(self, command: CommandResponse, answer: Mapping[str, Any]) -> Iterator[str]:
        status, run = answer["status"], self.runs.get(command.run_id)
        if status == "dropped" and run is not None:
            yield f"cancel: {command.run_id} was dropped, and ran"
        dropped = answer.get("dropped")
        if dropped is not None and dropped["run_id"] in self.runs:
            yield f"cancel: {dropped['run_id']} was dropped, and ran"
        if status == "cancelling" and command.runs_on:
            yield f"cancel: the execution of {command.run_id} was not stopped"

    def _cancels_its_own(self) -> Iterator[str]:
        """A run cancels what it, or a run that it retries, has started."""
        for cancel in self.cancels:
            if cancel.who.run_id in self.result.ended_by_aws and self._has_ended(
                cancel.who.run_id, cancel.at
            ):
                yield f"stop: {cancel.who.run_id} was ended by AWS, and {cancel.job} was cancelled"
            owner = self._owner(cancel.job, cancel.hit)
            hit = cancel.hit
            if hit is None or (owner is not None and owner.run_id in self._line(cancel.who.run_id)):
                continue
            if not any(target == cancel.job and abs(at - hit.at) < 1.0 for at, target in self.result.others):
                yield f"stop: {cancel.who.run_id} cancelled {hit.id} of {cancel.job}, which is not its own"

    def _has_ended(self, run_id: str, at: float) -> bool:
        """Whether the run was being closed by then."""
        closer = self.runs[run_id].item.get("closing")
        return closer is not None and epoch(str(closer)) <= at

    def _stops_stop(self) -> Iterator[str]:
        """The jobs that a stopped run has started are cancelled, or its record says why not."""
        stopped = set(self.simulation.functions.executions.stopped)
        for run_id, run in self.runs.items():
            if run.status != "ABORTED" or run_id not in stopped or not run.has_definition:
                continue
            ended, outcome = epoch(str(run.item["ended_at"])), str(run.item["outcome"])
            if not run.definition.cancel_on_stop or any(text in outcome for text in UNFINISHED):
                continue
            for one in self.sent[run_id]:
                if one.start is not None and one.call == "execute_job" and one.start.ended_at > ended + 5.0:
                    yield f"stop: {one.target} of {run_id} runs on, and the record says {outcome!r}"

    def _line(self, run_id: str) -> set[str]:
        """A run, and the runs that it retries."""
        found = {run_id}
        while run_id in self.runs and "retry_of" in self.runs[run_id].item:
            run_id = str(self.runs[run_id].item["retry_of"])
            found.add(run_id)
        return found

    def _skips_what_was_done(self, run: Run) -> Iterator[str]:
        """What a retry leaves out was done by the runs that it retries."""
        for skipped in run.item.get("skip", ()):
            starts = [one for each in self._line(run.run_id) for one in self.sent[each]]
            done = [one.start for one in starts if one.target == skipped and one.start is not None]
            if not self._loading_jobs(str(skipped)) and not any(start.result in GOOD for start in done):
                yield f"retry: {run.run_id} leaves out {skipped}, which was not done"


def _covers(sent: ReceivedStart, load: ScenarioLoad, ack: TriggerResponse) -> bool:
    """Whether a load does for its model what the trigger requests."""
    if sent.target != load.model:
        return False
    if sent.call == "load_model" and sent.detail == "complete":
        return True
    if ack.tables == "all":
        return False
    if ack.tables is None and load.kind == "from_cache":
        return True
    tables = load.tables if ack.tables is None else ack.tables
    wanted = {f"{name}-id" for name in tables}
    return bool(wanted) and sent.call == "load_tables" and all(repr(table) in sent.detail for table in wanted)


def _resumes(run: Run) -> bool:
    return any("resumed_from" in state for state in run.steps.values())


def _target(run: Run, step: str) -> str:
    return run.plan.job(step).job if step.startswith("job-") else run.plan.load(step).data_model


def _shown(starts: Iterable[FakeStart]) -> str:
    return (
        ", ".join(f"{one.id} {one.result} at {one.ended_at - START:.0f} s" for one in starts)
        or "nothing was started"
    )
