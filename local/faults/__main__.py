"""``python -m local.faults [--only PATTERN] [--list]``."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from local.faults import invariants, leaks
from local.faults.case import FaultCase
from local.faults.catalogue import all_cases
from local.faults.concurrency import CaseConcurrency, default_concurrency
from local.faults.environment import FaultEnvironment, running_environment
from local.faults.report import CaseResult, Columns
from local.faults.scenario import CaseScenario

QUIET_AT_ONCE = 8


def main() -> int:
    arguments = _arguments()
    cases = all_cases()
    if arguments.only:
        pattern = re.compile(arguments.only, re.IGNORECASE)
        cases = [case for case in cases if pattern.search(case.name)]
    if arguments.list:
        print("\n".join(case.name for case in cases))
        return 0
    return _run_cases(cases, arguments.at_once, records=arguments.records)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make faults", description="Every fault against the real template.")
    parser.add_argument("--only", metavar="PATTERN", help="only cases whose name matches this expression")
    parser.add_argument("--list", action="store_true", help="only the names of the cases")
    parser.add_argument("--records", action="store_true", help="show the records of cases that failed")
    parser.add_argument(
        "--at-once", type=int, default=default_concurrency(), help="maximum number of concurrent cases"
    )
    return parser.parse_args()


def _run_cases(cases: Sequence[FaultCase], at_once: int, *, records: bool) -> int:
    began = time.monotonic()
    columns = Columns.of([case.name for case in cases], [case.expected.text() for case in cases])
    failed = 0
    pace = CaseConcurrency()
    with running_environment() as environment, pace.measured():
        print(f"{len(cases)} cases, at most {at_once} at the same time …", flush=True)
        for result in _results(environment, pace, cases, at_once):
            failed += not result.passed
            print(columns.line(result), *(result.records if records else ()), sep="\n", flush=True)
        secrets = _no_secret(environment)
    failed += not secrets.passed
    print(columns.line(secrets))
    print(f"in {time.monotonic() - began:.0f} s")
    print(f"{len(cases) + 1 - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


def _results(
    environment: FaultEnvironment, pace: CaseConcurrency, cases: Sequence[FaultCase], at_once: int
) -> Iterator[CaseResult]:
    """Yield results in the order of the catalogue, those of the quiet cases last."""
    numbered = list(enumerate(cases))
    for is_quiet, threads in ((False, at_once), (True, min(at_once, QUIET_AT_ONCE))):
        group = [(number, case) for number, case in numbered if case.quiet is is_quiet]
        with ThreadPoolExecutor(threads, thread_name_prefix="case") as pool:
            # The longest cases start first.
            longest = sorted(group, key=lambda pair: -pair[1].max_wait)
            futures = {
                number: pool.submit(_paced, environment, pace, case, number) for number, case in longest
            }
            yield from (futures[number].result() for number, _ in group)


def _paced(environment: FaultEnvironment, pace: CaseConcurrency, case: FaultCase, number: int) -> CaseResult:
    with pace.case():
        return _run_case(environment, case, number)


def _run_case(environment: FaultEnvironment, case: FaultCase, number: int) -> CaseResult:
    began = time.monotonic()
    outcome, broken, records = "nothing", [], []
    scenario = CaseScenario(environment, case, number)
    try:
        scenario.prepare()
        case.before(scenario)
        case.start(scenario)
        case.during(scenario)
        scenario.await_end()
        runs = scenario.runs()
        outcome, broken = (
            invariants.observed(scenario, runs).text(),
            list(invariants.complaints(scenario, runs)),
        )
        records = [json.dumps(run, indent=1) for run in runs] if broken else []
    except Exception as error:  # noqa: BLE001 - a case that cannot run has failed; the others go on
        broken = [f"{type(error).__name__}: {error}", traceback.format_exc()]
    finally:
        scenario.close()
    seconds = time.monotonic() - began
    return CaseResult(case.name, case.expected.text(), outcome, seconds, tuple(broken), tuple(records))


def _no_secret(environment: FaultEnvironment) -> CaseResult:
    """Check, after all cases, that no secret was written and that the search can find one."""
    began = time.monotonic()
    environment.stack.settle()
    texts = leaks.written(environment)
    reported = leaks.leaked_places(texts, leaks.secrets_of(environment))
    reported += [f"nothing is known of the {place}" for place in leaks.unseen(texts)]
    outcome = ", ".join(f"{len(lines)} {place}" for place, lines in texts.items())
    return CaseResult(
        "a secret in anything that was written", "none", outcome, time.monotonic() - began, tuple(reported)
    )


if __name__ == "__main__":
    sys.exit(main())
