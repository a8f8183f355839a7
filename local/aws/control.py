"""The control API on loopback: executions, logs, metrics, alarms, schedules and settings."""

import dataclasses
import json
import re
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote

from local.aws.errors import LocalStackError, NotFoundError, ScheduleDisabledError
from local.aws.http_server import HttpRequest, HttpResponse
from local.aws.runtime.functions import Function
from local.aws.runtime.logs import FunctionLogLine
from local.aws.settings import EventSettings, Settings, TransactionSettings
from local.aws.states.execution import MachineExecution
from local.aws.states.service import description


class Controlled(Protocol):
    """What the control API needs of a stack."""

    settings: Settings
    outputs: dict[str, str]

    @property
    def executions(self) -> list[MachineExecution]: ...

    @property
    def functions(self) -> list[Function]: ...

    def logs(self, logical_id: str | None = None) -> list[FunctionLogLine]: ...

    def fire_schedule(self, name: str, *, group: str | None, even_if_disabled: bool) -> dict[str, Any]: ...

    def schedules(self) -> list[dict[str, str]]: ...

    def alarming(self) -> set[str]: ...

    def metrics(self) -> list[dict[str, Any]]: ...

    def reset(self) -> None: ...


_Action = Callable[[re.Match[str], HttpRequest], Any]


class ControlApi:
    """Answers with JSON; an unknown path lists all paths."""

    def __init__(self, stack: Controlled) -> None:
        self._stack = stack
        self._routes: list[tuple[str, _Action]] = [
            (r"GET /functions", lambda _found, _request: [_function(each) for each in stack.functions]),
            (r"GET /logs/(?P<function>[^/]+)", self._logs),
            (r"GET /executions", lambda _found, _request: [description(each) for each in stack.executions]),
            (r"GET /outputs", lambda _found, _request: stack.outputs),
            (r"GET /schedules", lambda _found, _request: stack.schedules()),
            (r"POST /schedules/(?P<name>[^/]+)/fire", self._fire),
            (r"GET /alarms", lambda _found, _request: sorted(stack.alarming())),
            (r"GET /metrics", lambda _found, _request: stack.metrics()),
            (r"GET /settings", lambda _found, _request: self._settings()),
            (r"PATCH /settings", self._change),
            (r"POST /reset", self._reset),
        ]

    def __call__(self, request: HttpRequest) -> HttpResponse:
        line = f"{request.method} {request.path}"
        for pattern, action in self._routes:
            match = re.fullmatch(pattern, line)
            if match:
                return self._answered(action, match, request)
        return _json(
            404, {"message": f"{line} is unknown", "paths": [pattern for pattern, _ in self._routes]}
        )

    def _answered(self, action: _Action, match: re.Match[str], request: HttpRequest) -> HttpResponse:
        try:
            return _json(200, action(match, request))
        except NotFoundError as error:
            return _json(404, {"message": str(error)})
        except ScheduleDisabledError as error:
            return _json(409, {"message": f"{error}; add ?even_if_disabled=true to fire it all the same"})
        except (LocalStackError, ValueError, TypeError) as error:
            return _json(400, {"message": str(error)})

    def _logs(self, match: re.Match[str], _request: HttpRequest) -> list[dict[str, Any]]:
        name = unquote(match["function"])
        names = [each.logical_id for each in self._stack.functions]
        if name not in names:
            raise NotFoundError(f"there is no function {name}; the functions are {', '.join(sorted(names))}")
        return [dataclasses.asdict(line) for line in self._stack.logs(name)]

    def _fire(self, match: re.Match[str], request: HttpRequest) -> dict[str, Any]:
        query = {key: values[-1] for key, values in parse_qs(request.query).items()}
        return self._stack.fire_schedule(
            unquote(match["name"]),
            group=query.get("group"),
            even_if_disabled=query.get("even_if_disabled") == "true",
        )

    def _settings(self) -> dict[str, Any]:
        settings = self._stack.settings
        return {
            "events": dataclasses.asdict(settings.events),
            "transactions": dataclasses.asdict(settings.transactions),
        }

    def _change(self, _found: re.Match[str], request: HttpRequest) -> dict[str, Any]:
        settings = json.loads(request.body)
        unknown = set(settings) - {"events", "transactions"}
        if unknown:
            raise ValueError(f"there are no settings {', '.join(sorted(unknown))}")
        _update(self._stack.settings.events, settings.get("events", {}))
        _update(self._stack.settings.transactions, settings.get("transactions", {}))
        return self._settings()

    def _reset(self, _found: re.Match[str], _request: HttpRequest) -> dict[str, Any]:
        self._stack.reset()
        return {"outputs": self._stack.outputs}


def _update(settings: EventSettings | TransactionSettings, changes: dict[str, Any]) -> None:
    names = {field.name for field in dataclasses.fields(settings)}
    for name, value in changes.items():
        if name not in names:
            raise ValueError(f"there is no setting {name}; known are {', '.join(sorted(names))}")
        setattr(settings, name, tuple(map(float, value)) if isinstance(value, list) else float(value))


def _function(function: Function) -> dict[str, Any]:
    return {
        "logical_id": function.logical_id,
        "name": function.name,
        "handler": function.handler,
        "role": function.role_arn,
        "timeout": function.timeout,
    }


def _json(status: int, value: Any) -> HttpResponse:
    body = json.dumps(value, indent=2, default=str).encode()
    return HttpResponse(status, body, [("Content-Type", "application/json")])
