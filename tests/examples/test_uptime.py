"""The uptime monitor, from the outside: real checks, real mail, a chart from a process."""

from __future__ import annotations

import signal
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.examples.servers import Program, running
from tests.waiting import PATIENCE, until

# The monitor runs in a process of its own, by the machine's clock.
pytestmark = pytest.mark.real_time


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uptime") / "uptime.db"


@pytest.fixture(scope="module")
def uptime(database: Path) -> Iterator[Program]:
    with _uptime(database) as program:
        yield program
        program.stop(signal.SIGINT)
        assert "Traceback" not in program.output


def _uptime(database: Path) -> Any:
    return running(
        "examples.uptime", "--port", "0", "--workers", "2", UPTIME_DB=str(database), UPTIME_CHART_SECONDS="0.5",
        UPTIME_DIGEST="* * * * * *", UPTIME_WELCOME_SECONDS="0.3", UPTIME_TIMEOUT_SECONDS=str(PATIENCE),
    )  # fmt: skip


def _monitor(uptime: Program, id: int) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in uptime.client.get("/monitors").json() if one["id"] == id)
    return found


def _watch(uptime: Program, url: str, every: float = 0.2) -> int:
    answer = uptime.client.post("/monitors", json={"url": url, "every": every})
    assert answer.status_code == 201, answer.text
    id: int = answer.json()["id"]
    return id


def test_an_address_added_by_http_is_checked_again_and_again(uptime: Program) -> None:
    began = time.monotonic()
    id = _watch(uptime, f"{uptime.url}/health?mine")
    until(lambda: (_monitor(uptime, id)["checks"] or 0) >= 3)
    found = _monitor(uptime, id)
    assert (found["status"], found["error"], found["good"]) == (200, None, found["checks"])
    assert 0 < found["ms"] < (time.monotonic() - began) * 1000


def test_an_address_where_nobody_listens_is_down_and_the_others_go_on(uptime: Program) -> None:
    down, up = _watch(uptime, "http://127.0.0.1:9/"), _watch(uptime, f"{uptime.url}/health?other")
    until(lambda: (_monitor(uptime, down)["checks"] or 0) >= 2)
    until(lambda: (_monitor(uptime, up)["checks"] or 0) >= 2)
    assert "ConnectError" in _monitor(uptime, down)["error"]
    assert _monitor(uptime, up)["error"] is None


def test_a_removed_address_is_checked_no_more(uptime: Program) -> None:
    id = _watch(uptime, f"{uptime.url}/health?gone")
    assert uptime.client.delete(f"/monitors/{id}").status_code == 204
    assert all(one["id"] != id for one in uptime.client.get("/monitors").json())
    assert uptime.client.delete(f"/monitors/{id}").status_code == 404


def test_signing_up_twice_sends_one_welcome_and_then_digests(uptime: Program) -> None:
    answers = [uptime.client.post("/signup", json={"email": "me@example.com"}).json() for _ in range(2)]
    assert [one["created"] for one in answers] == [True, False]
    assert answers[0]["run"] == answers[1]["run"]

    def subjects() -> list[str]:
        mails = uptime.client.get("/mail").json()
        return [mail["subject"] for mail in mails if mail["to"] == "me@example.com"]

    until(lambda: subjects().count("Welcome") == 1 and subjects().count("Uptime digest") >= 2)
    digest = next(m for m in uptime.client.get("/mail").json() if m["subject"] == "Uptime digest")
    assert f"{uptime.url}/health" in digest["text"]


def test_the_chart_is_drawn_from_the_checks(uptime: Program) -> None:
    def points() -> int:
        answer = uptime.client.get("/chart.svg")
        if answer.status_code == 404:
            return 0
        assert answer.headers["content-type"] == "image/svg+xml"
        lines = ET.fromstring(answer.text).iter("{http://www.w3.org/2000/svg}polyline")
        return sum(len(line.attrib["points"].split()) for line in lines)

    before = until(points)
    until(lambda: points() > before)


def test_the_page_shows_monitors_chart_and_mail_and_escapes_what_users_gave(uptime: Program) -> None:
    id = _watch(uptime, "http://127.0.0.1:9/?<script>alert(1)</script>")
    until(lambda: _monitor(uptime, id)["checks"])
    until(lambda: "<svg" in uptime.client.get("/").text)
    page = uptime.client.get("/").text
    assert "<script>alert" not in page
    assert f"{uptime.url}/health" in page


def test_bad_input_is_refused(uptime: Program) -> None:
    for monitor in ({"url": "ftp://x"}, {"url": "http://x", "every": 0}, {"url": "http://x", "every": "nan"}):
        assert uptime.client.post("/monitors", json=monitor).status_code == 422
    assert uptime.client.post("/signup", json={"email": "a b@c\r\nBcc: d@e"}).status_code == 422


def test_the_monitors_are_watched_again_after_a_restart(tmp_path: Path) -> None:
    with _uptime(tmp_path / "uptime.db") as program:
        id = _watch(program, "http://127.0.0.1:9/")
        until(lambda: _monitor(program, id)["checks"])
        program.stop()
    with _uptime(tmp_path / "uptime.db") as program:
        before = _monitor(program, id)["checks"]
        until(lambda: _monitor(program, id)["checks"] > before)


def test_a_worker_that_is_killed_is_replaced_its_run_begun_again_and_no_due_time_is_run_twice(
    uptime: Program,
) -> None:
    def news() -> str:
        return uptime.client.get("/").text

    def alive() -> set[int]:
        page = uptime.client.get("/scheduler/api/v1/instances").json()
        return {one["pid"] for one in page["instances"]}

    until(lambda: len(alive()) == 2)
    assert uptime.client.post("/kill", params={"process": 1}).status_code == 404
    until(lambda: "audit: step" in uptime.client.get("/").text)  # somebody works on it: that one is killed
    killed = uptime.client.post("/kill").json()["process"]
    until(lambda: _quiet(lambda: killed not in alive() and len(alive()) == 2))
    assert f"process {killed} was killed by kill -9 while it ran audit" in news()
    until(lambda: _quiet(lambda: "has begun the run of audit again: attempt 2" in news()))
    assert "none run twice" in news()
    slots = [
        (run["schedule"], run["scheduled_for"])
        for run in uptime.client.get("/scheduler/api/v1/runs?limit=1000&origin=schedule").json()["runs"]
    ]
    assert len(slots) > 20
    assert len(slots) == len(set(slots))


def test_a_job_that_blocks_the_loop_is_named(uptime: Program) -> None:
    assert uptime.client.post("/block").status_code == 202
    until(lambda: "block_the_loop blocked the event loop for" in uptime.client.get("/").text)


def _quiet(question: Any) -> bool:
    """Whether something is so; a worker that was killed at this moment does not answer."""
    try:
        return bool(question())
    except httpx.TransportError:
        return False
