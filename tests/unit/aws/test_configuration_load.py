"""Five thousand webhooks a minute over 500 pipelines and 50 sources, from 25 processes."""

from __future__ import annotations

import pytest

from celonis_refresh.aws.webhook_configuration import PIPELINE_SECONDS, SOURCE_SECONDS
from tests.unit.aws.configuration_load import LoadedTrigger

A_SECOND = 5000 / 60
PARAMETER_READS, PARAMETER_PEAK, SECRET_READS = 20.0, 40, 5.0
"""Requests a second, on average and at most: Parameter Store answers 40."""
IDLE_SECONDS = 600.0


pytestmark = pytest.mark.xdist_group("configuration load")
"""The simulation takes seconds: it runs once, in one process."""


@pytest.fixture(scope="module")
def loaded() -> LoadedTrigger:
    """A trigger that was in use, then idle, and is deployed again."""
    trigger = LoadedTrigger()
    trigger.run(60.0, A_SECOND)
    trigger.clock.sleep(IDLE_SECONDS)
    trigger.start_processes()
    trigger.began = trigger.clock.now
    trigger.run(300.0, A_SECOND)
    return trigger


def test_parameter_store_is_read_less_than_it_answers(loaded: LoadedTrigger) -> None:
    store, began = loaded.store, loaded.began
    average = store.a_second("parameters", began, began + 300.0)
    peak = store.worst_second("parameters", began)
    print(f"\nParameter Store: {average:.1f} reads a second, {peak} in the worst")
    assert average <= PARAMETER_READS
    assert peak <= PARAMETER_PEAK


def test_secrets_manager_is_read_once_per_cache_period(loaded: LoadedTrigger) -> None:
    store, began = loaded.store, loaded.began
    average = store.a_second("secrets", began, began + 300.0)
    later = store.a_second("secrets", began + 60.0, began + 300.0)
    print(f"\nSecrets Manager: {average:.1f} reads a second, {later:.1f} once all processes know the secrets")
    assert average <= SECRET_READS
    assert later <= 1.0


def test_a_delivery_waits_shortly_for_its_configuration(loaded: LoadedTrigger) -> None:
    took = sorted(loaded.took)
    print(f"\nmedian {took[len(took) // 2]:.3f} s, slowest {took[-1]:.2f} s")
    assert took[len(took) // 2] < 0.05
    assert took[-1] < 1.5


def test_a_pause_and_a_change_count_in_all_processes_in_time() -> None:
    trigger = LoadedTrigger(processes=8, sources=5, pipelines=50)
    trigger.run(60.0, 15.0)
    changed = trigger.clock.now
    trigger.define("pipeline-7", paused=True)
    seen: list[tuple[bool, float]] = []
    for _ in range(400):
        trigger.run(0.1, 15.0)
        seen.append(trigger.deliver(trigger.clock.now, 0, "pipeline-7"))
    assert not seen[0][0]
    assert all(paused for paused, at in seen if at > changed + PIPELINE_SECONDS)


def test_a_new_rule_counts_in_all_processes_in_time() -> None:
    trigger = LoadedTrigger(processes=8, sources=5, pipelines=50)
    trigger.run(60.0, 15.0)
    source = "/stack/sources/source-0"
    trigger.store.values[source] = trigger.store.values[source].replace("pipeline-7", "pipeline-8")
    trigger.run(SOURCE_SECONDS, 15.0)
    for configuration in trigger.configurations:
        rules = configuration.source("source-0").rules
        assert "pipeline-7" not in {rule.pipeline for rule in rules}
