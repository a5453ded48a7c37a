"""Looking at a store and at code: what stands there, at 80 and 200 columns, as JSON, and with mistakes."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.terminal import command, environment, on_terminal, piped

STORE = ("--store", "sqlite:///shop.db")
APP = ("--app", "shop:scheduler")

READS = [
    ("status",), ("schedules",), ("schedule", "rates-hourly"), ("jobs",), ("runs",), ("failures",),
    ("instances",), ("next", "5"), ("timeline",), ("explain", "rates-hourly"),
]  # fmt: skip


def test_status_tells_what_fails_and_exits_with_1(shop: Path) -> None:
    answer = on_terminal("status", *STORE, cwd=shop)
    assert answer.code == 1
    assert "store sqlite:///shop.db" in answer.plain
    assert "✕ 1 schedule: 1 failing" in answer.plain
    assert "push_to_crm" in answer.plain
    assert "ConnectionError" in answer.plain
    assert "1 paused" in answer.plain
    assert "no instance is running" in answer.plain
    assert "Traceback" not in answer.plain


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("words", READS, ids=lambda words: words[0])
def test_no_line_is_wider_than_the_terminal(shop: Path, words: tuple[str, ...], columns: int) -> None:
    answer = on_terminal(*words, *STORE, cwd=shop, columns=columns)
    assert answer.code in (0, 1)
    assert [line for line in answer.plain.splitlines() if len(line) > columns] == []
    assert "Traceback" not in answer.plain


def test_a_wide_terminal_shows_more_columns(shop: Path) -> None:
    narrow, wide = (on_terminal("runs", *STORE, cwd=shop, columns=columns).plain for columns in (80, 200))
    assert "origin" in wide and "origin" not in narrow
    assert " ago" in narrow
    assert "503 Service Unavailable" in wide


@pytest.mark.parametrize("words", READS, ids=lambda words: words[0])
def test_every_read_writes_json_to_stdout_and_words_to_stderr(shop: Path, words: tuple[str, ...]) -> None:
    answer = piped(*words, *STORE, "--json", cwd=shop)
    assert answer.code in (0, 1)
    assert isinstance(answer.json, list | dict)
    assert "\x1b" not in answer.out


def test_a_schedule_that_no_instance_fires_has_no_due_times_to_come(shop: Path) -> None:
    assert piped("schedule", "push_to_crm", *STORE, "--json", cwd=shop).json["upcoming"] == []
    shown = piped("schedule", "push_to_crm", *STORE, cwd=shop).out
    assert "  next " not in shown and "  with " not in shown
    answer = piped("next", *STORE, cwd=shop)
    assert (answer.out, "no instance is running" in answer.err) == ("nothing is due\n", True)


def test_the_json_of_a_run_has_stable_keys_and_hides_a_secret(shop: Path) -> None:
    found = piped("runs", "--job", "send_mail", *STORE, "--json", cwd=shop).json
    assert [run["state"] for run in found] == ["succeeded"]
    run = found[0]
    assert run["kwargs"] == {"to": "ann", "password": "•••"}
    assert run["result"] == "1 to ann"
    assert run["due"].endswith("Z")
    assert isinstance(run["late_seconds"], float)
    shown = piped("run", run["id"], *STORE, cwd=shop)
    assert "hunter2" not in shown.out and "1 to ann" in shown.out


def test_failures_are_grouped_by_job_and_error(shop: Path) -> None:
    found = piped("failures", *STORE, "--json", cwd=shop)
    assert found.code == 1
    assert [(group["job"], group["count"]) for group in found.json] == [("push_to_crm", 2), ("fail", 1)]
    assert "ValueError" in on_terminal("failures", *STORE, cwd=shop).plain


def test_colours_only_on_a_terminal_and_never_with_no_color(shop: Path) -> None:
    assert "\x1b[" in on_terminal("schedules", *STORE, cwd=shop).out
    assert "\x1b[" not in on_terminal("schedules", *STORE, cwd=shop, NO_COLOR="1").out
    assert "\x1b[" not in on_terminal("schedules", *STORE, "--color", "never", cwd=shop).out
    assert "\x1b[" not in piped("schedules", *STORE, cwd=shop).out
    assert "\x1b[" in piped("schedules", *STORE, "--color", "always", cwd=shop).out


def test_times_are_local_with_an_offset_or_utc(shop: Path) -> None:
    assert "+01:00" in piped("next", "1", "30 2 1 12 *", cwd=shop).out
    assert "UTC" in piped("next", "1", "30 2 1 12 *", "--utc", cwd=shop).out


def test_the_code_is_marked_as_not_running_and_nothing_is_started(copy_of_shop: Path) -> None:
    (copy_of_shop / "shop.db").unlink()
    answer = piped("schedules", *APP, cwd=copy_of_shop)
    assert answer.code == 0
    assert "from code, not running: shop:scheduler (5 jobs, 3 schedules)" in answer.err
    assert "at 02:30 every day, Europe/Berlin" in answer.out
    assert piped("jobs", *APP, cwd=copy_of_shop).out.count("\n") == 6
    assert not (copy_of_shop / "shop.db").exists()


def test_looking_at_a_store_joins_no_cluster_and_makes_no_file(copy_of_shop: Path) -> None:
    def rows() -> list[object]:
        with closing(sqlite3.connect(copy_of_shop / "shop.db")) as connection:
            return connection.execute("SELECT count(*) FROM asyncsched_instances").fetchall()

    before = rows()
    assert piped("status", *STORE, cwd=copy_of_shop).code == 1
    assert rows() == before
    missing = piped("status", "--store", "sqlite:///missing.db", cwd=copy_of_shop)
    assert missing.code == 5
    assert not (copy_of_shop / "missing.db").exists()


MISTAKES = {
    "a wrong command": (("stats",), 2, "did you mean status?"),
    "a wrong option": (("runs", "--joob", "x", *STORE), 2, "--job"),
    "no target": (("status",), 2, "--store sqlite:///jobs.db"),
    "a wrong schedule": (("explain", "rates-hourl", *STORE), 3, "did you mean rates-hourly?"),
    "a wrong run": (("run", "0" * 32, *STORE), 3, "there is no run"),
    "no run's id": (("run", "zzz", *STORE), 3, "32 hexadecimal digits"),
    "a wrong module": (("schedules", "--app", "shp:scheduler"), 3, "did you mean shop?"),
    "a wrong attribute": (("schedules", "--app", "shop:schedulr"), 3, "did you mean scheduler?"),
    "no scheduler": (("schedules", "--app", "shop:os"), 2, "shop:scheduler"),
    "a file for a module": (("schedules", "--app", "shop.py"), 2, "write shop:scheduler"),
    "a wrong expression": (("explain", "61 * * * *"), 2, "minute"),
    "a wrong zone": (("explain", "0 7 * * *", "--tz", "Europe/Pari"), 2, "Europe/Pari"),
    "a wrong time": (("explain", "rates-hourly", "--at", "noon", *STORE), 2, "-30m"),
    "a wrong scheme": (("status", "--store", "mysql://x"), 2, "sqlite:///"),
    "a dead server": (("status", "--store", "postgresql://user:hunter2@127.0.0.1:1/db"), 5, "127.0.0.1"),
    "no database": (("status", "--store", "sqlite:///shop.py"), 5, "no SQLite database"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_two_lines_with_its_exit_code_and_without_a_traceback(
    shop: Path, name: str
) -> None:
    words, code, hint = MISTAKES[name]
    answer = piped(*words, cwd=shop)
    assert (answer.code, answer.out) == (code, "")
    assert hint in answer.err
    assert "Traceback" not in answer.err and "hunter2" not in answer.err
    assert len(answer.err.splitlines()) <= 3


def test_a_module_that_fails_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("x = 1\ny = x.nothing\n")
    answer = piped("schedules", "--app", "broken:scheduler", cwd=tmp_path)
    assert answer.code == 2
    assert "AttributeError" in answer.err and "broken.py:2" in answer.err
    assert "Traceback" not in answer.err
    assert "Traceback" in piped("schedules", "--app", "broken:scheduler", "--debug", cwd=tmp_path).err


def test_an_empty_answer_says_so(shop: Path) -> None:
    assert piped("runs", "--job", "nothing", *STORE, cwd=shop).out == "no runs\n"
    assert piped("schedules", "--state", "late", *STORE, cwd=shop).out == "no schedules\n"


def test_explain_says_first_that_a_schedule_is_paused(shop: Path) -> None:
    answer = piped("explain", "nightly_report", "--at", "02:30", *STORE, cwd=shop)
    first = answer.out.splitlines()[0]
    assert first.startswith("nightly_report is paused since 20") and first.endswith(
        " by ann: the printer is away"
    )
    assert (
        piped("explain", "send_mail", *STORE, cwd=shop)
        .err.splitlines()[-1]
        .endswith("`asyncsched runs --job send_mail` shows its runs")
    )


def test_failed_one_offs_count_as_what_is_wrong(shop: Path) -> None:
    status = piped("status", *STORE, cwd=shop)
    assert "1 run failed within a day" in status.out and "`asyncsched failures --job fail`" in status.out
    checked = piped("check", "--job", "fail", *STORE, cwd=shop)
    assert checked.code == 1 and "1 run failed for good within a day" in checked.out + checked.err


def test_slots_without_a_run_stand_among_the_runs(tmp_path: Path) -> None:
    code = """
import asyncio
from datetime import timedelta

from asyncsched import Scheduler
from asyncsched.testing import VirtualClock

clock = VirtualClock()


async def main() -> None:
    scheduler = Scheduler("sqlite:///slow.db", clock=clock)

    @scheduler.interval(seconds=10)
    async def slow() -> None:
        await asyncio.sleep(12)

    async with scheduler:
        await clock.advance(55)


clock.run(main)
"""
    (tmp_path / "slow.py").write_text(code)
    subprocess.run([sys.executable, "slow.py"], cwd=tmp_path, env=environment({}), check=True)
    answer = piped("schedule", "slow", "--store", "sqlite:///slow.db", "--utc", cwd=tmp_path)
    print(answer.out, answer.err)
    assert answer.out.count("overlap") == 2 and answer.out.count("an earlier run was still live") == 2


def test_explain_says_a_cron_expression_in_words_with_the_clock_changes(shop: Path) -> None:
    words = ("explain", "30 2 * * *", "--tz", "Europe/Berlin", "--at", "2027-03-26T12:00+01:00", "-n", "3")
    answer = piped(*words, cwd=shop)
    assert answer.code == 0
    assert answer.out.startswith("at 02:30 every day, Europe/Berlin\n")
    assert "Sun 28 Mar 2027 03:00:00 CEST" in answer.out
    assert "does not exist" in answer.out


def test_explain_tells_what_became_of_a_due_time(shop: Path) -> None:
    answer = piped("explain", "nightly_report", "--at", "+40d", *STORE, cwd=shop)
    assert answer.code == 0
    assert "not a slot" in answer.out


def test_a_pause_is_shown_with_its_author_and_its_note(shop: Path) -> None:
    (row,) = piped("schedules", "--state", "paused", *STORE, "--json", cwd=shop).json
    assert (row["id"], row["by"], row["note"]) == ("nightly_report", "ann", "the printer is away")
    assert "by ann, the printer is away" in piped("schedules", *STORE, cwd=shop).out


def test_a_closed_pipe_is_no_error(shop: Path) -> None:
    line = " ".join(command("runs", *STORE, "--json")) + " | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=shop,
        env=environment({}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[\n", "")


IMPORTED = """
import sys
sys.argv = ["asyncsched", "--help"]
from asyncsched.__main__ import main
try:
    main()
finally:
    print("|".join(sys.modules), file=sys.stderr)
"""


def test_help_imports_little(shop: Path) -> None:
    """What it costs is what it imports: about 0.2 s of CPU, of which click and Python itself are 0.05 s."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED], cwd=shop, env=environment({}), capture_output=True, text=True, check=True
    )  # fmt: skip
    modules = done.stderr.strip().split("|")
    folders = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names
    assert folders >= {"anyio", "asyncsched", "click"}
    heavy = {"croniter", "httpx", "jinja2", "psycopg", "pydantic", "rich", "starlette", "trio"}
    assert folders.isdisjoint(heavy | {"dateutil", "pytz"})
    assert {"sqlite3", "asyncsched.cli.look", "asyncsched.cli.target"}.isdisjoint(modules)
    assert len(modules) < 410
