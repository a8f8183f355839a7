"""A client that asks moto and the fake at once and holds their answers against each other."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any, cast

import botocore.session
from botocore.exceptions import ClientError

from celonis_refresh.pipelines.definition import Definition, read_definition
from celonis_refresh.pipelines.options import RunOptions
from celonis_refresh.runs.claims import Claim
from celonis_refresh.runs.table import Table
from tests.fakes.clock import FakeClock
from tests.fakes.dynamodb import FakeDynamoDB
from tests.template import documents

Outcome = tuple[str, Any]
_names = (f"runs-{number}" for number in count())


def moto_client() -> Any:
    """A DynamoDB client; inside ``mock_aws`` moto answers it, in this process."""
    return botocore.session.get_session().create_client("dynamodb", region_name="eu-central-1")


def create_table(client: Any) -> str:
    """Creates the template's table under a new name."""
    (properties,) = documents.resources("AWS::DynamoDB::Table").values()
    wanted = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")
    name = next(_names)
    client.create_table(TableName=name, **{key: properties[key] for key in wanted})
    return name


def outcome(ask: Callable[..., dict[str, Any]], request: dict[str, Any]) -> Outcome:
    """The result of a request, without what differs from service to service."""
    try:
        return "", _plain(ask(**request))
    except ClientError as error:
        return _refusal(error)


def _refusal(error: ClientError) -> Outcome:
    response: dict[str, Any] = dict(error.response)
    return response["Error"]["Code"], _plain(response)


def _plain(answer: dict[str, Any]) -> dict[str, Any]:
    reasons = [
        {key: reason[key] for key in ("Code", "Item") if reason.get(key)}
        for reason in answer.get("CancellationReasons", [])
    ]
    kinds = ("Item", "Items", "Attributes", "Responses")
    shown: dict[str, Any] = {key: answer[key] for key in kinds if answer.get(key)}
    return shown | ({"reasons": reasons} if reasons else {})


class ComparedClients:
    """``calls``: the operations; ``requests``: their parameters."""

    def __init__(self, moto: Any) -> None:
        self.moto, self.fake = moto, FakeDynamoDB()
        self.calls: list[str] = []
        self.requests: list[dict[str, Any]] = []

    def __getattr__(self, operation: str) -> Callable[..., dict[str, Any]]:
        return lambda **request: self._ask(operation, request)

    def _ask(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        self.calls.append(operation)
        self.requests.append(request)
        moto = outcome(getattr(self.moto, operation), request)
        answers: list[dict[str, Any]] = []
        refusals: list[ClientError] = []
        try:
            answers.append(getattr(self.fake, operation)(**request))
        except ClientError as error:
            refusals.append(error)
        fake = _refusal(refusals[0]) if refusals else ("", _plain(answers[0]))
        assert moto == fake, (operation, request)
        if refusals:
            raise refusals[0]
        return answers[0]


def table_of(client: Any, name: str, clock: FakeClock) -> Table:
    """The table over a client; its pauses move the clock."""
    return Table(cast("Any", client), name, Random(1), clock.sleep)  # noqa: S311


def definition(*jobs: str, **fields: Any) -> Definition:
    """A pipeline of these jobs, or of one load."""
    steps = {"jobs": [{"job": job} for job in jobs]} if jobs else {"loads": [{"data_model": "model-a"}]}
    return read_definition("The definition", Definition, {"data_pool": "pool-1", **steps, **fields})


def claim(pipeline: str = "otc", number: int = 1, **fields: Any) -> Claim:
    """A claim whose ids end with ``number``."""
    given: dict[str, Any] = {
        "options": RunOptions(),
        "run_id": f"{pipeline}-{number}",
        "follow_up_id": f"{pipeline}-follow-{number}",
        "definition": definition("job-a"),
        "job": "job-a",
    }
    return Claim(pipeline, **{**given, **fields})
