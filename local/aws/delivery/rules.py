"""EventBridge: delivers events to the targets of matching rules, with the permissions that AWS requires."""

import functools
import json
import logging
from typing import Any

from botocore.exceptions import ClientError

from local.aws.arns import Arn
from local.aws.delivery.asynchronous import AsyncInvocations
from local.aws.delivery.background import DelayedTasks
from local.aws.delivery.target_input import target_input
from local.aws.delivery.targets import TargetSender
from local.aws.errors import NotFoundError
from local.aws.moto_adjustments.event_patterns import event_matches
from local.aws.roles.evaluation import AccessRequest, is_service_allowed
from local.aws.roles.resource_policies import ResourcePolicies
from local.aws.settings import EventSettings

log = logging.getLogger(__name__)

_PRINCIPAL = "events.amazonaws.com"
_MAX_RETRIES = 2


class RefusedError(Exception):
    """Access to the target is denied; a retry does not help."""


class RuleTargets:
    """Delivers events to Lambda, SQS, SNS and Step Functions."""

    def __init__(
        self,
        sender: TargetSender,
        functions: AsyncInvocations,
        policies: ResourcePolicies,
        delayed_tasks: DelayedTasks,
        settings: EventSettings,
    ) -> None:
        self._sender = sender
        self._functions = functions
        self._policies = policies
        self._delayed_tasks = delayed_tasks
        self._settings = settings

    def publish(self, event: dict[str, Any], bus: str = "default") -> None:
        """Deliver one event to the targets of every enabled rule of the bus that matches it."""
        client = self._sender.clients.admin("events")
        for rule in client.list_rules(EventBusName=bus)["Rules"]:
            pattern = rule.get("EventPattern")
            if rule["State"] == "DISABLED" or not pattern or not event_matches(pattern, event):
                continue
            for target in client.list_targets_by_rule(Rule=rule["Name"], EventBusName=bus)["Targets"]:
                self._delayed_tasks.after(0, functools.partial(self._attempt, rule["Arn"], target, event, 1))

    def _attempt(self, rule_arn: str, target: dict[str, Any], event: dict[str, Any], attempt: int) -> None:
        text = target_input(target, event, rule_arn)
        try:
            self._deliver(rule_arn, target, text)
        except (ClientError, NotFoundError, RefusedError, ValueError) as error:
            max_retries = target.get("RetryPolicy", {}).get("MaximumRetryAttempts", _MAX_RETRIES)
            if isinstance(error, ClientError) and attempt <= min(max_retries, _MAX_RETRIES):
                delays = self._settings.retry_delays or (0.0,)
                delay = delays[min(attempt, len(delays)) - 1]
                self._delayed_tasks.after(delay, lambda: self._attempt(rule_arn, target, event, attempt + 1))
            else:
                self._give_up(rule_arn, target, text, error, attempt)

    def _deliver(self, rule_arn: str, target: dict[str, Any], text: str) -> None:
        arn = target["Arn"]
        service = Arn.parse(arn).service
        if service == "lambda":
            self._ask("lambda:InvokeFunction", arn, rule_arn)
            self._functions.accept(arn, text.encode())
        elif service in ("sqs", "sns"):
            self._ask("sqs:SendMessage" if service == "sqs" else "sns:Publish", arn, rule_arn)
            self._sender.send(arn, text, {})
        else:
            if not target.get("RoleArn"):
                raise RefusedError(f"the target {arn} needs a role")
            self._policies.check_trust(target["RoleArn"], _PRINCIPAL)
            self._sender.as_role(target["RoleArn"]).send(arn, text, {})

    def _ask(self, action: str, arn: str, rule_arn: str) -> None:
        context = {"aws:SourceArn": [rule_arn], "aws:SourceAccount": [Arn.parse(rule_arn).account]}
        if not is_service_allowed(_PRINCIPAL, AccessRequest(action, arn, context), self._policies.of(arn)):
            raise RefusedError(f"the resource policy of {arn} does not let the rule {rule_arn} {action}")

    def _give_up(
        self, rule_arn: str, target: dict[str, Any], text: str, error: Exception, attempts: int
    ) -> None:
        log.warning("%s could not be delivered to %s: %s", rule_arn, target["Arn"], error)
        queue = target.get("DeadLetterConfig", {}).get("Arn")
        if not queue:
            return
        self._ask("sqs:SendMessage", queue, rule_arn)
        code = "NO_PERMISSIONS" if isinstance(error, RefusedError) else "SDK_CLIENT_ERROR"
        attributes = {
            "RULE_ARN": rule_arn,
            "TARGET_ARN": target["Arn"],
            "ERROR_CODE": code,
            "ERROR_MESSAGE": str(error)[:1024],
            "RETRY_ATTEMPTS": str(attempts - 1),
        }
        self._sender.send(queue, text, attributes)


def as_event(entry: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """Return an entry of PutEvents as the event that rules see."""
    return {
        **base,
        "detail-type": entry["DetailType"],
        "source": entry["Source"],
        "resources": entry.get("Resources", []),
        "detail": json.loads(entry["Detail"]),
    }
