"""Operating by the command line: each change is seen in the store, and refused in words where it cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.cli.terminal import piped

STORE = ("--store", "sqlite:///shop.db")
APP = ("--app", "shop:scheduler")


def _schedule(folder: Path, id: str) -> Any:
    (found,) = [one for one in piped("schedules", *STORE, "--json", cwd=folder).json if one["id"] == id]
    return found


def test_a_schedule_is_paused_with_a_note_and_resumed(copy_of_shop: Path) -> None:
    answer = piped(
        "pause", "rates-hourly", "--note", "no rates today", "--by", "bob", *STORE, cwd=copy_of_shop
    )
    assert (answer.code, answer.out) == (0, "paused rates-hourly\n")
    found = _schedule(copy_of_shop, "rates-hourly")
    assert (found["state"], found["note"], found["by"]) == ("paused", "no rates today", "bob")
    assert piped("resume", "rates-hourly", *STORE, cwd=copy_of_shop).code == 0
    assert not _schedule(copy_of_shop, "rates-hourly")["paused"]


def test_a_near_miss_is_suggested(copy_of_shop: Path) -> None:
    answer = piped("pause", "rates-hurly", *STORE, cwd=copy_of_shop)
    assert answer.code == 3
    assert "did you mean rates-hourly?" in answer.err
    answer = piped("once", "send_mial", "x", *APP, cwd=copy_of_shop)
    assert answer.code == 3
    assert "did you mean send_mail?" in answer.err


def test_a_run_is_made_with_arguments_and_cancelled(copy_of_shop: Path) -> None:
    made = piped(
        "once", "send_mail", "ann", "--arg", "copies=3", "--delay", "1h", *APP, "--json", cwd=copy_of_shop
    )
    assert made.code == 0
    run = made.json
    assert (run["state"], run["args"] or run["kwargs"]) == ("pending", {"to": "ann", "copies": 3}) or run[
        "args"
    ] == ["ann"]
    answer = piped("cancel", run["id"], *STORE, cwd=copy_of_shop)
    assert (answer.code, answer.out) == (0, "asked 1 run to end\n")
    assert piped("run", run["id"], *STORE, "--json", cwd=copy_of_shop).json["state"] == "cancelled"
    again = piped("cancel", run["id"], *STORE, cwd=copy_of_shop)
    assert again.code == 4
    assert "had ended already" in again.err


def test_a_run_is_cancelled_by_its_key(copy_of_shop: Path) -> None:
    made = piped(
        "once", "send_mail", "ann", "--delay", "1h", "--key", "ann-1", *APP, "--json", cwd=copy_of_shop
    )
    answer = piped("cancel", "--key", "ann-1", *STORE, cwd=copy_of_shop)
    assert (answer.code, answer.out) == (0, "cancelled 1 run\n")
    assert piped("run", made.json["id"], *STORE, "--json", cwd=copy_of_shop).json["state"] == "cancelled"


def test_what_needs_the_code_says_so(copy_of_shop: Path) -> None:
    answer = piped("run-now", "rates-hourly", *STORE, cwd=copy_of_shop)
    assert answer.code == 4
    assert "--app module:scheduler" in answer.err
    made = piped("run-now", "rates-hourly", *STORE, *APP, cwd=copy_of_shop)
    assert made.code == 0
    assert (
        piped("runs", "--state", "pending", *STORE, "--json", cwd=copy_of_shop).json[0]["origin"] == "manual"
    )


def test_failed_runs_are_run_again_or_dismissed(copy_of_shop: Path) -> None:
    tried = piped("requeue", "--job", "push_to_crm", "--dry-run", *STORE, "--json", cwd=copy_of_shop).json
    assert len(tried["runs"]) == 2
    done = piped("requeue", "--job", "push_to_crm", *APP, "--json", cwd=copy_of_shop).json
    assert len(done["runs"]) == 2
    (group,) = piped("failures", *STORE, "--json", cwd=copy_of_shop).json
    assert piped("dismiss", group["runs"][0], "--note", "known", *STORE, cwd=copy_of_shop).code == 0
    answer = piped("failures", *STORE, cwd=copy_of_shop)
    assert (answer.code, answer.out) == (0, "no failures\n")


def test_due_times_of_the_past_are_counted_before_they_are_run(copy_of_shop: Path) -> None:
    words = ("backfill", "rates-hourly", "--from", "-5h", "--to", "now", *APP)
    tried = piped(*words, "--dry-run", "--json", cwd=copy_of_shop)
    assert tried.code == 0
    assert tried.json["dry_run"] is True


def test_wrong_use_is_told(copy_of_shop: Path) -> None:
    assert "RUN" in piped("cancel", *STORE, cwd=copy_of_shop).err
    assert piped("requeue", *STORE, cwd=copy_of_shop).code == 2
    answer = piped("once", "send_mail", "--arg", "x", *APP, cwd=copy_of_shop)
    assert answer.code == 2
    assert "NAME=VALUE" in answer.err
    wrong = piped("once", "send_mail", *APP, cwd=copy_of_shop)
    assert wrong.code == 2
    assert "to" in wrong.err
