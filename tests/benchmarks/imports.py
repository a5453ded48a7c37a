"""W8: what the import costs, over a bare interpreter."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from tempfile import TemporaryDirectory

from tests.benchmarks._bench import Figure, Measure, Metrics, Scenario, Size


def _importing(statement: str) -> Callable[[Size], Metrics]:
    def measure(size: Size) -> Metrics:
        # As installed: an installer compiles what it installs, a checkout is compiled when it is first used.
        with TemporaryDirectory() as compiled:
            environment = os.environ | {"PYTHONPYCACHEPREFIX": compiled}
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            _cpu_of(statement, environment)
            taken = [_cpu_of(statement, environment) - _cpu_of("pass", environment) for _ in range(size.n)]
        return {"cpu_ms": sorted(taken)[len(taken) // 2] * 1e3}

    return measure


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
            "asyncsched": _importing("import asyncsched"),
            "anyio": _importing("import anyio, anyio._backends._asyncio"),
            "aps3": _importing("import apscheduler.schedulers.asyncio"),
            "aps4": _importing("import apscheduler"),
            "aiocron": _importing("import aiocron"),
            "taskiq": _importing("import taskiq"),
            "procrastinate": _importing("import procrastinate"),
            "pgqueuer": _importing("import pgqueuer"),
            "huey": _importing("import huey"),
            "docket": _importing("import docket"),
            "saq": _importing("import saq"),
        },
        (
            Figure("8a", "import over anyio with its backend", "cpu_ms", 1.3, 1.1, ("anyio", "cpu_ms"), unit="ms"),
            Figure("", "import over aps3", "cpu_ms", over=("aps3", "cpu_ms"), unit="ms"),
        ),
        Size(5), Size(3), Size(1),
        measures=(Measure("CPU of the import over a bare interpreter", "cpu_ms", "ms"),),
    ),
)  # fmt: skip
