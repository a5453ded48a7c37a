"""How a server's end and the scheduler's are joined. Real time and signals: servers are other processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests import preloaded
from tests.servers.conftest import SERVERS, Server, ending, serving
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.real_time

Start = Callable[..., Server]
CANCELLED = "event RunUnsuccessful long cancelled shutdown"
RELEASED = "event RunWaits patient pending shutdown"


def begin(server: Server, job: str, *args: float) -> None:
    server.client.post(f"/later/{job}", json=args, params={"delay": 0})
    server.until_logged(f"event RunStarted {job} running ")


def hold(server: Server, seconds: float) -> threading.Thread:
    """Keep a connection busy for so long."""

    def request() -> None:
        with contextlib.suppress(httpx.TransportError):
            httpx.get(
                f"{server.url}/hold", params={"seconds": seconds}, timeout=90, trust_env=False, verify=False
            )

    thread = threading.Thread(target=request)
    thread.start()
    server.until_logged("holding")
    return thread


@pytest.mark.parametrize("kind", SERVERS)
def test_a_run_without_retry_is_cancelled_and_one_with_retry_released(start: Start, kind: str) -> None:
    server = start(kind)
    begin(server, "long", 60)
    begin(server, "patient")
    server.signal()
    server.wait()
    lines = server.lines()
    assert CANCELLED in lines
    assert RELEASED in lines
    assert lines[-2:] == ["event SchedulerStopped   ", "shutdown"]


@pytest.mark.parametrize("kind", ["uvicorn-asyncio", "hypercorn-trio"])
def test_threads_and_processes_hold_no_server_up(start: Start, kind: str) -> None:
    server = start(kind)
    begin(server, "block")
    begin(server, "burn")
    children = psutil.Process(server.process.pid).children(recursive=True)
    assert children
    server.signal()
    server.wait()
    lines = server.lines()
    assert "did not end" not in server.output(), server.output()
    assert "event RunUnsuccessful block cancelled shutdown" in lines
    assert "event RunUnsuccessful burn cancelled shutdown" in lines
    until(lambda: not any(map(alive, children)))


def alive(process: psutil.Process) -> bool:
    """Whether it runs: one that nobody waited for, as hypercorn's helper, stays listed after its end."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_a_run_that_ends_in_time_is_waited_for(start: Start) -> None:
    server = start(SHUTDOWN_TIMEOUT="60")
    begin(server, "long", 0.5)
    server.signal()
    server.wait()
    assert "event RunSucceeded long succeeded " in server.lines()


def test_nothing_is_begun_from_the_signal_on_although_connections_are_open(start: Start) -> None:
    server = start()
    holding = hold(server, 1.0)
    server.until_logged("tick")
    server.signal()
    until(lambda: "Waiting for connections" in server.output(), server.output)
    ticks = server.lines().count("tick")
    holding.join()
    server.wait()
    assert server.lines().count("tick") == ticks


def test_it_ends_in_time_after_the_graceful_timeout_of_uvicorn(start: Start) -> None:
    server = start("uvicorn-asyncio", "--timeout-graceful-shutdown", "1")
    holding = hold(server, 60)
    begin(server, "long", 60)
    began = time.monotonic()
    server.signal()
    server.wait()
    took = time.monotonic() - began
    holding.join()
    # How long a busy machine takes for the end itself is its own affair; the minute is not waited for.
    assert 1 <= took < 1 + 0.5 + 1 + 10
    assert CANCELLED in server.lines()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_run_forever_ends_at_a_signal(tmp_path: Path, backend: str, number: signal.Signals) -> None:
    with alone(tmp_path, backend, "0.3") as (process, log):
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0
    assert log()[-4:] == [
        "sleeper ends", "event RunUnsuccessful sleeper cancelled shutdown", "event SchedulerStopped   ", "over",
    ]  # fmt: skip


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_second_signal_ends_the_patience_of_run_forever(tmp_path: Path, backend: str) -> None:
    with alone(tmp_path, backend, "60") as (process, log):
        process.send_signal(signal.SIGTERM)
        until(lambda: "closing" in log())
        time.sleep(0.1)  # it could end now, and does not
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    assert "event RunUnsuccessful sleeper cancelled shutdown" in log()


@contextlib.contextmanager
def alone(
    folder: Path, backend: str, patience: str
) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], list[str]]]]:
    log = folder / "log"
    process = preloaded.Popen(
        [sys.executable, "-m", "tests.servers.alone", backend],
        env={**os.environ, "SERVER_LOG": str(log), "SHUTDOWN_TIMEOUT": patience},
        cwd=Path(__file__).parents[2],
    )

    def lines() -> list[str]:
        return log.read_text().splitlines() if log.exists() else []

    with ending(process):
        until(lambda: "sleeper begins" in lines())
        yield process, lines


@pytest.mark.parametrize("kind", ["uvicorn-asyncio", "hypercorn-trio", "granian"])
def test_a_bad_configuration_fails_the_start_with_one_clear_error(tmp_path: Path, kind: str) -> None:
    with serving(kind, tmp_path, ASYNCSCHED_ROLE="bogus") as server:
        if kind == "uvicorn-asyncio":
            server.wait()
            assert server.process.returncode == 3
        text = "role (ASYNCSCHED_ROLE) must be one of 'both', 'submit', 'run', 'off', not 'bogus'"
        until(lambda: text in server.output(), server.output)
