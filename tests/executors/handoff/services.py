"""The engines themselves, as real processes: Redis, Celery's worker, Dask's scheduler and workers, RQ's, huey's."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import until

ROOT = Path(__file__).resolve().parents[3]


def need(package: str) -> None:
    """Skip the test where the engine is not installed; in the run that is about engines, that is an error."""
    if importlib.util.find_spec(package) is None:
        if os.environ.get("ASYNCSCHED_ENGINES"):
            pytest.fail(f"{package} is not installed; where ASYNCSCHED_ENGINES is set, that is an error")
        pytest.skip(f"{package} is not installed: pip install -e '.[test,celery,dask,rq,huey]'")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def answers(port: int) -> bool:
    with socket.socket() as one:
        one.settimeout(1)
        return one.connect_ex(("127.0.0.1", port)) == 0


class Process:
    """A process in a group of its own, with its output in a file."""

    def __init__(self, log: Path, *command: str, **environment: str) -> None:
        self._log, self._command = log, command
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "", **environment}
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.popen = subprocess.Popen(
                self._command, cwd=ROOT, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )

    def said(self, words: str) -> bool:
        assert self.popen.poll() is None, self._log.read_text()
        return words in self._log.read_text()

    def kill(self) -> None:
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait()


class Redis:
    """A Redis server of our own that keeps its data over a restart."""

    def __init__(self, folder: Path) -> None:
        binary = shutil.which("redis-server")
        if binary is None:
            if os.environ.get("ASYNCSCHED_ENGINES"):
                pytest.fail("there is no redis-server; where ASYNCSCHED_ENGINES is set, that is an error")
            pytest.skip("there is no redis-server: apt-get install redis-server")
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process = Process(
            folder / "redis.log", binary, "--port", str(self.port), "--dir", str(folder), "--appendonly", "yes",
            "--appendfsync", "always", "--save", "",
        )  # fmt: skip
        until(lambda: answers(self.port))

    def restart(self, down: Callable[[], object] = lambda: None) -> None:
        self.process.kill()
        down()
        self.process.start()
        until(lambda: answers(self.port))


class Engine:
    """One engine with its workers, and the functions that it knows.

    Args:
        name: of the engine.
        functions: what has its functions ``add``, ``refuse`` and ``work``.
        new_executor: makes an executor of it.
        where: the address of the broker, or of Dask's scheduler.
        brokers, workers: its processes.

    """

    stops_what_runs = True
    """Whether a cancel stops a function that runs already."""
    restarts: Callable[[], object] | None = None
    """Restarts the broker, if the engine has one that keeps its data."""

    def __init__(
        self,
        name: str,
        functions: Any,
        new_executor: Callable[..., Any],
        where: str,
        brokers: list[Process],
        workers: list[Process],
    ) -> None:
        self.name = name
        self.functions = functions
        self.new_executor = new_executor
        self.where = where
        self.brokers = brokers
        self.workers = workers

    def environment(self, backend: str) -> dict[str, str]:
        """Return that of a process that uses the engine."""
        return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "", "BACKEND": backend}

    def kill(self) -> None:
        for process in self.workers + self.brokers:
            process.kill()


def celery(folder: Path) -> Engine:
    need("celery")
    need("redis")
    redis = Redis(folder)
    os.environ["REDIS_URL"] = redis.url
    worker = Process(
        folder / "celery.log", sys.executable, "-m", "celery", "-A", "tests.executors.handoff.celery_app", "worker",
        "-c", "2", "--without-gossip", "--without-mingle", "-l", "INFO", REDIS_URL=redis.url,
    )  # fmt: skip
    until(lambda: worker.said("ready."))
    sys.modules.pop("tests.executors.handoff.celery_app", None)
    from tests.executors.handoff import celery_app

    celery_app = importlib.reload(celery_app)
    from asyncsched.executors.handoff.celery import CeleryExecutor

    engine = Engine(
        "celery", celery_app, lambda: CeleryExecutor(celery_app.app), redis.url, [redis.process], [worker]
    )
    engine.restarts = redis.restart
    return engine


def rq(folder: Path) -> Engine:
    need("rq")
    import redis as client
    import rq as package

    from asyncsched.executors.handoff.rq import RQExecutor
    from tests.executors.handoff import tasks

    redis = Redis(folder)
    workers = [
        Process(folder / f"rq{number}.log", sys.executable, "-m", "rq.cli", "worker", "--url", redis.url)
        for number in range(2)
    ]
    for worker in workers:
        until(lambda worker=worker: worker.said("Listening on"))  # type: ignore[misc]
    queue = package.Queue(connection=client.Redis.from_url(redis.url))
    engine = Engine("rq", tasks, lambda: RQExecutor(queue), redis.url, [redis.process], workers)
    engine.restarts = redis.restart
    return engine


def dask(folder: Path) -> Engine:
    need("distributed")
    from asyncsched.executors.handoff.dask import DaskExecutor
    from tests.executors.handoff import tasks

    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    scheduler = Process(
        folder / "dask.log", sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", str(port),
        "--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0",
    )  # fmt: skip
    until(lambda: answers(port))
    workers = [
        Process(
            folder / f"dask{number}.log",
            sys.executable,
            "-m",
            "distributed.cli.dask_worker",
            address,
            "--nthreads",
            "1",
            "--no-dashboard",
            "--local-directory",
            str(folder),
        )
        for number in range(2)
    ]
    for worker in workers:
        until(lambda worker=worker: worker.said("Registered to"))  # type: ignore[misc]
    engine = Engine("dask", tasks, lambda: DaskExecutor(address), address, [scheduler], workers)
    engine.stops_what_runs = False
    return engine


def huey(folder: Path) -> Engine:
    need("huey")
    os.environ["HUEY_FILE"] = str(folder / "huey.db")
    from tests.executors.handoff import huey_app

    app = importlib.reload(huey_app)
    from asyncsched.executors.handoff.huey import HueyExecutor

    worker = Process(
        folder / "huey.log", sys.executable, "-m", "huey.bin.huey_consumer",
        "tests.executors.handoff.huey_app.app", "-w", "2", "-k", "process", HUEY_FILE=os.environ["HUEY_FILE"],
    )  # fmt: skip
    until(lambda: worker.said("Huey consumer started"))
    engine = Engine("huey", app, lambda **options: HueyExecutor(app.app, **options), "", [], [worker])
    engine.stops_what_runs = False
    return engine


ENGINES: dict[str, Callable[[Path], Engine]] = {"celery": celery, "dask": dask, "huey": huey, "rq": rq}
