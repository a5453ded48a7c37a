"""W8: what the import costs, over a bare interpreter."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from tempfile import TemporaryDirectory

from tests.benchmarks._bench import Figure, Measure, Metrics, Scenario, Size

MADE = "from asyncsched import Cron, Interval, Scheduler; Scheduler()"
"""Names are imported when they are first used: this is what an app pays until it has a scheduler."""


def _importing(**statements: str) -> Callable[[Size], Metrics]:
    def measure(size: Size) -> Metrics:
        return {metric: _cpu_ms(statement, size.n) for metric, statement in statements.items()}

    return measure


def _cpu_ms(statement: str, n: int) -> float:
    # As installed: an installer compiles what it installs, a checkout is compiled when it is first used.
    with TemporaryDirectory() as compiled:
        environment = os.environ | {"PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        _cpu_of(statement, environment)
        taken = [_cpu_of(statement, environment) - _cpu_of("pass", environment) for _ in range(n)]
    return sorted(taken)[len(taken) // 2] * 1e3


def _cpu_of(statement: str, environment: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


SCENARIOS = (
    Scenario(
        "import",
        "CPU of `import asyncsched` over a bare interpreter, beside anyio with its asyncio backend; of each its main module",
        {
            "asyncsched": _importing(cpu_ms="import asyncsched", made_cpu_ms=MADE),
            "anyio": _importing(cpu_ms="import anyio, anyio._backends._asyncio"),
            "aps3": _importing(cpu_ms="import apscheduler.schedulers.asyncio"),
            "aps4": _importing(cpu_ms="import apscheduler"),
            "aiocron": _importing(cpu_ms="import aiocron"),
            "taskiq": _importing(cpu_ms="import taskiq"),
            "procrastinate": _importing(cpu_ms="import procrastinate"),
            "pgqueuer": _importing(cpu_ms="import pgqueuer"),
            "huey": _importing(cpu_ms="import huey"),
            "docket": _importing(cpu_ms="import docket"),
            "saq": _importing(cpu_ms="import saq"),
        },
        (
            Figure("8a", "import over anyio with its backend", "cpu_ms", 1.3, 1.1, ("anyio", "cpu_ms"), unit="ms"),
            Figure("8a", "until a scheduler is made, over the same", "made_cpu_ms", 1.3, 1.1, ("anyio", "cpu_ms"), unit="ms"),
            Figure("", "until a scheduler is made, over aps3", "made_cpu_ms", over=("aps3", "cpu_ms"), unit="ms"),
        ),
        Size(5), Size(3), Size(1),
        measures=(
            Measure("CPU of the import over a bare interpreter", "cpu_ms", "ms"),
            Measure("CPU until a scheduler is made", "made_cpu_ms", "ms"),
        ),
    ),
)  # fmt: skip
