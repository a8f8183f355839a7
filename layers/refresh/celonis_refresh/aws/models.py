"""The descriptions of the AWS services, as botocore loads them when it makes a client."""

from __future__ import annotations

import os

from botocore.loaders import Loader

SERVICES = ("dynamodb", "secretsmanager", "sns", "ssm", "stepfunctions")
"""Those that the functions use, by botocore's names."""


class Models(Loader):  # type: ignore[misc]  # botocore tells no types
    """Looks for what is used here, and at nothing else.

    To see whether a service is one, botocore looks through the folders of all four hundred, twice.
    """

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - all are of each type
        return list(SERVICES)


def models(data_path: str | None) -> Models:
    """``data_path``: folders that come before botocore's own, as AWS_DATA_PATH names them."""
    return Models(extra_search_paths=data_path.split(os.pathsep) if data_path else [])
