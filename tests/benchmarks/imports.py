"""W8: what the import costs, over a bare interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from tempfile import TemporaryDirectory

from tests.benchmarks._bench import Figure, Metrics, Scenario, Size


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
    before = os.times()
    subprocess.run([sys.executable, "-c", statement], check=True, env=environment)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


SCENARIOS = (
    Scenario(
        "import",
        "CPU of `import asyncsched` over a bare interpreter, beside anyio with its asyncio backend",
        {
            "asyncsched": _importing("import asyncsched"),
            "anyio": _importing("import anyio, anyio._backends._asyncio"),
            "aps3": _importing("import apscheduler.schedulers.asyncio"),
        },
        (
            Figure("8a", "import over anyio with its backend", "cpu_ms", 1.3, 1.1, ("anyio", "cpu_ms"), unit="ms"),
            Figure("", "import over aps3", "cpu_ms", over=("aps3", "cpu_ms"), unit="ms"),
        ),
        Size(7), Size(3), Size(1),
    ),
)  # fmt: skip
