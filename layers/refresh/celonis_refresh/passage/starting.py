"""Starting a step, once: take its lease, look, note what is there, send the start.

Safe to repeat at any moment: what was noted is in the record, and the record is read first. What Celonis
says about a start that may have taken place is looked up by the check, before anything is sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celonis_refresh.celonis.errors import CelonisError, CelonisRejected, CelonisThrottled, CelonisUnavailable
from celonis_refresh.passage.progress import Progress
from celonis_refresh.passage.proof import Evidence
from celonis_refresh.passage.sights import Activity, Sight
from celonis_refresh.passage.step import POST_SECONDS, Means, Step
from celonis_refresh.runs.records import Run
from celonis_refresh.timing import Deadline

LEAST_POST_SECONDS = 0.5
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

    def start(self) -> Progress:
        """Starts the step, or says that it has to wait. Raises what ends the step for good."""
        if not self._has_lease():
            return self._wait("another run")
        try:
            if not self._note_loads_of_jobs():
                return self._wait("a load of a data model that this job loads")
            sight = self.work.look(self.look_seconds)
            if sight.activity is not Activity.UNDER_WAY:
                sight = self.work.with_history(sight, self.look_seconds())
        except (CelonisUnavailable, CelonisThrottled) as trouble:
            return self.wait_out(trouble)
        except CelonisError as error:
            raise self.failed(error) from None
        if sight.is_busy and not self._stands_still(sight):
            return self._wait("an execution that is under way in Celonis already")
        if self.deadline.left() < LEAST_POST_SECONDS:
            return self.progress("WAITING")
        return self.send(sight)

    def _stands_still(self, sight: Sight) -> bool:
        """Whether only an id speaks for something under way, and has for longer than any look is stale."""
        if sight.activity is not Activity.AT_REST or sight.current is None:
            return False
        stood = self.state.get("stood", {})
        if stood.get("id") != sight.current:
            self.state["stood"] = {"id": sight.current, "since": self.now()}
            self.state.pop("waiting_for", None)  # so that it is written
            return False
        return bool(self.now() - float(stood["since"]) >= self.run.definition.settle)

    def expect(self) -> Progress:
        """A load that a job starts: nothing is sent; from now on it is looked for."""
        self.recall()
        self.state |= {"sent_by": self.now(), "answered": True, "began": self.now()}
        self.save()
        return self.progress("RUNNING")

    def send(self, sight: Sight) -> Progress:
        """Notes the baseline and sends the start. Written before it is sent, so that it is sent once."""
        self.state.pop("refused", None)
        if self.just_claimed is None:  # a sender waits there: the first look reads it
            self.recall()
        now = self.now()
        # No start can leave later than this. A webhook has seconds left, and does not write the true moment.
        sent_by = now + self.seconds(POST_SECONDS)
        self.note_baseline(sight, now)
        self.state |= {"sent_by": sent_by, "posts": self.state.get("posts", 0) + 1}
        self.save(self.just_claimed)
        try:
            answered = self.work.post(self.seconds(sent_by - self.now()))
        except CelonisUnavailable as lost:
            return self._after_lost_answer(lost)
        except (CelonisThrottled, CelonisRejected) as refused:
            return self._after_refusal(refused)
        except CelonisError as error:
            raise self.failed(error) from None
        return self._after_answer(answered)

    def _after_answer(self, answered: str | None) -> Progress:
        self.state |= {"sent_by": self.now(), "answered": True}
        if answered:
            self.state["evidence"] = Evidence(proven_by="answer", ours=answered).to_json()
        if answered or self.just_claimed is None or not self.state["baseline"]["ids"]:
            # A claim saves this write where the next look tells as much.
            self.save()
        return self.progress("RUNNING")

    def _after_lost_answer(self, lost: CelonisUnavailable) -> Progress:
        """It may have started: the next look tells. Only what never left may be sent again at once."""
        if not lost.may_have_started:
            return self._take_back(lost)
        self.state |= {"trouble": lost.message, "sent_by": self.now()}
        self.save()
        return self.progress("RUNNING")

    def _after_refusal(self, refused: CelonisThrottled | CelonisRejected) -> Progress:
        """Celonis provably did nothing. Busy and throttled pass; any other refusal is for good."""
        if isinstance(refused, CelonisRejected) and refused.status != 409 and not self._is_busy():
            raise self.failed(refused) from None
        return self._take_back(refused)

    def _is_busy(self) -> bool:
        """Which status refuses a start because something is under way is not documented: a look tells."""
        try:
            return self.work.look(self.look_seconds).is_busy
        except (CelonisUnavailable, CelonisThrottled):
            return True
        except CelonisError:
            return False

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
        sight = load.work.look(self.look_seconds)
        if sight.activity is Activity.UNDER_WAY:
            return False
        load.note_baseline(sight, self.now())
        load.state.pop("began")
        load.save()
        self.run = load.run
        return True
