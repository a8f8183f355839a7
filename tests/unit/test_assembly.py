"""The parts put together: what lives as long as the process, and what is read anew."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from celonis_refresh import assembly
from celonis_refresh.aws.configuration import ConfigurationUnavailable
from celonis_refresh.aws.kept import Kept
from celonis_refresh.celonis import client as client_module
from celonis_refresh.celonis.connection import Connection
from celonis_refresh.celonis.gate import OpenGate
from celonis_refresh.pipelines.errors import InvalidDefinition, UnknownPipeline
from tests.fakes.bench import job_definition
from tests.fakes.clock import Clock
from tests.unit.celonis.exchange import API_KEY, FakeCelonis, json_reply, session_to


def test_a_connection_that_was_changed_is_used_after_five_minutes_at_the_latest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored = Connection("moves", "https://old.eu-1.celonis.cloud", API_KEY)
    clock, celonis = Clock(), FakeCelonis(*[json_reply({"id": "j", "status": None})] * 3)
    kept = Kept(lambda _: stored, assembly.CONNECTION_SECONDS, clock)
    monkeypatch.setattr(assembly, "connections", lambda: kept)
    monkeypatch.setattr(assembly, "table", lambda: None)
    monkeypatch.setattr(assembly, "Asking", lambda *_: OpenGate())
    monkeypatch.setattr(client_module, "make_session", lambda: session_to(celonis))
    definition = job_definition(connection="moves")

    assembly.client_for(definition).job("p", "j")
    stored = Connection("moves", "https://new.eu-1.celonis.cloud", API_KEY)
    assembly.client_for(definition).job("p", "j")
    clock.sleep(300.0)
    assembly.client_for(definition).job("p", "j")
    hosts = [sent.url.split("/")[2].split(".")[0] for sent in celonis.sent]
    assert hosts == ["old", "old", "new"]


PAGE = "https://{host}/integration/ui/pools/pool-1/data-configuration/data-jobs?jobId=job-a"


def test_page_addresses_of_another_team_than_the_connection_name_both_hosts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored = Connection("emea", "https://emea.eu-1.celonis.cloud", API_KEY)
    monkeypatch.setattr(assembly, "connections", lambda: Kept(lambda _: stored, 300, Clock()))
    jobs = [{"job": PAGE.format(host="Apac.eu-1.celonis.cloud")}]
    with pytest.raises(InvalidDefinition) as caught:
        assembly.client_for(job_definition(connection="emea", data_pool="pool-1", jobs=jobs))
    (problem,) = caught.value.problems
    assert problem.field == "jobs.0.job"
    assert "names apac.eu-1.celonis.cloud, but connection 'emea' has emea.eu-1.celonis.cloud" in str(
        caught.value
    )


def listing(answer: Callable[[int | None], list[str]]) -> Callable[[], Any]:
    return lambda: SimpleNamespace(pipelines=answer)


def unknown() -> UnknownPipeline:
    return UnknownPipeline("otx", where="/s/pipelines/otx")


def test_an_unknown_pipeline_leaves_a_function_with_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[int | None] = []

    def names(limit: int | None) -> list[str]:
        limits.append(limit)
        return ["ptp", "otc"]

    monkeypatch.setattr(assembly, "parameters", listing(names))
    with assembly.naming_pipelines():
        pass
    assert limits == [], "nothing is read before there is such an error"
    with pytest.raises(UnknownPipeline, match=r"Known pipelines: otc, ptp\."), assembly.naming_pipelines():
        raise unknown()
    assert limits == [assembly.MAX_KNOWN]


@pytest.mark.parametrize(
    "trouble",
    [
        ConfigurationUnavailable("/s/pipelines/"),
        ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetParametersByPath"),
    ],
)
def test_an_unknown_pipeline_stays_that_where_the_known_ones_cannot_be_listed(
    trouble: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(limit: int | None) -> list[str]:
        raise trouble

    monkeypatch.setattr(assembly, "parameters", listing(fails))
    with pytest.raises(UnknownPipeline) as caught, assembly.naming_pipelines():
        raise unknown()
    assert caught.value.known is None
    assert "could not be listed" in caplog.text
