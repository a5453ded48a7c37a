"""What a job can ask, tell and be given: progress, context, provided parameters."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Annotated, Any

import anyio
import pytest
from structlog.contextvars import bind_contextvars, bound_contextvars, get_contextvars

from asyncsched import (
    ArgumentError,
    ConfigurationError,
    Progress,
    Provide,
    Retry,
    RunFailed,
    RunIdFilter,
    Scheduler,
    SchedulerStateError,
    current_run,
)
from asyncsched.observers.log import structlog_context
from asyncsched.testing import VirtualClock

pytestmark = pytest.mark.anyio

Make = Callable[..., Scheduler]


async def test_a_job_knows_its_run(scheduler: Scheduler) -> None:
    @scheduler.job()
    async def job() -> list[Any]:
        run = current_run()
        return [run.id, run.job, run.scheduled_for.isoformat(), run.attempt, run.key, run.cancelled]

    async with scheduler:
        handle = await scheduler.schedule_once(job, at=datetime(2026, 1, 1, 12, tzinfo=UTC), key="k")
        assert await handle.result() == [handle.id, "job", "2026-01-01T12:00:00+00:00", 1, "k", False]


async def test_scheduled_for_is_the_slot_before_its_jitter(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    seen: list[datetime] = []

    @scheduler.cron("0 * * * *", jitter=600)
    async def job() -> None:
        seen.append(current_run().scheduled_for)

    async with scheduler:
        await virtual_clock.advance(3 * 3600 + 700)
        due = [run.due for run in await scheduler.runs()]
    assert seen == [datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in range(4)]
    assert set(due) != set(seen)


async def test_outside_a_job_there_is_no_current_run() -> None:
    with pytest.raises(SchedulerStateError, match="outside a job"):
        current_run().progress(1)


async def test_a_helper_task_of_the_job_belongs_to_its_run(scheduler: Scheduler) -> None:
    @scheduler.job()
    async def job() -> list[str]:
        seen: list[str] = []

        async def helper() -> None:
            seen.append(current_run().id)

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(helper)
        return seen

    async with scheduler:
        handle = await scheduler.schedule_once(job)
        assert await handle.result() == [handle.id] * 3


# ── progress ─────────────────────────────────────────────────────────────────────────────────


async def test_progress_is_heard_as_it_comes_and_the_latest_is_kept(scheduler: Scheduler) -> None:
    @scheduler.job()
    async def job() -> None:
        for done in range(1, 4):
            current_run().progress(done, 3, f"part {done}")
            await anyio.sleep(1)

    async with scheduler:
        handle = await scheduler.schedule_once(job)
        heard = [update async for update in handle.updates()]
        run = await handle.status()
    assert heard == [Progress(done, 3, f"part {done}") for done in (1, 2, 3)]
    assert run.progress == Progress(3, 3, "part 3")


async def test_progress_is_written_every_half_second_at_most(scheduler: Scheduler) -> None:
    @scheduler.job()
    async def busy() -> None:
        for done in range(1000):
            current_run().progress(done)
            await anyio.sleep(0.01)

    async with scheduler:
        handle = await scheduler.schedule_once(busy)
        heard = [update.done async for update in handle.updates()]
    assert 15 <= len(heard) <= 22
    assert heard[-1] == 999
    assert heard == sorted(heard)


async def test_tracking_an_iterable_reports_after_each_item(scheduler: Scheduler) -> None:
    @scheduler.job()
    async def job() -> list[int]:
        taken = []
        for item in current_run().track([10, 20, 30]):
            taken.append(item)
            await anyio.sleep(1)
        return taken

    async with scheduler:
        handle = await scheduler.schedule_once(job)
        heard = [(update.done, update.total) async for update in handle.updates()]
        assert await handle.result() == [10, 20, 30]
    assert heard == [(1, 3), (2, 3), (3, 3)]


async def test_updates_of_a_run_that_says_nothing_end_with_it(scheduler: Scheduler) -> None:
    @scheduler.job()
    async def quiet() -> None:
        await anyio.sleep(3)

    async with scheduler:
        handle = await scheduler.schedule_once(quiet)
        assert [update async for update in handle.updates()] == []


@pytest.mark.parametrize("wrong", [("a",), (1, "b"), (float("nan"),), (1, 2, 3), (None,), (10**400,)])
async def test_a_wrong_progress_is_refused_in_words(scheduler: Scheduler, wrong: tuple[Any, ...]) -> None:
    @scheduler.job()
    async def job() -> None:
        current_run().progress(*wrong)

    async with scheduler:
        run = await (await scheduler.schedule_once(job)).wait()
    assert run.state == "failed"
    assert "job 'job': progress(done, total=None, message='')" in run.message


# ── context ──────────────────────────────────────────────────────────────────────────────────

user: ContextVar[str] = ContextVar("user")
secret: ContextVar[str] = ContextVar("secret", default="none")


async def test_named_context_variables_are_carried_and_no_others(scheduler: Scheduler) -> None:
    @scheduler.job(carry=[user])
    async def job() -> list[str]:
        return [user.get("nobody"), secret.get()]

    async with scheduler:
        secret.set("the request's own")
        without = await scheduler.schedule_once(job)
        token = user.set("ada")
        context_vars = await scheduler.schedule_once(job, delay=5)
        user.reset(token)
        assert await without.result() == ["nobody", "none"]
        assert await context_vars.result() == ["ada", "none"]


async def test_carried_variables_come_back_with_each_attempt(scheduler: Scheduler) -> None:
    @scheduler.job(carry=[user], retry=Retry(attempts=2, delay=0))
    async def job() -> str:
        if current_run().attempt == 1:
            user.set("spoilt")
            raise ValueError
        return user.get()

    async with scheduler:
        user.set("ada")
        assert await (await scheduler.schedule_once(job)).result() == "ada"


async def test_what_a_job_logs_can_carry_its_run(scheduler: Scheduler) -> None:
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Lines()
    handler.addFilter(RunIdFilter())
    handler.setFormatter(logging.Formatter("%(job)s %(run_id)s %(attempt)s %(message)s"))
    app_log = logging.getLogger("tests.app")
    app_log.setLevel(logging.INFO)
    app_log.addHandler(handler)

    @scheduler.job()
    async def job() -> None:
        app_log.info("hello")

    try:
        async with scheduler:
            handle = await scheduler.schedule_once(job)
            await handle.wait()
            app_log.info("outside")
    finally:
        app_log.removeHandler(handler)
    assert lines == [f"job {handle.id} 1 hello", "- - - outside"]


# ── provided parameters ──────────────────────────────────────────────────────────────────────


class Session:
    """Something that is opened for each attempt."""

    def __init__(self) -> None:
        self.open = True


opened: list[Session] = []


@asynccontextmanager
async def open_session() -> AsyncIterator[Session]:
    session = Session()
    opened.append(session)
    try:
        yield session
    finally:
        with anyio.CancelScope(shield=True):  # as everywhere where trio may cancel
            await anyio.sleep(0)
        session.open = False


async def yield_session() -> AsyncIterator[Session]:
    session = Session()
    opened.append(session)
    yield session
    session.open = False


@contextmanager
def plain_session() -> Any:
    session = Session()
    opened.append(session)
    yield session
    session.open = False


@asynccontextmanager
async def no_database() -> AsyncIterator[Session]:
    raise ConnectionError("no database")
    yield Session()


async def awaited() -> str:
    return "awaited"


@pytest.fixture(autouse=True)
def forget_sessions() -> None:
    opened.clear()


async def test_a_provided_parameter_is_opened_and_closed_around_each_attempt(scheduler: Scheduler) -> None:
    @scheduler.job(retry=Retry(attempts=2, delay=0))
    async def job(name: str, session: Annotated[Session, Provide(open_session)]) -> str:
        assert session.open and session is opened[-1]
        if current_run().attempt == 1:
            raise ValueError
        return f"hello {name}"

    async with scheduler:
        handle = await scheduler.schedule_once(job, "ada")  # type: ignore[call-overload]  # left out
        assert await handle.result() == "hello ada"
        run = await handle.status()
    assert [session.open for session in opened] == [False, False]
    assert "session" not in run.kwargs and len(run.args) + len(run.kwargs) == 1


async def test_context_managers_generators_awaitables_and_values_can_be_provided(
    scheduler: Scheduler,
) -> None:
    @scheduler.job()
    async def job(
        one: Annotated[Session, Provide(plain_session)],
        two: Annotated[Session, Provide(yield_session)],
        three: Annotated[str, Provide(awaited)],
        four: Annotated[str, Provide(lambda: "a value")],
    ) -> list[Any]:
        return [one.open, two.open, three, four]

    async with scheduler:
        handle = await scheduler.schedule_once("job")
        assert await handle.result() == [True, True, "awaited", "a value"]
    assert [session.open for session in opened] == [False, False]


async def test_a_provider_that_fails_fails_the_attempt(scheduler: Scheduler) -> None:
    @scheduler.job(retry=Retry(attempts=2, delay=0))
    async def job(
        first: Annotated[Session, Provide(open_session)], second: Annotated[Session, Provide(no_database)]
    ) -> None: ...

    async with scheduler:
        with pytest.raises(RunFailed, match="no database"):
            await (await scheduler.schedule_once("job")).result()
    assert [session.open for session in opened] == [False, False]


async def test_a_provider_that_cannot_be_found_is_refused_at_declaration(scheduler: Scheduler) -> None:
    def local() -> int:
        return 7

    with pytest.raises(ConfigurationError, match="job 'job': the annotation of 'number'"):

        @scheduler.job()
        async def job(number: Annotated[int, Provide(local)]) -> None: ...


async def test_provided_parameters_are_closed_when_the_run_is_cancelled(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.job()
    async def job(session: Annotated[Session, Provide(open_session)]) -> None:
        await anyio.sleep_forever()

    async with scheduler:
        handle = await scheduler.schedule_once("job")
        await virtual_clock.advance(1)
        assert await handle.cancel()
    assert [session.open for session in opened] == [False]


# ── results ──────────────────────────────────────────────────────────────────────────────────


async def test_a_result_that_cannot_be_kept_is_said_and_one_that_cannot_be_written_fails_the_run(
    make_scheduler: Make,
) -> None:
    scheduler = make_scheduler(strict=True)

    @scheduler.job()
    async def big(size: int) -> str:
        return "x" * size

    @scheduler.job()
    async def odd() -> Any:
        return object()

    async with scheduler:
        assert len(await (await scheduler.schedule_once(big, 65_000)).result()) == 65_000
        too_big = await (await scheduler.schedule_once(big, 70_000)).wait()
        assert (too_big.state, too_big.result) == ("succeeded", None)  # the work is done
        assert too_big.why == "result not kept: larger than 65536 bytes"
        unwritable = await (await scheduler.schedule_once(odd)).wait()
        assert (unwritable.state, unwritable.why) == ("failed", "result")
        assert "job 'odd': its result" in unwritable.message


async def test_strict_sends_arguments_through_json_as_a_store_would(make_scheduler: Make) -> None:
    scheduler = make_scheduler(strict=True)

    @scheduler.job()
    async def job(at: datetime, pair: tuple[int, int], anything: Any = None) -> list[str]:
        return [type(at).__name__, type(pair).__name__, str(anything)]

    async with scheduler:
        handle = await scheduler.schedule_once("job", datetime(2026, 1, 1, tzinfo=UTC), (1, 2))
        assert await handle.result() == ["datetime", "tuple", "None"]
        with pytest.raises(ArgumentError, match="job 'job': argument 'anything'"):
            await scheduler.schedule_once("job", datetime(2026, 1, 1, tzinfo=UTC), (1, 2), object())
        with pytest.raises(ArgumentError, match="job 'job': argument 'pair"):
            await scheduler.schedule_once("job", datetime(2026, 1, 1, tzinfo=UTC), ("a", "b"))


async def test_a_carried_variable_that_json_cannot_carry_is_named(make_scheduler: Make) -> None:
    scheduler = make_scheduler(strict=True)

    @scheduler.job(carry=[user])
    async def job() -> None: ...

    async with scheduler:
        user.set(object())  # type: ignore[arg-type]
        with pytest.raises(ArgumentError, match="job 'job': carry: the context variable 'user'"):
            await scheduler.schedule_once(job)


# ── the whole context, and structlog's ───────────────────────────────────────────────────────────

TENANT: ContextVar[Any] = ContextVar("tenant")
LOCALE: ContextVar[str] = ContextVar("locale", default="en")


@pytest.mark.parametrize("make_store", ["memory"], indirect=True)
async def test_the_whole_context_of_a_call_travels_in_memory(scheduler: Scheduler) -> None:
    @scheduler.job(carry=True, retry=Retry(attempts=2, delay=0))
    async def outer() -> list[Any]:
        if current_run().attempt == 1:
            TENANT.set("changed by an attempt")
            raise ValueError
        inner_run = await scheduler.schedule_once(inner)
        return [TENANT.get(), LOCALE.get(), current_run().job, await inner_run.result()]

    @scheduler.job(carry=True)
    def inner() -> list[Any]:
        return [TENANT.get(), current_run().job]

    tenant = object()
    async with scheduler:
        TENANT.set(tenant), LOCALE.set("de")
        run = await scheduler.schedule_once(outer, delay=5)
        TENANT.set("another"), LOCALE.set("fr")
        assert await run.result() == [tenant, "de", "outer", [tenant, "inner"]]


async def test_the_whole_context_is_refused_where_it_cannot_travel(make_scheduler: Make) -> None:
    scheduler = make_scheduler(strict=True)

    @scheduler.job(carry=True)
    async def job() -> None: ...

    async with scheduler:
        with pytest.raises(
            ArgumentError, match="job 'job': carry=True takes the whole context in memory only"
        ):
            await scheduler.schedule_once(job)
    with pytest.raises(
        ConfigurationError, match=r"carry=True .* executor 'process' runs the function in another"
    ):

        @scheduler.job(carry=True, executor="process")
        def other() -> None: ...


async def test_what_structlog_has_bound_travels(scheduler: Scheduler) -> None:
    @scheduler.job(carry=[structlog_context])
    async def job() -> dict[str, Any]:
        bound = dict(get_contextvars())
        bind_contextvars(request="changed in the job")
        return bound

    @scheduler.job(carry=[structlog_context])
    def thread() -> dict[str, Any]:
        return dict(get_contextvars())

    async with scheduler:
        with bound_contextvars(request="r1", user=7):
            runs = [await scheduler.schedule_once(one) for one in (job, thread, "job")]
        nothing = await scheduler.schedule_once(job)
        assert [await run.result() for run in runs] == [{"request": "r1", "user": 7}] * 3
        assert await nothing.result() == {}
        assert get_contextvars() == {}
