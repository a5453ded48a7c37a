"""``top`` and ``tail`` in a terminal, and as lines of JSON."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.cli.terminal import Terminal, on_terminal, piped

STORE = ("--store", "sqlite:///shop.db")


def test_tail_writes_a_line_for_each_run_and_follows_new_ones(copy_of_shop: Path) -> None:
    terminal = Terminal("tail", "--every", "100ms", *STORE, cwd=copy_of_shop, columns=200)
    try:
        terminal.wait_for("503 Service Unavailable")
        piped("once", "send_mail", "zoe", "--delay", "1h", "--app", "shop:scheduler", cwd=copy_of_shop)
        terminal.wait_for("pending")
        terminal.signal(signal.SIGINT)
        answer = terminal.end()
    finally:
        terminal.close()
    assert answer.code == 0
    assert "Traceback" not in answer.plain


def test_tail_writes_no_line_wider_than_the_terminal(shop: Path) -> None:
    answer = on_terminal("tail", *STORE, "--times", "1", cwd=shop)
    lines = [line for line in answer.plain.splitlines() if "push_to_crm" in line]
    assert len(lines) == 2 and all("✕ failed" in line for line in lines)
    assert max(map(len, answer.plain.splitlines())) <= 80


def test_tail_writes_json_line_by_line(shop: Path) -> None:
    answer = piped("tail", "--json", "--times", "1", *STORE, cwd=shop)
    assert answer.code == 0
    found = [json.loads(line) for line in answer.out.splitlines()]
    assert {run["job"] for run in found} == {"push_to_crm", "refresh_rates", "send_mail", "fail"}
