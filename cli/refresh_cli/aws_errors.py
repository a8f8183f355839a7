"""Errors of boto3 as errors that say what to do."""

from __future__ import annotations

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigParseError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as AwsConnectionError

from refresh_cli.errors import NO_REGION, CliError

EXPIRED = frozenset({
    "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException",
    "SignatureDoesNotMatch", "InvalidSignatureException", "AuthFailure", "RequestExpired",
})  # fmt: skip
"""Codes of AWS for credentials that it does not accept (any more)."""
DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized"})
CHECK = "Check the name of the stack and the region, or try again."
SIGN_IN = "Sign in again (for example: aws sso login), or use another --profile."


def from_aws(error: BotoCoreError | ClientError, where: str) -> CliError:
    """Return what to show for an error of boto3. ``where``: the profile and region that were used."""
    if isinstance(error, ClientError):
        return _from_answer(error, where)
    match error:
        case ProfileNotFound():
            return CliError(
                "The AWS profile does not exist",
                str(error.kwargs.get("profile", "")),
                "aws configure list-profiles shows the profiles; choose one with --profile.",
            )
        case NoRegionError():
            return CliError("No AWS region is set", where, NO_REGION)
        case SSOError() | TokenRetrievalError():
            return CliError("AWS does not accept the credentials", f"{where} ({_text(error)})", SIGN_IN)
        case NoCredentialsError() | PartialCredentialsError() | CredentialRetrievalError():
            return CliError(
                "There are no AWS credentials", where, "Sign in to AWS, choose --profile, or run make local."
            )
        case ConfigParseError():
            return CliError("The AWS configuration cannot be read", _text(error), "Correct the file.")
        case HTTPClientError() | AwsConnectionError():
            return CliError(
                "AWS did not answer", f"{where} ({_text(error)})", "Check the network and --region."
            )
    return CliError("The call to AWS failed", f"{where} ({_text(error)})", CHECK)


def _from_answer(error: ClientError, where: str) -> CliError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    message = str(error.response.get("Error", {}).get("Message", "")) or code
    if code in EXPIRED:
        return CliError("AWS does not accept the credentials", f"{where} ({message.rstrip('.')})", SIGN_IN)
    if code in DENIED:
        return CliError(
            "A permission is missing",
            f"{error.operation_name}, {where} ({message.rstrip('.')})",
            "Ask for it, or use another --profile.",
        )
    return CliError(f"AWS refused {error.operation_name}", f"{where} ({code}: {message.rstrip('.')})", CHECK)


def _text(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
