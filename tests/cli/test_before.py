"""Before it goes live: ``simulate``, ``check`` and ``doctor``, on code that works and on code that cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.terminal import on_terminal, piped

STORE = ("--store", "sqlite:///shop.db")


def _app(folder: Path, text: str, head: str = "scheduler = Scheduler()") -> Path:
    imports = "from asyncsched import *\nfrom datetime import *\n"
    (folder / "app.py").write_text(f"{imports}{head}\n{text}")
    return folder


def _findings(folder: Path, *words: str) -> tuple[int, dict[tuple[str, str], str]]:
    answer = piped(*words, "--app", "app:scheduler", "--json", cwd=folder)
    assert "Traceback" not in answer.err, answer.err
    found: Any = answer.json["findings"]
    return answer.code, {(one["level"], one["about"]): one["text"] for one in found}


# ── simulate ─────────────────────────────────────────────────────────────────────────────────

NIGHTS = """
@scheduler.cron("30 2 * * *", timezone="Europe/Berlin")
async def backup(): raise SystemExit("no job is called")

@scheduler.interval(minutes=10)
async def poll(): ...

@scheduler.interval(minutes=10, overlap="queue_one", id="mail")
async def mails(): ...

@scheduler.cron("*/10 * * * *", max_running=1, overlap="allow")
async def narrow(): ...

@scheduler.cron("3 3 * * *", max_runs=3)
async def greet(): ...
"""


def test_a_month_is_simulated_with_overlaps_clock_changes_and_the_busiest_minute(tmp_path: Path) -> None:
    words = (
        "simulate",
        "--from",
        "2027-03-20T00:00+00:00",
        "--days",
        "10",
        "--assume",
        "poll=15m",
        "--assume",
        "mail=12m",
    )
    answer = piped(*words, "--app", "app:scheduler", "--json", cwd=_app(tmp_path, NIGHTS))
    assert answer.code == 0, answer.err
    lanes = {lane["id"]: lane for lane in answer.json["schedules"]}
    assert (lanes["backup"]["due"], lanes["backup"]["runs"]) == (10, 10)
    assert "does not exist" in lanes["backup"]["notes"][0]["note"]
    assert (lanes["greet"]["runs"], lanes["greet"]["skipped"]) == (3, {"ended": 7})
    assert lanes["poll"]["due"] == 1440
    assert (
        lanes["poll"]["runs"] == lanes["poll"]["skipped"]["overlap"] == 720
    )  # each run is still live at the next
    assert 1190 <= lanes["mail"]["runs"] <= 1201  # one every 12 minutes
    assert answer.json["busiest"][0]["count"] == 4
    assert answer.json["most_at_once"] >= 3


def test_a_limit_makes_runs_wait(tmp_path: Path) -> None:
    words = ("simulate", "--days", "1", "--assume", "narrow=11m")
    answer = piped(*words, "--app", "app:scheduler", cwd=_app(tmp_path, NIGHTS))
    assert answer.code == 0
    assert "waited for a place in the limit running:narrow" in answer.out
    assert "from code, not running" in answer.err


@pytest.mark.parametrize("columns", [80, 200])
def test_a_simulation_fits_the_terminal_and_shows_a_bar_meanwhile(tmp_path: Path, columns: int) -> None:
    answer = on_terminal("simulate", "--app", "app:scheduler", cwd=_app(tmp_path, NIGHTS), columns=columns)
    assert answer.code == 0
    assert "busiest minute" in answer.plain
    table = answer.plain[answer.plain.index("schedule ") :].partition("\n\n")[0]
    assert [line for line in table.splitlines() if len(line) > columns] == []


def test_wrong_assumptions_are_told(tmp_path: Path) -> None:
    folder = _app(tmp_path, NIGHTS)
    unknown = piped("simulate", "--assume", "backp=1m", "--app", "app:scheduler", cwd=folder)
    assert (unknown.code, "did you mean backup?" in unknown.err) == (3, True)
    wrong = piped("simulate", "--assume", "backup=soon", "--app", "app:scheduler", cwd=folder)
    assert (wrong.code, "1h30m" in wrong.err) == (2, True)


# ── check ────────────────────────────────────────────────────────────────────────────────────


def test_code_that_works_passes(shop: Path) -> None:
    answer = piped("check", "--app", "shop:scheduler", cwd=shop)
    assert answer.code == 0
    assert "5 jobs and 3 schedules were checked" in answer.out


BROKEN = """
@scheduler.cron("0 7 * * *", end=datetime(2020, 1, 1, tzinfo=UTC), start=datetime(2019, 1, 1, tzinfo=UTC))
async def over(): ...

class Odd:
    def next(self, after): raise RuntimeError("this trigger is odd")

@scheduler.job(Odd())
async def odd(): ...
"""


def test_code_that_cannot_work_fails_the_ci_with_what_and_where(tmp_path: Path) -> None:
    code, found = _findings(_app(tmp_path, BROKEN), "check")
    assert code == 1
    assert found["bad", "over"] == "it is never due again"
    assert "this trigger is odd" in found["bad", "odd"]


def test_arguments_that_a_database_cannot_keep_are_a_warning_in_memory(tmp_path: Path) -> None:
    text = "@scheduler.job()\nasync def send(to): ...\nscheduler.interval(hours=1, id='a')(send) if 0 else None\n"
    text += "@scheduler.interval(hours=1)\nasync def lone(thing: object = object()): ...\n"
    code, found = _findings(_app(tmp_path, text), "check")
    assert code == 0
    assert ("fine", "") in found


def test_a_store_is_checked_for_a_monitor(shop: Path) -> None:
    answer = piped("check", *STORE, "--json", cwd=shop)
    assert answer.code == 1
    found = {(one["level"], one["about"]) for one in answer.json["findings"]}
    assert {("bad", ""), ("bad", "push_to_crm"), ("warning", "nightly_report")} <= found
    lone = piped("check", *STORE, "--job", "push_to_cr", cwd=shop)
    assert (lone.code, "did you mean push_to_crm?" in lone.err) == (3, True)


# ── doctor ───────────────────────────────────────────────────────────────────────────────────

SICK = """
@scheduler.interval(minutes=1, timeout=300)
async def slow(): ...

@scheduler.cron("@hourly", id="one")
@scheduler.cron("@hourly", id="two")
async def twice(): ...
"""


def test_memory_with_several_workers_is_a_fault(tmp_path: Path) -> None:
    folder = _app(tmp_path, SICK)
    code, found = _findings(folder, "doctor", "--workers", "4")
    assert code == 1
    assert "4 workers run each schedule 4 times" in found["bad", "store"]
    assert "twice" in found["warning", "timeout"]
    assert "longer than its period" in found["warning", "slow"]
    assert found["bad", "one"].startswith("is the same as two") or found["bad", "two"].startswith(
        "is the same as one"
    )


def test_a_start_of_uvicorn_without_a_graceful_timeout_is_named_with_its_file(tmp_path: Path) -> None:
    folder = _app(tmp_path, "")
    (folder / "Procfile").write_text("web: uvicorn app:app --workers 2\n")
    (folder / "start.sh").write_text("# uvicorn x\nuvicorn app:app \\\n  --timeout-graceful-shutdown 10\n")
    (folder / "Dockerfile").write_text('RUN pip install uvicorn\nCMD ["uvicorn", "app:app"]\n')
    code, found = _findings(folder, "doctor")
    assert code == 0
    assert {about for level, about in found if "graceful" in found[level, about]} == {
        "Procfile",
        "Dockerfile",
    }


def test_a_store_is_asked_how_it_is(shop: Path) -> None:
    answer = piped("doctor", "--store", "sqlite:///shop.db", cwd=shop)
    assert answer.code == 0
    assert "answers in" in answer.out
    assert "none is running" in answer.out


def test_a_store_that_is_away_is_a_finding_and_no_traceback(tmp_path: Path) -> None:
    folder = _app(tmp_path, "", 'scheduler = Scheduler("postgresql://me@127.0.0.1:1/db")')
    code, found = _findings(folder, "doctor")
    assert code == 1
    assert "127.0.0.1" in found["bad", "store"]
