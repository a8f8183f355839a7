"""A flood of unknown source names. It runs late: for seconds after it, a new source is not known at once."""

from __future__ import annotations

from requests import Response

from celonis_refresh.aws.webhook_configuration import MAX_MISSES
from local.wait import until
from tests.stack.runs.celonis import CelonisControls
from tests.stack.runs.service import DeployedService

FLOOD = 4 * MAX_MISSES
"""Requests: more than the processes that serve them read one by one."""


def test_a_flood_is_refused_and_real_sources_are_not(
    service: DeployedService, celonis: CelonisControls
) -> None:
    pipeline = service.pipeline(jobs=[celonis.job()])
    known = service.source({"pipeline": pipeline})
    for number in range(FLOOD):
        answer = service.webhook(f"forged-{number}")
        assert (answer.status_code, answer.json()["error"]) == (401, "NotAuthentic")
    calls = {(grant.role_arn.rsplit("/", 1)[-1], grant.action) for grant in service.stack.grants}
    assert (service.stack.physical_ids["TriggerRole"], "ssm:GetParametersByPath") in calls
    accepted = [service.webhook(known), _known_soon(service, pipeline)]
    assert [answer.status_code for answer in accepted] == [202, 202]
    for answer in accepted:
        assert service.closed(answer.json()["runs"][0]["run_id"])["status"] == "SUCCEEDED"


def _known_soon(service: DeployedService, pipeline: str) -> Response:
    """The answer about a source that is made during the flood, once it is known."""
    made_now = service.source({"pipeline": pipeline})

    def known() -> Response | None:
        answer = service.webhook(made_now)
        return None if answer.status_code == 401 else answer

    return until(known, "a source that was made during the flood to be known")
