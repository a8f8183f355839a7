"""Systems that wait: the runs API answers at the end of a run, and a callback address is kept until then."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local.serve import REGION
from local.wait import until
from tests.stack.runs.celonis import CelonisControls, Json
from tests.stack.runs.service import DeployedService
from tests.template import pages

ADF_USER = "factory:pass-word-of-the-factory"
TOKEN = "AAEAFF-token-in-a-callback-address"


def waited(service: DeployedService, run_id: str, seconds: object) -> tuple[Json, float]:
    """The answer to ``?wait=…``, and the seconds that it took."""
    began = time.monotonic()
    answer = service.call("GET", f"/runs/{run_id}?wait={seconds}")
    assert answer.status_code == 200, answer.text
    document: Json = answer.json()
    return document, time.monotonic() - began


def test_an_answer_waits_for_the_end_of_a_run_and_of_the_one_that_follows(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job(seconds=600)
    pipeline = service.pipeline(jobs=[job])
    first, second = service.followed(pipeline)
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(waited, service, run_id, 25) for run_id in (first, second)]
        pending, took = waited(service, second, 2)
        assert (pending["status"], pending["waiting_for_run"]) == ("WAITING", first)
        assert 2 <= took < 10
        celonis.set_job(job, seconds=0.3)
        celonis.finish(job)
        documents = [answer.result()[0] for answer in answers]
    assert [document["run_id"] for document in documents] == [first, second]
    assert documents[0] == service.show(first)
    assert documents[0]["status"] == "SUCCEEDED"
    service.closed(second)
    ended, took = waited(service, second, 14)
    assert (ended["status"], took < 14) == ("SUCCEEDED", True)


def test_an_answer_does_not_wait_longer_than_it_may(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job(seconds=600)
    run_id = service.execute({"pipeline": service.pipeline(jobs=[job])})
    service.running(run_id)
    document, took = waited(service, run_id, 3)
    assert (document["status"], 3 <= took < 10) == ("RUNNING", True)
    for wrong in ("26", "-1", "soon"):
        refused = service.call("GET", f"/runs/{run_id}?wait={wrong}")
        assert (refused.status_code, refused.json()["error"]) == (400, "InvalidTrigger")
        assert [field["field"] for field in refused.json()["fields"]] == ["wait"]
    celonis.finish(job)
    service.closed(run_id)


def documented_script(folder: Path) -> Path:
    """The script of the page, as a reader copies it."""
    (script,) = re.findall(
        r"^```python\n(\"\"\"Start a pipeline.*?)^```$", pages.page("docs/waiting.md"), re.M | re.S
    )
    path = folder / "refresh.py"
    path.write_text(script, encoding="utf-8")
    return path


def test_the_documented_script_starts_waits_and_has_an_exit_code(
    service: DeployedService, celonis: CelonisControls, tmp_path: Path
) -> None:
    script, credentials = documented_script(tmp_path), service.stack.credentials
    environment = {
        "PATH": os.environ["PATH"],
        "API_URL": service.stack.api_url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
        **({"AWS_SESSION_TOKEN": credentials.token} if credentials.token else {}),
    }

    def ended(pipeline: str, key: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(script), pipeline, key]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=120
        )

    good = service.pipeline(jobs=[celonis.job()])
    bad = service.pipeline(jobs=["no-such-job"])
    first = ended(good, "order-1")
    assert (first.returncode, "SUCCEEDED Executed" in first.stdout) == (0, True), first
    again = ended(good, "order-1")
    assert (again.returncode, again.stdout) == (0, first.stdout)
    failed = ended(bad, "order-1")
    assert (failed.returncode, "FAILED" in failed.stdout) == (1, True), failed
    unknown = ended("no-such-pipeline", "order-1")
    assert (unknown.returncode, "no-such-pipeline" in unknown.stderr) == (2, True), unknown
    environment["AWS_SECRET_ACCESS_KEY"] = "another"
    stranger = ended(good, "order-1")
    assert (stranger.returncode, stranger.stdout) == (2, ""), stranger


def activity(service: DeployedService, source: str, number: int, host: str = "dpeastus") -> Json:
    """The answer to a Webhook activity of Azure Data Factory."""
    address = f"https://{host}.svc.datafactory.azure.com/callback/{number}?callbackUrl={TOKEN}-{number}"
    body = json.dumps({"pipeline": "load", "callBackUri": address}).encode()
    credentials = base64.b64encode(ADF_USER.encode()).decode()
    headers = {"content-type": "application/json", "authorization": f"Basic {credentials}"}
    answer = service.send("POST", f"/webhooks/{source}", body, headers)
    assert answer.status_code == 202, answer.text
    (run,) = answer.json()["runs"]
    result: Json = run
    return result


def stored(service: DeployedService, run_id: str) -> set[str]:
    """The addresses in the callbacks of a run, without what stands before the number of the activity."""
    items = [item for item in service.items() if item["pk"]["S"].startswith(f"callback#{run_id}#")]
    assert all(item["format"]["S"] == "azure_data_factory" for item in items)
    return {item["address"]["S"].rsplit("-", 1)[1] for item in items}


def log(service: DeployedService) -> str:
    return "\n".join(line.text for line in service.stack.logs("Trigger"))


@pytest.fixture
def factory(service: DeployedService) -> str:
    """The name of a webhook secret."""
    return service.secret("webhooks", {"current": ADF_USER})


def test_the_callback_of_an_activity_is_kept_with_the_run_that_covers_it_also_if_it_was_merged(
    service: DeployedService, celonis: CelonisControls, factory: str
) -> None:
    job = celonis.job(seconds=600)
    pipeline = service.pipeline(jobs=[job])
    source = service.source({"pipeline": pipeline}, sender="azure_data_factory", secret=factory)
    first = activity(service, source, 1)
    assert first["status"] == "started"
    service.running(first["run_id"])
    with ThreadPoolExecutor(4) as pool:
        joined = list(pool.map(lambda number: activity(service, source, number), range(2, 6)))
    assert {run["status"] for run in joined} == {"joined"}
    (follow_up,) = {run["run_id"] for run in joined}
    assert stored(service, first["run_id"]) == {"1"}
    assert stored(service, follow_up) == {"2", "3", "4", "5"}

    celonis.set_job(job, seconds=0.3)
    celonis.finish(job)
    for run_id in (first["run_id"], follow_up):
        assert service.closed(run_id)["status"] == "SUCCEEDED"
    assert TOKEN not in "".join(service.responses)
    assert TOKEN not in json.dumps(
        [service.history(run["run_id"]) for run in (first, joined[0])], default=str
    )


def test_a_callback_address_that_is_not_allowed_is_logged_and_the_run_continues(
    service: DeployedService, celonis: CelonisControls, factory: str
) -> None:
    pipeline = service.pipeline(jobs=[celonis.job()])
    hosts = {"callback_hosts": ["hooks.example.com"]}
    source = service.source({"pipeline": pipeline}, sender="azure_data_factory", secret=factory, **hosts)
    run = activity(service, source, 1)
    assert service.closed(run["run_id"])["status"] == "SUCCEEDED"
    assert stored(service, run["run_id"]) == set()
    until(lambda: "a callback address is refused" in log(service), "the line in the log")
    assert TOKEN not in log(service)
