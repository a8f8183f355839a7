"""Starting a step, once: acquire its leases, poll, record what is there, send the start.

A step that has to wait gives all its leases back first: while it is not started it must not block other runs.
Later it acquires them again and takes new baselines under them.

Safe to repeat at any moment: what was noted is in the record, and the record is read first. What Celonis
says about a start that may have taken place is looked up by the check, before anything is sent again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from msgspec.structs import replace

from celonis_refresh.celonis.errors import CelonisError, CelonisRejected, CelonisThrottled, CelonisUnavailable
from celonis_refresh.celonis.records import StartAnswer
from celonis_refresh.runs.earlier import Busy, check_shown, note_busy, read_earlier
from celonis_refresh.runs.errors import StaleBaseline
from celonis_refresh.runs.leases import Blocked
from celonis_refresh.runs.records import Run, States
from celonis_refresh.runs.table import Action
from celonis_refresh.steps.observation import Activity, Observation
from celonis_refresh.steps.ownership import Evidence
from celonis_refresh.steps.step import (
    POST_SECONDS,
    Progress,
    Step,
    StepContext,
    end_row,
    inner_loads,
    note_refusal,
)
from celonis_refresh.steps.target import StepTarget
from celonis_refresh.timing import Deadline

FRESH = "Celonis to show what ended a moment ago"
FRESH_SECONDS = 10.0
"""Pause between polls while a baseline is known to be stale."""
RETURN_SECONDS = 300.0
"""For so long after a wait a step keeps its place in a queue: tasks that fail are retried meanwhile."""
MAX_SHARED = 10
"""Ids of running executions that are stored for other runs; of more, none: these wait for ``settle``."""
MIN_POST_SECONDS = 0.5
"""With less left, nothing is sent: a start that is cut off would have to be looked up."""


UnsavedAnswer = Mapping[str, Any]
"""``step``, ``posts``, ``sent_by``, and ``answered_id`` and ``answered_by`` where the answer has them."""


def start_claimed(
    context: StepContext, run: Run, step: str, deadline: Deadline, facts: Mapping[str, Any]
) -> UnsavedAnswer | None:
    """Start the step of a run that was claimed a moment ago, together with the step's lease.

    ``facts`` of the run are written together with the baseline. What Celonis answered is not written: it goes
    into the input of the execution, which costs no request.
    """
    task = Start(context, run, step, deadline, facts)
    task.start()
    return task.unsaved_answer


class Start(Step):
    """The start of a step; ``models``: what is noted of the loads that a job starts, by step."""

    def start(self) -> Progress:
        """Starts the step, or says that it has to wait. Raises what ends the step for good."""
        try:
            blocked = self._acquire()
            if blocked is not None:
                return self._wait_in_queue(blocked)
            observation = self._observe_baseline() if self._observe_models() else None
        except CelonisError as error:
            return self._poll_again(error)
        end_row(self.state)
        self.state.pop("trouble", None)
        if observation is None:
            return self._wait_while_busy("a load of a data model that this job loads")
        if observation.is_busy and not self._stands_still(observation):
            self._note_shown(observation)
            self._note_running(observation)
            return self._wait_while_busy("an execution that is running in Celonis already")
        if not self._is_fresh(observation):
            self._note_shown(observation)
            return self._wait_for_fresh()
        if self.deadline.left() < MIN_POST_SECONDS:
            self._note_shown(observation)
            self.give_back()
            return self.progress("WAITING")
        return self.send(observation)

    def _poll_again(self, error: CelonisError) -> Progress:
        """A refused poll decides nothing alone: the next one has to be refused with the same error."""
        is_transient = isinstance(error, CelonisUnavailable | CelonisThrottled)
        if not is_transient and note_refusal(self.state, error, self.now()).repeated:
            raise self.failed(error) from None
        return self.wait_out(error)

    def _acquire(self) -> Blocked | None:
        """Acquires the leases of the step, all or none; a run that was claimed just now has its own.

        Where Celonis did not answer before, it is polled first: until it answers, the step takes nothing.
        """
        if self.state.get("trouble") and not self.holds:
            self._poll_without_leases()
        request = self.lease_request()
        own = request.leases[:1] if self.holds else ()
        if own == request.leases:
            return None
        check = self.context.records.step_check(self.run, self.name)
        blocked = self.context.leases.acquire(request, check, self.deadline, held=own)
        self.holds = self.holds or blocked is None
        return blocked

    def _poll_without_leases(self) -> None:
        """Polls all that the step needs, and notes what is there: the poll for the baseline may be older."""
        observation = self._with_executions(self.target.observe(self.poll_seconds))
        for step in self._models_to_observe():
            target = self.context.target_for(self.run, step)
            self._is_model_idle(target, target.observe(self.poll_seconds))
        end_row(self.state)
        self.state.pop("trouble", None)
        self._note_shown(observation)
        if observation.is_busy and not self._stands_still(observation):
            self._note_running(observation)

    def _observe_baseline(self) -> Observation:
        """What is there before the start. That something is missing needs a second, consistent answer."""
        observation = self._with_executions(self.target.observe(self.poll_seconds))
        if observation.executions is None and not observation.single:
            observation = self._with_executions(observation)
        if observation.is_busy or (observation.has_run and observation.executions != ()):
            return observation
        self._note_shown(observation)  # the second may be older
        again = self._with_executions(self.target.observe(self.poll_seconds))
        if again.executions is None and observation.executions is not None:  # one odd answer decides nothing
            return replace(again, executions=observation.executions, requested_at=observation.requested_at)
        return again

    def _with_executions(self, observation: Observation) -> Observation:
        """A list that fails for longer than a reading may be stale is taken for one that is not served."""
        try:
            listed = self.target.with_executions(observation, self.poll_seconds())
        except CelonisUnavailable:
            since = self.state.setdefault("list_failing_since", self.now())
            if self.now() - float(since) < self.run.definition.settle:
                raise
            return observation
        self.state.pop("list_failing_since", None)
        return listed

    def _note_running(self, observation: Observation) -> None:
        if observation.activity is Activity.RUNNING:
            self.state["shows_running"] = True
        # A contradiction alone says nothing of what runs, but the row of a load without an end date does.
        if observation.activity is Activity.RUNNING or observation.running_ids or observation.running_rows:
            self._note_busy(observation)

    def _note_busy(self, observation: Observation | None = None) -> None:
        """Something runs: the baseline has to show that it ended. ``observation``: the one that shows it."""
        self.state.pop("rejected", None)
        before, ids = self.state.get("busy", {}), observation.running_rows if observation else frozenset()
        self.state["busy"] = {
            "at": self.now(),
            "ids": sorted(ids | frozenset(before.get("ids", ()))),
            "unnamed": bool(before.get("unnamed")) or not (observation and observation.names_what_runs),
        }
        self._share_busy()

    def _share_busy(self) -> None:
        """Stores it for the other runs, too: this one holds no lease while it waits."""
        busy = self.state["busy"]
        self._share(self.target.lease, () if busy["unnamed"] else busy["ids"])

    def _share(self, lease: str, rows: Collection[str]) -> None:
        """Stores that something runs, for all runs that wait; ``rows``: its ids, if these show all of it."""
        until = self.now() + self.run.definition.settle
        busy = Busy(until, tuple(sorted(rows)) if len(rows) <= MAX_SHARED else ())
        note_busy(self.context.records.table, self.run.run_id, lease, busy, self.context.clock, self.deadline)

    def _is_fresh(self, observation: Observation) -> bool:
        """Whether the observation shows our last execution, and the end of what was seen running.

        A run that was claimed a moment ago has not read the first: its write of the baseline checks it.
        """
        if self.just_claimed is None:
            shown = self.earlier().is_shown_by(observation.ids, observation.newest_start, self.now())
            shown = shown and self.earlier().shows_end_of_busy(
                self.run.run_id, observation.ended_rows, self.now()
            )
            if not shown:
                return False
        if not self._shows_what_was_shown(observation):
            return False
        busy, settle = self.state.get("busy"), self.run.definition.settle
        if busy is None or (not busy["unnamed"] and observation.ended_rows.issuperset(busy["ids"])):
            return True
        idle_from = busy.setdefault("idle_from", self.now())
        return bool(self.now() - float(idle_from) >= settle)

    def _shows_what_was_shown(self, observation: Observation) -> bool:
        """Whether the observation has every id that polls of this step have shown within ``settle``."""
        shown = self.state.get("shown", {})
        if not shown or self.now() - float(shown["at"]) >= self.run.definition.settle:
            return True
        return observation.ids.issuperset(shown["ids"])

    def _note_shown(self, observation: Observation) -> None:
        """What a poll has shown that led to no start: an observation without it is older."""
        before = self.state.get("shown", {})
        ids = observation.newest_ids | frozenset(before.get("ids", ()))
        if ids - frozenset(before.get("ids", ())):
            self.state["shown"] = {"at": self.now(), "ids": sorted(ids)}

    def _wait_for_fresh(self) -> Progress:
        """Waits until what ended a moment ago is shown: a start now could be confused with it.

        That takes two ``settle`` at most, and as long for any other run: this one keeps its place.
        """
        self.state["waiting_for"] = FRESH
        self._begin_waiting()
        self.state.setdefault("queued_at", self.now())
        progress = self.progress("WAITING", at_most=FRESH_SECONDS)
        self.give_back(replace(self.lease_request().place, until=self._comes_by(2 * progress["wait"])))
        return progress

    def _stands_still(self, observation: Observation) -> bool:
        """Whether only an id, or a missing end date, speaks for something running, for longer than any
        reading is stale."""
        contradiction = observation.identity or observation.status
        found = contradiction if observation.is_contradictory else observation.current
        if observation.activity is Activity.RUNNING or found is None:
            return False
        return self._stood("stood", found)

    def _stood(self, name: str, found: str) -> bool:
        """Whether polls have shown this id for longer than a reading can be stale.

        ``name``: where it is noted.
        """
        stood = self.state.get(name, {})
        if stood.get("id") != found:
            self.state[name] = {"id": found, "since": self.now()}
            return False
        return bool(self.now() - float(stood["since"]) >= self.run.definition.settle)

    def expect(self) -> Progress:
        """A load that a job starts: nothing is sent; from now on it is polled."""
        self.recall()
        self.state |= {"sent_by": self.now(), "answered": True, "began": self.now()}
        jobs = [self.run.steps.get(job.step, {}) for job in self.run.plan.jobs]
        began = [job.get("started_date", job.get("answered_by")) for job in jobs]
        if known := [date for date in began if date is not None]:
            self.state["answered_by"] = min(known)  # the first job that may start the load had begun by then
        self.save()
        return self.progress("RUNNING")

    def send(self, observation: Observation) -> Progress:
        """Records the baseline and sends the start. Written before it is sent, so that it is sent once."""
        before = dict(self.state)
        self.holds = True
        self.state.pop("refused", None)
        if self.just_claimed is None:  # a sender waits there: the first check reads it
            self.recall()
        now = self.now()
        # No start can leave later than this. A webhook has seconds left, and does not write the true moment.
        sent_by = now + self.seconds(POST_SECONDS)
        self.note_baseline(observation, now)
        if self.just_claimed is not None:
            self.state["by_webhook"] = True
        self.state |= {"sent_by": sent_by, "posts": self.state.get("posts", 0) + 1}
        try:
            self.save(self.just_claimed, self._check_of_earlier(observation), self._model_states())
        except StaleBaseline:  # nothing was written: the state machine waits for it
            self.state = before
            self._note_shown(observation)
            self.give_back()
            return {"status": "WAITING", "wait": 1}
        try:
            answer = self.target.post(self.seconds(sent_by - self.now()))
        except CelonisUnavailable as lost:
            return self._after_lost_answer(lost)
        except (CelonisThrottled, CelonisRejected) as refused:
            return self._after_refusal(refused)
        except CelonisError as error:
            raise self.failed(error) from None
        return self._after_answer(answer)

    def _model_states(self) -> States:
        """Return what is to be noted of the loads that a job starts.

        It is written with every start of a job, changed or not: a job of the same stage that gives their
        leases back in the same moment then finds them moved, or this start does.
        """
        known = {step: self.run.steps.get(step, {}) for step in inner_loads(self.run, self.name)}
        return {**known, **self.models}

    def _check_of_earlier(self, observation: Observation) -> Action | None:
        """The condition that no other run has stored anything that this observation may not show."""
        table, lease = self.context.records.table, self.target.lease
        if self.just_claimed is None:  # it was compared when it was read; a repeated start compares nothing
            return None if self._earlier is None else self._earlier.check(table, lease)
        return check_shown(table, lease, observation.ids, observation.newest_start, self.now())

    def _after_answer(self, answer: StartAnswer) -> Progress:
        found = {"answered_id": answer.execution_id, "answered_by": answer.answered_by}
        answered: dict[str, Any] = {"sent_by": self.now(), "answered": True}
        answered |= {name: value for name, value in found.items() if value is not None}
        self.state |= answered
        self.state.pop("rejected", None)
        if self.just_claimed is not None:  # the execution's input carries it, and OpenRun writes it
            facts = {name: value for name, value in answered.items() if name != "answered"}
            self.unsaved_answer = {"step": self.name, "posts": self.state["posts"], **facts}
            return {"status": "RUNNING", "wait": 0}
        self.save()
        return self.progress("RUNNING")

    def _after_lost_answer(self, lost: CelonisUnavailable) -> Progress:
        """It may have started: the next poll shows it. Only what never left may be sent again at once."""
        if not lost.may_have_started:
            return self._take_back(lost)
        self.state |= {"trouble": lost.message, "sent_by": self.now()}
        self.save()
        return self.progress("RUNNING")

    def _after_refusal(self, refused: CelonisThrottled | CelonisRejected) -> Progress:
        """Celonis did nothing. A refusal that may be about something running is repeated once polls had
        ``settle`` to show it; the same refusal after that is final, unless a poll has shown it by then."""
        if isinstance(refused, CelonisThrottled):
            return self._take_back(refused)
        busy = refused.status == 409 or self._is_busy()
        if self.state["posts"] > 1:
            # The first start came very late, or another user's execution runs: no poll distinguishes these.
            self.state |= {"trouble": refused.message, "evidence": Evidence(absent=True).to_json()}
            self.state |= {} if busy else {"rejected": str(refused)}
            self.save()
            return self.progress("RUNNING")
        if not busy and "rejected" in self.state:
            raise self.failed(refused) from None
        self._note_busy()
        if not busy:
            self.state["rejected"] = str(refused)
        return self._take_back(refused)

    def _is_busy(self) -> bool:
        """Which status refuses a start because something runs is not documented: a poll says."""
        try:
            observation = self.target.observe(self.poll_seconds)
            return (
                observation.is_busy or self.target.with_executions(observation, self.poll_seconds()).is_busy
            )
        except CelonisError:
            return True  # the next round polls again

    def _take_back(self, error: CelonisError) -> Progress:
        self.state |= {"refused": True, "posts": self.state["posts"] - 1}
        return self.wait_out(error)

    def _wait_in_queue(self, blocked: Blocked) -> Progress:
        """Waits for another run, which is recorded by its id: once, and again when it is another one."""
        if self.just_claimed is not None:
            self.give_back()
            return self.progress("WAITING")  # the state machine queues for it
        other = f"run {blocked.waits_for}"
        is_noted = self.state.get("waiting_for") == other and "queued_at" in self.state
        self._note_waiting(other)
        self.state["queued_at"] = blocked.request.place.since
        progress, records = self.progress("WAITING"), self.context.records
        wait, leases = progress["wait"], self.context.leases
        if not is_noted:
            write = records.step_write(self.run, self.name, self.state)
            leases.enqueue(blocked, write, self._comes_by(2 * wait), self.deadline)
            self.run = write.run
        elif not blocked.is_queued(self._comes_by(wait) - RETURN_SECONDS / 2):
            check = records.step_check(self.run, self.name)
            leases.enqueue(blocked, check, self._comes_by(2 * wait), self.deadline)
        return progress

    def _comes_by(self, seconds: float) -> float:
        """The moment by which a step that waits so long has come back, whatever is retried meanwhile."""
        return self.now() + seconds + RETURN_SECONDS

    def _wait_while_busy(self, for_what: str) -> Progress:
        """Waits for what is running in Celonis, behind the runs that wait for the leases."""
        self._note_waiting(for_what)
        self.state.pop("queued_at", None)
        self.give_back()
        return self.progress("WAITING")

    def _note_waiting(self, for_what: str) -> None:
        """Notes what the step waits for. Raises what ends it: the time-out, or that it is not to wait."""
        if self.run.definition.when_busy == "fail":
            text = f"{self.target.subject} is busy with {for_what}."
            hint = "Start the pipeline again later, or let it wait (when_busy: wait)."
            raise self.failed(self.target.busy(text, hint=hint), free=False)
        self.state["waiting_for"] = for_what
        self._begin_waiting()

    def _begin_waiting(self) -> None:
        """Counts the time-out from the first wait. Raises it once it has passed."""
        self.state.setdefault("began", self.now())
        if self.is_expired():
            raise self.expired()

    def _observe_models(self) -> bool:
        """Before the first job starts: what is there of the models that jobs load.

        False while one is being loaded, or may be.
        """
        return all(self._observe_model(step) for step in self._models_to_observe())

    def _models_to_observe(self) -> list[str]:
        """Return the loads whose leases the step acquires together with its own."""
        leases, loads = self.lease_request().leases, inner_loads(self.run, self.name)
        return [step for step, lease in loads.items() if lease in leases]

    def _observe_model(self, step: str) -> bool:
        load = Step(self.context, self.run, step, self.deadline)
        observation = load.target.observe(self.poll_seconds)
        if not observation.has_run:  # a second answer has to say so
            observation = load.target.observe(self.poll_seconds)
        if not self._is_model_idle(load.target, observation):
            return False
        load.note_baseline(observation, self.now())
        load.state.pop("began")
        self.models[step] = load.state
        return True

    def _is_model_idle(self, target: StepTarget, observation: Observation) -> bool:
        """Whether a model is not being loaded, as far as this poll and those before it show.

        That it is being loaded is stored for all runs, this one included, which gives the leases back.
        """
        seems_idle = observation.activity is not Activity.RUNNING
        if observation.is_busy and not (seems_idle and self._model_stands_still(target, observation)):
            self._share(target.lease, observation.running_rows if observation.names_what_runs else ())
            return False
        earlier, now = read_earlier(self.context.records.table, target.lease), self.now()
        shown = earlier.is_shown_by(observation.ids, observation.newest_start, now)
        return shown and earlier.shows_end_of_busy("", observation.ended_rows, now)

    def _model_stands_still(self, target: StepTarget, observation: Observation) -> bool:
        """Whether only a missing end date speaks for a load, for longer than any reading is stale."""
        found = observation.identity
        return found is not None and self._stood(f"stood_{target.step}", found)
