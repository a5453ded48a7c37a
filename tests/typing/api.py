"""What type checkers make of the front door. Read by mypy (strict) and pyright; never run.

Each error that is expected has its mark for both, and a mark without an error is one itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, assert_type

from fastapi import FastAPI, Request, WebSocket
from starlette.applications import Starlette

from asyncsched import (
    AnyOf,
    At,
    Cron,
    Explanation,
    Interval,
    JobDefaults,
    JobOptions,
    Misfire,
    Once,
    Progress,
    RateLimit,
    Retention,
    Retry,
    Run,
    RunHandle,
    Schedule,
    Scheduler,
    current_run,
)
from asyncsched._core.trigger import Trigger
from asyncsched._scheduler.many import NewSchedule
from asyncsched.asgi import CurrentScheduler, current_scheduler, get_scheduler
from asyncsched.executors import ItemFailed
from asyncsched.triggers import Every

scheduler = Scheduler("sqlite:///jobs.db", timezone="Europe/Paris", shutdown_timeout=timedelta(seconds=5))


# ── decorators keep the signature ────────────────────────────────────────────────────────────


@scheduler.interval(seconds=30, jitter=2, overlap="queue_one", tags=["rates"])
async def refresh(source: str = "ecb") -> int:
    return len(source)


@scheduler.cron("0 7 * * mon-fri", timezone="Europe/Paris", timeout=300, retry=Retry(attempts=3))
def digest(day: int, *, dry: bool = False) -> str:
    return f"{day}{dry}"


@scheduler.interval(hours=1, id="hourly", args=("x",))
@scheduler.job(max_running=3, rate_limit="10/s", misfire=Misfire("all"))
async def send_email(to: str, subject: str = "Welcome") -> bytes:
    return f"{to}{subject}".encode()


MAIL: JobOptions = {"timeout": 60, "retry": Retry(attempts=3), "tags": ["mail"], "aliases": ("old",)}
WRONG: JobOptions = {"timout": 60}  # type: ignore[typeddict-unknown-key]  # pyright: ignore[reportAssignmentType]


@scheduler.cron("@daily", id="daily", max_runs=3, **MAIL)
async def remind(to: str = "ann") -> None: ...


@scheduler.job(Every(weeks=2, on="mon", at=time(18), start=date(2026, 3, 2)), max_runs=2)
async def fortnightly() -> None: ...


with_settings = Scheduler(
    lambda: "sqlite:///jobs.db",
    defaults=JobDefaults(timeout=timedelta(minutes=1), overlap="queue_one"),
    retention=Retention(age=timedelta(days=30), runs=1000),
)
from_environment: Scheduler = Scheduler.from_env(timezone="Europe/Berlin")


@scheduler.job(rate_limit=RateLimit("10/s", by="to"))
async def variadic(*to: str) -> None: ...


class Mailer:
    async def send(self, to: str) -> float:
        return 1.0

    async def __call__(self, number: int) -> complex:
        return 1j


_as_declared: Callable[[str], Coroutine[Any, Any, bytes]] = send_email


async def called_by_hand() -> None:
    assert_type(await refresh(), int)
    assert_type(digest(1, dry=True), str)
    await refresh(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


scheduler.interval(secnods=30)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
scheduler.job(overlap="sometimes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
scheduler.job(retries=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
scheduler.cron(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Scheduler(role="boss")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# ── schedule_once checks positional arguments and knows the result ───────────────────────────


async def one_offs() -> None:
    assert_type(await scheduler.schedule_once(refresh), RunHandle[int])
    assert_type(await scheduler.schedule_once(refresh, "ecb"), RunHandle[int])
    assert_type(await scheduler.schedule_once(digest, 1), RunHandle[str])
    assert_type(await scheduler.schedule_once(digest, 1, kwargs={"dry": True}), RunHandle[str])
    assert_type(await scheduler.schedule_once(send_email, "a@b", delay=5), RunHandle[bytes])
    assert_type(
        await scheduler.schedule_once(send_email, "a@b", "Hi", key="k", replace=True), RunHandle[bytes]
    )
    assert_type(await scheduler.schedule_once(variadic, "a", "b", "c"), RunHandle[None])
    assert_type(await scheduler.schedule_once(Mailer().send, "a@b"), RunHandle[float])
    assert_type(await scheduler.schedule_once(Mailer(), 1), RunHandle[complex])
    assert_type(await scheduler.schedule_once("send_email", "a@b", kwargs={"subject": "Hi"}), RunHandle[Any])
    assert_type(scheduler.schedule_once_sync(send_email, "a@b", at=datetime.now(UTC)), RunHandle[bytes])
    assert_type(await scheduler.schedule_many([Once(send_email, ("a@b",))]), list[RunHandle[Any]])

    await scheduler.schedule_once(send_email, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await scheduler.schedule_once(send_email, "a@b", 5)  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await scheduler.schedule_once(send_email)  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await scheduler.schedule_once(send_email, "a", "b", "c")  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await scheduler.schedule_once(digest, "monday")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await scheduler.schedule_once(variadic, "a", 2)  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await scheduler.schedule_once(Mailer().send, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await scheduler.schedule_once(send_email("a@b"))  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await scheduler.schedule_once(refresh, delay="soon")  # type: ignore[call-arg, call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await scheduler.schedule_once(refresh, dealy=5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    scheduler.schedule_once_sync(send_email, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]


async def handles(handle: RunHandle[int]) -> None:
    assert_type(await handle.result(timeout=5), int)
    assert_type(await handle.status(), Run)
    assert_type(await handle.wait(), Run)
    assert_type(await handle.cancel(), bool)
    assert_type(handle.id, str)
    assert_type(handle.created, bool)
    async for progress in handle.updates():
        assert_type(progress, Progress)
    _wider: RunHandle[object] = handle
    _other: RunHandle[str] = handle  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


# ── operating ────────────────────────────────────────────────────────────────────────────────


class Leap:
    """A user's own trigger needs ``next`` only."""

    def next(self, after: datetime, /) -> datetime | None:
        return after + timedelta(days=1461)


_leap: Trigger = Leap()
scheduler.job(Leap())


async def operate() -> None:
    assert_type(await scheduler.add_schedule(send_email, Interval(seconds=5), args=("a@b",)), Schedule)
    await scheduler.add_schedule("send_email", AnyOf(Cron("@daily"), At(datetime.now(UTC))), id="both")
    await scheduler.add_schedule(send_email, Leap())
    await scheduler.add_schedule(send_email, "@daily")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    added = await scheduler.add_schedule(
        send_email, Cron("0 13 8 * *").only(weekday="wed"), id="a", max_runs=3
    )
    assert_type(added.max_runs, int | None)
    assert_type((added.runs_made, added.ended), tuple[int, bool])
    await scheduler.add_schedule(send_email, At(datetime.now(UTC)), max_runs="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    items: list[NewSchedule] = [{"job": send_email, "trigger": Interval(hours=1), "id": "b", "max_runs": 1}]
    assert_type(await scheduler.add_schedules(items), list[Schedule])
    assert_type(await scheduler.pause_many(tag="mail", note="moving"), int)
    assert_type(
        await scheduler.schedules(job="send_email", tag="mail", paused=True, limit=10), list[Schedule]
    )
    assert_type(await scheduler.requeue(job="send_email", again=True), list[RunHandle[Any]])
    await scheduler.pause_job(send_email, "moving")
    await scheduler.resume_job("send_email")
    assert_type(await scheduler.schedules(), list[Schedule])
    assert_type(await scheduler.runs(state="failed"), list[Run])
    assert_type(await scheduler.explain("hourly", datetime.now(UTC)), Explanation)
    assert_type(await scheduler.run_now("hourly"), RunHandle[Any])
    for item in current_run().track(["a"]):
        assert_type(item, str)


# ── in an app ────────────────────────────────────────────────────────────────────────────────

app = FastAPI(lifespan=scheduler.lifespan)
Starlette(lifespan=scheduler.lifespan)
Mails = Annotated[Scheduler, current_scheduler("mail")]


@app.post("/signup")
async def signup(to: str, scheduler: CurrentScheduler, mails: Mails) -> dict[str, str]:
    assert_type(scheduler, Scheduler)
    assert_type(mails, Scheduler)
    return {"run": (await scheduler.schedule_once(send_email, to)).id}


@app.websocket("/ws")
async def talk(websocket: WebSocket, scheduler: CurrentScheduler) -> None:
    assert_type(get_scheduler(websocket), Scheduler)
    await scheduler.schedule_once(send_email, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]


async def starlette(request: Request) -> None:
    assert_type(get_scheduler(request, "mail"), Scheduler)


async def alone() -> None:
    async with scheduler as entered:
        assert_type(entered, Scheduler)
        scheduler.add_job(digest)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    async with scheduler.lifespan(app) as state:
        assert_type(state, dict[str, Any])


# ── a parallel loop has the type of its results ──────────────────────────────────────────────


async def rows() -> AsyncIterator[int]:
    yield 1


def half(number: int) -> float:
    return number / 2


async def twice(number: int) -> int:
    return 2 * number


async def loops() -> None:
    async for value in scheduler.map(half, range(3), executor="process", limit=8):
        assert_type(value, float)
    async for double in scheduler.map(twice, rows(), ordered=False, on_error="stop"):
        assert_type(double, int)
    async for mixed in scheduler.map(half, [1, 2], on_error="yield"):
        assert_type(mixed, float | ItemFailed)
    async with scheduler.map("half", [1]) as results:
        assert_type(await anext(results), Any)
    scheduler.map(half, ["1"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
