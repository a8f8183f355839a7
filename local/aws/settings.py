"""What can be set about the local AWS; the defaults are as unkind as AWS may be."""

from dataclasses import dataclass, field

from local.aws.runtime.pool import Limits


@dataclass
class TransactionSettings:
    """DynamoDB cancels transactions that meet on an item; moto never would.

    `conflict_ratio` of those that overlap in time on the same item end with TransactionConflict. Each takes
    `seconds` at least, as it does in DynamoDB: without them moto would be done before another could come.
    """

    conflict_ratio: float = 0.2
    seconds: float = 0.004


@dataclass
class EventSettings:
    """Execution status events are sent at least once, and sooner or later.

    `late_ratio` of them wait up to `late_seconds`, the others up to `prompt_seconds`; `twice_ratio` of
    them come twice.
    """

    twice_ratio: float = 0.2
    late_ratio: float = 0.2
    prompt_seconds: float = 0.05
    late_seconds: float = 2.0
    retry_delays: tuple[float, ...] = (0.2, 0.4)


@dataclass
class Settings:
    """`seed` makes what is random the same again; `time_factor` shortens the waits of state machines.

    `arrival_lead`: seconds that API Gateway's time of arrival lies ahead. On a crowded machine a process
    takes longer to start than in AWS, and a function that counts from the arrival would have no time left.
    """

    seed: int = 0
    time_factor: float = 1.0
    arrival_lead: float = 0.0
    limits: Limits = field(default_factory=Limits)
    transactions: TransactionSettings = field(default_factory=TransactionSettings)
    events: EventSettings = field(default_factory=EventSettings)
