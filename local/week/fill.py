"""Writes a simulated week into a local stack: items of the table, parameters, schedules, jobs in Celonis."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from celonis_refresh.runs.deliveries import DELIVERY_DAYS, LoggedEvent, event_key, logged_item
from celonis_refresh.runs.records import RunStatus, data_from
from celonis_refresh.runs.table import (
    WAITING,
    delivery_key,
    job_durations,
    model_durations,
    pipeline_key,
    slot_key,
    to_item,
    webhook_key,
)
from celonis_refresh.timing import epoch, iso
from local.aws.stack import LocalStack
from local.celonis.model import Platform
from local.celonis.setups import JobSetup, ModelSetup
from local.week.history import History, make_history
from local.week.plans import DAY, PLANS, POOLS, VENDORS, Plan

BATCH: Final = 25
"""Items that DynamoDB takes at once."""
DURATION_DAYS: Final = 180
POLL: Final = {"floor": 1, "ceiling": 2}
SHORTENED: Final = 20.0
"""New runs take a twentieth of what those of the week took, so that one can watch them."""
SECRET: Final = {"current": "local:webhook-secret"}
"""Of a user and a password, which some senders need; for the others, it is a text as well."""


def fill(
    stack: LocalStack, celonis: Platform, seed: int, now: float, plans: Sequence[Plan] = PLANS
) -> History:
    """Write a week that ends at ``now`` (epoch seconds), and return it."""
    history = make_history(seed, now, plans=plans)
    add_targets(celonis, plans)
    write_configuration(stack, plans)
    write_items(stack, items_of(history, plans, now))
    return history


def start_runs(start: Callable[[str, str], object]) -> None:
    """Start runs that are running and waiting when one opens the page. ``start``: a pipeline, with a reason.

    The second one waits for the vendors' job of the first.
    """
    for pipeline in ("purchase-to-pay", "accounts-payable"):
        start(pipeline, "before the month's end")


def add_targets(celonis: Platform, plans: Sequence[Plan]) -> None:
    """Add the jobs and models of the pipelines to Celonis. The vendors' job takes as long as in the week."""
    celonis.pools |= POOLS
    for plan in plans:
        for job in plan.jobs:
            seconds = job.seconds if job == VENDORS else job.seconds / SHORTENED
            if job.id not in celonis.jobs:
                celonis.add_job(job.id, plan.pool, job.name, JobSetup())
            celonis.jobs[job.id].change(seconds=seconds)
        for model in plan.loads:
            if model.id not in celonis.models:
                celonis.add_model(model.id, plan.pool, model.name, ModelSetup())
            celonis.models[model.id].change(seconds=model.seconds / SHORTENED)


def write_configuration(stack: LocalStack, plans: Sequence[Plan]) -> None:
    """Write the parameters of pipelines and sources, the secrets of sources, and the schedules."""
    parameters, secrets = stack.client("ssm"), stack.client("secretsmanager")
    for name, value in parameters_of(stack.stack_name, plans):
        text = json.dumps(value)
        parameters.put_parameter(Name=name, Value=text, Type="String", Overwrite=True)
    for source in sorted({plan.webhooks.source for plan in plans if plan.webhooks} - {"github"}):
        name = f"{stack.stack_name}/webhooks/{source}"
        secrets.create_secret(Name=name, SecretString=json.dumps(SECRET))
    scheduler = stack.client("scheduler")
    for plan in plans:
        for number, (expression, zone) in enumerate(plan.schedules):
            if (plan.name, number) == ("order-to-cash", 0):
                continue  # the stack has it
            scheduler.create_schedule(
                Name=f"{plan.name}-{number}",
                ScheduleExpression=expression,
                ScheduleExpressionTimezone=zone,
                FlexibleTimeWindow={"Mode": "OFF"},
                Target={
                    "Arn": stack.outputs["StateMachineArn"],
                    "RoleArn": stack.outputs["ScheduleRoleArn"],
                    "Input": json.dumps(schedule_input(plan.name)),
                },
            )


def parameters_of(stack_name: str, plans: Sequence[Plan]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield name and value of each parameter."""
    rules: dict[tuple[str, str], list[dict[str, str]]] = {}
    for plan in plans:
        yield f"/{stack_name}/pipelines/{plan.name}", {**plan.definition(), "poll": POLL}
        if plan.webhooks:
            key = (plan.webhooks.source, plan.webhooks.sender)
            rules.setdefault(key, []).append({"pipeline": plan.name})
    for (source, sender), each in rules.items():
        value = {"sender": sender, "secret": source, "rules": each}
        yield f"/{stack_name}/sources/{source}", value


def schedule_input(pipeline: str) -> dict[str, str]:
    """Return the input of the execution that a schedule starts."""
    delivery = "<aws.scheduler.schedule-arn>/<aws.scheduler.scheduled-time>"
    return {"pipeline": pipeline, "reason": "schedule", "delivery": delivery}


def items_of(history: History, plans: Sequence[Plan], now: float) -> Iterator[dict[str, Any]]:
    """Yield the items that the stack's table has after such a week."""
    yield from history.records
    yield from map(delivery_item, history.deliveries)
    yield from (retry_item(record) for record in history.records if "retry_of" in record)
    for plan in plans:
        mine = [record for record in history.records if record["pipeline"] == plan.name]
        if mine:
            yield pipeline_item(plan.name, mine)
            yield slot_item(plan, mine[-1], history.pending.get(plan.name), now)
    for (target, variant), document in history.durations.items():
        make_key = job_durations if variant in ("FULL", "DELTA") else model_durations
        yield {
            "pk": make_key(target, variant),
            **document,
            "rev": 1,
            "expires": int(now + DURATION_DAYS * DAY),
        }


def delivery_item(one: Mapping[str, Any]) -> dict[str, Any]:
    """Return the item of a delivery, from what the API shows of it."""
    source, delivery, at = str(one["source"]), str(one["delivery"]), epoch(str(one["received_at"]))
    if not one["runs"]:
        event = LoggedEvent(source, event_key(source, f"{delivery}-{one['result']}"), delivery)
        return logged_item(event, str(one["result"]), str(one["reason"]), (), at)
    key = webhook_key(source, delivery)
    runs = {run["pipeline"]: {**run, "at": at} for run in one["runs"]}
    facts = LoggedEvent(source, key, delivery).attributes(str(one["result"]), at)
    expires = int(at) + DELIVERY_DAYS * int(DAY)
    return {"pk": key, "runs": runs, "at": at, "rev": 1, "expires": expires, **facts}


def retry_item(retry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the item that names the retry of a run."""
    at = epoch(str(retry["created_at"]))
    run = {"pipeline": retry["pipeline"], "run_id": retry["run_id"], "status": "started", "at": at}
    expires = int(at) + DELIVERY_DAYS * int(DAY)
    key = delivery_key("retry", str(retry["retry_of"]))
    return {"pk": key, "runs": {retry["pipeline"]: run}, "at": at, "rev": 1, "expires": expires}


def pipeline_item(name: str, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the item of a pipeline after these runs, oldest first."""
    last = records[-1]
    item = {
        "pk": pipeline_key(name),
        "last_run_id": last["run_id"],
        "last_outcome": last["status"],
        "last_run_at": last["ended_at"],
        "last_error": last.get("error", ""),
    }
    successes = [record for record in records if record["status"] == RunStatus.SUCCEEDED]
    if successes:
        success = successes[-1]
        item |= {"last_success_started_at": data_from(success), "last_success_at": success["ended_at"]}
    return item


def slot_item(
    plan: Plan, last: Mapping[str, Any], pending: Mapping[str, Any] | None, now: float
) -> dict[str, Any]:
    """Return the free slot of a pipeline after its last run, with its pause and its pending run."""
    item = {"pk": slot_key(plan.name), "rev": 1, "released_at": last["ended_at"], "incident": {}}
    if plan.paused_days:
        at = iso(now - plan.paused_days * DAY)
        item["pause"] = {"by": "m.keller", "at": at, "reason": "Migration of the HR system"}
    if pending:
        position = f"{last['ended_at']} {plan.name}"
        item |= {"pending": pending, "status": WAITING, "position": position}
    return item


def write_items(stack: LocalStack, items: Iterator[dict[str, Any]]) -> None:
    """Write items into the stack's table."""
    client, table = stack.client("dynamodb"), stack.outputs["TableName"]
    while some := [*islice(items, BATCH)]:
        requests = [{"PutRequest": {"Item": to_item(_plain(item))}} for item in some]
        client.batch_write_item(RequestItems={table: requests})


def _plain(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the item as JSON values."""
    document: dict[str, Any] = json.loads(json.dumps(item))
    return document
