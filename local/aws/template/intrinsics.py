"""The intrinsic functions of CloudFormation, evaluated with an object that resolves references."""

import base64
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from local.aws.errors import TemplateError

_SUB = re.compile(r"\$\{(!?)([^${}]+)\}")
_NO_VALUE = object()


class References(Protocol):
    """The references and mappings that the functions use."""

    def ref(self, name: str) -> Any: ...

    def get_att(self, logical_id: str, attribute: str) -> Any: ...

    def condition(self, name: str) -> bool: ...

    def mapping(self, name: str) -> Mapping[str, Mapping[str, Any]]: ...


class Evaluator:
    """Resolves a part of a template to plain values. Raises TemplateError as CloudFormation would."""

    def __init__(self, references: References) -> None:
        self._references = references
        self._functions: dict[str, Callable[[Any], Any]] = {
            "Ref": self._ref,
            "Fn::GetAtt": self._get_att,
            "Fn::Sub": self._sub,
            "Fn::Join": self._join,
            "Fn::If": self._if,
            "Fn::Select": self._select,
            "Fn::Split": self._split,
            "Fn::FindInMap": self._find_in_map,
            "Fn::Base64": lambda value: base64.b64encode(str(self.value(value)).encode()).decode(),
            "Fn::ToJsonString": lambda value: json.dumps(self.value(value)),
            "Fn::Length": lambda value: len(self.value(value)),
            "Fn::Equals": lambda pair: _plain(self.value(pair[0])) == _plain(self.value(pair[1])),
            "Fn::And": lambda terms: all(self.truth(term) for term in terms),
            "Fn::Or": lambda terms: any(self.truth(term) for term in terms),
            "Fn::Not": lambda terms: not self.truth(terms[0]),
        }

    def value(self, node: Any) -> Any:
        """Return `node` with its functions evaluated; AWS::NoValue removes its property or list item."""
        resolved = self._value(node)
        return None if resolved is _NO_VALUE else resolved

    def truth(self, node: Any) -> bool:
        """Return the value of a condition, or of a function that returns one."""
        if isinstance(node, dict) and set(node) == {"Condition"}:
            return self._references.condition(str(node["Condition"]))
        result = self.value(node)
        if not isinstance(result, bool):
            raise TemplateError(f"Template error: {json.dumps(node)} is not a condition")
        return result

    def _value(self, node: Any) -> Any:
        if isinstance(node, list):
            return [item for item in map(self._value, node) if item is not _NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((name, argument),) = node.items()
            if name in self._functions:
                return self._functions[name](argument)
            if name.startswith("Fn::"):
                raise TemplateError(f"Template error: {name} is not supported here")
        pairs = ((key, self._value(item)) for key, item in node.items())
        return {key: item for key, item in pairs if item is not _NO_VALUE}

    def _ref(self, name: str) -> Any:
        return _NO_VALUE if name == "AWS::NoValue" else self._references.ref(name)

    def _get_att(self, argument: Any) -> Any:
        parts = argument.split(".", 1) if isinstance(argument, str) else argument
        return self._references.get_att(parts[0], str(self.value(parts[1])))

    def _sub(self, argument: Any) -> str:
        text, variables = (argument, {}) if isinstance(argument, str) else argument

        def replace(match: re.Match[str]) -> str:
            literal, name = match.group(1), match.group(2).strip()
            if literal:
                return "${" + name + "}"
            if name in variables:
                return _plain(self.value(variables[name]))
            if "." in name:
                return _plain(self._get_att(name))
            return _plain(self._ref(name))

        return _SUB.sub(replace, text)

    def _join(self, argument: Any) -> str:
        separator, items = argument
        return str(separator).join(_plain(item) for item in self.value(items))

    def _if(self, argument: Any) -> Any:
        name, then, otherwise = argument
        return self._value(then if self._references.condition(name) else otherwise)

    def _select(self, argument: Any) -> Any:
        index, items = int(self.value(argument[0])), self.value(argument[1])
        if not 0 <= index < len(items):
            raise TemplateError(f"Template error: Fn::Select cannot select index {index} of {len(items)}")
        return items[index]

    def _split(self, argument: Any) -> list[str]:
        separator, text = argument
        return str(self.value(text)).split(separator)

    def _find_in_map(self, argument: Any) -> Any:
        name, first, second = (self.value(part) for part in argument[:3])
        try:
            return self._references.mapping(name)[str(first)][str(second)]
        except KeyError:
            raise TemplateError(f"Template error: no mapping {name}.{first}.{second}") from None


def _plain(value: Any) -> str:
    """Return a value as CloudFormation writes it into a string."""
    return str(value).lower() if isinstance(value, bool) else str(value)
