"""Every way to sign in to Celonis, and the error of a run that may not."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlsplit

from local.celonis import world
from local.wait import until
from tests.stack.runs.celonis import CelonisControls, Json
from tests.stack.runs.service import DeployedService, is_sentence, oauth_client


def test_a_run_signs_in_with_each_kind_of_credential(
    service: DeployedService, celonis: CelonisControls
) -> None:
    ways: dict[str, Json] = {
        "oauth": oauth_client(),
        "app_key": {"type": "app_key", "key": world.APP_KEY},
        "api_key": {"type": "api_key", "key": world.API_KEY},
    }
    celonis.settings(client_auth_methods=["client_secret_basic"])
    jobs, models = {}, {}
    names = []
    for kind, auth in ways.items():
        jobs[kind], models[kind] = celonis.job(), celonis.model("VBAK")
        load = {"data_model": models[kind].id, "kind": "partial", "tables": ["VBAK"]}
        connection = service.connection(auth)
        pipeline = service.pipeline(connection=connection, jobs=[jobs[kind]], loads=[load])
        names.append(service.execute({"pipeline": pipeline}))
    for name, kind in zip(names, ways, strict=True):
        assert service.closed(name)["status"] == "SUCCEEDED"
        calls = (("execute", jobs[kind]), ("load_tables", models[kind].id), ("tables", models[kind].id))
        used = {row["credential"] for call, about in calls for row in celonis.requests(call, about)}
        assert used == {kind}


def test_an_oauth_client_may_send_its_secret_in_the_body(
    service: DeployedService, celonis: CelonisControls
) -> None:
    celonis.settings(client_auth_methods=["client_secret_post"])
    connection = service.connection(oauth_client(method="client_secret_post"))
    job = celonis.job()
    run = service.run_by_hand({"pipeline": service.pipeline(connection=connection, jobs=[job])})
    assert run["status"] == "SUCCEEDED"
    assert {row["credential"] for row in celonis.requests("execute", job)} == {"oauth"}


def test_a_token_that_expires_in_the_middle_is_renewed(
    service: DeployedService, celonis: CelonisControls
) -> None:
    """Once when Celonis said, once sooner than it said."""
    for settings in ({"token_seconds": 3}, {"token_seconds": 899, "token_lives_seconds": 0.4}):
        celonis.settings(**settings)
        job = celonis.job(seconds=600)
        connection = service.connection(oauth_client())
        name = service.execute({"pipeline": service.pipeline(connection=connection, jobs=[job])})
        sooner = "token_lives_seconds" in settings
        until(partial(_tokens_renewed, celonis, job, refused=sooner), "three tokens")
        celonis.finish(job)
        assert service.closed(name)["status"] == "SUCCEEDED"
        assert bool(tokens(celonis, job, 401)) == sooner
        assert len(celonis.executions(job)) == 1


def _tokens_renewed(celonis: CelonisControls, job: str, *, refused: bool) -> bool:
    return len(tokens(celonis, job, 200)) > 2 and (not refused or bool(tokens(celonis, job, 401)))


def tokens(celonis: CelonisControls, job: str, status: int) -> set[str]:
    """The tokens of the polls of a job with this response."""
    return {row["token"] for row in celonis.requests("job", job) if row["status"] == status}


def test_a_secret_that_is_replaced_in_the_middle_is_read_anew(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job(seconds=600)
    connection = service.connection({"type": "app_key", "key": world.APP_KEY})
    name = service.execute({"pipeline": service.pipeline(connection=connection, jobs=[job])})
    service.running(name)
    service.change_connection(connection, {"type": "app_key", "key": "the-next-application-key"})
    celonis.credentials(app_key="the-next-application-key")
    celonis.finish(job)
    assert service.closed(name)["status"] == "SUCCEEDED"


def test_credentials_that_celonis_rejects_fail_the_run_with_advice(
    service: DeployedService, celonis: CelonisControls
) -> None:
    wrong: list[tuple[Json, str]] = [
        (oauth_client(client_secret="not-the-client-secret"), "client_id and client_secret"),
        (oauth_client(scope="some.other.scope"), "some.other.scope"),
        ({"type": "app_key", "key": "not-the-application-key"}, "application key"),
        ({"type": "api_key", "key": "not-the-users-api-key"}, "API key"),
    ]
    service.secrets += ["not-the-client-secret", "not-the-application-key", "not-the-users-api-key"]
    model = celonis.model("VBAK")
    load = {"data_model": model.id, "kind": "partial", "tables": ["VBAK"]}
    names = []
    for auth, _ in wrong:
        connection = service.connection(auth)
        early = service.pipeline(connection=connection, jobs=[celonis.job()], loads=[load])
        late = service.pipeline(connection=connection, jobs=[celonis.job()])
        names.append([service.execute({"pipeline": pipeline}) for pipeline in (early, late)])
    for (_, check), both in zip(wrong, names, strict=True):
        for name in both:
            described = service.ended(name)
            assert (described["status"], described["error"]) == ("FAILED", "AuthenticationFailed")
            assert check in described["cause"]
            assert is_sentence(described["cause"])
            assert service.closed(name)["error"] == "AuthenticationFailed"
            assert check in service.notice_about(name)
    assert celonis.starts() == []


def test_a_secret_that_makes_no_sense_fails_the_run_and_names_the_field(
    service: DeployedService, celonis: CelonisControls
) -> None:
    placeholder = {"auth": oauth_client(client_secret="REPLACE-ME"), "base_url": service.celonis_url}
    astray = "Zx9f8Kq2LmN4pR7tV0wY3aB6cD1eF5gH/put+where+a+name+belongs=="
    service.secrets.append(astray)
    cases: list[tuple[str, str, str]] = [
        (service.secret("connections", placeholder), "ConnectionInvalid", "auth.client_secret"),
        (service.connection({"type": "basic"}), "ConnectionInvalid", "auth.type"),
        (service.connection(oauth_client(), allow_http=False), "ConnectionInvalid", "base_url"),
        (
            service.connection(
                oauth_client(), base_url="https://celonis.cloud.example.org", allow_any_host=False
            ),
            "ConnectionInvalid",
            "base_url",
        ),
        (
            service.connection({astray: "x", **oauth_client()}),
            "ConnectionInvalid",
            "auth.",
        ),
        ("no-such-connection", "SecretUnreadable", "connections/no-such-connection"),
    ]
    names = [
        service.execute({"pipeline": service.pipeline(connection=connection, jobs=[celonis.job()])})
        for connection, _, _ in cases
    ]
    for name, (_, error, field) in zip(names, cases, strict=True):
        described = service.ended(name)
        assert (described["status"], described["error"]) == ("FAILED", error), described["cause"]
        assert field in described["cause"]
        assert is_sentence(described["cause"])
        assert service.closed(name)["error"] == error
    assert "was never filled in" in service.ended(names[0])["cause"]
    assert celonis.starts() == []


def test_a_host_that_cannot_be_resolved_is_in_the_record_while_the_step_waits(
    service: DeployedService, celonis: CelonisControls
) -> None:
    connection = service.connection({"type": "app_key", "key": "k"}, base_url="http://celonis.invalid")
    name = service.execute({"pipeline": service.pipeline(connection=connection, jobs=[celonis.job()])})

    def error() -> object:
        answer = service.call("GET", f"/runs/{name}")
        return answer.ok and answer.json()["steps"].get("job-0", {}).get("last_error")

    assert "the host name celonis.invalid cannot be resolved" in str(until(error, f"error of {name}"))
    step = service.show(name)["steps"]["job-0"]
    assert step["rounds"] >= 1
    assert "posts" not in step
    service.call("POST", f"/runs/{name}/cancel")
    service.closed(name)


def test_page_addresses_of_another_team_than_the_connection_fail_with_both_hosts(
    service: DeployedService, celonis: CelonisControls
) -> None:
    page = "https://apac.eu-1.celonis.cloud/integration/ui/pools/pool-1/"
    run = service.run_by_hand({"pipeline": service.pipeline(data_pool=page, jobs=[celonis.job()])})
    assert (run["status"], run["error"]) == ("FAILED", "InvalidDefinition")
    assert "data_pool: the page address names apac.eu-1.celonis.cloud, but connection" in run["outcome"]
    assert urlsplit(service.celonis_url).netloc in run["outcome"]


def test_a_permission_that_is_missing_in_celonis_is_named(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job, model = celonis.job(), celonis.model("VBAK")
    celonis.settings(forbidden_calls=["execute", "load"])
    names = [
        service.execute({"pipeline": service.pipeline(jobs=[job])}),
        service.execute({"pipeline": service.pipeline(loads=[model.id])}),
    ]
    pipeline = service.pipeline(jobs=[celonis.job()])
    webhook = service.webhook(service.source({"pipeline": pipeline}))
    assert webhook.status_code == 202
    names.append(webhook.json()["runs"][0]["run_id"])
    for name, permission in zip(
        names, ("manage the data pool", "Edit on the data pool", "manage"), strict=True
    ):
        described = service.ended(name)
        assert (described["status"], described["error"]) == ("FAILED", "PermissionDenied")
        assert permission in described["cause"]
        assert is_sentence(described["cause"])
        assert service.closed(name)["error"] == "PermissionDenied"
    assert celonis.starts() == []
    assert service.is_free(pipeline)
