"""Writes a configuration part by part, and says exactly what was written and what was not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from botocore.exceptions import BotoCoreError, ClientError

from refresh_cli.configuration.difference import WRITING, Action, Change
from refresh_cli.configuration.remote import ChangedError, RemoteConfiguration

PAST = {Action.CREATE: "created", Action.UPDATE: "updated", Action.DELETE: "deleted"}


@dataclass
class Outcome:
    """What became of the changes. ``refused``: with the reason. ``failure``: what ended it, Ctrl-C included.

    ``failed``: the change whose call failed; ``left``: changes that were not tried; ``notes``: what else
    happened.
    """

    written: list[Change] = field(default_factory=list)
    refused: list[tuple[Change, str]] = field(default_factory=list)
    failed: Change | None = None
    failure: Exception | KeyboardInterrupt | None = None
    left: list[Change] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_uncertain(self) -> bool:
        """Whether AWS did not answer the write that failed, so that it may have happened."""
        return isinstance(self.failure, BotoCoreError | KeyboardInterrupt)


def write(remote: RemoteConfiguration, changes: Sequence[Change]) -> Outcome:
    """Write the changes in order; stops at the first error of AWS or Ctrl-C, but not at a refused part."""
    outcome = Outcome()
    pending = [change for change in changes if change.action in WRITING]
    for index, change in enumerate(pending):
        try:
            note = _write_one(remote, change)
        except ChangedError as error:
            outcome.refused.append((change, str(error)))
        except (BotoCoreError, ClientError, KeyboardInterrupt) as error:
            outcome.failed, outcome.failure, outcome.left = change, error, pending[index + 1 :]
            break
        else:
            outcome.written.append(change)
            outcome.notes += [note] if note else []
    return outcome


def _write_one(remote: RemoteConfiguration, change: Change) -> str | None:
    """Return what else happened, if anything."""
    if change.item is not None and change.remote is not None and change.action is Action.UPDATE:
        return remote.update(change.item, change.remote)
    if change.item is not None:
        remote.create(change.item)
    elif change.remote is not None:
        remote.delete(change.remote)
    return None
