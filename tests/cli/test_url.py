"""The command line against the page of a running app: it looks and operates as with a store, by the JSON API."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from asyncsched.cli.main import _answer
from tests import preloaded
from tests.cli.conftest import SHOP
from tests.cli.terminal import ROOT, Answer, Terminal, environment

TOKEN = "a-token-of-the-tests-0123456789"

APP = (
    SHOP.replace('os.environ.get("SHOP_STORE", "sqlite:///shop.db")', "")
    + f"""

from fastapi import FastAPI

from contextlib import asynccontextmanager

from asyncsched import Interval
from asyncsched.dashboard import Dashboard
from asyncsched.dashboard.access import bearer


@asynccontextmanager
async def lifespan(app):
    async with scheduler.lifespan(app) as state:
        await scheduler.add_schedule(send_mail, Interval(hours=2), id="mails/ann", args=("ann",))
        yield state


app = FastAPI(lifespan=lifespan)
app.mount("/ops/scheduler", Dashboard(scheduler, auth=bearer({TOKEN!r}, role="admin"), title="shop"))
"""
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page of a running app, which keeps its runs in memory."""
    folder = tmp_path_factory.mktemp("running")
    (folder / "shop.py").write_text(APP)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = [sys.executable, "-m", "uvicorn", "shop:app", "--port", str(port), "--log-level", "warning"]
    server = preloaded.Popen(serve, cwd=folder, env=environment({}) | {"PYTHONWARNINGS": ""})
    address = f"http://127.0.0.1:{port}/ops/scheduler"
    try:
        for _ in range(400):
            assert server.poll() is None
            try:
                urllib.request.urlopen(address, timeout=5)
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait(30)


Call = Callable[..., Answer]


@pytest.fixture
def call(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Call the command line in this process, with the address and the token in the environment."""
    monkeypatch.setenv("ASYNCSCHED_URL", url)
    monkeypatch.setenv("ASYNCSCHED_TOKEN", TOKEN)

    def called(*words: str) -> Answer:
        code = _answer(list(words), False)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Answer(code, out, err)

    return called


def _schedule(call: Call, id: str) -> Any:
    return call("schedule", id, "--json").json


READS = [
    ("status",), ("schedules",), ("schedule", "rates-hourly"), ("jobs",), ("runs",), ("failures",), ("instances",),
    ("next", "5"), ("timeline",), ("explain", "rates-hourly"), ("check",), ("doctor",),
]  # fmt: skip


@pytest.mark.parametrize("words", READS, ids=lambda words: words[0])
def test_every_read_answers_and_names_the_page(call: Call, url: str, words: tuple[str, ...]) -> None:
    answer = call(*words)
    assert answer.code in (0, 1)
    if words[0] != "doctor":  # which has it among its findings
        assert f"page {url}" in answer.err
    assert call(*words, "--json").json is not None


def test_a_run_is_made_waited_for_and_shown(call: Call) -> None:
    answer = call("once", "send_mail", "bob", "--arg", "copies=2", "--wait")
    assert answer.code == 0
    assert "succeeded" in answer.out and "2 to bob" in answer.out
    failed = call("once", "fail", "no paper", "--wait", "--json")
    assert (failed.code, failed.json["state"], failed.json["error_type"]) == (1, "failed", "ValueError")
    shown = call("run", failed.json["id"])
    assert "no paper" in shown.out and "Traceback" in shown.out
    (group,) = call("failures", "--json", "--since", "1h").json
    assert group["job"] == "fail" and failed.json["id"] in group["runs"]
    assert call("dismiss", failed.json["id"], "--note", "known").code == 0
    left = call("failures", "--json").json  # of other tests, in whatever order they run
    assert failed.json["id"] not in [id for group in left for id in group["runs"]]
    listed = call("runs", "--state", "succeeded", "--state", "failed", "--json", "-n", "50").json
    assert {run["job"] for run in listed} == {"send_mail", "fail"}
    lines = call("tail", "--times", "1", "--json").out.splitlines()
    assert failed.json["id"] in [json.loads(line)["id"] for line in lines]


def test_a_run_of_a_later_time_and_key_is_made_once(call: Call) -> None:
    words = ("once", "send_mail", "cid", "--key", "cid-welcome", "--delay", "1h")
    assert call(*words).out.startswith("made run ")
    again = call(*words)
    assert again.code == 0 and again.out.startswith("the key has a run already: ")
    (waiting,) = call("runs", "--key", "cid-welcome", "--json").json
    assert waiting["state"] == "pending"
    other = call("once", "send_mail", "dan", "--key", "cid-welcome", "--at", "2100-01-01T00:00:00Z")
    assert (other.code, "has other arguments" in other.err) == (4, True)
    assert call("cancel", "--key", "cid-welcome", "--job", "fail").out == "cancelled 0 runs\n"
    assert call("cancel", "--key", "cid-welcome").out == "cancelled 1 run\n"
    assert call("run", waiting["id"], "--json").json["state"] == "cancelled"


def test_failed_runs_are_run_again(call: Call) -> None:
    failed = call("once", "fail", "again", "--wait", "--json").json
    again = call("requeue", "--job", "fail", "--json").json
    assert len(again["runs"]) == 1
    assert call("run", failed["id"], "--json").json["requeued_as"] == again["runs"][0]


def test_a_schedule_is_paused_skipped_changed_and_removed(call: Call) -> None:
    assert call("pause", "rates-hourly", "--note", "no rates").code == 0
    found = _schedule(call, "rates-hourly")
    assert (found["state"], found["note"], found["by"]) == ("paused", "no rates", "token")
    assert call("resume", "rates-hourly").code == 0
    assert "skips" in call("skip", "rates-hourly").out
    changed = call("reschedule", "rates-hourly", "0 7 * * *", "--tz", "Europe/Berlin")
    assert "at 07:00 every day, Europe/Berlin" in changed.out
    assert call("reschedule", "rates-hourly", "--every", "90m").code == 0
    assert _schedule(call, "rates-hourly")["describe"] == "every 1 hour 30 minutes"
    refused = call("remove", "rates-hourly")
    assert (refused.code, "declared in the code" in refused.err) == (2, True)
    assert call("remove", "mails/ann").code == 0
    assert call("schedule", "mails/ann").code == 3


def test_a_job_is_paused_with_its_runs_and_they_are_cancelled(call: Call) -> None:
    assert call("pause", "--job", "send_mail").code == 0
    waiting = call("once", "send_mail", "ann", "--json").json
    assert waiting["state"] == "pending"
    assert call("cancel", "--job", "send_mail").out == "cancelled 1 run\n"
    assert call("run", waiting["id"], "--json").json["state"] == "cancelled"
    assert call("resume", "--job", "send_mail").code == 0
    with urllib.request.urlopen(_asked("activity?action=cancel")) as answer:
        assert {one["via"] for one in json.load(answer)["activity"]} == {"cli"}


def _asked(path: str) -> urllib.request.Request:
    address = f"{os.environ['ASYNCSCHED_URL']}/api/v1/{path}"
    return urllib.request.Request(address, headers={"authorization": f"Bearer {TOKEN}"})


def test_past_due_times_are_counted(call: Call) -> None:
    tried = call("backfill", "push_to_crm", "--from", "-1d", "--to", "now", "--dry-run", "--json")
    assert (tried.code, tried.json["dry_run"]) == (0, True)


MISTAKES = {
    "a near miss": (("pause", "rates-hurly"), 3, "did you mean rates-hourly?"),
    "a job's near miss": (("once", "send_mial", "x"), 3, "did you mean send_mail?"),
    "a job for a schedule": (("skip", "refresh_rates"), 3, "whose schedules are: rates-hourly"),
    "wrong arguments": (("once", "send_mail"), 2, "to"),
    "a wrong run": (("run", "0" * 32), 3, "no run"),
    "an author": (("pause", "rates-hourly", "--by", "bob"), 2, "that the page knows you by"),
    "two times": (("once", "send_mail", "x", "--delay", "5m", "--at", "+1h"), 2, "not both"),
    "a store, too": (("status", "--store", "sqlite:///x.db"), 2, "--store"),
    "a wrong token": (("status", "--token", "wrong"), 4, "ASYNCSCHED_TOKEN"),
    "a wrong address": (("status", "--url", "localhost:8000"), 2, "http://"),
    "nobody there": (("status", "--url", "http://127.0.0.1:1/scheduler"), 5, "cannot be reached"),
    "no trigger": (("reschedule", "rates-hourly"), 2, "--every"),
    "two subjects": (("pause", "rates-hourly", "--job", "x"), 2, "--job"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_with_its_exit_code(call: Call, name: str) -> None:
    words, code, hint = MISTAKES[name]
    answer = call(*words)
    assert (answer.code, answer.out) == (code, "")
    assert hint in answer.err
    assert len(answer.err.splitlines()) <= 3


def test_an_address_without_a_page_is_told(call: Call, url: str) -> None:
    answer = call("status", "--url", url.removesuffix("/ops/scheduler") + "/nothing")
    assert answer.code == 3
    assert "where the Dashboard is mounted" in answer.err


def test_top_shows_the_running_app(url: str) -> None:
    terminal = Terminal("top", "--times", "1", "--url", url, "--token", TOKEN, cwd=ROOT)
    try:
        answer = terminal.end()
    finally:
        terminal.close()
    assert answer.code == 0
    assert "nightly_report" in answer.plain


def test_a_token_is_new_each_time(call: Call) -> None:
    first, second = call("token"), call("token", "--json")
    assert first.code == 0
    assert len(first.out.strip()) > 40
    assert "bearer(" in first.err
    assert second.json["token"] != first.out.strip()
