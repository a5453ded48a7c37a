"""Every seam can be filled from outside: five parts written with ``asyncsched.abc`` and public names only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

import asyncsched
import asyncsched.abc
import asyncsched.events
from asyncsched import ConfigurationError, Retry, Scheduler
from asyncsched.abc import ExecutorTraits, tell_began
from asyncsched.events import RunStarted
from asyncsched.testing import VirtualClock
from asyncsched.testing.conformance import CASES, Case, Stage, name_of
from asyncsched.triggers import BaseTrigger
from tests.structure import small_parts, small_store
from tests.structure.measure import PACKAGE
from tests.structure.small_parts import BorrowedThreads, Doubling, LoopClock, Outcomes
from tests.structure.small_store import SmallStore

T0 = datetime(2026, 3, 2, 9, tzinfo=UTC)
PUBLIC = {
    "asyncsched": {name for name in asyncsched.__all__ if name[0] != "_"},
    "asyncsched.abc": {*asyncsched.abc.__all__},
    "asyncsched.events": {name for name in vars(asyncsched.events) if name[0] != "_"},
}


def outside(source: str) -> Iterator[str]:
    """Yield what a part takes from the package beside the public names, and what it reaches into."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "asyncsched":
            names = PUBLIC.get(node.module or "", set())
            yield from (f"{node.module}.{one.name}" for one in node.names if one.name not in names)
        elif isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name.partition(".")[0] == "asyncsched")
        elif isinstance(node, ast.Attribute) and node.attr[0] == "_" and ast.unparse(node.value) != "self":
            yield ast.unparse(node)


OTHERS = {
    "context get_context _context": "a task's or a handle's, in the event loop",
    "raise_cancel in_trio_task tasks_waiting_read tasks_waiting_write": "trio's",
    "flow": "a loop or a clock of virtual time, of which there may be none",
    "config force_exit servers started should_exit workers": "uvicorn's",
    "connection get_bind": "SQLAlchemy's",
    "register_at_fork": "the operating system's, where it has one",
    "sqlite_errorcode": "sqlite3's, for errors of the database itself",
    "cr_await close": "a coroutine's",
    "freeze_factories": "freezegun's",
    "_fields": "a named tuple's",
    "dependency": "FastAPI's Depends",
    "connection_errors exceptions_to_retry mget": "a result backend's of Celery",
    "id_generator sampler": "the tracer's of OpenTelemetry's SDK",
    "loading_main": "a module's that may not be imported",
}
"""The members that the package looks for by name, and whose they are: none is a seam's."""


def looked_for(source: str) -> Iterator[str]:
    """Yield the members that are looked for by name, but for those that Python itself gives to things."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr"):
            name = node.args[1].value if isinstance(node.args[1], ast.Constant) else None
            if isinstance(name, str) and not name.startswith(("__", "co_")):
                yield name


def test_no_member_of_a_seam_is_looked_for_by_name() -> None:
    known = {name for names in OTHERS for name in names.split()}
    found = {name: path.name for path in PACKAGE.rglob("*.py") for name in looked_for(path.read_text())}
    assert {name: where for name, where in found.items() if name not in known} == {}


@pytest.mark.parametrize("module", [small_parts, small_store])
def test_a_part_of_ones_own_needs_the_public_names_only(module: Any) -> None:
    assert list(outside(Path(module.__file__).read_text())) == []


@pytest.mark.parametrize(
    "source, found",
    [
        ("from asyncsched.abc import Store", []),
        ("from asyncsched import Scheduler", []),
        ("from asyncsched.abc import BaseTrigger", ["asyncsched.abc.BaseTrigger"]),
        ("from asyncsched._core.records import RunRecord", ["asyncsched._core.records.RunRecord"]),
        ("from asyncsched.stores.memory import MemoryStore", ["asyncsched.stores.memory.MemoryStore"]),
        ("import asyncsched._core.records", ["asyncsched._core.records"]),
        ("run._link.began()", ["run._link"]),
        ("self._runs", []),
    ],
)
def test_what_is_not_public_is_seen(source: str, found: list[str]) -> None:
    assert list(outside(source)) == found


@pytest.mark.anyio
@pytest.mark.parametrize("case", CASES, ids=name_of)
async def test_the_small_store_passes_the_conformance_suite(case: Case, virtual_clock: VirtualClock) -> None:
    async with Stage(SmallStore, virtual_clock) as stage:
        await case(stage)


@pytest.fixture
def outcomes() -> Outcomes:
    return Outcomes()


@pytest.fixture
def scheduler(virtual_clock: VirtualClock, outcomes: Outcomes) -> Scheduler:
    return Scheduler(
        SmallStore(), executors={"borrowed": BorrowedThreads(2)}, clock=LoopClock(T0), observers=[outcomes],
        timezone="Europe/Paris",
    )  # fmt: skip


@pytest.mark.anyio
async def test_a_scheduler_of_five_parts_of_ones_own_fires_retries_and_tells(
    scheduler: Scheduler, outcomes: Outcomes
) -> None:
    start = datetime.fromtimestamp(LoopClock(T0).wall() / 1_000_000, UTC)
    failed: list[int] = []

    @scheduler.job(Doubling(start), executor="borrowed", retry=Retry(attempts=2, delay=5, jitter="none"))
    def report() -> None:
        if not failed:
            failed.append(1)
            raise OSError("the printer is off")

    @scheduler.job(max_running=1)
    async def send(number: int) -> int:
        await anyio.sleep(10)
        return number

    async with scheduler:
        (schedule,) = await scheduler.schedules()
        assert (schedule.trigger, schedule.next_due) == (Doubling(start), start + timedelta(minutes=1))
        assert schedule.describe.startswith("1, 2, 4, 8 … minutes after 2026-03-02")
        first, second = [await scheduler.schedule_once(send, number, key=f"k{number}") for number in (1, 2)]
        again = await scheduler.schedule_once(send, 1, key="k1")
        assert (again.id, again.created) == (first.id, False)
        assert [await first.result(), await second.result()] == [1, 2]
        assert (await second.status()).late == timedelta(seconds=10)
        await anyio.sleep(300)
        await scheduler.pause("report", note="no paper")
        await anyio.sleep(300)
        await scheduler.resume("report")
        await anyio.sleep(400)
        ran = await scheduler.runs(job="report")
        slots = [start + timedelta(minutes=minutes) for minutes in (16, 4, 2, 1)]
        assert [(run.scheduled_for, run.state) for run in ran] == [(slot, "succeeded") for slot in slots]
        assert [len(run.attempts) for run in ran] == [1, 1, 1, 2]
        assert (await scheduler.explain("report", start + timedelta(minutes=8))).verdict == "paused"
    assert outcomes.seen == [("send", "succeeded")] * 2 + [("report", "succeeded")] * 4


@pytest.mark.anyio
async def test_traits_tell_the_scheduler_what_it_has_to_know(virtual_clock: VirtualClock) -> None:
    class SlowToStart(BorrowedThreads):
        traits = ExecutorTraits(cancellable=False, announces=True)

        async def run(self, run: Any, func: Any, args: Any, kwargs: Any) -> Any:
            await anyio.sleep(20)  # longer than the timeout, which counts from when the function begins
            tell_began(run)
            return await super().run(run, func, args, kwargs)

    scheduler = Scheduler(SmallStore(), executors={"slow": SlowToStart(1)}, clock=virtual_clock)
    with pytest.raises(ConfigurationError, match=r'overlap="replace" cancels the running one'):

        @scheduler.interval(seconds=5, executor="slow", overlap="replace", name="other")
        def other() -> None: ...

    @scheduler.job(executor="slow", timeout=10)
    def work() -> str:
        return "done"

    async with scheduler:
        assert await (await scheduler.schedule_once(work)).result() == "done"
        assert [run.state for run in await scheduler.runs()] == ["succeeded"]


class Bare:
    """An executor by its looks: nothing says which traits it has."""

    capacity = 1

    async def run(self, run: Any, func: Any, args: Any, kwargs: Any) -> Any: ...

    def check(self, func: Any, job: str) -> None: ...


@pytest.mark.parametrize("executor", [Bare(), BorrowedThreads, 5])
def test_what_is_no_executor_is_refused_with_the_class_to_inherit(executor: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"'mine' must be an executor .* inherits from asyncsched.abc.Executor"
    ):
        Scheduler(executors={"mine": executor})


def test_an_executor_has_traits_that_are_right_for_most() -> None:
    assert ExecutorTraits() == (False, True, False, False, False, False)


@pytest.mark.anyio
async def test_an_observer_that_wants_some_kinds_hears_no_others(virtual_clock: VirtualClock) -> None:
    heard: list[str] = []

    class Starts:
        wants = (RunStarted,)

        async def __call__(self, event: Any) -> None:
            heard.append(type(event).__name__)

    scheduler = Scheduler(SmallStore(), clock=virtual_clock, observers=[Starts()])

    @scheduler.job()
    async def work() -> None: ...

    async with scheduler:
        await (await scheduler.schedule_once(work)).wait()
    assert heard == ["RunStarted"]


@pytest.mark.anyio
async def test_a_trigger_is_shown_as_it_was_given_whatever_its_class_is_called(
    virtual_clock: VirtualClock,
) -> None:
    class UserTrigger(BaseTrigger):
        trigger = "something else"

        def next_instant(self, after: int) -> int | None:
            return after + 60_000_000

        def previous_instant(self, before: int) -> int | None:
            return before

    given = UserTrigger()
    scheduler = Scheduler(clock=virtual_clock)
    scheduler.job(given, name="work")(lambda: None)
    async with scheduler:
        (schedule,) = await scheduler.schedules()
        assert schedule.trigger is given
