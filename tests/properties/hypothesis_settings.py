"""How long the property tests search: the same examples in every run, or many more and new ones.

``SEARCH=50 python -m pytest tests/properties`` runs fifty times as many examples, at random.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

FACTOR = int(os.environ.get("SEARCH", "0"))


def examples(count: int, *, steps: int = 50) -> settings:
    """``count`` examples; of a state machine, each of at most ``steps`` steps."""
    return settings(
        max_examples=count * max(1, FACTOR),
        stateful_step_count=steps,
        derandomize=not FACTOR,
        deadline=None,
        phases=[phase for phase in Phase if phase is not Phase.explain],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
