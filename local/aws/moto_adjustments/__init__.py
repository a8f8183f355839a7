"""Changes of moto's internals; everything else uses its public API."""

from moto.core.config import default_user_config
from moto.moto_api._internal import models as moto_models

from local.aws.moto_adjustments.cheap_requests import use_cheap_requests
from local.aws.moto_adjustments.dynamodb_transactions import use_cheap_transactions
from local.aws.moto_adjustments.parameter_pages import use_strict_pages


def configure_moto() -> None:
    """Configure moto without Docker and S3 checks, and with validation of state machines.

    Transactions and requests are cheaper, and parameters have pages as in AWS.
    """
    default_user_config["lambda"] = {"use_docker": False}
    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    use_cheap_transactions()
    use_cheap_requests()
    use_strict_pages()


def reset_moto() -> None:
    """Forget every resource."""
    moto_models.moto_api_backend.reset()
