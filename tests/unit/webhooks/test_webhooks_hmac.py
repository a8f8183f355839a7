from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from msgspec.structs import replace

from celonis_refresh.webhooks.errors import Malformed, NotAuthentic, WebhookError
from celonis_refresh.webhooks.request import WebhookRequest
from celonis_refresh.webhooks.senders import SENDERS
from celonis_refresh.webhooks.verification import Hmac, Proof, secret_problem, verify
from tests.fakes.signing import sign

NOW = 1767225600
BODY = b'{"status": "success"}'
KEY = "whsec_" + base64.b64encode(b"k" * 32).decode()
OTHER = "whsec_" + base64.b64encode(b"o" * 32).decode()
HMAC_SENDERS = {name: sender.scheme for name, sender in SENDERS.items() if isinstance(sender.scheme, Hmac)}
GITHUB, SLACK = HMAC_SENDERS["github"], HMAC_SENDERS["slack"]
STRIPE, STANDARD = HMAC_SENDERS["stripe"], HMAC_SENDERS["standard_webhooks"]
FIVETRAN, SHOPIFY = HMAC_SENDERS["fivetran"], HMAC_SENDERS["shopify"]


def signed(scheme: Hmac, *, secret: str = KEY, time: int = NOW) -> dict[str, str]:
    return sign(scheme, secret, BODY, message_id="msg_1", timestamp=time)


def check(scheme: Hmac, headers: dict[str, str], *, body: bytes = BODY, secrets: Any = (KEY,)) -> Proof:
    return verify(scheme, WebhookRequest(headers, {}, body), secrets, NOW)


@pytest.mark.parametrize("name", HMAC_SENDERS)
def test_accepts_what_its_twin_signed(name: str) -> None:
    scheme = HMAC_SENDERS[name]
    proof = check(scheme, signed(scheme))
    assert proof.timestamp == (NOW if scheme.signs_time else None)
    assert proof.id == ("msg_1" if scheme.signs_id else None)


@pytest.mark.parametrize("name", HMAC_SENDERS)
def test_returns_which_secret_matched(name: str) -> None:
    scheme = HMAC_SENDERS[name]
    assert check(scheme, signed(scheme), secrets=[KEY, OTHER]).secret_index == 0
    assert check(scheme, signed(scheme), secrets=[OTHER, KEY]).secret_index == 1


@pytest.mark.parametrize("name", HMAC_SENDERS)
@pytest.mark.parametrize("secrets", [[], [""], [OTHER], ["", OTHER]])
def test_refuses_without_the_secret(name: str, secrets: list[str]) -> None:
    scheme = HMAC_SENDERS[name]
    with pytest.raises(NotAuthentic):
        check(scheme, signed(scheme), secrets=secrets)


@pytest.mark.parametrize("name", HMAC_SENDERS)
def test_refuses_the_same_json_in_other_bytes(name: str) -> None:
    scheme = HMAC_SENDERS[name]
    again = json.dumps(json.loads(BODY), separators=(",", ":")).encode()
    with pytest.raises(NotAuthentic):
        check(scheme, signed(scheme), body=again)


@pytest.mark.parametrize("name", HMAC_SENDERS)
def test_refuses_every_header_that_came_twice(name: str) -> None:
    scheme = HMAC_SENDERS[name]
    for header in signed(scheme):
        for glue in (",", ", "):
            headers = signed(scheme)
            headers[header] = glue.join([headers[header], headers[header]])
            with pytest.raises((NotAuthentic, Malformed)):
                check(scheme, headers)


@pytest.mark.parametrize("name", HMAC_SENDERS)
def test_refuses_a_missing_or_empty_header_as_not_authentic(name: str) -> None:
    scheme = HMAC_SENDERS[name]
    for header in signed(scheme):
        for headers in (
            {k: v for k, v in signed(scheme).items() if k != header},
            {**signed(scheme), header: ""},
        ):
            with pytest.raises(NotAuthentic, match=header):
                check(scheme, headers)


@pytest.mark.parametrize("scheme", [STANDARD, SLACK, STRIPE])
@pytest.mark.parametrize("distance", [-301, 301, -(10**9), 10**9])
def test_refuses_a_time_outside_the_window_on_both_sides(scheme: Hmac, distance: int) -> None:
    with pytest.raises(NotAuthentic, match="300 s before or after"):
        check(scheme, signed(scheme, time=NOW + distance))


@pytest.mark.parametrize("scheme", [STANDARD, SLACK, STRIPE])
@pytest.mark.parametrize("distance", [-300, 300])
def test_accepts_a_time_at_the_edge_of_the_window(scheme: Hmac, distance: int) -> None:
    assert check(scheme, signed(scheme, time=NOW + distance)).timestamp == NOW + distance


def test_does_not_reveal_the_time_window_without_the_secret() -> None:
    with pytest.raises(NotAuthentic) as refusal:
        check(SLACK, signed(SLACK, secret=OTHER, time=NOW - 10**6))
    assert "300" not in str(refusal.value)


BAD_TIMES = [
    "nan",
    "inf",
    "-inf",
    "1e9",
    "-1767225600",
    "+1767225600",
    " 1767225600",
    "1767225600 ",
    "1767225600.0",
]
BAD_TIMES += ["9" * 12, "9" * 5000, "0x10", "1_767", "١٧٦٧٢٢٥٦٠٠", "¹", "\u00a0", "1767225600\n", "\ud800"]


@pytest.mark.parametrize("time", BAD_TIMES)
def test_refuses_a_time_that_is_no_number_of_seconds(time: str) -> None:
    for headers, scheme in (
        ({**signed(SLACK), "x-slack-request-timestamp": time}, SLACK),
        ({**signed(STANDARD), "webhook-timestamp": time}, STANDARD),
        ({"stripe-signature": f"t={time},v1={'0' * 64}"}, STRIPE),
    ):
        with pytest.raises(Malformed):
            check(scheme, headers)


GITHUB_HEX = signed(GITHUB)["x-hub-signature-256"].removeprefix("sha256=")


@pytest.mark.parametrize(
    "value",
    [
        GITHUB_HEX,
        "sha1=" + GITHUB_HEX,
        "SHA256=" + GITHUB_HEX,
        "sha256=" + GITHUB_HEX.upper(),
        "sha256=" + GITHUB_HEX[:-1],
        "sha256=" + GITHUB_HEX + "0",
        "sha256= " + GITHUB_HEX,
        "sha256=" + GITHUB_HEX + "\n",
        "sha256=" + " ".join(GITHUB_HEX[i : i + 2] for i in range(0, 64, 2)),
        "sha256=" + base64.b64encode(bytes.fromhex(GITHUB_HEX)).decode(),
        "sha256=" + "é" * 64,
        "sha256=",
        "\ud800",
    ],
)
def test_refuses_a_signature_in_another_form(value: str) -> None:
    with pytest.raises(Malformed):
        check(GITHUB, {"x-hub-signature-256": value})


def test_accepts_hex_in_either_case_where_the_sender_sends_either() -> None:
    value = signed(FIVETRAN)["x-fivetran-signature-256"]
    assert check(FIVETRAN, {"x-fivetran-signature-256": value.upper()}) == check(FIVETRAN, signed(FIVETRAN))


def test_refuses_base64_that_decodes_to_the_same_bytes_but_is_written_otherwise() -> None:
    value = signed(SHOPIFY)["x-shopify-hmac-sha256"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twin = value[:-2] + alphabet[alphabet.index(value[-2]) ^ 1] + "="
    assert base64.b64decode(twin) == base64.b64decode(value)
    for text in (twin, value.rstrip("="), value.replace("+", "-").replace("/", "_") + "=", value + "="):
        with pytest.raises(Malformed):
            check(SHOPIFY, {"x-shopify-hmac-sha256": text})


def test_finds_its_signature_among_those_of_a_rotation() -> None:
    ours, theirs = signed(STANDARD), signed(STANDARD, secret=OTHER)
    both = f"v1a,ed25519 {theirs['webhook-signature']} {ours['webhook-signature']}"
    assert check(STANDARD, {**ours, "webhook-signature": both}).secret_index == 0
    pair = signed(STRIPE)["stripe-signature"]
    rotated = pair.replace("v1=", f"v0=x,v1={'0' * 64},v1=")
    assert check(STRIPE, {"stripe-signature": rotated}).secret_index == 0


def test_two_times_are_not_put_together_to_one() -> None:
    signature = signed(STRIPE)["stripe-signature"].partition("v1=")[2]
    time = str(NOW)
    with pytest.raises(Malformed):
        check(STRIPE, {"stripe-signature": f"t={time[:5]},t={time[5:]},v1={signature}"})


def test_refuses_a_joined_list_even_with_a_valid_entry() -> None:
    ours = signed(STANDARD)["webhook-signature"]
    with pytest.raises(Malformed):
        check(STANDARD, {**signed(STANDARD), "webhook-signature": f"v2,other,{ours} {ours}"})


def test_does_not_take_a_signature_of_another_version() -> None:
    other = signed(STANDARD)["webhook-signature"].replace("v1,", "v2,")
    with pytest.raises(NotAuthentic, match="v1"):
        check(STANDARD, {**signed(STANDARD), "webhook-signature": other})
    with pytest.raises(NotAuthentic, match="v1"):
        check(STRIPE, {"stripe-signature": signed(STRIPE)["stripe-signature"].replace("v1=", "v0=")})


@pytest.mark.parametrize(
    "value", ["v1", "v1 ", " ", "v1,a b", "v1,", "v1,%%%", "v1,AAAA", " ".join(["v1,A"] * 99)]
)
def test_refuses_a_list_of_versions_that_is_none(value: str) -> None:
    with pytest.raises(Malformed):
        check(STANDARD, {**signed(STANDARD), "webhook-signature": value})


def test_reads_pairs_with_blanks_between_them() -> None:
    spaced = signed(STRIPE)["stripe-signature"].replace(",", ", ")
    assert check(STRIPE, {"stripe-signature": spaced}).timestamp == NOW


@pytest.mark.parametrize(
    "value", ["t", "v1", "t=1,", "t=1,t=1,v1=00", "=,=", "v1=" + "0" * 64, "t=,v1=" + "0" * 64]
)
def test_refuses_pairs_that_are_none(value: str) -> None:
    with pytest.raises((NotAuthentic, Malformed)):
        check(STRIPE, {"stripe-signature": value})


def test_the_signed_id_cannot_be_exchanged() -> None:
    with pytest.raises(NotAuthentic):
        check(STANDARD, {**signed(STANDARD), "webhook-id": "msg_2"})


def test_places_in_the_body_are_not_filled() -> None:
    body = b"{id}{timestamp}{body}"
    headers = sign(STANDARD, KEY, body, message_id="{body}", timestamp=NOW)
    assert check(STANDARD, headers, body=body).id == "{body}"


def test_a_key_without_its_prefix_is_the_same_key() -> None:
    assert check(STANDARD, signed(STANDARD), secrets=[KEY.removeprefix("whsec_")]).secret_index == 0


OFFICIAL = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
"""32 bytes without padding, as the libraries ``standardwebhooks`` and ``svix`` take it."""


@pytest.mark.parametrize(
    "stored",
    [
        OFFICIAL,
        f"{OFFICIAL}=",
        f"{OFFICIAL}==",
        f"{OFFICIAL}\n",
        f"{OFFICIAL}=\r\n",
        f"\t {OFFICIAL} ",
        OFFICIAL.removeprefix("whsec_"),
        f"{OFFICIAL[:20]}\n{OFFICIAL[20:]}",
    ],
)
@pytest.mark.parametrize("name", ["standard_webhooks", "svix", "gitlab_standard"])
def test_a_key_counts_as_in_the_official_libraries(name: str, stored: str) -> None:
    scheme = HMAC_SENDERS[name]
    headers = sign(scheme, f"{OFFICIAL}=", BODY, message_id="msg_1", timestamp=NOW)
    assert secret_problem(scheme, stored) is None
    assert check(scheme, headers, secrets=[OTHER, stored]).secret_index == 1


def test_the_signature_of_the_official_library_is_accepted() -> None:
    """Made with ``standardwebhooks`` 1.1.0: ``Webhook(OFFICIAL).sign("msg_1", …, BODY)``."""
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(NOW),
        "webhook-signature": "v1,Z1ZYr3Ej8GKdhA2aVQQvMqdPUukEjFnK1916YJgPTuw=",
    }
    assert check(STANDARD, headers, secrets=[f" {OFFICIAL}\n"]).secret_index == 0


def test_beside_a_signature_that_is_not_supported_one_that_is_counts() -> None:
    headers = signed(STANDARD)
    headers["webhook-signature"] = f"v1a,{'A' * 86}== {headers['webhook-signature']}"
    assert check(STANDARD, headers).secret_index == 0


@pytest.mark.parametrize("name", HMAC_SENDERS)
@pytest.mark.parametrize("around", ["{}\n", " {}", "\t{}\r\n"])
def test_white_space_around_a_secret_does_not_matter(name: str, around: str) -> None:
    scheme = HMAC_SENDERS[name]
    assert check(scheme, signed(scheme), secrets=[OTHER, around.format(KEY)]).secret_index == 1


def test_a_secret_with_white_space_of_its_own_counts_as_it_is() -> None:
    assert check(GITHUB, signed(GITHUB, secret=" key "), secrets=[" key "]).secret_index == 0
    with pytest.raises(NotAuthentic):
        check(GITHUB, signed(GITHUB, secret=" key "), secrets=["key"])


@pytest.mark.parametrize("blank", [" ", "\n", "\t \r\n"])
def test_a_blank_secret_fits_nothing(blank: str) -> None:
    for scheme in HMAC_SENDERS.values():
        assert secret_problem(scheme, blank) == "it is empty"
    for scheme in (GITHUB, SLACK, STRIPE):
        with pytest.raises(NotAuthentic):
            check(scheme, sign(scheme, "x", BODY, timestamp=NOW), secrets=[blank])


def test_the_key_is_the_whole_text_where_the_sender_has_it_so() -> None:
    headers = signed(STRIPE)
    with pytest.raises(NotAuthentic):
        check(STRIPE, headers, secrets=[KEY.removeprefix("whsec_")])


@pytest.mark.parametrize(
    ("scheme", "secret", "usable"),
    [
        (GITHUB, "any text, é", True),
        (GITHUB, "", False),
        (STANDARD, KEY, True),
        (STANDARD, "whsec_", False),
        (STANDARD, "whsec_é", False),
        (STANDARD, "not-base64!", False),
        (STANDARD, "whpk_MCowBQYDK2VwAyEA", False),
        (STANDARD, "whsk_MCowBQYDK2VwAyEA", False),
    ],
)
def test_reports_a_secret_that_cannot_match(scheme: Hmac, secret: str, usable: bool) -> None:
    problem = secret_problem(scheme, secret)
    assert (problem is None) is usable
    if problem and secret.removeprefix("whsec_"):
        assert secret.removeprefix("whsec_") not in problem


def test_an_unusable_secret_matches_nothing_and_hides_no_other() -> None:
    headers = signed(STANDARD)
    assert check(STANDARD, headers, secrets=["not-base64!", "", KEY]).secret_index == 2
    with pytest.raises(NotAuthentic):
        check(STANDARD, headers, secrets=["not-base64!"])


def test_one_text_is_no_list_of_secrets() -> None:
    with pytest.raises(TypeError):
        check(GITHUB, signed(GITHUB, secret="a"), secrets="abc")


@pytest.mark.parametrize("algorithm", ["sha1", "sha384", "sha512"])
def test_other_algorithms(algorithm: Any) -> None:
    scheme = replace(GITHUB, algorithm=algorithm, prefix=f"{algorithm}=")
    assert check(scheme, signed(scheme)).secret_index == 0
    with pytest.raises(Malformed):
        check(scheme, {GITHUB.header: f"{algorithm}={GITHUB_HEX}"})


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"template": "{id}.{timestamp}"}, "template"),
        ({"template": "{body}{body}"}, "template"),
        ({"template": "{ts}.{body}"}, "template"),
        ({"template": "{id}.{body}"}, "id_header"),
        ({"id_header": "x-id"}, "id_header"),
        ({"template": "{timestamp}.{body}"}, "timestamp_header"),
        ({"tolerance": 0}, "tolerance"),
        ({"tolerance": 86401}, "tolerance"),
    ],
)
def test_refuses_parameters_that_do_not_fit_together(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Hmac(header="x-signature", **fields)


@pytest.mark.parametrize(
    ("scheme", "arguments", "named"),
    [
        (STANDARD, {"message_id": "a"}, "timestamp"),
        (STANDARD, {"timestamp": 1}, "message_id"),
        (GITHUB, {"secret": ""}, "secret"),
    ],
)
def test_sign_requires_what_the_scheme_signs(scheme: Hmac, arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        sign(scheme, **{"secret": KEY, "body": BODY, **arguments})


@pytest.mark.parametrize("error", [NotAuthentic, Malformed])
def test_every_refusal_has_its_status(error: type[WebhookError]) -> None:
    assert {NotAuthentic: 401, Malformed: 400}[error] == error.status  # type: ignore[attr-defined]
