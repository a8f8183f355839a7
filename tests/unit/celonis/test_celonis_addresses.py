"""Ids from the page addresses that users copy."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celonis_refresh.celonis.addresses import (
    MAX_ID_LENGTH,
    Address,
    parse_job,
    parse_model,
    parse_pool,
)

HOST = "team.eu-1.celonis.cloud"
POOLS = f"https://{HOST}/integration/ui/pools"
POOL, JOB, MODEL = "0d1b-pool", "7c2e-job", "9f3a-model"

ids = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="/\\?#"),
    min_size=1,
    max_size=MAX_ID_LENGTH,
).filter(lambda text: text != "." and ".." not in text)


@pytest.mark.parametrize("read", [parse_pool, parse_job, parse_model])
@given(value=ids)
def test_a_bare_id_is_taken_as_it_is(read: object, value: str) -> None:
    assert callable(read)
    assert read(value) == Address(value)


def test_a_bare_id_contains_no_host_and_no_pool() -> None:
    assert parse_pool(POOL) == Address(POOL, None, None)


@given(pool=ids, job=ids, model=ids)
def test_every_id_comes_back_out_of_its_page_address(pool: str, job: str, model: str) -> None:
    page = f"{POOLS}/{quote(pool, safe='')}"
    assert parse_pool(f"{page}/") == Address(pool, HOST, pool)
    job_page = f"{page}/data-configuration/data-jobs?jobId={quote(job, safe='')}"
    assert parse_job(job_page) == Address(job, HOST, pool)
    model_page = f"{page}/data-configuration/process-data-models/{quote(model, safe='')}?tab=data-model"
    assert parse_model(model_page) == Address(model, HOST, pool)


@pytest.mark.parametrize(
    "address",
    [
        f"{POOLS}/{POOL}/data-configuration/data-jobs?jobId={JOB}",
        f"{POOLS}/{POOL}/data-configuration/data-jobs/?jobId={JOB}",
        f"{POOLS}/{POOL}/data-configuration/data-jobs?tab=x&jobId={JOB}&y=1",
        f"{POOLS}/{POOL}/data-configuration/data-jobs?jobId={JOB}#section",
        f"  {POOLS}/{POOL}/data-configuration/data-jobs?jobId={JOB}\n",
        f"{HOST}/integration/ui/pools/{POOL}/data-configuration/data-jobs?jobId={JOB}",
        f"https://{HOST.upper()}:443/integration/ui/pools/{POOL}/data-configuration/data-jobs?jobId={JOB}",
    ],
)
def test_a_job_address_may_come_in_every_form_that_a_browser_gives(address: str) -> None:
    assert parse_job(address) == Address(JOB, HOST, POOL)


@pytest.mark.parametrize("end", ["", "/", "?tab=data-model", "/?a=1&tab=data-model", "#x", "/tables?tab=t"])
def test_a_model_address_may_end_in_any_way(end: str) -> None:
    address = f"{POOLS}/{POOL}/data-configuration/process-data-models/{MODEL}{end}"
    assert parse_model(address) == Address(MODEL, HOST, POOL)


def test_a_pool_may_be_named_by_any_page_inside_it() -> None:
    assert parse_pool(f"{POOLS}/{POOL}/data-configuration/data-jobs?jobId={JOB}").id == POOL


def test_a_port_that_is_not_the_usual_one_belongs_to_the_host() -> None:
    assert parse_pool(f"http://LOCALHOST:8443/integration/ui/pools/{POOL}/").host == "localhost:8443"
    assert parse_pool(f"http://[::1]:8443/integration/ui/pools/{POOL}/").host == "[::1]:8443"


@pytest.mark.parametrize(
    "value",
    [
        *("", "   ", ".", "..", "a..b", "a/b", "a\\b", "a?b", "a#b", "a b", "a\tb", "a\x00b", "a\x7fb"),
        *("a\u200bb", "a\u00a0b", "a\ud800b", "x" * (MAX_ID_LENGTH + 1), "x" * 5000),
    ],
)
@pytest.mark.parametrize("read", [parse_pool, parse_job, parse_model])
def test_an_id_that_could_leave_its_segment_or_is_invisible_is_refused(read: object, value: str) -> None:
    assert callable(read)
    with pytest.raises(ValueError, match=r"Expected the id|An id has"):
        read(value)


@pytest.mark.parametrize("hidden", ["a%2Fb", "..%2F..", "%2e%2e", "a%3Fb", "a%0Ab", "a%20b"])
def test_an_escape_in_an_address_hides_nothing(hidden: str) -> None:
    with pytest.raises(ValueError, match="An id has"):
        parse_pool(f"{POOLS}/{hidden}/")
    with pytest.raises(ValueError, match="An id has"):
        parse_job(f"{POOLS}/{POOL}/data-configuration/data-jobs?jobId={hidden}")


@pytest.mark.parametrize(
    "value",
    [
        f"{POOLS}/",
        f"https://{HOST}/integration/ui/",
        f"https://{HOST}/",
        f"ftp://{HOST}/integration/ui/pools/{POOL}/",
        f"https://user:word@{HOST}/integration/ui/pools/{POOL}/",
        f"https:///integration/ui/pools/{POOL}/",
        f"https://[::1/integration/ui/pools/{POOL}/",
        f"https://{HOST}:x/integration/ui/pools/{POOL}/",
    ],
)
def test_what_is_no_page_of_a_pool_is_refused_with_what_was_expected(value: str) -> None:
    with pytest.raises(ValueError, match=r"page address, …/integration/ui/pools/\{id\}/"):
        parse_pool(value)


@pytest.mark.parametrize("query", ["", "?jobid=x", "?jobId=", "?jobId=a&jobId=b"])
def test_a_job_page_without_one_job_is_refused(query: str) -> None:
    with pytest.raises(ValueError, match=r"data-jobs\?jobId=\{id\}"):
        parse_job(f"{POOLS}/{POOL}/data-configuration/data-jobs{query}")


def test_a_job_page_is_no_model_and_a_list_of_models_is_none_either() -> None:
    with pytest.raises(ValueError, match="Expected the id of a data model"):
        parse_model(f"{POOLS}/{POOL}/data-configuration/data-jobs?jobId={JOB}")
    with pytest.raises(ValueError, match="Expected the id of a data model"):
        parse_model(f"{POOLS}/{POOL}/data-configuration/process-data-models/")


@given(st.text(max_size=300))
def test_nothing_that_is_typed_in_ends_in_another_error_than_value_error(value: str) -> None:
    for read in (parse_pool, parse_job, parse_model):
        try:
            found = read(value).id
        except ValueError:
            continue
        assert 0 < len(found) <= MAX_ID_LENGTH
        assert not set(found) & set("/\\?# \n")
        assert ".." not in found
