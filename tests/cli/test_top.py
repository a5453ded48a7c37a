"""``top`` in a terminal, with the page's keys."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from asyncsched.cli.keys import keys_of
from asyncsched.cli.top import Act, Screen
from asyncsched.cli.top_pages import Content, Line
from tests.cli.terminal import Terminal, on_terminal, piped

STORE = ("--store", "sqlite:///shop.db")


@pytest.mark.parametrize("columns", [80, 200])
def test_top_shows_the_overview_within_the_terminal(shop: Path, columns: int) -> None:
    answer = on_terminal("top", "--times", "2", "--every", "10ms", *STORE, cwd=shop, columns=columns)
    assert answer.code == 0
    assert "3 schedules, 0 instances" in answer.plain
    assert "push_to_crm" in answer.plain
    assert [line for line in answer.plain.splitlines() if len(line) > columns] == []


def test_top_ends_at_ctrl_c_without_a_traceback(shop: Path) -> None:
    terminal = Terminal("top", "--every", "100ms", *STORE, cwd=shop)
    try:
        before = terminal.modes()
        terminal.wait_for("push_to_crm")
        terminal.signal(signal.SIGINT)
        answer = terminal.end()
        assert terminal.modes() == before
    finally:
        terminal.close()
    assert answer.code == 0
    assert "Traceback" not in answer.plain


def test_the_keys_of_the_page_move_open_run_and_pause(copy_of_shop: Path) -> None:
    terminal = Terminal("top", "--every", "1h", "--app", "shop:scheduler", cwd=copy_of_shop, columns=120)
    try:
        before = terminal.modes()
        terminal.wait_for("? keys   q end")
        for keys, shown in (
            ("r", "run push_to_crm now? y/n"), ("y", "made run"), ("/night\r", "only rows with 'night'"),
            ("p", "nightly_report goes on"), ("pthe printer hums\x7fs\r", "nightly_report is paused"),
            ("\r", "the printer hums"), ("ga", "pause"), ("gf", "ValueError: no reason"), ("\r", "attempt 1"),
            ("gr", "refresh_rates"), ("gt", "the next 24 hours"), ("gi", "no instance is running"), ("?", "run the schedule now"),
            ("go", "3 schedules"),
        ):  # fmt: skip
            terminal.forget()
            terminal.press(keys)
            terminal.wait_for(shown)
        terminal.press("q")
        answer = terminal.end()
        assert terminal.modes() == before
    finally:
        terminal.close()
    assert answer.code == 0 and "Traceback" not in answer.plain.splitlines()[-1]
    found = piped("schedule", "nightly_report", *STORE, "--json", cwd=copy_of_shop).json
    assert (found["paused"], found["note"]) == (True, "the printer hums")


def test_a_row_stays_chosen_where_the_rows_move() -> None:
    def page(*ids: str) -> Content:
        return Content("", ("schedule",), [Line((id,), ("schedule", id), id) for id in ids], "")

    screen = Screen(row=1)
    screen.follow(page("a", "b", "c"), page("b", "c", "a"))
    assert screen.row == 0
    screen.follow(page("b", "c", "a"), page("c", "a"))  # it is gone: the row that stands there now
    assert screen.row == 0
    screen.row = 5
    assert screen.press("r", list(page("a").lines)) is None and screen.prompt is None


def test_nothing_is_run_without_a_yes_nor_from_a_row_of_no_schedule() -> None:
    lines = [Line(("one",), None, "one"), Line(("without",))]
    screen = Screen()
    assert screen.press("r", lines) is None
    assert screen.press("n", lines) is None and screen.prompt is None
    screen.press("r", lines)
    assert screen.press("y", lines) == Act("run", "one")
    screen.press("j", lines)
    assert screen.press("p", lines) is None and screen.told == "this row is of no schedule"


def test_arrows_move_and_keys_of_no_use_are_left_out() -> None:
    assert list(keys_of("\x1b[Bj\x1b[A\x1b[15~\r\x1b")) == ["j", "j", "k", "enter", "esc"]
