"""Deploys a translated template: parameters, conditions, then each resource after those it refers to."""

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.aws.errors import DeploymentError, LocalStackError, TemplateError, UnsupportedResourceError
from local.aws.resources import compute, http_apis, identity, messaging, observability, storage, workflows
from local.aws.resources.registry import (
    CreatedResource,
    Properties,
    ResourceRequest,
    create,
    supported_types,
    update,
)
from local.aws.resources.stack_context import StackContext
from local.aws.template.dynamic_references import resolve_dynamic_references
from local.aws.template.intrinsics import Evaluator
from local.aws.template.parameters import Value, resolve_parameters

_MODULES = (compute, http_apis, identity, messaging, observability, storage, workflows)


class StackTemplate:
    """The values of every `Ref`, `Fn::GetAtt` and condition of one template."""

    def __init__(
        self, template: Mapping[str, Any], parameters: Mapping[str, str], stack_context: StackContext
    ) -> None:
        self._stack_context = stack_context
        self._resources: Mapping[str, Any] = template.get("Resources", {})
        self._conditions: Mapping[str, Any] = template.get("Conditions", {})
        self._mappings: Mapping[str, Any] = template.get("Mappings", {})
        self._outputs: Mapping[str, Any] = template.get("Outputs", {})
        self._refuse_unsupported()
        self._parameters: dict[str, Value] = resolve_parameters(
            template.get("Parameters", {}), parameters, self._read_ssm
        )
        self._evaluator = Evaluator(self)
        self._check_rules(template.get("Rules", {}))
        self._created: dict[str, CreatedResource] = {}
        self._before: Mapping[str, CreatedResource] = {}
        self._pending: list[str] = []

    def deploy(self) -> dict[str, str]:
        """Create every resource whose condition holds; return the outputs."""
        for logical_id, resource in self._resources.items():
            if self._wanted(resource):
                self._create(logical_id)
        return {
            name: str(self._plain(output["Value"]))
            for name, output in self._outputs.items()
            if self._wanted(output)
        }

    def update(self, before: "StackTemplate") -> dict[str, str]:
        """Update the resources of an earlier template and create new ones; return the outputs.

        Only functions, layers, aliases and state machines are changed; none is deleted.
        """
        self._before = before._created
        return self.deploy()

    @property
    def physical_ids(self) -> dict[str, str]:
        """Return the `Ref` value of each created resource."""
        return {logical_id: created.ref for logical_id, created in self._created.items()}

    def types(self) -> dict[str, str]:
        return {logical_id: self._resources[logical_id]["Type"] for logical_id in self._created}

    def ref(self, name: str) -> Any:
        place = f"{self._stack_context.region}:{self._stack_context.account}"
        pseudo = {
            "AWS::Region": self._stack_context.region,
            "AWS::AccountId": self._stack_context.account,
            "AWS::Partition": "aws",
            "AWS::StackName": self._stack_context.stack_name,
            "AWS::StackId": f"arn:aws:cloudformation:{place}:stack/{self._stack_context.stack_name}/local",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::NotificationARNs": [],
        }
        if name in pseudo:
            return pseudo[name]
        if name in self._parameters:
            return self._parameters[name]
        return self._create(name).ref

    def get_att(self, logical_id: str, attribute: str) -> Any:
        attributes = self._create(logical_id).attributes
        if attributes.get(attribute) is None:
            kind = self._resources[logical_id]["Type"]
            raise TemplateError(f"Template error: {logical_id} ({kind}) has no attribute {attribute} here")
        return attributes[attribute]

    def condition(self, name: str) -> bool:
        if name not in self._conditions:
            raise TemplateError(f"Template error: unresolved condition dependency {name}")
        return self._evaluator.truth(self._conditions[name])

    def mapping(self, name: str) -> Mapping[str, Mapping[str, Any]]:
        mapping: Mapping[str, Mapping[str, Any]] = self._mappings[name]
        return mapping

    def _wanted(self, node: Mapping[str, Any]) -> bool:
        return "Condition" not in node or self.condition(node["Condition"])

    def _create(self, logical_id: str) -> CreatedResource:
        if logical_id in self._created:
            return self._created[logical_id]
        resource = self._resources.get(logical_id)
        if resource is None or not self._wanted(resource):
            raise TemplateError(f"Template error: unresolved resource dependency [{logical_id}]")
        if logical_id in self._pending:
            circle = " → ".join([*self._pending[self._pending.index(logical_id) :], logical_id])
            raise TemplateError(f"Circular dependency between resources: {circle}")
        self._pending.append(logical_id)
        created = self._created[logical_id] = self._create_now(logical_id, resource)
        self._pending.pop()
        return created

    def _create_now(self, logical_id: str, resource: Mapping[str, Any]) -> CreatedResource:
        depends = resource.get("DependsOn", [])
        for other in [depends] if isinstance(depends, str) else depends:
            if self._wanted(self._resources.get(other, {})):
                self._create(other)
        properties = Properties(self._plain(resource.get("Properties", {})))
        try:
            request = ResourceRequest(logical_id, resource["Type"], properties, self._stack_context)
            before = self._before.get(logical_id)
            return create(request) if before is None else update(request, before)
        except (UnsupportedResourceError, TemplateError):
            raise
        except (ClientError, BotoCoreError, LocalStackError, KeyError, ValueError) as error:
            raise DeploymentError(f"{logical_id} ({resource['Type']}): {error}") from error

    def _plain(self, node: Any) -> Any:
        return resolve_dynamic_references(self._evaluator.value(node), self._stack_context.clients)

    def _refuse_unsupported(self) -> None:
        supported = supported_types()
        missing = [
            f"{logical_id} ({resource['Type']})"
            for logical_id, resource in self._resources.items()
            if resource["Type"] not in supported
        ]
        if missing:
            raise UnsupportedResourceError(f"cannot be created here: {', '.join(missing)}")

    def _check_rules(self, rules: Mapping[str, Any]) -> None:
        for name, rule in rules.items():
            if "RuleCondition" in rule and not self._evaluator.truth(rule["RuleCondition"]):
                continue
            for assertion in rule["Assertions"]:
                if not self._evaluator.truth(assertion["Assert"]):
                    raise TemplateError(
                        f"Rule {name}: {assertion.get('AssertDescription', 'an assertion failed')}"
                    )

    def _read_ssm(self, name: str) -> str:
        return str(self._stack_context.clients.admin("ssm").get_parameter(Name=name)["Parameter"]["Value"])
