"""What a job is given by ``Provide``: what is opened for it and closed, what only passes through, and overrides."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, Header, Query, Security
from fastapi.security import HTTPBasic

from asyncsched import ConfigurationError, Interval, Provide, Retry, RunFailed, Scheduler, current_run
from asyncsched.abc import Opening, Provider
from asyncsched.asgi import CurrentScheduler
from asyncsched.testing import VirtualClock, inline

pytestmark = pytest.mark.anyio

Make = Callable[..., Scheduler]


class Pool:
    """A pool as ``asyncpg`` has it: an async context manager that closes it, and awaitable."""

    def __init__(self) -> None:
        self.entered = 0
        self.closed = False

    async def __aenter__(self) -> Pool:
        self.entered += 1
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.closed = True

    def __await__(self) -> Any:
        raise AssertionError("the pool is open already")
        yield


POOL = Pool()
LOG: list[str] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    POOL.__init__()  # type: ignore[misc]
    LOG.clear()


def get_pool() -> Pool:
    return POOL


async def get_pool_slowly() -> Pool:
    return POOL


class Owner:
    def pool(self) -> Pool:
        return POOL


@pytest.mark.parametrize(
    "factory",
    [get_pool, get_pool_slowly, lambda: POOL, functools.partial(get_pool), Owner().pool, lambda: get_pool_slowly()],
    ids=["function", "coroutine", "lambda", "partial", "method", "lambda of a coroutine"],
)  # fmt: skip
async def test_what_a_function_returns_is_handed_over_and_stays_open(
    scheduler: Scheduler, factory: Callable[[], Any]
) -> None:
    async def job(pool: Any) -> bool:
        return pool is POOL and not pool.closed

    job.__annotations__["pool"] = Annotated[Pool, Provide(factory)]
    scheduler.job()(job)
    async with scheduler:
        assert await (await scheduler.schedule_once("job")).result()
        assert await (await scheduler.schedule_once("job")).result()
    assert (POOL.entered, POOL.closed) == (0, False)


async def test_a_client_of_the_lifespan_is_not_closed_by_a_job(scheduler: Scheduler) -> None:
    def get_client() -> httpx.AsyncClient:
        client: httpx.AsyncClient = scheduler.state["client"]
        return client

    async def ping(client: httpx.AsyncClient) -> int:
        return (await client.get("http://example/")).status_code

    ping.__annotations__["client"] = Annotated[httpx.AsyncClient, Provide(get_client)]
    scheduler.job()(ping)
    transport = httpx.MockTransport(lambda request: httpx.Response(204))
    async with httpx.AsyncClient(transport=transport) as client, scheduler:
        scheduler.state["client"] = client
        assert await (await scheduler.schedule_once("ping")).result() == 204
        assert await (await scheduler.schedule_once("ping")).result() == 204
        assert not client.is_closed


# ── what is opened, and closed after the attempt ─────────────────────────────────────────────────


async def agen() -> AsyncIterator[str]:
    LOG.append("open")
    yield "value"
    LOG.append("close")


def gen() -> Iterator[str]:
    LOG.append("open")
    yield "value"
    LOG.append("close")


def logged(func: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return wrapper


class Methods:
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[str]:
        LOG.append("open")
        yield "value"
        LOG.append("close")

    def __call__(self) -> Iterator[str]:
        return gen()


class Callable_:
    def __call__(self) -> Iterator[str]:
        LOG.append("open")
        yield "value"
        LOG.append("close")


OPENED = {
    "async generator": agen,
    "generator": gen,
    "asynccontextmanager": asynccontextmanager(agen),
    "contextmanager": contextmanager(gen),
    "a decorated generator": logged(gen),
    "a decorated async generator": logged(agen),
    "a decorated context manager": logged(asynccontextmanager(agen)),
    "a partial": functools.partial(contextmanager(gen)),
    "a method": Methods().opened,
    "an object": Callable_(),
}


@pytest.mark.parametrize("kind", OPENED)
async def test_a_generator_function_or_a_context_manager_is_opened_and_closed(
    scheduler: Scheduler, kind: str
) -> None:
    async def job(value: str) -> str:
        LOG.append("job")
        return value

    job.__annotations__["value"] = Annotated[str, Provide(OPENED[kind])]
    scheduler.job()(job)
    async with scheduler:
        assert await (await scheduler.schedule_once("job")).result() == "value"
    assert LOG == ["open", "job", "close"]


# ── providers that need others ───────────────────────────────────────────────────────────────────


@dataclass
class Session:
    pool: Pool
    number: int


async def get_session(pool: Annotated[Pool, Provide(get_pool)]) -> AsyncIterator[Session]:
    LOG.append("begin")
    yield Session(pool, len(LOG))
    LOG.append("commit")


def get_users(session: Annotated[Session, Provide(get_session)], limit: int = 7) -> tuple[Session, int]:
    return session, limit


async def test_providers_nest_and_one_attempt_has_one_value_of_each(scheduler: Scheduler) -> None:
    @scheduler.job(retry=Retry(attempts=2, delay=0))
    async def job(
        users: Annotated[Any, Provide(get_users)], session: Annotated[Session, Provide(get_session)]
    ) -> list[Any]:
        if current_run().attempt == 1:
            raise ValueError("once more")
        return [users[0] is session, session.pool is POOL, users[1], session.number]

    async with scheduler:
        run = await (await scheduler.schedule_once("job")).wait()
    assert run.result == [True, True, 7, 2]
    assert LOG == ["begin", "begin", "commit"]  # the first attempt failed before its commit
    assert not POOL.closed


async def test_a_job_in_a_thread_is_given_the_same(scheduler: Scheduler) -> None:
    @scheduler.job()
    def job(users: Annotated[Any, Provide(get_users)]) -> int:
        return int(users[1])

    async with scheduler:
        assert await (await scheduler.schedule_once("job")).result() == 7
    assert LOG == ["begin", "commit"]


async def test_a_provider_of_ones_own_opens_by_the_stack(scheduler: Scheduler) -> None:
    class FromStack(Provider):
        async def enter(self, opening: Opening) -> str:
            opening.stack.callback(LOG.append, "closed")
            return await Provide(gen).enter(opening)

    async def job(value: str) -> str:
        return value

    job.__annotations__["value"] = Annotated[str, FromStack()]
    scheduler.job()(job)
    async with scheduler:
        assert await (await scheduler.schedule_once("job")).result() == "value"
    assert LOG == ["open", "close", "closed"]


def needs_a_name(name: str) -> str:
    return name


def needs_a_request(token: str = Header()) -> str:
    return token


def first(other: Annotated[Any, Provide(lambda: second)]) -> None: ...


second = first
first.__annotations__["other"] = Annotated[Any, Provide(first)]


@pytest.mark.parametrize(
    "factory, text",
    [
        (needs_a_name, r"job 'job': provider 'needs_a_name': its parameter 'name' has no value; write name: Annot"),
        (needs_a_request, r"job 'job': provider 'needs_a_request': the parameter 'token' has Header\(...\)"),
        (first, "job 'job': provider 'first' needs itself"),
    ],
)  # fmt: skip
def test_a_provider_that_cannot_be_called_is_refused_at_declaration(
    factory: Callable[..., Any], text: str
) -> None:
    async def job(value: Any) -> None: ...

    job.__annotations__["value"] = Annotated[Any, Provide(factory)]
    with pytest.raises(ConfigurationError, match=text):
        Scheduler().job()(job)


# ── overrides ────────────────────────────────────────────────────────────────────────────────────


async def test_a_test_puts_another_provider_in_place_of_one(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    seen: list[Any] = []

    @scheduler.job()
    async def job(
        users: Annotated[Any, Provide(get_users)], session: Annotated[Session, Provide(get_session)]
    ) -> None:
        seen.append((users[0].pool, session.pool))

    fake = Pool()

    def get_fake(number: Annotated[int, Provide(lambda: 3)]) -> Iterator[Pool]:
        LOG.append(f"fake {number}")
        yield fake
        LOG.append("gone")

    async with scheduler:
        await scheduler.add_schedule("job", Interval(seconds=60))
        await virtual_clock.advance(61)
        scheduler.overrides[get_pool] = get_fake
        LOG.clear()
        await virtual_clock.advance(60)
        assert LOG == ["fake 3", "begin", "commit", "gone"]
        del scheduler.overrides[get_pool]
        await virtual_clock.advance(60)
    assert seen == [(POOL, POOL), (fake, fake), (POOL, POOL)]


async def test_overrides_and_state_hold_in_a_scope_and_inline(scheduler: Scheduler) -> None:
    @scheduler.job()
    async def job(value: Annotated[Any, Provide(get_pool)], key: Annotated[str, Provide(_key)]) -> list[Any]:
        return [value, key]

    scheduler.overrides[get_pool] = lambda: "fake"
    scheduler.overrides[_key] = lambda: scheduler.state["key"]
    scheduler.state["key"] = "k"
    with inline(scheduler) as ran:  # not started: a temporary scheduler runs it
        await scheduler.schedule_once("job")
    assert ran[0].result == ["fake", "k"]
    async with scheduler, scheduler.scope() as scope:
        assert await (await scope.schedule_once(job, kwargs={})).result() == ["fake", "k"]


def _key() -> str:
    raise AssertionError("overridden in every test")


async def test_an_override_that_is_no_function_fails_the_run_in_words(scheduler: Scheduler) -> None:
    @scheduler.job()
    async def job(value: Annotated[Any, Provide(get_pool)]) -> None: ...

    scheduler.overrides[get_pool] = "a fake"  # type: ignore[assignment]
    async with scheduler:
        with pytest.raises(
            RunFailed, match="'a fake' in place of 'get_pool' is not callable; give a function"
        ):
            await (await scheduler.schedule_once("job")).result()


# ── what only a request can fill ─────────────────────────────────────────────────────────────────


async def by_default(report: int, db: Session = Depends(get_session)) -> None: ...  # noqa: B008  # as FastAPI has it
async def by_annotation(report: int, db: Annotated[Session, Depends(get_session)]) -> None: ...
async def by_security(user: Annotated[str, Security(HTTPBasic())]) -> None: ...
async def by_alias(scheduler: CurrentScheduler) -> None: ...
async def by_query(page: int = Query(1)) -> None: ...


REFUSED = [
    (by_default, r"job 'by_default': the parameter 'db' has Depends\(get_session\), which FastAPI fills in from a "
                 r"request, and a job has none; write db: Annotated\[.*Session, Provide\(get_session\)\]"),
    (by_annotation, r"write db: Annotated\[.*Session, Provide\(get_session\)\], or give its value to schedule_once"),
    (by_security, r"the parameter 'user' has Security\(HTTPBasic\)"),
    (by_alias, r"the parameter 'scheduler' has Depends\("),
    (by_query, r"the parameter 'page' has Query\(...\), which FastAPI fills in .* write it as a plain parameter"),
]  # fmt: skip


@pytest.mark.parametrize("func, text", REFUSED, ids=[func.__name__ for func, _ in REFUSED])
async def test_a_parameter_that_a_request_fills_in_is_refused_with_the_words_to_write_instead(
    scheduler: Scheduler, func: Callable[..., Any], text: str
) -> None:
    with pytest.raises(ConfigurationError, match=text):
        scheduler.job()(func)


async def test_so_it_is_in_a_function_that_was_not_declared(virtual_clock: VirtualClock) -> None:
    async with Scheduler(clock=virtual_clock) as scheduler:
        with pytest.raises(ConfigurationError, match=r"write db: Annotated"):
            await scheduler.schedule_once(by_default, 7)
