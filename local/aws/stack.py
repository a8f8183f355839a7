"""The local stack: AWS for one template, for as long as it is open."""

import re
import tempfile
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from botocore.credentials import Credentials

from local.aws.clients import ADMIN_ACCESS_KEY, ADMIN_SECRET, Clients
from local.aws.control import ControlApi
from local.aws.delivery.schedules import list_schedules
from local.aws.deployment import Deployment, assemble
from local.aws.errors import LocalStackError, NotFoundError
from local.aws.gateway.cloudformation import StackDescription, StackResource
from local.aws.gateway.gateway import Gateway
from local.aws.gateway.late_answers import Delay
from local.aws.gateway.moto_app import MotoApp
from local.aws.gateway.outages import Outage
from local.aws.http_server import HttpRequest, HttpResponse, LoopbackServer
from local.aws.moto_adjustments import configure_moto, reset_moto
from local.aws.moto_adjustments.managed_policies import managed_policy_arns
from local.aws.roles.authorization import Denial, Grant
from local.aws.runtime.fault_injector import CrashFault
from local.aws.runtime.file_limit import raise_file_limit
from local.aws.runtime.functions import Function
from local.aws.runtime.logs import FunctionLogLine, FunctionLogs
from local.aws.runtime.outcomes import InvocationResult
from local.aws.settings import Settings
from local.aws.states.execution import MachineExecution
from local.aws.template.sam import translate
from local.aws.template.stack_template import StackTemplate

_one_at_a_time = threading.Lock()


class LocalStack:
    """Created by `LocalStack.deploy`, for a `with` statement, whose end stops all processes."""

    def __init__(
        self,
        template: Path,
        stack_name: str,
        parameters: Mapping[str, str],
        state_dir: Path,
        region: str,
        account: str,
        settings: Settings,
        ports: tuple[int, int, int],
    ) -> None:
        if not _one_at_a_time.acquire(blocking=False):
            raise LocalStackError(
                "there is a local stack in this process already: moto has one AWS per process"
            )
        self._open = True
        self.template = template
        self.stack_name = stack_name
        self.parameters = dict(parameters)
        self.state_dir = state_dir.resolve()
        self.settings = settings
        self.region, self.account = region, account
        self.outputs: dict[str, str] = {}
        self.physical_ids: dict[str, str] = {}
        self._types: dict[str, str] = {}
        self._created = datetime.now(UTC)
        self._deployment: Deployment | None = None
        self._moto = MotoApp(account)
        self._gateway = LoopbackServer(self._serve_aws, name="aws", port=ports[0])
        self._api = LoopbackServer(self._serve_api, name="http-api", port=ports[1], max_body=10 * 1024 * 1024)
        self._control = LoopbackServer(ControlApi(self), name="control", port=ports[2])
        self._logs = FunctionLogs(self.state_dir / "logs")
        self._clients = Clients(self._gateway.url, region, account)

    @classmethod
    def deploy(
        cls,
        *,
        template: Path,
        stack_name: str,
        parameters: Mapping[str, str],
        state_dir: Path,
        region: str = "eu-central-1",
        account: str = "123456789012",
        settings: Settings | None = None,
        ports: tuple[int, int, int] = (0, 0, 0),
    ) -> "LocalStack":
        """Translate the template, create its resources, and serve.

        `ports`: those of the AWS endpoint, the HTTP API and the control API; 0 selects a free one.
        Raises TemplateError, UnsupportedResourceError, DeploymentError.
        """
        stack = cls(
            template, stack_name, parameters, state_dir, region, account, settings or Settings(), ports
        )
        try:
            stack._start()
        except BaseException:
            stack.close()
            raise
        return stack

    def _start(self) -> None:
        configure_moto()
        raise_file_limit()
        (self.state_dir / "home").mkdir(parents=True, exist_ok=True)
        self._gateway.start()
        self._api.start()
        self._deploy()
        self._control.start()

    def _deploy(self) -> None:
        reset_moto()
        translated = translate(self.template, self.parameters, managed_policy_arns(), self.region)
        self._clients.forget_roles()
        self._created = datetime.now(UTC)
        self._deployment = assemble(
            self._clients,
            self.stack_name,
            translated.artifacts,
            self.state_dir,
            self.settings,
            self._logs,
            self._description,
        )
        stack_template = StackTemplate(translated.template, self.parameters, self._deployment.stack_context)
        self._deployed(stack_template, stack_template.deploy())

    def update(self, template: Path) -> None:
        """Deploy a changed template or code while executions are running, as CloudFormation does.

        Functions, layers, aliases and state machines change; published versions stay, and so do all data.
        """
        translated = translate(template, self.parameters, managed_policy_arns(), self.region)
        context = self._running().stack_context
        context.artifacts = translated.artifacts
        code_dir, context.code_dir = context.code_dir, Path(tempfile.mkdtemp(dir=context.code_dir))
        try:
            stack_template = StackTemplate(translated.template, self.parameters, context)
            self._deployed(stack_template, stack_template.update(self._stack_template))
        finally:
            context.code_dir = code_dir

    def _deployed(self, stack_template: StackTemplate, outputs: dict[str, str]) -> None:
        self._stack_template = stack_template
        self.outputs = outputs
        self.physical_ids = stack_template.physical_ids
        self._types = stack_template.types()

    @property
    def api_url(self) -> str:
        """Return the URL of the HTTP API, without a trailing slash."""
        return self._api.url

    @property
    def local_outputs(self) -> dict[str, str]:
        """Return the outputs as DescribeStacks shows them, with the local address of the HTTP API."""
        endpoint = re.compile(rf"https://[a-z0-9]+\.execute-api\.{self.region}\.amazonaws\.com")
        return {name: endpoint.sub(self.api_url, value) for name, value in self.outputs.items()}

    @property
    def aws_endpoint_url(self) -> str:
        return self._gateway.url

    @property
    def control_url(self) -> str:
        """URL of the control API: logs, schedules, settings."""
        return self._control.url

    @property
    def credentials(self) -> Credentials:
        """Return the administrator's credentials, which pass every check and can sign calls of IAM routes."""
        return Credentials(ADMIN_ACCESS_KEY, ADMIN_SECRET)

    def client(self, service: str) -> Any:
        """Return a boto3 client of the administrator."""
        return self._clients.admin(service)

    def client_of(self, service: str, logical_id: str) -> Any:
        """Return a boto3 client with the role of a function, or with a role of the template."""
        return self._clients.as_role(service, self._role(logical_id), "local-test")

    def reset(self) -> None:
        """Reset to the state after the deployment: new tables, no executions, no processes, no logs."""
        self._running().close()
        self._logs.clear()
        self._deploy()

    def fire_schedule(
        self,
        name: str,
        *,
        group: str | None = None,
        even_if_disabled: bool = False,
        at: datetime | None = None,
    ) -> dict[str, Any]:
        """Fire a schedule by name or logical id; return the response of its target's API.

        `at`: the scheduled time, now by default.
        """
        name = self.physical_ids.get(name, name)
        return self._running().schedules.fire(name, group=group, even_if_disabled=even_if_disabled, at=at)

    def due_schedules(self, minute: datetime) -> list[tuple[str, str]]:
        """Group and name of each enabled schedule that fires in a minute (UTC, without seconds)."""
        return self._running().schedules.due(minute)

    def schedules(self) -> list[dict[str, str]]:
        """Name, group, state and expression of every schedule."""
        client = self.client("scheduler")
        schedules = []
        for entry in list_schedules(client):
            schedule = client.get_schedule(Name=entry["Name"], GroupName=entry["GroupName"])
            attributes = ("Name", "GroupName", "State", "ScheduleExpression")
            schedules.append({name: str(schedule[name]) for name in attributes})
        return schedules

    @property
    def functions(self) -> list[Function]:
        """The functions that are deployed, as $LATEST."""
        return self._running().stack_context.functions.all()

    def arm(self, logical_id: str, fault: CrashFault) -> None:
        """Kill the process that handles the fault's event at a chosen outgoing call."""
        self._running().fault_injector.arm(logical_id, fault)

    def disarm(self) -> None:
        """Remove the faults whose events have not arrived."""
        self._running().fault_injector.disarm()

    def delay(self, operation: str, seconds: float, mentions: str = "") -> None:
        """Delay the next response to `operation` whose request contains a text."""
        self._running().late.hold(Delay(operation, seconds, mentions))

    def outage(self, outage: Outage) -> AbstractContextManager[Outage]:
        """Within the block, calls that fit the outage are not served."""
        return self._running().outages.begin(outage)

    @property
    def delays(self) -> list[Delay]:
        """The delays whose requests have not arrived yet."""
        return self._running().late.expected

    def invoke(self, logical_id: str, payload: bytes) -> InvocationResult:
        """Run one event through a function ($LATEST)."""
        return self._running().invoker.invoke(self.physical_ids[logical_id], payload)

    def warm(self, logical_id: str, count: int) -> None:
        """Start `count` processes of the published version, or of $LATEST if none is published."""
        deployment = self._running()
        deployment.invoker.pool.warm(
            deployment.stack_context.functions.published(self.physical_ids[logical_id]), count
        )

    def retire(self, logical_id: str) -> None:
        """End the idle processes of a function: the next event starts a new one."""
        deployment = self._running()
        function = deployment.stack_context.functions.published(self.physical_ids[logical_id])
        deployment.invoker.pool.retire(function.name, function.version)

    def logs(self, logical_id: str | None = None) -> list[FunctionLogLine]:
        """Return all log lines of a function, or of all functions."""
        return self._logs.lines(logical_id)

    @property
    def executions(self) -> list[MachineExecution]:
        """Return all executions, newest first."""
        return self._running().executions.all()

    @property
    def conflicts(self) -> int:
        """Return how many transactions were cancelled on purpose."""
        return self._running().transactions.conflicts

    @property
    def grants(self) -> set[Grant]:
        """Return all requests of roles that were allowed since the stack was deployed."""
        return set(self._running().authorization.grants)

    @property
    def refusals(self) -> set[Denial]:
        """Return all requests of roles that were denied since the stack was deployed."""
        return set(self._running().authorization.refusals)

    def metric(self, namespace: str, name: str, **dimensions: str) -> float | None:
        """Return the sum of a metric since the stack was deployed; None without data."""
        return self._running().metrics.value(namespace, name, dimensions)

    def read_metrics(self, line: str) -> None:
        """Add the metrics of a line in the embedded metric format, as if a function had written it."""
        self._running().metrics.add_embedded(line)

    def metrics(self) -> list[dict[str, Any]]:
        """Return all sums of metrics since the deployment."""
        return self._running().metrics.listed()

    def alarming(self) -> set[str]:
        """Return the logical ids of the alarms whose threshold is breached by the sums so far."""
        alarms = self.client("cloudwatch").describe_alarms()["MetricAlarms"]
        names = self._running().metrics.alarming(alarms)
        return {logical_id for logical_id, name in self.physical_ids.items() if name in names}

    def settle(self, timeout: float = 60.0) -> bool:
        """Wait until no event is in transit and no asynchronous invocation is running."""
        return self._running().settle(timeout)

    def serving(self, logical_id: str) -> int:
        """Return how many processes of a function handle an event now."""
        workers = self._running().invoker.pool.workers()
        return sum(worker.is_serving for worker in workers if worker.function.logical_id == logical_id)

    def process_ids(self) -> list[int]:
        """The processes of the functions."""
        return [worker.pid for worker in self._running().invoker.pool.workers()]

    def close(self) -> None:
        """End every process and server; safe to call twice."""
        deployment, self._deployment = self._deployment, None
        if deployment is not None:
            deployment.close()
        for server in (self._control, self._api, self._gateway):
            server.stop()
        self._logs.close()
        if self._open:
            self._open = False
            _one_at_a_time.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _description(self) -> StackDescription:
        return StackDescription(
            self.stack_name,
            f"arn:aws:cloudformation:{self.region}:{self.account}:stack/{self.stack_name}/local",
            self._created.isoformat(timespec="milliseconds"),
            self.local_outputs,
            [StackResource(name, self.physical_ids[name], kind) for name, kind in self._types.items()],
        )

    def _running(self) -> Deployment:
        if self._deployment is None:
            raise LocalStackError("the local stack is closed")
        return self._deployment

    def _role(self, logical_id: str) -> str:
        for function in self._running().stack_context.functions.all():
            if function.logical_id == logical_id:
                return function.role_arn
        name = self.physical_ids.get(logical_id)
        if name is None:
            raise NotFoundError(f"there is no {logical_id} in the stack")
        return str(self.client("iam").get_role(RoleName=name)["Role"]["Arn"])

    def _serve_aws(self, request: HttpRequest) -> HttpResponse:
        deployment = self._deployment
        return Gateway(self._moto, deployment.layers if deployment else [])(request)

    def _serve_api(self, request: HttpRequest) -> HttpResponse:
        deployment = self._deployment
        return deployment.api_server(request) if deployment else HttpResponse(503)
