"""Ids of data pools, data jobs and data models, also from the addresses of their pages in Celonis.

The pages, below ``https://{team}.{realm}.celonis.cloud/integration/ui/pools/{pool}/``:
``data-configuration/data-jobs?jobId={job}`` and
``data-configuration/process-data-models/{model}?tab=data-model``.
"""

from __future__ import annotations

from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from msgspec import Struct

MAX_ID_LENGTH = 128
MAX_ADDRESS_LENGTH = 2048

_PAGES = ("integration", "ui", "pools")
_MODELS = "process-data-models"
_JOB_PARAMETER = "jobId"

_POOL_EXPECTED = "Expected the id of a data pool, or its page address, …/integration/ui/pools/{id}/."
_JOB_EXPECTED = (
    "Expected the id of a data job, or its page address, …/data-configuration/data-jobs?jobId={id}."
)
_MODEL_EXPECTED = (
    "Expected the id of a data model, or its page address, …/data-configuration/process-data-models/{id}."
)
_ID_EXPECTED = (
    f"An id has 1 to {MAX_ID_LENGTH} characters, and no '/', '\\', '?', '#', '..', space or control sign."
)


class Address(Struct, frozen=True):
    """An id, and the host and pool of the page address around it; None for a bare id.

    ``host`` is in lower case, with a port only if that is not the scheme's default, like ``Connection.host``.
    """

    id: str
    host: str | None = None
    pool_id: str | None = None


def parse_pool(value: str) -> Address:
    """Read a data pool's id or any page inside the pool. Raises ValueError with what was expected."""
    text = _text(value, _POOL_EXPECTED)
    if not _is_address(text):
        return Address(safe_id(text))
    host, pool, _, _ = _page(text, _POOL_EXPECTED)
    return Address(pool, host, pool)


def parse_job(value: str) -> Address:
    """Read a data job's id or its page address. Raises ValueError with what was expected."""
    text = _text(value, _JOB_EXPECTED)
    if not _is_address(text):
        return Address(safe_id(text))
    host, pool, _, query = _page(text, _JOB_EXPECTED)
    ids = set(query.get(_JOB_PARAMETER, []))
    if len(ids) != 1:
        raise ValueError(_JOB_EXPECTED)
    return Address(safe_id(ids.pop()), host, pool)


def parse_model(value: str) -> Address:
    """Read a data model's id or its page address. Raises ValueError with what was expected."""
    text = _text(value, _MODEL_EXPECTED)
    if not _is_address(text):
        return Address(safe_id(text))
    host, pool, rest, _ = _page(text, _MODEL_EXPECTED)
    if _MODELS not in rest[:-1]:
        raise ValueError(_MODEL_EXPECTED)
    return Address(safe_id(rest[rest.index(_MODELS) + 1]), host, pool)


def job_page(base_url: str, pool_id: str, job_id: str) -> str:
    """Return the address of a data job's page. ``base_url``: scheme and host."""
    page = f"{_pool_page(base_url, pool_id)}/data-configuration/data-jobs"
    return f"{page}?{_JOB_PARAMETER}={quote(job_id, safe='')}"


def model_page(base_url: str, pool_id: str, model_id: str) -> str:
    """Return the address of a data model's page. ``base_url``: scheme and host."""
    page = f"{_pool_page(base_url, pool_id)}/data-configuration/{_MODELS}/{quote(model_id, safe='')}"
    return f"{page}?tab=data-model"


def _pool_page(base_url: str, pool_id: str) -> str:
    return f"{base_url}/{'/'.join(_PAGES)}/{quote(pool_id, safe='')}"


def safe_id(value: str) -> str:
    """Return the id. Raises ValueError if it could be more than one segment of a path.

    Ids are opaque: only characters that could leave the segment or are invisible are refused.
    """
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID_LENGTH:
        raise ValueError(_ID_EXPECTED)
    if value == "." or ".." in value or any(char in value for char in "/\\?#"):
        raise ValueError(_ID_EXPECTED)
    # isprintable is False for control and zero-width characters, other spaces and unpaired surrogates.
    if " " in value or not value.isprintable():
        raise ValueError(_ID_EXPECTED)
    return value


def host_of(parts: SplitResult) -> str:
    """Return the host of a split address in lower case, with its port unless that is the default."""
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    standard = {"http": 80, "https": 443}.get(parts.scheme)
    return host if parts.port in (None, standard) else f"{host}:{parts.port}"


def _text(value: str, expected: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_ADDRESS_LENGTH or not value.strip():
        raise ValueError(expected)
    return value.strip()


def _is_address(text: str) -> bool:
    return "/" in text


def _page(text: str, expected: str) -> tuple[str, str, list[str], dict[str, list[str]]]:
    """Return host, pool id, the path's segments after the pool, and the query."""
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        host, query = host_of(parts), parse_qs(parts.query, max_num_fields=50)
    except ValueError:
        raise ValueError(expected) from None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        raise ValueError(expected)
    segments = [unquote(segment) for segment in parts.path.split("/") if segment]
    for start in range(len(segments) - len(_PAGES)):
        end = start + len(_PAGES)
        if tuple(segments[start:end]) == _PAGES:
            return host, safe_id(segments[end]), segments[end + 1 :], query
    raise ValueError(expected)
