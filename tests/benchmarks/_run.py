"""How benchmarks are run: every system in a fresh process, by turns, round after round until the time is up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.benchmarks import _peers
from tests.benchmarks._bench import ROOT, Metrics, Scenario
from tests.benchmarks._servers import Servers, redis_server

Rounds = list[dict[str, Metrics]]
"""What the systems measured, round by round."""


@dataclass
class Result:
    """What came out of one scenario."""

    scenario: Scenario
    mode: str
    at: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
    load: float = field(default_factory=lambda: os.getloadavg()[0])
    rounds: Rounds = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    """The systems that were not measured, and why not."""
    seconds: float = 0.0
    """How long the last round took."""


def run(
    scenarios: Sequence[Scenario], mode: str, rounds: int | None = None, minutes: float | None = None
) -> tuple[list[Result], dict[str, str]]:
    """Run scenarios round after round; return the results, and what the servers promised.

    Args:
        rounds: instead of each scenario's own number.
        minutes: begin no further round of a scenario that would end later, unless it is its first.

    """
    for one in scenarios:
        if one.missing:
            print(f"{one.name} is left out: {one.missing}", flush=True)
    scenarios = [one for one in scenarios if not one.missing]
    results = [Result(scenario, mode) for scenario in scenarios]
    wanted = {one.name: rounds or (one.rounds if mode == "full" else 1) for one in scenarios}
    began = time.monotonic()
    with Servers() as servers:
        for number in range(max(wanted.values(), default=0)):
            for result in results:
                passed = time.monotonic() - began
                late = minutes is not None and number > 0 and passed + result.seconds > minutes * 60
                if number < wanted[result.scenario.name] and not late:
                    result.rounds.append(_round(result, number, servers))
                    said = (
                        f"{passed:5.0f} s  {result.scenario.name}, round {number + 1}: {result.seconds:.1f} s"
                    )
                    print(said, file=sys.stderr, flush=True)
    return results, servers.said


def _round(result: Result, number: int, servers: Servers) -> dict[str, Metrics]:
    scenario, began = result.scenario, time.monotonic()
    names = [name for name in scenario.systems if _is_here(result, name)]
    turn = number % max(1, len(names))
    order = [name for name in names[turn:] + names[:turn] if scenario.often(name) or number % 2 == 0]

    def measure(name: str) -> Metrics | None:
        with servers.child(scenario) as environment:
            return _in_child(result, name, environment)

    with ThreadPoolExecutor(max(1, len(order)) if scenario.together else 1) as pool:
        measured = dict(zip(order, pool.map(measure, order), strict=True))
    result.seconds = time.monotonic() - began
    return {name: metrics for name, metrics in measured.items() if metrics is not None}


def _is_here(result: Result, system: str) -> bool:
    if _peers.interpreter(system) is None:
        why = f"is not installed: {_peers.HOW}"
    elif result.scenario.redis and redis_server() is None:
        why = "needs a redis-server, which is not here"
    else:
        return system not in result.missing
    if system not in result.missing:
        result.missing[system] = why
        print(f"{system} {why}", flush=True)
    return False


def _in_child(result: Result, system: str, environment: Mapping[str, str]) -> Metrics | None:
    """Return what a system measured; one that fails is named, and not run again: the others go on."""
    scenario = result.scenario
    python = _peers.interpreter(system) or sys.executable
    command = [python, "-m", "tests.benchmarks.child", scenario.name, system, result.mode]
    try:
        child = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True,
            timeout=scenario.timeout,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        why, error = f"gave no answer in {scenario.timeout:g} s", ""
    else:
        if not child.returncode:
            metrics: Metrics = json.loads(child.stdout.splitlines()[-1])
            return metrics
        error = child.stderr[-2000:]
        why = (error.strip().splitlines() or [f"ended with {child.returncode}"])[-1]
    result.missing[system] = f"failed: {why[:200]}"
    print(f"{scenario.name}: {system} failed: {why}\n{error}", file=sys.stderr, flush=True)
    return None
