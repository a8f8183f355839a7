"""The schedules of the Terraform page are those that ``refresh push`` writes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from refresh_cli.configuration.schedules import DELIVERY, RETRY, Schedule, ScheduleTarget, to_request
from tests.template import documents, pages

PAGE = pages.page("docs/terraform.md")
BLOCKS = re.findall(r"^```hcl\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
RESOURCE = next(
    block[block.index('resource "aws_scheduler_schedule"') :]
    for block in BLOCKS
    if "aws_scheduler_schedule" in block
)
NOT_IN_TERRAFORM = {"description"}


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def fields(request: Mapping[str, Any]) -> Iterator[str]:
    for name, value in request.items():
        yield snake(name)
        if isinstance(value, Mapping):
            yield from fields(value)


def test_the_schedule_has_every_field_that_push_writes() -> None:
    schedule = Schedule("billing", "nightly", "cron(0 4 * * ? *)", "UTC", {}, enabled=True)
    request = to_request(schedule, ScheduleTarget("group", "arn:m", "arn:r", "arn:d"))
    found = set(re.findall(r"(\w+) *[={]", RESOURCE))
    assert set(fields(request)) - NOT_IN_TERRAFORM - found == set()
    for name, value in RETRY.items():
        assert re.search(rf"\b{snake(name)} += {value}$", RESOURCE, re.MULTILINE)


def test_the_input_has_the_delivery_that_push_writes() -> None:
    assert json.dumps(DELIVERY) in PAGE


def test_every_block_closes_what_it_opens_and_names_outputs_that_exist() -> None:
    for block in BLOCKS:
        for opening, closing in ("{}", "[]", "()"):
            assert block.count(opening) == block.count(closing)
    outputs = set(documents.template()["Outputs"])
    assert set(re.findall(r'outputs\["(\w+)"\]', PAGE)) <= outputs
