"""The pipelines of the week: what they do, what starts them, and what goes wrong."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Final

from local.celonis import world

NAMESPACE: Final = uuid.UUID("5f0c1c1e-5f0c-4b5e-9a0e-0c0ffee00000")
HOUR, DAY = 3_600.0, 86_400.0


def id_of(name: str) -> str:
    """Return the same id for a name every time."""
    return str(uuid.uuid5(NAMESPACE, name))


@dataclass(frozen=True)
class Target:
    """A data job or a data model. ``seconds``: how long it usually takes."""

    id: str
    name: str
    seconds: float


@dataclass(frozen=True)
class Webhooks:
    """Events of a source: ``a_day`` on average that start a run, within ``hours`` of the day (UTC).

    ``burst``: events that arrive shortly after each other. ``ignored_a_day``: events that start nothing.
    """

    source: str
    sender: str
    a_day: float
    hours: tuple[float, float] = (0.0, 24.0)
    burst: int = 1
    ignored_a_day: float = 0.0
    event: str = ""


@dataclass(frozen=True)
class Failure:
    """``share`` of the runs fail in ``step`` with ``error``; with ``days``, all runs of the last days do."""

    step: str
    error: str
    message: str
    share: float = 0.0
    days: float = 0.0


@dataclass(frozen=True)
class Plan:
    """One pipeline. ``schedule``: an expression and its time zone."""

    name: str
    pool: str
    jobs: tuple[Target, ...]
    loads: tuple[Target, ...]
    mode: str = "DELTA"
    kind: str = "complete"
    tables: tuple[str, ...] = ()
    schedules: tuple[tuple[str, str], ...] = ()
    webhooks: Webhooks | None = None
    failures: tuple[Failure, ...] = ()
    fresh_within: str | int | None = None
    by_hand_a_day: float = 0.0
    paused_days: float = 0.0

    def definition(self) -> dict[str, Any]:
        """Return the pipeline's parameter."""
        load: dict[str, Any] = {"kind": self.kind} | ({"tables": list(self.tables)} if self.tables else {})
        document: dict[str, Any] = {
            "data_pool": self.pool,
            "jobs": [{"job": job.id, "mode": self.mode} for job in self.jobs],
            "loads": [{"data_model": model.id, "name": model.name, **load} for model in self.loads],
        }
        return document | ({"fresh_within": self.fresh_within} if self.fresh_within else {})


def _job(name: str, minutes: float) -> Target:
    return Target(id_of(f"job {name}"), name, minutes * 60)


def _model(name: str, minutes: float) -> Target:
    return Target(id_of(f"model {name}"), name, minutes * 60)


P2P_POOL: Final = world.OTHER_POOL_ID
SUPPLY_POOL: Final = id_of("pool Supply chain")
SERVICE_POOL: Final = id_of("pool Service")
POOLS: Final = {SUPPLY_POOL: "Supply chain", SERVICE_POOL: "Service"}

ERP: Final = Target(world.ERP_JOB_ID, "ERP extraction", 7 * 60)
O2C: Final = Target(world.MODEL_ID, "Order to Cash", 4 * 60)
VENDORS: Final = _job("Vendors and invoices", 11)
P2P: Final = Target(world.OTHER_MODEL_ID, "Purchase to Pay", 9 * 60)
PAYMENTS: Final = _job("Payments", 5)
STOCK: Final = _job("Stock movements", 3.5)
INVENTORY: Final = _model("Inventory", 2.5)
ORDERS: Final = _job("Production orders", 24)
PLANNING: Final = _model("Production planning", 13)
TICKETS: Final = _job("Tickets", 2.2)
SERVICE: Final = _model("Service desk", 1.6)
HR: Final = _job("Personnel records", 16)
WORKFORCE: Final = _model("Workforce", 7)
SHIPMENTS: Final = _job("Shipments", 9)
LOGISTICS: Final = _model("Logistics", 6)

LOST: Final = "Table {table} could not be extracted: the connection to the source was lost."
PLANS: Final = (
    Plan(
        "order-to-cash",
        world.POOL_ID,
        (ERP,),
        (O2C,),
        kind="partial",
        tables=("VBAK", "VBAP"),
        schedules=(("cron(0 3 ? * SUN *)", "Europe/Berlin"),),
        webhooks=Webhooks("github", "github", 14, (5, 19), ignored_a_day=4, event="workflow_run load-erp"),
        failures=(Failure("job-0", "JobFailed", LOST.format(table="VBAP"), share=0.05),),
        fresh_within=8 * 3600,
        by_hand_a_day=0.4,
    ),
    Plan(
        "purchase-to-pay",
        P2P_POOL,
        (VENDORS,),
        (P2P,),
        mode="FULL",
        schedules=(("cron(30 2 * * ? *)", "Europe/Berlin"),),
        fresh_within="06:30 Europe/Berlin",
        failures=(
            Failure("load-0", "LoadFailed", "The load ran out of memory while joining EKPO.", share=0.08),
        ),
        by_hand_a_day=0.3,
    ),
    Plan(
        "accounts-payable",
        P2P_POOL,
        (VENDORS, PAYMENTS),
        (P2P,),
        schedules=(("cron(15 5-19/2 ? * MON-FRI *)", "Europe/Berlin"),),
        fresh_within=4 * 86_400,
        failures=(Failure("job-1", "JobFailed", LOST.format(table="REGUH"), share=0.04),),
    ),
    Plan(
        "inventory",
        SUPPLY_POOL,
        (STOCK,),
        (INVENTORY,),
        schedules=(("rate(1 hour)", "UTC"),),
        webhooks=Webhooks("sap", "sap", 9, (4, 20), event="stock.closed"),
        fresh_within=3 * 3600,
        failures=(Failure("job-0", "JobFailed", LOST.format(table="MSEG"), share=0.025),),
    ),
    Plan(
        "production-planning",
        SUPPLY_POOL,
        (ORDERS,),
        (PLANNING,),
        mode="FULL",
        schedules=(("cron(0 4 * * ? *)", "Europe/Berlin"),),
        fresh_within="07:00 Europe/Berlin",
        failures=(Failure("job-0", "JobFailed", LOST.format(table="AFKO"), days=1.9),),
    ),
    Plan(
        "service-desk",
        SERVICE_POOL,
        (TICKETS,),
        (SERVICE,),
        webhooks=Webhooks(
            "servicenow", "servicenow", 22, (0, 24), burst=4, ignored_a_day=6, event="incident.batch"
        ),
        fresh_within=12 * 3600,
    ),
    Plan(
        "workforce",
        SERVICE_POOL,
        (HR,),
        (WORKFORCE,),
        mode="FULL",
        schedules=(("cron(0 22 ? * MON-FRI *)", "Europe/Berlin"),),
        paused_days=1.4,
    ),
    Plan(
        "logistics",
        SUPPLY_POOL,
        (SHIPMENTS, STOCK),
        (LOGISTICS, INVENTORY),
        schedules=(("cron(0 0/4 * * ? *)", "UTC"),),
        fresh_within=6 * 3600,
        failures=(Failure("load-0", "LoadCanceled", "The load was cancelled by a user.", share=0.03),),
        by_hand_a_day=0.25,
    ),
)
