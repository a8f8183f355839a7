"""Creates the parts of one deployment of the template and connects them."""

import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from local.aws.clients import Clients
from local.aws.delivery.asynchronous import AsyncInvocations
from local.aws.delivery.background import DelayedTasks
from local.aws.delivery.bus import EventBus
from local.aws.delivery.rules import RuleTargets
from local.aws.delivery.schedules import Schedules
from local.aws.delivery.status_events import StatusEvents
from local.aws.delivery.targets import TargetSender
from local.aws.gateway.cloudformation import CloudFormation, StackDescription
from local.aws.gateway.gateway import Layer
from local.aws.gateway.lambda_invocations import LambdaInvocations
from local.aws.gateway.late_answers import LateAnswers
from local.aws.gateway.outages import Outages
from local.aws.gateway.transactions import TableKeys, Transactions
from local.aws.http_api.server import HttpApiServer
from local.aws.metrics import Metrics
from local.aws.moto_adjustments.assumed_roles import assumed_role
from local.aws.resources.stack_context import StackContext
from local.aws.roles.authorization import Authorization
from local.aws.roles.callers import Callers
from local.aws.roles.evaluation import AccessRequest, is_service_allowed
from local.aws.roles.resource_policies import ResourcePolicies
from local.aws.runtime.code_folder import new_code_folder
from local.aws.runtime.fault_injector import FaultInjector
from local.aws.runtime.invoker import Invoker
from local.aws.runtime.logs import FunctionLogs
from local.aws.settings import Settings
from local.aws.states.branch import StatesClock
from local.aws.states.executions import MachineExecutions
from local.aws.states.service import StepFunctions


@dataclass
class Deployment:
    """The running parts of one deployed template."""

    stack_context: StackContext
    invoker: Invoker
    fault_injector: FaultInjector
    executions: MachineExecutions
    schedules: Schedules
    transactions: Transactions
    delayed_tasks: DelayedTasks
    late: LateAnswers
    outages: Outages
    layers: list[Layer]
    api_server: HttpApiServer
    authorization: Authorization
    metrics: Metrics

    def close(self) -> None:
        """Stop everything: executions first, so that they start no more functions."""
        self.executions.abandon()
        self.delayed_tasks.close()
        self.invoker.pool.close()
        shutil.rmtree(self.stack_context.code_dir, ignore_errors=True)

    def settle(self, timeout: float) -> bool:
        """Wait until no event is in transit and no asynchronous invocation is running."""
        return self.delayed_tasks.wait_idle(timeout)


def assemble(
    clients: Clients,
    stack_name: str,
    artifacts: dict[str, Path],
    state_dir: Path,
    settings: Settings,
    logs: FunctionLogs,
    describe: Callable[[], StackDescription],
) -> Deployment:
    """Create the parts of a deployment; its resources are created later, through its own gateway."""
    stack_context = StackContext(stack_name, clients, artifacts, new_code_folder(state_dir / "code"))
    chance = random.Random(settings.seed)  # noqa: S311 - chooses which events come twice, no secret
    sender = TargetSender(clients)
    delayed_tasks = DelayedTasks("delivery")
    fault_injector = FaultInjector()
    metrics = Metrics()
    invoker = Invoker(
        stack_context.functions,
        clients,
        logs,
        state_dir,
        settings.limits,
        fault_injector,
        metrics,
        settings.environment,
    )
    events = AsyncInvocations(stack_context.functions, invoker, sender, delayed_tasks, settings.events)
    policies = ResourcePolicies(clients, stack_context.functions)
    rules = RuleTargets(sender, events, policies, delayed_tasks, settings.events)
    status = StatusEvents(rules.publish, delayed_tasks, settings.events, chance)
    executions = MachineExecutions(clients, StatesClock(settings.time_factor), status.changed, chance.random)
    authorization = Authorization(clients, lambda key: _role_of(key, clients.account))
    transactions = Transactions(
        settings.transactions,
        chance,
        TableKeys(lambda **parameters: clients.admin("dynamodb").describe_table(**parameters)),
    )
    late, outages = LateAnswers(), Outages()
    layers: list[Layer] = [
        authorization,
        metrics,
        late,
        outages,
        LambdaInvocations(stack_context.functions, invoker, events),
        StepFunctions(executions),
        EventBus(clients, rules),
        CloudFormation(describe),
        transactions,
    ]
    api_server = _api_server(
        clients, stack_context, invoker, Callers(clients, authorization), policies, logs, settings, metrics
    )
    schedules = Schedules(clients, sender, settings.events.retry_delays)
    return Deployment(
        stack_context,
        invoker,
        fault_injector,
        executions,
        schedules,
        transactions,
        delayed_tasks,
        late,
        outages,
        layers,
        api_server,
        authorization,
        metrics,
    )


def _api_server(
    clients: Clients,
    stack_context: StackContext,
    invoker: Invoker,
    callers: Callers,
    policies: ResourcePolicies,
    logs: FunctionLogs,
    settings: Settings,
    metrics: Metrics,
) -> HttpApiServer:
    def may_invoke(function: str, source_arn: str) -> bool:
        context = {"aws:SourceArn": [source_arn], "aws:SourceAccount": [clients.account]}
        ask = AccessRequest("lambda:InvokeFunction", function, context)
        return is_service_allowed("apigateway.amazonaws.com", ask, policies.of(function))

    return HttpApiServer(
        region=clients.region,
        account=clients.account,
        apis=stack_context.apis,
        invoke=lambda function, payload, request_id: invoker.invoke(function, payload, request_id=request_id),
        identify=callers.identify,
        may_invoke=may_invoke,
        clock=lambda: time.time() + settings.arrival_lead,
        at_once=settings.limits.requests_at_once,
        write_access_log=lambda line: logs.append("access", line, ""),
        metrics=metrics,
    )


def _role_of(access_key: str, account: str) -> str | None:
    role = assumed_role(access_key, account)
    return None if role is None else role.role_arn
