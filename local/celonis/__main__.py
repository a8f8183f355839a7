"""``python -m local.celonis``: run the simulator until Ctrl-C."""

from __future__ import annotations

import argparse
import sys

from local.celonis import world
from local.celonis.server import CelonisSimulator
from local.stop_request import StopRequest


def main(arguments: list[str]) -> int:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m local.celonis", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090, help="of the API; 0 chooses a free one")
    parser.add_argument(
        "--control-port", type=int, default=8091, help="of the controls; 0 chooses a free one"
    )
    parser.add_argument("--tls", action="store_true", help="serve the API over HTTPS")
    parser.add_argument("--no-history", action="store_true", help="jobs that never ran, models never loaded")
    chosen = parser.parse_args(arguments)
    stop = StopRequest()
    simulator = CelonisSimulator(
        chosen.host, chosen.port, chosen.control_port, tls=chosen.tls, history=not chosen.no_history
    )
    with simulator:
        _introduce(simulator)
        stop.wait()
        print("Stopping.", flush=True)
    return 0


def _introduce(simulator: CelonisSimulator) -> None:
    print(f"Celonis API   {simulator.url}")
    print(f"Controls      {simulator.control_url}")
    if simulator.ca_path is not None:
        print(f"Certificate   {simulator.ca_path}")
    print(f"OAuth client  {world.CLIENT_ID} / {world.CLIENT_SECRET}, scope {world.SCOPE}")
    print(f"Data pool     {world.POOL_ID}  {world.POOL_NAME}")
    for job in simulator.model.jobs.values():
        print(f"Data job      {job.id}  {job.name}")
    for model in simulator.model.models.values():
        print(f"Data model    {model.id}  {model.name}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
