"""Every scenario by its name."""

from __future__ import annotations

from tests.benchmarks import (
    burst,
    cluster,
    enqueue,
    firing,
    handoff,
    hold,
    host,
    idle,
    imports,
    intervals,
    noop,
    offload,
    periodic,
    soak,
    starting,
    stores,
)
from tests.benchmarks._bench import Scenario

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for module in (
        intervals,
        burst,
        enqueue,
        noop,
        offload,
        imports,
        idle,
        firing,
        handoff,
        stores,
        hold,
        host,
        cluster,
        periodic,
        soak,
        starting,
    )
    for scenario in module.SCENARIOS
}
