"""Settings of the local AWS; the defaults include late and repeated events and conflicts."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from local.aws.runtime.pool import Limits


@dataclass
class TransactionSettings:
    """Conflicts of transactions: DynamoDB cancels concurrent transactions on one item, moto does not.

    `conflict_ratio`: the share of transactions on the same item at the same time that end with
    TransactionConflict. Each takes at least `seconds`, as in DynamoDB; otherwise moto would finish before
    another one arrives.
    """

    conflict_ratio: float = 0.2
    seconds: float = 0.004


@dataclass
class EventSettings:
    """Execution status events are delivered at least once, with a delay.

    A share of `late_ratio` waits up to `late_seconds`, the others up to `prompt_seconds`; a share of
    `twice_ratio` is delivered twice. The events of executions named in `twice_at_once` are delivered
    twice and without a delay.
    """

    twice_ratio: float = 0.2
    late_ratio: float = 0.2
    prompt_seconds: float = 0.05
    late_seconds: float = 2.0
    retry_delays: tuple[float, ...] = (0.2, 0.4)
    twice_at_once: tuple[str, ...] = ()


@dataclass
class Settings:
    """`seed` makes random choices repeatable; `time_factor` shortens the waits of state machines.

    `arrival_lead`: seconds that are added to API Gateway's time of arrival. On a slow machine a process takes
    longer to start than in AWS, and a function that counts from the arrival would have no time left.
    `environment`: variables of all functions beside those of the template.
    """

    seed: int = 0
    time_factor: float = 1.0
    arrival_lead: float = 0.0
    environment: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    transactions: TransactionSettings = field(default_factory=TransactionSettings)
    events: EventSettings = field(default_factory=EventSettings)
