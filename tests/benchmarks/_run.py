"""How benchmarks are run: every system in a fresh process, by turns, round after round until the time is up.

A system that fails or hangs is named and passed over; the others go on. All that was measured is kept in a file
after every workload, from which a run that was ended can be taken up again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.benchmarks import _peers
from tests.benchmarks._bench import ROOT, Metrics, Scenario
from tests.benchmarks._servers import Servers, redis_server
from tests.benchmarks._unfinished import Unfinished

Rounds = list[dict[str, Metrics]]
"""What the systems measured, round by round."""

_TRIED = 2
"""How often a system may fail in a workload before it is left out; one that hangs is left out at once."""


@dataclass
class Result:
    """What came out of one scenario."""

    scenario: Scenario
    mode: str
    at: str = ""
    """When its first round began."""
    load: float = 0.0
    """How busy the machine was then."""
    rounds: Rounds = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    """The systems that were not measured, and why not."""
    failures: dict[str, int] = field(default_factory=dict)
    """How often each system failed."""
    took: dict[str, float] = field(default_factory=dict)
    """How many seconds each system took the last time."""

    @property
    def seconds(self) -> float:
        """How long a further round takes."""
        again = [took for system, took in self.took.items() if self.scenario.often(system)]
        return max(again, default=0.0) if self.scenario.together else sum(again)


def run(
    scenarios: Sequence[Scenario], mode: str, rounds: int | None = None, minutes: float | None = None,
    unfinished: Unfinished | None = None,
) -> tuple[list[Result], dict[str, str]]:  # fmt: skip
    """Run scenarios round after round; return the results, and what the servers promised.

    Args:
        rounds: instead of each scenario's own number.
        minutes: begin no further round of a scenario that would end later, unless it is its first.
        unfinished: where all that was measured is kept after each round; what it has already is not measured again.

    """
    for one in scenarios:
        if one.missing:
            print(f"{one.name} is left out: {one.missing}", flush=True)
    scenarios = [one for one in scenarios if not one.missing]
    results = [Result(scenario, mode) for scenario in scenarios]
    wanted = {one.name: rounds or (one.rounds if mode == "full" else 1) for one in scenarios}
    began = time.monotonic()
    with Servers() as servers:
        if unfinished is not None:
            unfinished.restore(results, servers.said)
        try:
            for number in range(max(wanted.values(), default=0)):
                for result in results:
                    passed = time.monotonic() - began
                    late = minutes is not None and number > 0 and passed + result.seconds > minutes * 60
                    if len(result.rounds) <= number < wanted[result.scenario.name] and not late:
                        _one(result, number, servers, passed)
                        if unfinished is not None:
                            unfinished.keep(results, servers.said)
                if not number and len(results) > 1:
                    _tell_plan(results, wanted, time.monotonic() - began, minutes)
        except KeyboardInterrupt:
            print("ended; what was measured is told, and --resume goes on", file=sys.stderr, flush=True)
    return [one for one in results if one.rounds or one.missing], servers.said


def _one(result: Result, number: int, servers: Servers, passed: float) -> None:
    if not number:
        result.at, result.load = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), os.getloadavg()[0]
    began = time.monotonic()
    result.rounds.append(_round(result, number, servers))
    took = time.monotonic() - began
    print(
        f"{passed:5.0f} s  {result.scenario.name}, round {number + 1}: {took:.1f} s",
        file=sys.stderr,
        flush=True,
    )


def _tell_plan(
    results: Sequence[Result], wanted: Mapping[str, int], passed: float, minutes: float | None
) -> None:
    """Say after the first round how long all of them would take, and how long they may."""
    rest = {
        one.scenario.name: one.seconds * max(0, wanted[one.scenario.name] - len(one.rounds))
        for one in results
    }
    for name, seconds in sorted(rest.items(), key=lambda item: -item[1]):
        if seconds:
            print(f"{seconds:6.0f} s  {name}: the rounds up to {wanted[name]}", file=sys.stderr, flush=True)
    may = "" if minutes is None else f"; what does not fit into {minutes:g} min is left out"
    print(f"all of it: {(passed + sum(rest.values())) / 60:.1f} min{may}", file=sys.stderr, flush=True)


def _round(result: Result, number: int, servers: Servers) -> dict[str, Metrics]:
    scenario = result.scenario
    names = [name for name in scenario.systems if _is_here(result, name)]
    turn = number % max(1, len(names))
    order = [name for name in names[turn:] + names[:turn] if scenario.often(name) or number == 0]

    def measure(name: str) -> Metrics | None:
        began = time.monotonic()
        try:
            with servers.child(scenario) as environment:
                return _in_child(result, name, environment)
        except Exception as error:
            return _failed(result, name, f"{type(error).__name__}: {error}")
        finally:
            result.took[name] = time.monotonic() - began

    with ThreadPoolExecutor(max(1, len(order)) if scenario.together else 1) as pool:
        measured = dict(zip(order, pool.map(measure, order), strict=True))
    return {name: metrics for name, metrics in measured.items() if metrics is not None}


def _is_here(result: Result, system: str) -> bool:
    if _peers.interpreter(system) is None:
        why = f"is not installed: {_peers.HOW}"
    elif result.scenario.redis and redis_server() is None:
        why = "needs a redis-server, which is not here"
    else:
        return result.failures.get(system, 0) < _TRIED
    if system not in result.missing:
        result.missing[system] = why
        print(f"{system} {why}", flush=True)
    return False


def _in_child(result: Result, system: str, environment: Mapping[str, str]) -> Metrics | None:
    """Return what a system measured in a process of its own, which is ended with all its children if it hangs."""
    scenario = result.scenario
    python = _peers.interpreter(system) or sys.executable
    command = [python, "-m", "tests.benchmarks.child", scenario.name, system, result.mode]
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    ) as child:  # fmt: skip
        try:
            said, error = child.communicate(timeout=scenario.timeout)
        except subprocess.TimeoutExpired:
            result.failures[system] = _TRIED
            return _failed(result, system, f"gave no answer in {scenario.timeout:g} s")
        finally:
            with suppress(ProcessLookupError):  # what it has started ends with it
                os.killpg(child.pid, signal.SIGKILL)
    if child.returncode:
        why = (error.strip().splitlines() or [f"ended with {child.returncode}"])[-1]
        return _failed(result, system, why, error[-2000:])
    metrics: Metrics = json.loads(said.splitlines()[-1])
    return metrics


def _failed(result: Result, system: str, why: str, error: str = "") -> None:
    result.failures[system] = result.failures.get(system, 0) + 1
    result.missing[system] = f"failed: {why[:200]}"
    print(f"{result.scenario.name}: {system} failed: {why}\n{error}", file=sys.stderr, flush=True)
