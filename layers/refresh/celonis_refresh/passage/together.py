"""Deliveries that come in one request are accepted in one transaction, or none of them is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from celonis_refresh.errors import RefreshError
from celonis_refresh.observability import logger
from celonis_refresh.passage.accepting import joined
from celonis_refresh.runs.claims import ACTIONS_PER_CLAIM, MAX_ACTIONS, Acceptance, Claim, Claims
from celonis_refresh.runs.errors import TableBusy
from celonis_refresh.timing import Deadline

ROUNDS = 5
"""Others may accept some of the deliveries meanwhile; those are then told from the rest once more."""


class Delivery(NamedTuple):
    """What one event claims, and the keys under which it is accepted once only."""

    claims: Sequence[Claim]
    keys: Sequence[str]


def accept_together(claims: Claims, deliveries: Sequence[Delivery], deadline: Deadline) -> list[Acceptance]:
    """What became of each delivery, in their order. Each claims something.

    Raises what ``Claims.accept`` raises; nothing was accepted then.
    """
    firsts = _firsts(deliveries)
    found: dict[int, Acceptance] = {}
    fresh = list(dict.fromkeys(firsts))
    look = len(_keys(deliveries, fresh)) > _room(_claims(deliveries, fresh))
    for _ in range(ROUNDS):
        if look:
            found |= _known(claims, deliveries, fresh)
            fresh = [number for number in fresh if number not in found]
        if not fresh:
            break
        acceptance = _accept(claims, deliveries, fresh, deadline)
        if not acceptance.duplicate or len(fresh) == 1:
            found |= {number: _part(acceptance, deliveries[number].claims) for number in fresh}
            break
        look = True
    else:
        raise TableBusy("the deliveries were accepted one by one meanwhile")
    return [
        found[number] if number == first else replace(found[first], duplicate=True)
        for number, first in enumerate(firsts)
    ]


def _accept(
    claims: Claims,
    deliveries: Sequence[Delivery],
    fresh: Sequence[int],
    deadline: Deadline,
) -> Acceptance:
    """All that is fresh. Keys that do not fit are noted afterwards: without them nothing is lost, only a
    repetition joins what follows."""
    wanted, keys = _claims(deliveries, fresh), _keys(deliveries, fresh)
    room = _room(wanted)
    acceptance = claims.accept(wanted, keys[:room], deadline)
    if keys[room:] and not acceptance.duplicate:
        try:
            claims.note(keys[room:], acceptance, deadline)
        except RefreshError as error:
            logger.warning("deliveries are accepted and not noted", extra={"why": str(error)})
    return acceptance


def _room(claims: Sequence[Claim]) -> int:
    return MAX_ACTIONS - ACTIONS_PER_CLAIM * len(claims)


def _claims(deliveries: Sequence[Delivery], fresh: Iterable[int]) -> list[Claim]:
    return joined(claim for number in fresh for claim in deliveries[number].claims)


def _keys(deliveries: Sequence[Delivery], fresh: Iterable[int]) -> list[str]:
    return list(dict.fromkeys(key for number in fresh for key in deliveries[number].keys))


def _firsts(deliveries: Sequence[Delivery]) -> list[int]:
    """For each delivery the first that has one of its keys: itself, or the one that it repeats."""
    seen: dict[str, int] = {}
    firsts = []
    for number, each in enumerate(deliveries):
        first = next((seen[key] for key in each.keys if key in seen), number)
        seen |= dict.fromkeys(each.keys, first)
        firsts.append(first)
    return firsts


def _known(
    claims: Claims,
    deliveries: Sequence[Delivery],
    fresh: Iterable[int],
) -> dict[int, Acceptance]:
    """Those that were accepted before."""
    looked = {number: map(claims.known, deliveries[number].keys) for number in fresh}
    found = {number: next(filter(None, known), None) for number, known in looked.items()}
    return {
        number: _part(acceptance, deliveries[number].claims)
        for number, acceptance in found.items()
        if acceptance
    }


def _part(acceptance: Acceptance, claims: Iterable[Claim]) -> Acceptance:
    """What is about the claims' pipelines; all of it where the rules have changed since."""
    pipelines = {claim.pipeline for claim in claims}
    results = tuple(each for each in acceptance.results if each.pipeline in pipelines)
    return replace(acceptance, results=results or acceptance.results)
