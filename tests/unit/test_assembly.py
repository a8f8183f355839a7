"""The parts put together: what lives as long as the process, and what is read anew."""

from __future__ import annotations

import pytest

from celonis_refresh import assembly
from celonis_refresh.aws.kept import Kept
from celonis_refresh.celonis import client as client_module
from celonis_refresh.celonis.connection import Connection
from celonis_refresh.celonis.gate import OpenGate
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
