"""What the tests give the service: definitions, sign-ins, events; and what a person may read of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from local.celonis import world
from tests.stack.runs.celonis import POOL, Json

WEBHOOK_SECRET = "a-secret-that-only-the-sender-knows-0001"
SAMPLE = "order-to-cash"
"""The pipeline of the template."""
WORKFLOW_SUCCEEDED: Json = {
    "action": "completed",
    "workflow_run": {"name": "load-erp", "conclusion": "success"},
    "repository": {"full_name": "acme/elt"},
}
PACE: Json = {"poll": {"floor": 1, "ceiling": 1}, "settle": 2}


def definition(*, jobs: Sequence[Any] = (), loads: Sequence[Any] = (), **fields: Any) -> Json:
    """A definition with short poll and settle times: the simulator shows what is true, unless a test says
    otherwise. A job or a load may be given as its id alone."""
    return {
        "data_pool": POOL,
        "jobs": [_job(job) for job in jobs],
        "loads": [load if isinstance(load, dict) else {"data_model": load} for load in loads],
        **PACE,
        **fields,
    }


def _job(job: Any) -> Any:
    if isinstance(job, list):
        return [_job(one) for one in job]
    return job if isinstance(job, dict) else {"job": job}


def oauth_client(**fields: Any) -> Json:
    """The sign-in that the simulator accepts."""
    known = {"client_id": world.CLIENT_ID, "client_secret": world.CLIENT_SECRET}
    return {"type": "oauth_client", **known, **fields}


def is_sentence(text: str) -> bool:
    """Whether a text is a readable sentence: no JSON, no stack trace, no file name."""
    signs = ("Traceback", 'File "', ".py", '{"', "{'", "errorType", "\n")
    return bool(text) and text.endswith(".") and not any(sign in text for sign in signs)
