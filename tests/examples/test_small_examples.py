"""The small examples do what they show, under real servers."""

from __future__ import annotations

import signal

import pytest

from tests.examples.servers import running
from tests.waiting import until

# Every example runs in a process of its own, by the machine's clock.
pytestmark = pytest.mark.real_time


def test_the_smallest_program_runs_its_interval_and_its_one_off() -> None:
    with running("uvicorn", "examples.minimal:app", "--port", "0") as program:
        assert program.client.post("/signup/me@example.com").status_code == 202
        until(lambda: program.output.count("rates refreshed") >= 2)
        until(lambda: "welcome, me@example.com" in program.output)
        program.stop()
        assert "Traceback" not in program.output


def test_the_starlette_app_shows_the_progress_and_the_result_of_its_reports() -> None:
    with running("uvicorn", "examples.starlette_app:app", "--port", "0") as program:
        first = program.client.post("/reports/20").json()
        again = program.client.post("/reports/20").json()
        assert (first["created"], again) == (True, {"run": first["run"], "created": False})
        look = f"/runs/{first['run']}"
        until(lambda: 0 < program.client.get(look).json()["done"] < 20)
        until(lambda: program.client.get(look).json()["state"] == "succeeded")
        assert program.client.get(look).json()["result"] == "a report of 20 pages"
        assert program.client.get(f"/runs/{'0' * 31}1").status_code == 404
        program.stop()
        assert "Traceback" not in program.output


def test_trio_runs_by_itself_until_ctrl_c() -> None:
    with running("examples.trio_app", serves=False) as program:
        until(lambda: program.output.count("tick at") >= 2)
        assert program.stop(signal.SIGINT) == 0
        assert "Traceback" not in program.output


def test_trio_runs_in_an_app_under_hypercorn() -> None:
    server = ("hypercorn", "--worker-class", "trio", "--bind", "127.0.0.1:0", "examples.trio_app:app")
    with running(*server) as program:
        until(lambda: program.client.get("/").json()["ran_on"] == "trio")
        program.stop()
        assert "Traceback" not in program.output
