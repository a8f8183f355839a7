"""Entry point of a function's process: ends it with the local stack, and runs the handler.

Started as a file, with the function's code on the path and nothing of this project.
"""

import importlib.util
import os
import sys
import threading
from pathlib import Path
from types import ModuleType


def _end_with_parent() -> None:
    """Exit when standard input closes, a pipe that the parent keeps open until it exits."""
    lifeline = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def watch() -> None:
        os.read(lifeline, 1)
        os._exit(137)

    threading.Thread(target=watch, daemon=True).start()


def _beside(name: str) -> ModuleType:
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"_local_{name}", path)
    if spec is None or spec.loader is None:
        raise ImportError(str(path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _run(handler: str) -> None:
    _beside("faults").install(os.environ.pop("LOCAL_FAULT_FILE"))
    if os.environ.pop("LOCAL_RUNTIME", "") != "own":
        try:
            from awslambdaric.__main__ import main
        except ImportError:
            main = None
        if main is not None:
            main([sys.argv[0], handler])
            return
    _beside("loop").run(handler, os.environ["AWS_LAMBDA_RUNTIME_API"])


if __name__ == "__main__":
    _end_with_parent()
    _run(sys.argv[1])
