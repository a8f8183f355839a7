"""Starting a step, once: take its lease, look, note what is there, send the start.

Safe to repeat at any moment: what was noted is in the record, and the record is read first. What Celonis
says about a start that may have taken place is looked up by the check, before anything is sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celonis_refresh.celonis.errors import CelonisError, CelonisRejected, CelonisThrottled, CelonisUnavailable
from celonis_refresh.celonis.records import StartAnswer
from celonis_refresh.passage.poll_refusals import end_row, note_refusal
from celonis_refresh.passage.progress import Progress
from celonis_refresh.passage.step import POST_SECONDS, Means, Step
from celonis_refresh.runs.earlier import check_shown
from celonis_refresh.runs.errors import StaleBaseline
from celonis_refresh.runs.records import Run
from celonis_refresh.runs.table import Action
from celonis_refresh.steps.observation import Activity, Observation
from celonis_refresh.timing import Deadline

FRESH = "Celonis to show what ended a moment ago"
FRESH_SECONDS = 10.0
"""Pause between polls while a baseline is known to be stale."""
MIN_POST_SECONDS = 0.5
"""With less left, nothing is sent: a start that is cut off would have to be looked up."""


class Start(Step):
    """``just_claimed``: facts of a run that was made a moment ago, together with this step's lease; they are
    written with the baseline."""

    def __init__(
        self,
        means: Means,
        run: Run,
        name: str,
        deadline: Deadline,
        just_claimed: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(means, run, name, deadline)
        self.just_claimed = just_claimed
        self.unsaved_answer: dict[str, Any] | None = None

    def start(self) -> Progress:
        """Starts the step, or says that it has to wait. Raises what ends the step for good."""
        if not self._has_lease():
            return self._wait("another run")
        try:
            if not self._note_loads_of_jobs():
                return self._wait("a load of a data model that this job loads")
            observation = self._observe_baseline()
        except CelonisError as error:
            return self._poll_again(error)
        if end_row(self.state):
            self.state.pop("waiting_for", None)  # so that it is written
        self.state.pop("trouble", None)
        if observation.is_busy and not self._stands_still(observation):
            self._note_shown(observation)
            return self._wait_while_busy(observation)
        if not self._is_fresh(observation):
            self._note_shown(observation)
            return self._wait_for_fresh()
        if self.deadline.left() < MIN_POST_SECONDS:
            return self.progress("WAITING")
        return self.send(observation)

    def _poll_again(self, error: CelonisError) -> Progress:
        """A refused poll decides nothing alone: the next one has to be refused with the same error."""
        is_transient = isinstance(error, CelonisUnavailable | CelonisThrottled)
        if not is_transient and note_refusal(self.state, error, self.now()).repeated:
            raise self.failed(error) from None
        return self.wait_out(error)

    def _observe_baseline(self) -> Observation:
        """What is there before the start. That something is missing needs a second, consistent answer."""
        observation = self._with_executions(self.work.observe(self.poll_seconds))
        if observation.executions is None and not observation.single:
            observation = self._with_executions(observation)
        if observation.is_busy or (observation.has_run and observation.executions != ()):
            return observation
        return self._with_executions(self.work.observe(self.poll_seconds))

    def _with_executions(self, observation: Observation) -> Observation:
        """A list that fails for longer than a reading may be stale is taken for one that is not served."""
        try:
            listed = self.work.with_executions(observation, self.poll_seconds())
        except CelonisUnavailable:
            since = self.state.setdefault("list_failing_since", self.now())
            if self.now() - float(since) < self.run.definition.settle:
                raise
            return observation
        self.state.pop("list_failing_since", None)
        return listed

    def _wait_while_busy(self, observation: Observation) -> Progress:
        if observation.activity is Activity.RUNNING:
            self.state["shows_running"] = True
        if observation.activity is Activity.RUNNING or observation.running_rows:
            self._note_busy(observation)  # more than an id that stands
        return self._wait("an execution that is running in Celonis already")

    def _note_busy(self, observation: Observation | None = None) -> None:
        """Something runs: the baseline has to show that it ended. ``observation``: the one that shows it."""
        before, ids = self.state.get("busy", {}), observation.running_rows if observation else frozenset()
        self.state["busy"] = {
            "at": self.now(),
            "ids": sorted(ids | frozenset(before.get("ids", ()))),
            "unnamed": not ids or bool(before.get("unnamed")),
        }
        self.state.pop("waiting_for", None)  # so that it is written

    def _is_fresh(self, observation: Observation) -> bool:
        """Whether the observation shows our last execution, and what was seen running.

        A run that was claimed a moment ago has not read the first: its write of the baseline checks it.
        """
        if self.just_claimed is None:
            shown = self.earlier().is_shown_by(observation.ids, observation.newest_start, self.now())
            if not shown or not self._shows_what_was_shown(observation):
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
            self.state.pop("waiting_for", None)  # so that it is written

    def _wait_for_fresh(self) -> Progress:
        """Waits until what ended a moment ago is shown: a start now could be confused with it."""
        began = self.state.setdefault("began", self.now())
        if self.is_expired():
            raise self.expired()
        if (
            self.state.get("waiting_for") != FRESH
            or began == self.now()
            or self.state.get("busy", {}).get("idle_from") == self.now()
        ):
            self.state["waiting_for"] = FRESH
            self.save()
        return self.progress("WAITING", at_most=FRESH_SECONDS)

    def _stands_still(self, observation: Observation) -> bool:
        """Whether only an id, or a missing end date, speaks for something running, for longer than any
        reading is stale."""
        found = observation.identity if observation.is_contradictory else observation.current
        if observation.activity is Activity.RUNNING or found is None:
            return False
        stood = self.state.get("stood", {})
        if stood.get("id") != found:
            self.state["stood"] = {"id": found, "since": self.now()}
            self.state.pop("waiting_for", None)  # so that it is written
            return False
        return bool(self.now() - float(stood["since"]) >= self.run.definition.settle)

    def expect(self) -> Progress:
        """A load that a job starts: nothing is sent; from now on it is looked for."""
        self.recall()
        self.state |= {"sent_by": self.now(), "answered": True, "began": self.now()}
        self.save()
        return self.progress("RUNNING")

    def send(self, observation: Observation) -> Progress:
        """Records the baseline and sends the start. Written before it is sent, so that it is sent once."""
        self.state.pop("refused", None)
        if self.just_claimed is None:  # a sender waits there: the first check reads it
            self.recall()
        now = self.now()
        # No start can leave later than this. A webhook has seconds left, and does not write the true moment.
        sent_by = now + self.seconds(POST_SECONDS)
        self.note_baseline(observation, now)
        self.state |= {"sent_by": sent_by, "posts": self.state.get("posts", 0) + 1}
        try:
            self.save(self.just_claimed, self._check_of_earlier(observation))
        except StaleBaseline:
            return {"status": "WAITING", "wait": 1}  # nothing was written: the state machine waits for it
        try:
            answer = self.work.post(self.seconds(sent_by - self.now()))
        except CelonisUnavailable as lost:
            return self._after_lost_answer(lost)
        except (CelonisThrottled, CelonisRejected) as refused:
            return self._after_refusal(refused)
        except CelonisError as error:
            raise self.failed(error) from None
        return self._after_answer(answer)

    def _check_of_earlier(self, observation: Observation) -> Action | None:
        if self.just_claimed is None:
            return None
        table, lease = self.means.records.table, self.work.lease
        return check_shown(table, lease, observation.ids, observation.newest_start, self.now())

    def _after_answer(self, answer: StartAnswer) -> Progress:
        found = {"answered_id": answer.execution_id, "answered_by": answer.answered_by}
        answered: dict[str, Any] = {"sent_by": self.now(), "answered": True}
        answered |= {name: value for name, value in found.items() if value is not None}
        self.state |= answered
        if self.just_claimed is None:
            self.save()
        else:  # the execution's input carries it, and OpenRun writes it
            facts = {name: value for name, value in answered.items() if name != "answered"}
            self.unsaved_answer = {"step": self.name, "posts": self.state["posts"], **facts}
        return self.progress("RUNNING")

    def _after_lost_answer(self, lost: CelonisUnavailable) -> Progress:
        """It may have started: the next poll shows it. Only what never left may be sent again at once."""
        if not lost.may_have_started:
            return self._take_back(lost)
        self.state |= {"trouble": lost.message, "sent_by": self.now()}
        self.save()
        return self.progress("RUNNING")

    def _after_refusal(self, refused: CelonisThrottled | CelonisRejected) -> Progress:
        """Celonis provably did nothing. Busy and throttled pass; any other refusal is final."""
        busy = isinstance(refused, CelonisRejected) and (refused.status == 409 or self._is_busy())
        if isinstance(refused, CelonisRejected) and not busy:
            raise self.failed(refused) from None
        if busy and self.state["posts"] > 1:
            # Nothing ran before, and the first start is the only one that can have begun since.
            self.state["trouble"] = refused.message
            self.save()
            return self.progress("RUNNING")
        if busy:
            self._note_busy()
        return self._take_back(refused)

    def _is_busy(self) -> bool:
        """Which status refuses a start because something runs is not documented: a poll says."""
        try:
            observation = self.work.observe(self.poll_seconds)
            return observation.is_busy or self.work.with_executions(observation, self.poll_seconds()).is_busy
        except CelonisError:
            return True  # the next round polls again

    def _take_back(self, error: CelonisError) -> Progress:
        self.state |= {"refused": True, "posts": self.state["posts"] - 1}
        return self.wait_out(error)

    def _has_lease(self) -> bool:
        claimed = self.just_claimed is not None
        return claimed or self.means.leases.take(self.run.run_id, self.work.lease, self.deadline)

    def _wait(self, for_what: str) -> Progress:
        """Not our turn yet: noted once, so that a person can see why."""
        if self.run.definition.when_busy == "fail":
            text = f"{self.work.subject} is busy with {for_what}."
            hint = "Start the pipeline again later, or let it wait (when_busy: wait)."
            raise self.failed(self.work.busy(text, hint=hint), free=False)
        began = self.state.setdefault("began", self.now())
        if self.is_expired():
            self.state["waiting_for"] = for_what
            raise self.expired()
        if self.state.get("waiting_for") != for_what or began == self.now():
            self.state["waiting_for"] = for_what
            self.save()
        return self.progress("WAITING")

    def _note_loads_of_jobs(self) -> bool:
        """Before a job starts: what is there of the models that jobs load. False while one is loaded."""
        if not self.name.startswith("job-"):
            return True
        waiting = [load.step for load in self.run.plan.loads if load.started_by == "job"]
        return all(
            self._note_load(step) for step in waiting if "baseline" not in self.run.steps.get(step, {})
        )

    def _note_load(self, step: str) -> bool:
        load = Step(self.means, self.run, step, self.deadline)
        if not self.means.leases.take(self.run.run_id, load.work.lease, self.deadline):
            return False
        observation = load.work.observe(self.poll_seconds)
        if not observation.has_run:  # a second answer has to say so
            observation = load.work.observe(self.poll_seconds)
        if observation.activity is Activity.RUNNING:
            return False
        load.note_baseline(observation, self.now())
        load.state.pop("began")
        load.save()
        self.run = load.run
        return True
