"""What a scheduler answers to an orchestrator's probes, on asyncio and trio, and on every store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request

from asyncsched import Scheduler, StoreUnavailable
from asyncsched.asgi import probe_routes
from asyncsched.executors import LoopExecutor, ThreadExecutor
from asyncsched.testing import VirtualClock
from tests.policies.conftest import make_scheduler as make_scheduler
from tests.policies.conftest import make_store as make_store

pytestmark = pytest.mark.anyio

Make = Callable[..., Scheduler]


async def ask(scheduler: Scheduler, query: str = "", **options: Any) -> dict[str, tuple[int, str]]:
    """Ask all probes of an app, as an orchestrator does."""
    app = Starlette(routes=probe_routes(scheduler, **options))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
        answers = {}
        for path in ("livez", "readyz", "startupz"):
            answer = await client.get(f"/{path}{query}")
            assert answer.headers["content-type"] == "text/plain; charset=utf-8"
            answers[path] = (answer.status_code, answer.text)
        return answers


OK = (200, "ok\n")


async def test_before_the_start_while_it_runs_while_it_drains_and_after_the_end(make_scheduler: Make) -> None:
    scheduler = make_scheduler()
    before = {"livez": OK, "readyz": (503, "not started\n"), "startupz": (503, "not started\n")}
    assert await ask(scheduler) == before
    async with scheduler:
        assert await ask(scheduler) == {"livez": OK, "readyz": OK, "startupz": OK}
        assert scheduler.live() and scheduler.ready()
        scheduler.drain()
        assert await ask(scheduler) == {"livez": OK, "readyz": (503, "draining\n"), "startupz": OK}
    assert await ask(scheduler) == {"livez": OK, "readyz": (503, "closed\n"), "startupz": OK}


async def test_no_probe_is_red_because_jobs_fail(make_scheduler: Make, virtual_clock: VirtualClock) -> None:
    scheduler = make_scheduler()

    @scheduler.interval(seconds=10)
    async def failing() -> None:
        raise ValueError

    async with scheduler:
        await virtual_clock.advance(3600)
        assert len(await scheduler.runs(state="failed", limit=1000)) == 360
        assert await ask(scheduler) == {"livez": OK, "readyz": OK, "startupz": OK}


async def test_an_idle_scheduler_is_live_for_weeks(make_scheduler: Make, virtual_clock: VirtualClock) -> None:
    scheduler = make_scheduler()
    async with scheduler:
        for _ in range(50):
            await virtual_clock.advance(61)
            assert scheduler.live(), scheduler.live().details


async def test_a_loop_of_the_scheduler_that_has_ended_is_not_live(
    virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = Scheduler(clock=virtual_clock)
    async with scheduler:
        worker = scheduler._running().main
        hangs = anyio.Event()

        async def turn() -> None:
            await hangs.wait()

        with monkeypatch.context() as patched:
            patched.setattr(worker.engine, "turn", turn)
            worker.agenda.notify()
            await virtual_clock.advance(29)
            assert scheduler.live()
            await virtual_clock.advance(2)
            found = await ask(scheduler, "?verbose", details=lambda request: True)
        hangs.set()
    assert found["livez"] == (503, "no tick\nthe scheduler's loop has not ticked for 31 s\n")


async def test_full_executors_are_no_room_and_one_with_room_is_enough(virtual_clock: VirtualClock) -> None:
    executors = {"loop": LoopExecutor(1), "thread": ThreadExecutor(1), "slow": LoopExecutor(1)}
    scheduler = Scheduler(clock=virtual_clock, executors=executors)
    gate, began = anyio.Event(), anyio.Event()

    @scheduler.job()
    async def one() -> None:
        await gate.wait()

    @scheduler.job(executor="slow")
    async def two() -> None:
        await gate.wait()

    @scheduler.job()
    def three() -> None:
        anyio.from_thread.run_sync(began.set)
        anyio.from_thread.run(gate.wait)

    async with scheduler:
        await scheduler.schedule_once(one)
        await scheduler.schedule_once(two)
        await virtual_clock.advance(1)
        assert scheduler.ready(), "a thread is free"
        run = await scheduler.schedule_once(three)
        await began.wait()
        ready = scheduler.ready()
        assert ready.reasons == ("executors full",)
        assert ready.details == (
            "no executor has room: loop runs 1 of 1, thread runs 1 of 1, slow runs 1 of 1",
        )
        assert scheduler.live()
        gate.set()
        await run.wait()
        await virtual_clock.advance(1)
        assert scheduler.ready()


@pytest.mark.parametrize("role", ["submit", "run", "off"])
async def test_every_role_has_its_answers(
    make_scheduler: Make, virtual_clock: VirtualClock, role: str
) -> None:
    scheduler = make_scheduler(role=role)
    async with scheduler:
        await virtual_clock.advance(120)
        assert await ask(scheduler) == {"livez": OK, "readyz": OK, "startupz": OK}


async def test_a_store_that_is_away_is_told_by_its_kind_and_in_whole_to_those_who_may(
    tmp_path: Any, virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asyncsched.stores.sqlite import SqliteStore

    scheduler = Scheduler(SqliteStore(tmp_path / "jobs.db"), clock=virtual_clock)

    async def away(*args: Any) -> Any:
        raise StoreUnavailable("no connection to db.internal:5432")

    async def may(request: Request) -> bool:
        return request.headers.get("host") == "app"

    async with scheduler:
        store = scheduler._running().main.store
        with monkeypatch.context() as patched:
            patched.setattr(store, "beat", away)
            patched.setattr(store, "poll", away)
            await virtual_clock.advance(6)
            anyone = await ask(scheduler, "?verbose")
            operator = await ask(scheduler, "?verbose", details=may)
        await virtual_clock.advance(6)
        again = await ask(scheduler)
    assert anyone == {"livez": OK, "readyz": (503, "store away\n"), "startupz": OK}
    assert operator["readyz"] == (
        503, "store away\nthe store cannot be used: no connection to db.internal:5432\n"
    )  # fmt: skip
    assert again["readyz"] == OK


async def test_the_routes_stand_in_a_fastapi_app(virtual_clock: VirtualClock) -> None:
    scheduler = Scheduler(clock=virtual_clock)
    app = FastAPI(lifespan=scheduler.lifespan)
    app.router.routes.extend(probe_routes(scheduler))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
        assert (await client.get("/readyz")).status_code == 503
        async with scheduler:
            assert (await client.get("/readyz")).text == "ok\n"
            assert (await client.head("/readyz")).status_code == 200


def test_the_routes_do_not_stand_in_the_schema() -> None:
    app = FastAPI()
    app.router.routes.extend(probe_routes(Scheduler()))
    assert app.openapi()["paths"] == {}
