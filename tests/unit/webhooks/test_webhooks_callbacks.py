"""Callback addresses: which ones an event can have, and which rules can take them."""

from __future__ import annotations

from typing import Any

import pytest

from celonis_refresh.webhooks.callbacks import MAX_ADDRESS, CallbackAddress, address_problem
from celonis_refresh.webhooks.errors import InvalidSource
from celonis_refresh.webhooks.events import Event
from celonis_refresh.webhooks.rules import RuleResults, apply_rules
from celonis_refresh.webhooks.sources import MAX_CALLBACK_RULES, parse_source

HOSTS = ["hooks.example.com", "*.svc.datafactory.azure.com"]
TOKEN = "AAEAFF7a-secret-token"
ADDRESS = f"https://dpeastus.svc.datafactory.azure.com/dataplane/workflow/callback/1?callbackUrl={TOKEN}"


@pytest.mark.parametrize(
    "address",
    [
        ADDRESS,
        "https://hooks.example.com",
        "https://hooks.example.com?token=1",
        "https://hooks.example.com:443/path",
        "HTTPS://Hooks.Example.COM/Path",
        "https://a.b.svc.datafactory.azure.com/x@y:z//",
    ],
)
def test_an_address_of_an_allowed_host_is_allowed(address: str) -> None:
    assert address_problem(address, HOSTS) == ""


@pytest.mark.parametrize(
    "address",
    [
        "http://hooks.example.com/",
        "//hooks.example.com/",
        "https:hooks.example.com",
        "https:///hooks.example.com",
        "https://hooks.example.com:8443/",
        "https://hooks.example.com:/",
        "https://hooks.example.com:443@evil.test/",
        "https://user@hooks.example.com/",
        "https://user:password@hooks.example.com/",
        "https://evil.test\\@hooks.example.com/",
        "https://evil.test\\.hooks.example.com/",
        "https://hooks.example.com\\.evil.test/",
        "https://hooks.example.com.",
        "https://hooks.example.com./",
        "https://hooks.example.com#@evil.test/",
        "https://hooks.example.com/#x",
        "https://hooks.example.com /",
        " https://hooks.example.com/",
        "https://hooks.example.com/\n",
        "https://hooks.example.com/\r\nHost: evil.test",
        "https://hooks.example.com/\x00",
        "https://hooks%2eexample.com/",
        "https://hooks。example.com/",
        "https://hooks.exämple.com/",
        "https://hooks.example.com/ä",
        "https://evil.test/hooks.example.com",
        "https://evil.test/?hooks.example.com",
        "https://hooks.example.com.evil.test/",
        "https://xhooks.example.com/",
        "https://x.hooks.example.com/",
        "https://example.com/",
        "https://svc.datafactory.azure.com/",
        "https://.svc.datafactory.azure.com/",
        "https://evilsvc.datafactory.azure.com/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://[::1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://localhost/",
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "",
        None,
        1,
        ["https://hooks.example.com/"],
        {"url": "https://hooks.example.com/"},
        "https://hooks.example.com/" + "x" * MAX_ADDRESS,
    ],
)
def test_any_other_address_is_refused_and_not_repeated(address: object) -> None:
    problem = address_problem(address, HOSTS)
    assert problem
    if isinstance(address, str) and address:
        assert address not in problem
        assert address.split("/")[-1] not in problem or address.endswith("/")
    assert "x" * 100 not in problem


def test_a_refused_address_is_named_by_its_host_only() -> None:
    problem = address_problem("https://Hooks.Example.ORG/t0ken/run?t0ken=1", HOSTS)
    assert problem == "gave an address whose host hooks.example.org is not in callback_hosts"
    token = "t0ken" * 20
    for host in (f"{token}.org", ".".join(["t0ken"] * 60)):
        assert "t0ken" not in address_problem(f"https://{host}/", HOSTS)


LOCAL = "http://127.0.0.1:8080/callback?token=1"


@pytest.mark.parametrize("address", [LOCAL, "http://127.0.0.1:1"])
def test_a_receiver_on_this_machine_is_allowed_on_the_local_stack_only(address: str) -> None:
    assert address_problem(address, HOSTS, allow_http=True) == ""
    assert address_problem(address, [*HOSTS, "127.0.0.1"])
    assert address_problem(ADDRESS, HOSTS, allow_http=True) == ""


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1/",
        "http://127.0.0.1:/",
        "http://127.0.0.1:80@evil.test/",
        "http://127.0.0.1:80.evil.test/",
        "http://127.0.0.1.evil.test:80/",
        "http://user@127.0.0.1:80/",
        "http://127.0.0.1:80#x",
        "http://127.0.0.1:80/\n",
        "http://169.254.169.254:80/",
        "http://hooks.example.com:80/",
        "https://127.0.0.1:80/",
    ],
)
def test_no_other_address_without_a_certificate_is_allowed(address: str) -> None:
    assert address_problem(address, HOSTS, allow_http=True)


def source(*rules: dict[str, Any], sender: str = "servicenow", **fields: Any) -> dict[str, Any]:
    return {"sender": sender, "secret": "name", "rules": list(rules) or [{"pipeline": "p"}], **fields}


CALLBACK = {"pipeline": "p", "callback": {"path": "reply.to"}}


def applied(document: dict[str, Any], body: Any) -> RuleResults:
    return apply_rules(parse_source("erp", document), Event(None, None, body))


def test_a_rule_takes_the_address_from_the_event() -> None:
    given = source(CALLBACK, callback_hosts=HOSTS)
    (match,) = applied(given, {"reply": {"to": ADDRESS}}).matches
    assert match.callback == CallbackAddress(ADDRESS, "run")
    assert TOKEN not in repr(match)


def test_the_preset_of_azure_data_factory_takes_its_address() -> None:
    (match,) = applied(source(sender="azure_data_factory"), {"callBackUri": ADDRESS}).matches
    assert match.callback == CallbackAddress(ADDRESS, "azure_data_factory")


def test_the_local_stack_takes_the_address_of_a_receiver_on_this_machine() -> None:
    given, event = source(sender="azure_data_factory"), Event(None, None, {"callBackUri": LOCAL})
    parsed = parse_source("erp", given)
    (match,) = apply_rules(parsed, event, allow_http=True).matches
    assert match.callback == CallbackAddress(LOCAL, "azure_data_factory")
    assert [match.callback for match in apply_rules(parsed, event).matches] == [None]


def test_a_source_replaces_the_hosts_of_its_sender() -> None:
    given = source(sender="azure_data_factory", callback_hosts=["Hooks.Example.com"])
    found = applied(given, {"callBackUri": ADDRESS})
    assert [match.callback for match in found.matches] == [None]
    found = applied(given, {"callBackUri": "https://hooks.example.com/1"})
    assert [match.callback for match in found.matches] == [
        CallbackAddress("https://hooks.example.com/1", "azure_data_factory")
    ]


@pytest.mark.parametrize("body", [{"other": 1}, {"callBackUri": None}])
def test_an_event_without_an_address_starts_its_pipeline(body: Any) -> None:
    found = applied(source(sender="azure_data_factory"), body)
    assert [match.callback for match in found.matches] == [None]
    assert found.callback_errors == ()


@pytest.mark.parametrize("address", ["https://evil.test/?t=1", "http://x.svc.datafactory.azure.com/", 7, ""])
def test_an_address_that_is_refused_keeps_nothing_from_starting(address: object) -> None:
    found = applied(source(sender="azure_data_factory"), {"callBackUri": address})
    assert [match.callback for match in found.matches] == [None]
    assert (found.errors, found.ignored) == ((), "")
    (error,) = found.callback_errors
    assert str(error).startswith("rule 1: callback gave ")
    assert "t=1" not in str(error)


def test_a_path_that_cannot_be_applied_keeps_nothing_from_starting() -> None:
    rule = {"pipeline": "p", "callback": {"path": "join('', reply)"}}
    found = applied(source(rule, callback_hosts=HOSTS), {"reply": 1})
    assert len(found.matches) == 1
    assert [error.field for error in found.callback_errors] == ["callback"]


def test_a_rule_that_cannot_be_applied_keeps_its_callback_for_the_run_that_covers_it() -> None:
    rule = {**CALLBACK, "mode": {"path": "mode"}}
    found = applied(source(rule, callback_hosts=HOSTS), {"mode": "SOMETIMES", "reply": {"to": ADDRESS}})
    (invalid,) = found.invalid
    assert invalid.callback == CallbackAddress(ADDRESS, "run")


def problems(document: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(InvalidSource) as refused:
        parse_source("erp", document)
    return {problem.field: problem.expected for problem in refused.value.problems}


@pytest.mark.parametrize(
    "host",
    [
        "",
        "*",
        "*.com",
        "com",
        "localhost",
        "127.0.0.1",
        "*.0.0.1",
        "0x7f.1",
        "[::1]",
        "::1",
        "https://hooks.example.com",
        "hooks.example.com/",
        "hooks.example.com:443",
        "hooks.*.com",
        "*hooks.example.com",
        "*.*.example.com",
        "user@example.com",
        ".example.com",
        "example.com.",
        "exämple.com",
        "-a.example.com",
        "a." * 200 + "com",
        1,
        None,
    ],
)
def test_a_host_that_cannot_be_allowed_is_refused_with_the_field_named(host: object) -> None:
    assert set(problems(source(CALLBACK, callback_hosts=["hooks.example.com", host]))) == {"callback_hosts.1"}


@pytest.mark.parametrize("hosts", [[], ["a.example.com"] * 21, "hooks.example.com", {}])
def test_the_hosts_are_a_list_of_one_to_twenty(hosts: object) -> None:
    assert set(problems(source(CALLBACK, callback_hosts=hosts))) == {"callback_hosts"}


@pytest.mark.parametrize(
    ("callback", "field"),
    [
        ("callBackUri", "rules.0.callback"),
        ({}, "rules.0.callback.path"),
        ({"path": "reply.["}, "rules.0.callback.path"),
        ({"path": ""}, "rules.0.callback.path"),
        ({"path": 1}, "rules.0.callback.path"),
        ({"path": "a", "host": "b"}, "rules.0.callback.host"),
        ({"url": ADDRESS}, "rules.0.callback.path"),
    ],
)
def test_a_callback_that_cannot_be_read_is_refused_with_the_field_named(callback: object, field: str) -> None:
    found = problems(source({"pipeline": "p", "callback": callback}, callback_hosts=HOSTS))
    assert field in found
    assert TOKEN not in str(found)


def test_a_callback_needs_hosts() -> None:
    assert set(problems(source(CALLBACK))) == {"rules.0.callback"}
    assert "callback_hosts" in problems(source(CALLBACK))["rules.0.callback"]
    parse_source("erp", source(CALLBACK, sender="azure_data_factory"))


@pytest.mark.parametrize("sender", ["azure_event_grid", "salesforce_outbound_message"])
def test_a_sender_of_several_events_in_a_request_has_no_callbacks(sender: str) -> None:
    found = problems(source(CALLBACK, sender=sender, callback_hosts=HOSTS))
    assert set(found) == {"rules.0.callback"}


def test_a_source_with_callbacks_has_no_more_rules_than_a_transaction_can_take() -> None:
    rules = [{"pipeline": f"p{number}"} for number in range(MAX_CALLBACK_RULES + 1)]
    assert set(problems(source(*rules, sender="azure_data_factory"))) == {"rules"}
    assert set(problems(source(*rules[1:], CALLBACK, callback_hosts=HOSTS))) == {"rules"}
    parse_source("erp", source(*rules[1:], sender="azure_data_factory"))
    parse_source("erp", source(*rules, callback_hosts=HOSTS))
