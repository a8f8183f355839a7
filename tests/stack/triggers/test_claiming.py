"""The results of a delivery: claimed once, joined, skipped or queued; never twice."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from celonis_refresh.aws.clients import CLIENT_TIMEOUTS
from celonis_refresh.aws.webhook_configuration import UNUSABLE_SECONDS
from local.wait import until
from tests.stack.environment import StackEnvironment
from tests.stack.runs.celonis import CelonisControls, Json
from tests.stack.runs.service import WEBHOOK_SECRET, DeployedService, is_sentence
from tests.stack.triggers.sender_requests import CALLS, source_of
from tests.stack.triggers.signing import signed
from tests.stack.triggers.watching import SingleProcess

AT_ONCE = 50
RUN: Json = {"action": "completed", "workflow_run": {"id": 7, "run_attempt": 1, "conclusion": "success"}}
"""An event of GitHub that names its own run."""


def test_several_pipelines_are_claimed_in_one_transaction_but_for_those_that_cannot_be_run(
    service: DeployedService, celonis: CelonisControls
) -> None:
    jobs = [celonis.job() for _ in range(3)]
    pipelines = [service.pipeline(jobs=[job]) for job in jobs]
    source = service.source(*({"pipeline": pipeline} for pipeline in pipelines))
    watched = SingleProcess(service.stack, "TransactWriteItems|PutItem")
    calls = watched.calls(lambda: service.webhook(source, delivery="three"), 202)
    # On a slow machine, the state machine starts the jobs for which the webhook has no time left.
    assert 1 <= len(calls) <= 1 + len(pipelines), "one claim for all, and at most one baseline of each"
    runs = service.webhook(source, delivery="three").json()["runs"]
    assert [run["pipeline"] for run in runs] == pipelines
    for run in runs:
        assert service.closed(run["run_id"])["status"] == "SUCCEEDED"
    assert [len(celonis.executions(job)) for job in jobs] == [1, 1, 1]

    broken = service.source({"pipeline": pipelines[0]}, {"pipeline": "no-such-pipeline"})
    answer = service.webhook(broken)
    assert answer.status_code == 202, answer.text
    assert "no-such-pipeline" in answer.json()["errors"][0]
    (run,) = answer.json()["runs"]
    assert run["pipeline"] == pipelines[0]
    assert service.closed(run["run_id"])["status"] == "SUCCEEDED"


def test_a_delivery_sent_again_starts_the_pipeline_that_was_not_defined_before(
    service: DeployedService, celonis: CelonisControls
) -> None:
    jobs = [celonis.job() for _ in range(2)]
    sound, missing = service.pipeline(jobs=[jobs[0]]), service.name("missing")
    source = service.source({"pipeline": sound}, {"pipeline": missing})
    first = service.webhook(source, delivery="again")
    assert (first.status_code, len(first.json()["errors"])) == (202, 1)
    (run,) = first.json()["runs"]
    assert service.closed(run["run_id"])["status"] == "SUCCEEDED"
    service.define(missing, jobs=[jobs[1]])

    def sent_again() -> requests.Response | None:
        reply = service.webhook(source, delivery="again")
        return reply if len(reply.json()["runs"]) == 2 else None

    again = until(sent_again, "the pipeline to be known")
    known, started = again.json()["runs"]
    assert (again.status_code, known) == (202, {**run, "status": "duplicate"})
    assert (started["pipeline"], started["status"]) == (missing, "started")
    assert service.closed(started["run_id"])["status"] == "SUCCEEDED"
    third = service.webhook(source, delivery="again")
    assert (third.status_code, third.json()["duplicate"]) == (200, True)
    assert [len(celonis.executions(job)) for job in jobs] == [1, 1]


def test_a_claim_that_is_sent_again_while_it_is_written_is_no_duplicate_of_itself(
    service: DeployedService, celonis: CelonisControls, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = celonis.job()
    source = service.source({"pipeline": service.pipeline(jobs=[job])})
    service.webhook(service.source({"pipeline": service.pipeline(jobs=[celonis.job()])}))  # a warm process
    transactions = service.stack.settings.transactions
    monkeypatch.setattr(transactions, "conflict_ratio", 1.0)
    monkeypatch.setattr(transactions, "seconds", CLIENT_TIMEOUTS["response"].read * 1.2)
    first = service.webhook(source, delivery="slow")
    monkeypatch.undo()
    # On a slow machine, the second attempt may get no answer in time either.
    assert first.status_code in {202, 503}, first.text
    (run,) = (first if first.ok else service.webhook(source, delivery="slow")).json()["runs"]
    assert service.closed(run["run_id"])["status"] == "SUCCEEDED"
    assert len(celonis.executions(job)) == 1


def test_a_batch_of_many_events_is_one_run_and_known_in_a_few_reads(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job, call = celonis.job(), CALLS["azure_event_grid"](1)
    path = f"/webhooks/{source_of(service, call, {'pipeline': service.pipeline(jobs=[job])})}{call.query}"
    events = [{"id": f"event-{number}", "eventType": "Loaded"} for number in range(200)]

    def send(some: list[Json]) -> requests.Response:
        return service.send("POST", path, json.dumps(some).encode(), call.headers)

    first = send(events)
    assert first.status_code == 202
    (run_id,) = {each["runs"][0]["run_id"] for each in first.json()["events"]}
    assert service.closed(run_id)["status"] == "SUCCEEDED"
    watched = SingleProcess(service.stack, "DynamoDB")
    calls = [call.rpartition(".")[2] for call in watched.calls(lambda: send(events), 200)]
    first_read = calls.index("TransactGetItems")  # before it: the configuration
    listed = ["TransactWriteItems"] * 2  # 200 entries that say: a duplicate
    assert calls[first_read:] == ["TransactGetItems"] * 3 + ["GetItem"] + listed
    last = send(events[-1:])
    assert (last.status_code, last.json()["runs"][0]["run_id"]) == (200, run_id)
    assert len(celonis.executions(job)) == 1


def test_the_same_delivery_from_many_threads_leads_to_one_run(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job(seconds=1)
    pipeline = service.pipeline(jobs=[job])
    source = service.source({"pipeline": pipeline})
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = [pool.submit(service.webhook, source, delivery="one") for _ in range(AT_ONCE)]
    answers = [future.result() for future in futures]
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) <= {200, 202, 503}
    # On a slow machine, the one that claimed may get no answer of the table in time.
    assert statuses.count(202) == 1 or (202 not in statuses and 503 in statuses)
    runs = {answer.json()["runs"][0]["run_id"] for answer in answers if answer.ok}
    assert len(runs) == 1
    repeated = [answer.json() for answer in answers if answer.status_code == 200]
    assert all(
        reported["duplicate"] and reported["runs"][0]["status"] == "duplicate" for reported in repeated
    )
    assert service.closed(runs.pop())["status"] == "SUCCEEDED"
    assert len(celonis.executions(job)) == 1


def test_a_delivery_is_known_for_more_than_a_week_and_not_for_ever(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job()
    source = service.source({"pipeline": service.pipeline(jobs=[job])})
    first = service.webhook(source, delivery="kept").json()["runs"][0]
    assert service.closed(first["run_id"])["status"] == "SUCCEEDED"
    key = f"delivery#source:{source}#kept"
    item = service.item(key)
    kept = float(item["expires"]["N"]) - float(item["at"]["N"])
    assert 7 * 86_400 < kept <= 14 * 86_400
    _copy_older(service, key, "old", seconds=8 * 86_400)
    assert service.webhook(source, delivery="old").json()["duplicate"]
    _copy_older(service, key, "expired", seconds=15 * 86_400)
    # DynamoDB deletes what has expired days later: until then, it must count as gone.
    again = service.webhook(source, delivery="expired")
    assert again.status_code == 202
    assert service.closed(again.json()["runs"][0]["run_id"])["status"] == "SUCCEEDED"
    assert len(celonis.executions(job)) == 2


def _copy_older(service: DeployedService, key: str, delivery: str, seconds: int) -> None:
    """Store an item as that of another delivery, ``seconds`` older: no process has accepted that one."""
    item = service.item(key)
    older = {name: {"N": str(float(item[name]["N"]) - seconds)} for name in ("at", "expires")}
    named = {"pk": {"S": f"{key.rpartition('#')[0]}#{delivery}"}}
    service.stack.client("dynamodb").put_item(
        TableName=service.stack.outputs["TableName"], Item={**item, **older, **named}
    )


def test_a_replay_under_another_id_is_the_delivery_that_it_repeats(
    service: DeployedService, celonis: CelonisControls
) -> None:
    """GitHub signs the body alone: an observer could send the request again under a new id."""
    job = celonis.job()
    source = service.source({"pipeline": service.pipeline(jobs=[job])})
    first = service.webhook(source, RUN, delivery="its own")
    replay = service.webhook(source, RUN, delivery="a stranger's")
    assert (first.status_code, replay.status_code) == (202, 200)
    (run,) = first.json()["runs"]
    assert replay.json()["runs"] == [{**run, "status": "duplicate"}]
    assert service.closed(run["run_id"])["status"] == "SUCCEEDED"
    another = {**RUN, "workflow_run": {**RUN["workflow_run"], "run_attempt": 2}}
    assert service.webhook(source, another, delivery="the next").status_code == 202
    until(lambda: len(celonis.executions(job)) == 2, "the next run")


def test_a_body_that_names_no_run_is_never_taken_for_an_id(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job(seconds=60)
    pipeline = service.pipeline(jobs=[job])
    source = service.source({"pipeline": pipeline})
    first = service.webhook(source, delivery="one").json()["runs"][0]
    other = service.webhook(source, delivery="other")
    assert (other.status_code, other.json()["runs"][0]["status"]) == (202, "joined")
    service.running(first["run_id"])
    celonis.set_job(job, seconds=0.3)
    celonis.finish(job)
    for run in (first, other.json()["runs"][0]):
        assert service.closed(run["run_id"])["status"] == "SUCCEEDED"


def test_many_events_in_one_request_are_answered_one_by_one(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job(seconds=1)
    pipeline = service.pipeline(jobs=[job])
    call = CALLS["azure_event_grid"](1)
    rule = {"pipeline": pipeline, "when": "data.ready == `true`"}
    source = source_of(service, call, rule)
    events = [{"id": str(n), "eventType": "Loaded", "data": {"ready": n != 2}} for n in range(4)]
    path = f"/webhooks/{source}{call.query}"
    answer = service.send("POST", path, json.dumps([*events, events[0]]).encode(), call.headers)
    assert answer.status_code == 202
    reported = answer.json()["events"]
    assert [each["delivery"] for each in reported] == ["0", "1", "2", "3", "0"]
    assert [each["runs"][0]["status"] for each in reported if "runs" in each] == [
        "started", "started", "started", "duplicate",
    ]  # fmt: skip
    assert reported[2]["status"] == "ignored"
    (run,) = {each["runs"][0]["run_id"] for each in reported if "runs" in each}
    record = service.closed(run)
    assert (record["status"], len(record["options"]["reasons"])) == ("SUCCEEDED", 3)
    assert len(celonis.executions(job)) == 1


def test_a_pipeline_that_skips_takes_nothing_while_it_runs(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job(seconds=60)
    pipeline = service.pipeline(jobs=[job], when_running="skip")
    source = service.source({"pipeline": pipeline})
    first = service.webhook(source, delivery="first").json()["runs"][0]["run_id"]
    skipped = service.webhook(source, delivery="second")
    assert skipped.status_code == 200
    reported = skipped.json()
    assert (reported["delivery"], reported["status"]) == ("second", "ignored")
    assert pipeline in reported["reason"]
    assert first in reported["reason"]

    refused = service.call("POST", "/runs", {"pipeline": pipeline})
    assert (refused.status_code, refused.json()["error"]) == (409, "PipelineSkips")
    assert is_sentence(refused.json()["message"])
    execution = service.ended(service.execute({"pipeline": pipeline}))
    assert execution["status"] == "SUCCEEDED"
    assert execution["output"] == {"status": "skipped", "run_id": first}

    service.running(first)
    celonis.set_job(job, seconds=0.3)
    celonis.finish(job)
    assert service.closed(first)["status"] == "SUCCEEDED"
    assert len(celonis.executions(job)) == 1
    again = service.webhook(source, delivery="second")  # it was not accepted, so it may come again
    assert again.status_code == 202
    assert service.closed(again.json()["runs"][0]["run_id"])["status"] == "SUCCEEDED"


def test_one_event_may_start_one_pipeline_and_be_skipped_by_another(
    service: DeployedService, celonis: CelonisControls
) -> None:
    busy, free = celonis.job(seconds=60), celonis.job()
    skips, starts = service.pipeline(jobs=[busy], when_running="skip"), service.pipeline(jobs=[free])
    first = service.webhook(service.source({"pipeline": skips})).json()["runs"][0]["run_id"]
    answer = service.webhook(service.source({"pipeline": skips}, {"pipeline": starts}))
    assert answer.status_code == 202
    assert [run["status"] for run in answer.json()["runs"]] == ["skipped", "started"]
    service.running(first)
    celonis.finish(busy)
    for run in (first, answer.json()["runs"][1]["run_id"]):
        assert service.closed(run)["status"] == "SUCCEEDED"


def test_a_paused_pipeline_accepts_joins_and_starts_nothing_until_the_pause_is_lifted(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job()
    pipeline = service.pipeline(jobs=[job], paused=True)
    source = service.source({"pipeline": pipeline, "mode": "DELTA"})
    answers = [
        service.webhook(source, delivery="a"),
        service.call("POST", "/runs", {"pipeline": pipeline, "mode": "FULL"}),
        service.webhook(source, delivery="b"),
    ]
    assert [answer.status_code for answer in answers] == [202, 202, 202]
    (waiting,) = {answer.json()["runs"][0]["run_id"] for answer in answers}
    assert {answer.json()["runs"][0]["status"] for answer in answers} == {"joined"}
    assert service.webhook(source, delivery="a").json()["duplicate"]
    by_hand = service.ended(service.execute({"pipeline": pipeline}))
    assert by_hand["output"] == {"status": "joined", "run_id": waiting}
    assert _round(service)["slots"] == []
    stands = service.call("GET", f"/pipelines/{pipeline}").json()
    assert (stands["paused"], stands["active_run"], stands["waiting"]["run_id"]) == (True, None, waiting)
    assert celonis.executions(job) == []

    service.define(pipeline, jobs=[job])
    assert _round(service)["slots"] == [pipeline]
    assert service.closed(waiting)["status"] == "SUCCEEDED"
    (execution,) = celonis.executions(job)
    assert execution["mode"] == "FULL"


def test_the_first_trigger_after_the_pause_starts_what_waited(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job()
    pipeline = service.pipeline(jobs=[job], paused=True)
    source = service.source({"pipeline": pipeline})
    waiting = service.webhook(source).json()["runs"][0]["run_id"]
    service.define(pipeline, jobs=[job])
    time.sleep(UNUSABLE_SECONDS)
    run = service.webhook(source).json()["runs"][0]
    assert (run["status"], run["run_id"]) == ("started", waiting)
    record = service.closed(waiting)
    assert (record["status"], len(record["options"]["reasons"])) == ("SUCCEEDED", 2)


def test_what_cannot_wait_is_refused_by_a_paused_pipeline(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job(outcome="FAIL")
    pipeline = service.pipeline(jobs=[job])
    failed = service.closed(service.execute({"pipeline": pipeline}))["run_id"]
    service.define(pipeline, jobs=[job], paused=True)
    refused = service.call("POST", f"/runs/{failed}/retry")
    assert (refused.status_code, refused.json()["error"]) == (409, "PipelinePaused")
    waiting = service.webhook(service.source({"pipeline": pipeline})).json()["runs"][0]["run_id"]
    service.define(pipeline, jobs=[job])
    busy = service.call("POST", f"/runs/{failed}/retry")
    assert (busy.status_code, busy.json()["error"]) == (409, "PipelineBusy")
    assert waiting in busy.json()["message"]
    celonis.set_job(job, outcome="SUCCESS")
    _round(service)
    assert service.closed(waiting)["status"] == "SUCCEEDED"
    assert service.status(failed) == "FAILED"


def _round(service: DeployedService) -> Any:
    """What a round of reconcile did."""
    outcome = service.stack.invoke("Reconcile", b"{}")
    assert not outcome.failed, outcome.payload
    return json.loads(outcome.payload)


@pytest.mark.parametrize("sender", ["github", "dbt_cloud", "fivetran", "qlik"])
def test_where_the_signed_body_names_its_own_run_a_replay_starts_nothing(
    environment: StackEnvironment, service: DeployedService, sender: str
) -> None:
    """Anything that a stranger changes outside the signed body."""
    job = environment.celonis.job()
    call = CALLS[sender](11)
    source = source_of(service, call, {"pipeline": service.pipeline(jobs=[job])})
    first = call.send(service, source)
    assert first.status_code == 202
    changed = {
        name: f"{text}-x" if name.endswith("-delivery") else text for name, text in call.headers.items()
    }
    replay = service.send(
        "POST", f"/webhooks/{source}?again=1", call.body, {**changed, "x-request-id": "new"}
    )
    assert replay.json()["runs"] == [{**first.json()["runs"][0], "status": "duplicate"}]
    assert service.closed(first.json()["runs"][0]["run_id"])["status"] == "SUCCEEDED"


def test_where_the_time_is_signed_a_replay_is_refused_once_it_is_old(service: DeployedService) -> None:
    source = service.source({"pipeline": "none"}, sender="slack")
    for age in (-400, 400):
        call = signed("slack", {"event_id": "1", "type": "x"}, WEBHOOK_SECRET, at=time.time() - age)
        answer = call.send(service, source)
        assert (answer.status_code, answer.json()["error"]) == (401, "NotAuthentic")
