"""What the tables of "Coming from other schedulers" name on our side is executed: calls, decorators, options and names."""

from __future__ import annotations

import ast
import inspect
import re
from datetime import UTC, date, datetime
from typing import Annotated, Any

import anyio.to_thread
import pytest

import asyncsched
import asyncsched.events
from asyncsched import Interval, Scheduler, TryAgain
from asyncsched.cli.main import COMMANDS
from asyncsched.observers import alerts
from asyncsched.testing import VirtualClock
from asyncsched.triggers import Every
from tests.docs.pages import GUIDE

PARTS = {
    'full="skip"', 'catch_up="latest"', '"all"', "coalesce=False", "at=…", "retry=", "job=", "f", "asyncsched.triggers",
}  # fmt: skip
"""Parts of a call that a cell talks about, whose whole stands in the same table."""


def cells() -> list[str]:
    """Return each piece of code of the last columns, once."""
    found: dict[str, None] = {}
    for line in (GUIDE / "coming-from.md").read_text("utf-8").splitlines():
        if line.startswith("| "):
            found.update(dict.fromkeys(re.findall(r"`([^`]+)`", line.rpartition(" | ")[2])))
    return [one for one in found if one not in PARTS]


def _whole(code: str) -> str:
    """Return a piece of code with something in place of what the page leaves out."""
    for short, long in (("at=…", "at=later"), ("interval(…", "interval(minutes=5"), ("(…)", "()")):
        code = code.replace(short, long)
    return code


async def work(*args: Any) -> None:
    """Do what a job does."""


def open_session() -> object:
    """Return what a job is provided with."""
    return object()


@pytest.mark.anyio
@pytest.mark.only_on("asyncio")
@pytest.mark.parametrize("code", cells())
async def test_what_a_table_names_is_there(code: str, virtual_clock: VirtualClock) -> None:
    scheduler = Scheduler(clock=virtual_clock)
    scheduler.job()(work)
    names = {
        **{name: getattr(asyncsched, name) for name in asyncsched.__all__}, **vars(asyncsched.events), "Every": Every, "date": date, "scheduler": scheduler, "f": work, "task": work, "args": (), "id": "another", "Session": object,
        "later": datetime(2100, 1, 1, tzinfo=UTC), "open_session": open_session, "Annotated": Annotated,
    }  # fmt: skip
    code = _whole(code)
    if code.startswith("@"):
        eval(code[1:], names)(open_session)
        return
    if re.match(r"\w+=", code) and not code.startswith("lifespan="):
        decorator = 'cron("0 0 * * *", ' if code.startswith("timezone") else "job("
        eval(f"scheduler.{decorator}{code})", names)(open_session)
        return
    told: list[int] = []
    scheduler.job(name="tells")(lambda: told.append(eval(code, names)))
    async with scheduler:
        await scheduler.add_schedule(work, Interval(hours=1), id="another")
        for id in "y", "x":
            if f'id="{id}"' not in code:
                await scheduler.add_schedule(work, Interval(hours=1), id=id)
        names["run"] = await scheduler.schedule_once(work)
        if code.startswith("current_run()"):
            await (await scheduler.run_job("tells")).wait()
            assert told == [1]
        else:
            await _try(code, names, scheduler)


async def _try(code: str, names: dict[str, Any], scheduler: Scheduler) -> None:
    if code.startswith("asyncsched"):
        assert code.split()[1] in {name for group in COMMANDS.values() for name in group}
    elif code.startswith("Scheduler("):
        await anyio.to_thread.run_sync(eval, code, names)  # it reads the working directory for a file's path
    elif re.match(r"f\.wants = ", code):
        exec(code, names)
        assert names["f"].wants.__module__ == "asyncsched._core.events"
    elif code.startswith("raise "):
        with pytest.raises(TryAgain):
            exec(code, names)
    elif code.startswith("lifespan="):
        assert callable(eval(code.partition("=")[2], names))
    elif re.fullmatch(r"\w+", code):
        assert any(hasattr(place, code) for place in (scheduler, asyncsched, alerts))
    else:
        found = eval(compile(_call(code), code, "eval", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
        if inspect.isawaitable(found):
            await found


def _call(code: str) -> str:
    """Return the call with the scheduler in front, where a cell that has it already leaves it out."""
    return f"await scheduler.{code}" if code.startswith("schedule_once") else code


def test_there_is_enough_to_try() -> None:
    assert len(cells()) > 35
