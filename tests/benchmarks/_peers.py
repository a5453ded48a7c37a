"""The peers: which version of each is measured, and the environment that it lives in.

Their requirements conflict: APScheduler 4 has the import name of APScheduler 3, and the clients of Redis want
different versions of its driver. So each peer gets a virtual environment of its own in the cache folder, with the
pinned version and what its documentation advises to install beside it. The command makes the ones that are missing;
with ``--installed`` it measures those that are there and names the others. APScheduler 3 is that of the tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections import ChainMap
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple


class Peer(NamedTuple):
    """What pip installs for a peer, the peer itself first."""

    name: str
    version: str
    extras: str = ""
    beside: tuple[str, ...] = ()

    @property
    def requirements(self) -> list[str]:
        return [f"{self.name}{self.extras}=={self.version}", *self.beside]


_COUNTER = "psycopg[binary]>=3.2"
"""The driver by which the benchmark itself counts what is left."""

PEERS = {
    # https://apscheduler.readthedocs.io/en/master/userguide.html: SQLAlchemy and a driver for the data store. It
    # imports sniffio, which the newest anyio no longer brings.
    "aps4": Peer("apscheduler", "4.0.0a6", beside=("sqlalchemy[asyncio]>=2.0.40", "sniffio", _COUNTER)),
    "aiocron": Peer("aiocron", "2.1"),
    "taskiq": Peer("taskiq", "0.13.0"),
    # https://procrastinate.readthedocs.io/en/stable/quickstart.html
    "procrastinate": Peer("procrastinate", "3.10.0", beside=(_COUNTER,)),
    # https://pgqueuer.readthedocs.io/en/latest/getting-started/installation/: asyncpg; its command runs on uvloop.
    "pgqueuer": Peer("pgqueuer", "1.6.0", "[asyncpg]", ("uvloop", _COUNTER)),
    "huey": Peer("huey", "3.5.4"),
    "docket": Peer("pydocket", "0.27.0"),
    # https://pypi.org/project/saq: hiredis for speed. What it imports and does not require stands beside it.
    "saq": Peer("saq", "0.26.4", "[redis,hiredis]", ("typing-extensions",)),
}
_HERE = {"aps3": "apscheduler"}

_OWN = ("anyio", "starlette", "croniter", "pydantic", "cloudpickle", "psutil", "pytest", "trio")
"""What the child itself needs in an environment where this library is measured."""

ENGINES = {
    "celery": Peer("celery", "5.7.0", "[redis]", _OWN),
    "rq": Peer("rq", "3.0.0", beside=_OWN),
    "dask": Peer("distributed", "2026.8.0", beside=_OWN),
}
"""The engines of the hand-off, whose systems are both sides in one process. Their requirements conflict, too."""
_DISTRIBUTIONS = {"celery": ("celery", "redis"), "rq": ("rq",), "dask": ("distributed",)}
"""What there must be for an engine to be measured without an environment of its own."""
_ENVIRONMENTS = ChainMap(PEERS, ENGINES)
_VARIANTS = {"pgqueuer-100": "pgqueuer"}
"""Systems that are a peer with other settings."""

HOW = "python -m tests.benchmarks makes its environment, without --installed"

FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "asyncsched-benchmarks"


def peer_of(system: str) -> str | None:
    """Return the peer that a system is; ``None`` for this library and the floors."""
    name = _VARIANTS.get(system, system)
    return name if name in PEERS or name in _HERE else None


def interpreter(system: str) -> str | None:
    """Return the interpreter that has a system; ``None`` if none has."""
    name = _VARIANTS.get(system, system)
    if name in ENGINES and all(map(_version, _DISTRIBUTIONS[name])):
        return sys.executable
    if name in _ENVIRONMENTS:
        return str(_python(_folder(name))) if _is_whole(name) else None
    if name in _HERE and not _version(_HERE[name]):
        return None
    return sys.executable


def versions(systems: Iterable[str]) -> dict[str, str]:
    """Return the name and version of each peer and engine among these systems that is installed."""
    found = {}
    for system in systems:
        name = system if system in ENGINES else peer_of(system)
        if name is not None and interpreter(name) is not None:
            peer = _ENVIRONMENTS.get(name)
            found[name] = f"{peer.name} {peer.version}" if peer else f"{_HERE[name]} {_version(_HERE[name])}"
    return found


def install(systems: Iterable[str]) -> None:
    """Make the environments that are missing; one that cannot be made is named, and its peer not measured."""
    for name in sorted({_VARIANTS.get(system, system) for system in systems} & _ENVIRONMENTS.keys()):
        if interpreter(name) is None:
            wanted = _ENVIRONMENTS[name]
            print(f"installing {' '.join(wanted.requirements)} into {_folder(name)}", flush=True)
            try:
                _install(wanted, _folder(name))
            except (OSError, subprocess.CalledProcessError) as error:
                print(f"{name} could not be installed: {getattr(error, 'stderr', '') or error}", flush=True)


def _install(peer: Peer, folder: Path) -> None:
    venv.create(folder, with_pip=True, clear=True)
    command = [str(_python(folder)), "-m", "pip", "install", "-q", *peer.requirements]
    subprocess.run(command, check=True, capture_output=True, text=True)
    _mark(folder).write_text("\n".join(peer.requirements), "utf-8")


def _folder(name: str) -> Path:
    peer = _ENVIRONMENTS[name]
    return FOLDER / f"{sys.version_info.major}.{sys.version_info.minor}" / f"{peer.name}-{peer.version}"


def _python(folder: Path) -> Path:
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


def _is_whole(name: str) -> bool:
    mark = _mark(_folder(name))
    return mark.exists() and mark.read_text("utf-8").splitlines() == _ENVIRONMENTS[name].requirements


def _mark(folder: Path) -> Path:
    """Return the file that says that the environment is whole."""
    return folder / "installed.txt"


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""
