"""Deliveries that arrive in one request are accepted in one transaction, or none of them is."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from celonis_refresh.errors import RefreshError
from celonis_refresh.observability import logger
from celonis_refresh.runs.claims import Acceptance, Claim, Claims, Delivery
from celonis_refresh.timing import Deadline


def accept_batch(claims: Claims, deliveries: Sequence[Delivery], deadline: Deadline) -> list[Acceptance]:
    """What became of each delivery, in their order. Each claims something.

    Raises what ``Claims.accept_batch`` raises; nothing was accepted then.
    """
    if not deliveries:
        return []
    firsts = _firsts(deliveries)
    groups = {
        first: _merged([each for number, each in enumerate(deliveries) if firsts[number] == first])
        for first in dict.fromkeys(firsts)
    }
    accepted = dict(zip(groups, claims.accept_batch(list(groups.values()), deadline), strict=True))
    try:
        claims.finish(accepted.values(), deadline)
    except RefreshError as error:
        logger.warning("accepted deliveries are recorded by the next claim", extra={"why": str(error)})
    claimed: dict[int, set[str]] = {first: set() for first in groups}
    parts = []
    for first, delivery in zip(firsts, deliveries, strict=True):
        parts.append(_part(accepted[first], delivery, claimed[first], claims.clock()))
        claimed[first] |= {claim.pipeline for claim in delivery.claims}
    return parts


def _firsts(deliveries: Sequence[Delivery]) -> list[int]:
    """For each delivery the first that has one of its keys: itself, or the one that it repeats."""
    seen: dict[str, int] = {}
    firsts = []
    for number, each in enumerate(deliveries):
        first = next((seen[key] for key in each.keys if key in seen), number)
        seen |= dict.fromkeys(each.keys, first)
        firsts.append(first)
    return firsts


def _merged(same: Sequence[Delivery]) -> Delivery:
    """One delivery for those that repeat each other; the first that claims a pipeline counts."""
    claims: dict[str, Claim] = {}
    for claim in (claim for delivery in same for claim in delivery.claims):
        claims.setdefault(claim.pipeline, claim)
    return Delivery(list(claims.values()), list(dict.fromkeys(key for each in same for key in each.keys)))


def _part(acceptance: Acceptance, delivery: Delivery, claimed: set[str], now: float) -> Acceptance:
    """What is about the delivery's own pipelines. ``claimed``: those of the same delivery before it."""
    named = {claim.pipeline for claim in delivery.claims}
    results = tuple(each for each in acceptance.results if each.pipeline in named)
    accepted = {each.pipeline for each in results if each.status != "skipped"}
    earlier = {name: at for name, at in acceptance.earlier.items() if name in named}
    repeated = dict.fromkeys(sorted(claimed & accepted), now)
    return replace(acceptance, results=results, earlier={**repeated, **earlier})
