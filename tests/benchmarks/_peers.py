"""The peers that cannot share an environment with the tests, in one of their own.

APScheduler 4 has the import name of APScheduler 3, so it and the queues on PostgreSQL live in a virtual
environment in the cache folder, made by ``python -m tests.benchmarks --install-peers``. Without it the
table says so in place of their figures.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import venv
from pathlib import Path

HOW = "python -m tests.benchmarks --install-peers"

_APART = {
    "aps4": "apscheduler==4.0.0a6",
    "pgqueuer": "pgqueuer==1.6.0",
    "pgqueuer-100": "pgqueuer==1.6.0",
    "procrastinate": "procrastinate==3.10.0",
}
_WITH = ("asyncpg", "psutil", "psycopg[binary,pool]>=3.2", "sqlalchemy[asyncio]>=2.0.40", "trio", "uvloop")
_HERE = {"aps3": "apscheduler"}

_FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "asyncsched-benchmarks"


def _python() -> Path:
    name = f"{sys.version_info.major}.{sys.version_info.minor}"
    return _FOLDER / name / ("Scripts" if os.name == "nt" else "bin") / "python"


def interpreter(system: str) -> str | None:
    """Return the interpreter that has a system; ``None`` if none has."""
    if system in _APART:
        return str(_python()) if _python().exists() else None
    if system in _HERE and importlib.util.find_spec(_HERE[system]) is None:
        return None
    return sys.executable


def install() -> None:
    """Make the environment of the peers."""
    folder = _python().parents[1]
    print(f"installing {', '.join(sorted({*_APART.values()}))} into {folder}", flush=True)
    venv.create(folder, with_pip=True, clear=True)
    subprocess.run([_python(), "-m", "pip", "install", "-q", *{*_APART.values()}, *_WITH], check=True)
