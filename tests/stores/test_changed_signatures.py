"""A deploy changes a job's parameters: what was stored before, and what becomes of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asyncsched import Interval, Limit, Retry, RunFailed, Scheduler
from asyncsched._core.arguments.signature import Signature
from asyncsched.events import RunStarted
from asyncsched.testing import VirtualClock
from tests.each_store import POSTGRES, SQLITE, sqlite_file

Make = Callable[..., Scheduler]


@pytest.fixture(params=[SQLITE, POSTGRES])
def make(request: pytest.FixtureRequest, virtual_clock: VirtualClock, tmp_path: Path) -> Make:
    postgres = request.param == "postgres"
    url = request.getfixturevalue("shared_dsn") if postgres else f"sqlite:///{sqlite_file(tmp_path)}"
    return lambda **options: Scheduler(url, clock=virtual_clock, **options)


def before(scheduler: Scheduler, ran: list[Any]) -> Any:
    @scheduler.job(retry=Retry(attempts=3, delay=60), max_running=Limit(2, by="to"))
    async def mail(to: str) -> None:
        ran.append(to)

    return mail


def after(scheduler: Scheduler, ran: list[Any]) -> Any:
    @scheduler.job(retry=Retry(attempts=3, delay=60), max_running=Limit(2, by="address"))
    async def mail(address: str, language: str) -> None:
        ran.append((address, language))

    return mail


@pytest.mark.anyio
async def test_arguments_that_no_longer_fit_end_the_run_at_once(
    make: Make, virtual_clock: VirtualClock
) -> None:
    ran: list[Any] = []
    began: list[RunStarted] = []
    old = make(role="submit")
    mail = before(old, ran)
    async with old:
        run = await old.schedule_once(mail, "ada")
    new = make(observers=[lambda event: began.append(event) if isinstance(event, RunStarted) else None])
    after(new, ran)
    async with new:
        ended = await new.handle(run.id).wait(timeout=30)
        assert (ended.state, ended.why, ended.attempt, ended.attempts) == ("failed", "arguments", 0, ())
        assert (
            "job 'mail': the stored arguments do not fit: argument 'address': Field required" in ended.message
        )
        assert ended.error_type == "asyncsched._core.errors.ArgumentError"
        with pytest.raises(RunFailed, match="the stored arguments do not fit"):
            await new.handle(run.id).result()
        assert [letter.id for letter in await new.dead_letters()] == [run.id]
    assert (ran, began) == ([], [])


@pytest.mark.anyio
async def test_a_schedule_with_such_arguments_has_a_record_of_each_slot(
    make: Make, virtual_clock: VirtualClock
) -> None:
    ran: list[Any] = []
    old = make()
    mail = before(old, ran)
    async with old:
        await old.add_schedule(mail, Interval(minutes=1), id="ada", args=("ada",))
    new = make()
    after(new, ran)
    async with new:
        await virtual_clock.advance(150)
        runs = await new.runs(schedule="ada")
        assert {(run.state, run.why) for run in runs} == {("failed", "arguments")}
        assert len(runs) >= 2
    assert ran == []


@pytest.mark.anyio
async def test_an_older_living_instance_is_left_the_runs_that_only_it_can_read(
    make: Make, virtual_clock: VirtualClock
) -> None:
    ran: list[Any] = []
    old, new = make(), make()
    mail = before(old, ran)
    after(new, ran)
    async with old, new:
        await virtual_clock.advance(5)  # each has heard of the other
        handles = [await old.schedule_once(mail, f"ada {number}", delay=60) for number in range(8)]
        await virtual_clock.advance(200)
        for handle in handles:
            assert (await handle.wait(timeout=120)).state == "succeeded"
    assert sorted(ran) == [f"ada {number}" for number in range(8)]


@pytest.mark.anyio
async def test_a_newer_living_instance_is_left_the_runs_that_only_it_can_read(
    make: Make, virtual_clock: VirtualClock
) -> None:
    ran: list[Any] = []
    old, new = make(), make()
    before(old, ran)
    mail = after(new, ran)
    async with old, new:
        await virtual_clock.advance(5)
        handles = [await new.schedule_once(mail, f"ada {number}", "en", delay=60) for number in range(8)]
        await virtual_clock.advance(200)
        for handle in handles:
            assert (await handle.wait(timeout=120)).state == "succeeded"
    assert sorted(ran) == [(f"ada {number}", "en") for number in range(8)]


@pytest.mark.anyio
async def test_once_the_older_instance_is_gone_the_run_ends(make: Make, virtual_clock: VirtualClock) -> None:
    ran: list[Any] = []
    old, new = make(), make()
    mail = before(old, ran)
    after(new, ran)
    async with new:
        async with old:
            await virtual_clock.advance(5)
            run = await old.schedule_once(mail, "ada", delay=60)
        await virtual_clock.advance(100)
        ended = await new.handle(run.id).wait(timeout=60)
    assert (ended.state, ended.why, ran) == ("failed", "arguments", [])


_PRINT = """
from asyncsched._core.arguments.signature import Signature
from tests.stores.test_changed_signatures import several
print(Signature(several, "several").fingerprint())
"""


def several(tags: set[str] = {"a", "b", "c"}, at: Path | str = "", *more: Retry, **rest: Any) -> None: ...  # noqa: B006


@pytest.mark.blocking_ok
def test_processes_of_the_same_code_find_the_same_signature() -> None:
    def one(tags: list[str]) -> None: ...
    def other(tags: set[str]) -> None: ...

    found = {
        subprocess.run(
            [sys.executable, "-c", _PRINT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "12"
    }
    assert found == {f"{Signature(several, 'several').fingerprint()}\n"}
    assert Signature(one, "job").fingerprint() != Signature(other, "job").fingerprint()
