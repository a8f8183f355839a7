"""No process is left: after the end, after Ctrl-C, after SIGTERM, and when the parent is killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from local.wait import until
from tests.stack.local_fixtures import deploy_shop

ROOT = Path(__file__).parents[2]
FUNCTION = """
    Type: AWS::Serverless::Function
    Properties:
      Runtime: python3.13
      Handler: index.handler
      Timeout: 60
      InlineCode: |
        import time
        def handler(event, context):
            print("at work", flush=True)
            time.sleep(event.get("sleep", 0))
"""
TEMPLATE = f"Transform: AWS::Serverless-2016-10-31\nResources:\n  Idle: {FUNCTION}\n  Busy: {FUNCTION}\n"
PARENT = """
import signal, sys, threading
from pathlib import Path
from local.aws.stack import LocalStack
from local.wait import until
signal.signal(signal.SIGINT, signal.default_int_handler)
here = Path(sys.argv[1])
with LocalStack.deploy(template=here / "t.yaml", stack_name="t", parameters={}, state_dir=here) as stack:
    stack.warm("Idle", 1)
    threading.Thread(target=stack.invoke, args=("Busy", b'{"sleep": 60}'), daemon=True).start()
    until(lambda: stack.logs("Busy"), "the function at work")
    print(*stack.process_ids(), flush=True)
    signal.pause()
"""


def alive(pid: int) -> bool:
    """Whether the process runs; one that ended and was not collected by its parent does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(state.stdout.strip()) and not state.stdout.startswith("Z")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_its_parent(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "t.yaml").write_text(TEMPLATE, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
    )
    try:
        assert parent.stdout
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(workers) == 2
        assert all(alive(pid) for pid in workers)
        began = time.monotonic()
        parent.send_signal(number)
        parent.wait(timeout=30)
        until(lambda: not any(alive(pid) for pid in workers), "the end of all processes", 30)
        assert time.monotonic() - began < 50  # the function sleeps for a minute
    finally:
        parent.kill()
        parent.communicate()


def test_closing_ends_every_process_even_a_busy_one(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(TEMPLATE, encoding="utf-8")
    with deploy_shop(tmp_path, template=tmp_path / "t.yaml") as stack:
        stack.warm("Idle", 2)
        busy = threading.Thread(target=stack.invoke, args=("Busy", b'{"sleep": 60}'), daemon=True)
        busy.start()
        until(lambda: stack.logs("Busy"), "the function at work")
        workers = stack.process_ids()
        assert len(workers) == 3
        began = time.monotonic()
    assert time.monotonic() - began < 30
    assert not any(alive(pid) for pid in workers)
    busy.join(timeout=5)
    stack.close()
