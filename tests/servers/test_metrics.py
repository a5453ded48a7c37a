"""Four real uvicorn workers over one SQLite file are scraped at random, and each answers for all of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.observers.scraping import Scrape
from tests.servers.conftest import Server, serving, wait_until_served
from tests.waiting import PATIENCE, until

pytestmark = [pytest.mark.real_time, pytest.mark.timeout(180)]

APP = "tests.servers.signals:app"


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Server]:
    shared = tmp_path / "metrics"
    shared.mkdir()
    with serving(
        "uvicorn-asyncio", tmp_path, "--workers", "4", app=APP,
        SERVER_STORE=f"sqlite:///{tmp_path / 'jobs.db'}", PROMETHEUS_MULTIPROC_DIR=str(shared),
    ) as server:  # fmt: skip
        wait_until_served(server)
        yield server


def ask(server: Server, method: str, path: str) -> httpx.Response:
    """Ask on a connection of its own, which any of the workers may take."""
    answer = httpx.request(method, server.url + path, timeout=PATIENCE, trust_env=False, verify=False)
    assert answer.status_code == 200, answer.text
    return answer


def seen(server: Server) -> set[int]:
    """Return the workers that answer."""
    return {int(ask(server, "GET", "/").text) for _ in range(40)}


def test_any_of_four_workers_answers_for_all_and_each_its_own_probes(workers: Server) -> None:
    until(lambda: len(seen(workers)) == 4)
    for _ in range(10):
        for path in ("/livez", "/readyz", "/startupz"):
            assert ask(workers, "GET", path).text == "ok\n"
    notes = [int(ask(workers, "POST", "/note").text) for _ in range(30)]
    assert len(set(notes)) > 1, "the runs are spread over the workers"
    before = 0.0
    for _ in range(20):
        found = Scrape(ask(workers, "GET", "/metrics").text)
        assert found.get("runs_total", job="note", outcome="succeeded") == 30
        assert found.get("start_lateness_seconds_count", job="note") == 30
        assert found.get("slots", executor="loop") == 4000
        # What all workers know is told once, whoever is asked.
        assert found.get("paused", job="nightly") == 0
        assert found.get("consecutive_failures", job="note") == 0
        assert found.get("next_due_timestamp_seconds", job="nightly") is not None
        failures = found.get("consecutive_failures", job="broken")
        counted = found.get("runs_total", job="broken", outcome="failed")
        assert failures is not None and counted is not None
        assert abs(failures - counted) <= 2  # the next one may have ended in between
        ticks = found.get("runs_total", job="tick", outcome="succeeded")
        assert ticks is not None and ticks >= before, "a counter never falls, whoever is asked"
        before = ticks


def test_what_a_killed_worker_did_counts_and_what_it_was_doing_does_not(
    workers: Server, tmp_path: Path
) -> None:
    until(lambda: len(seen(workers)) == 4)
    for _ in range(8):
        ask(workers, "POST", "/note")
    holder = tmp_path / "holder"
    ask(workers, "POST", f"/hold?file={holder}")
    killed = int(until(lambda: holder.exists() and holder.read_text()))
    assert _scrape(workers).get("running", job="hold") == 1
    os.kill(killed, signal.SIGKILL)
    until(lambda: killed not in seen(workers))
    # The server has to notice that its worker has died before the process is gone.
    until(lambda: _scrape(workers).get("running", job="hold") == 0)
    until(lambda: _scrape(workers).get("slots", executor="loop") == 4000)
    after = _scrape(workers)
    assert after.get("slots_in_use", executor="thread") == 0
    assert after.get("runs_total", job="note", outcome="succeeded") == 8


def _scrape(server: Server) -> Scrape:
    return Scrape(ask(server, "GET", "/metrics").text)


@pytest.mark.parametrize("kind", ["hypercorn-asyncio", "hypercorn-trio", "granian"])
def test_the_endpoint_and_the_probes_answer_under_any_server(kind: str, tmp_path: Path) -> None:
    with serving(kind, tmp_path, app=APP) as server:
        wait_until_served(server)
        assert ask(server, "POST", "/note").status_code == 200
        found = _scrape(server)
        assert found.get("runs_total", job="note", outcome="succeeded") == 1
        assert found.get("runs_total", job="nightly", outcome="lost") == 0
        for path in ("/livez", "/readyz", "/startupz"):
            assert ask(server, "GET", path).text == "ok\n"
        answer = httpx.head(f"{server.url}/metrics", trust_env=False, timeout=PATIENCE)
        assert (answer.status_code, answer.text) == (200, "")
