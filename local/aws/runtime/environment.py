"""The environment of a function's process: variables of Lambda and the template only."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from local.aws.runtime.functions import Function


def function_environment(
    function: Function,
    *,
    region: str,
    endpoint_url: str,
    credentials: Mapping[str, str],
    state_dir: Path,
    runtime_api: str,
    log_stream: str,
) -> dict[str, str]:
    """Return the variables; `credentials`: `id`, `secret` and `token` of the function's role."""
    standard = {
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ACCESS_KEY_ID": credentials["id"],
        "AWS_SECRET_ACCESS_KEY": credentials["secret"],
        "AWS_SESSION_TOKEN": credentials["token"],
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.runtime}",
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": function.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": function.log_group,
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
        "AWS_LAMBDA_RUNTIME_API": runtime_api,
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "LAMBDA_TASK_ROOT": str(function.code),
        "LAMBDA_RUNTIME_DIR": str(Path(__file__).parent),
        "_HANDLER": function.handler,
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
        # Lambda sets no HOME either; without this one the SDK would read the user's own AWS settings.
        "HOME": str(state_dir / "home"),
        "PYTHONPATH": os.pathsep.join(str(path) for path in (function.code, *function.layers)),
        "PYTHONUNBUFFERED": "1",
    }
    if function.log_format == "JSON":
        standard["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        standard["AWS_LAMBDA_LOG_LEVEL"] = function.log_level or "INFO"
    return {**standard, **function.environment}
