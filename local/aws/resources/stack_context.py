"""Shared data of the resources of one stack, which the running stack also reads."""

from dataclasses import dataclass, field
from pathlib import Path

from local.aws.clients import Clients
from local.aws.http_api.routes import HttpApi
from local.aws.runtime.functions import Functions


@dataclass
class StackContext:
    """One stack in one region of one account."""

    stack_name: str
    clients: Clients
    artifacts: dict[str, Path]
    code_dir: Path
    functions: Functions = field(default_factory=Functions)
    apis: dict[str, HttpApi] = field(default_factory=dict)

    @property
    def region(self) -> str:
        return self.clients.region

    @property
    def account(self) -> str:
        return self.clients.account
