"""Every scenario by its name."""

from __future__ import annotations

from tests.benchmarks import burst, enqueue, idle, imports, intervals, noop
from tests.benchmarks._bench import Scenario

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for module in (intervals, burst, enqueue, noop, imports, idle)
    for scenario in module.SCENARIOS
}
