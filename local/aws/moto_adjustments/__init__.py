"""What is asked of moto beside its public API; everything else about it is as it comes."""

from moto.core.config import default_user_config
from moto.moto_api._internal import models as moto_models

from local.aws.moto_adjustments.cheap_requests import use_cheap_requests
from local.aws.moto_adjustments.dynamodb_transactions import use_cheap_transactions


def configure_moto() -> None:
    """No Docker, the grammar of state machines checked, no check of S3 for the code of functions, and
    transactions and answers that cost no more than they must."""
    default_user_config["lambda"] = {"use_docker": False}
    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    use_cheap_transactions()
    use_cheap_requests()


def reset_moto() -> None:
    """Forget every resource."""
    moto_models.moto_api_backend.reset()
