"""The systems that keep jobs in a database, each behind the same three verbs.

Each is set up as its documentation says for an application with many jobs at once, in the driver that
it prefers, and durable: nobody's ``fsync`` or ``synchronous_commit`` is off, and SQLite writes ahead,
with ``synchronous=FULL``, for everyone. pgqueuer is there twice: with the batches of 10 that it comes
with, and as ``pgqueuer-100`` with the size that suits this work best.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.benchmarks._measure import aps3
from tests.benchmarks._workloads import AT_ONCE
from tests.benchmarks.peers import docket, saq

CONNECTIONS = 16
"""How many connections a peer may use that opens several."""

done: list[int] = []
"""What this process has done: the numbers of the jobs."""


async def job(number: int) -> None:
    """Be the job."""
    done.append(number)


Put = Callable[[int], Awaitable[object]]


@dataclass(frozen=True)
class Queue:
    """A system over a database.

    Args:
        putting: yields what puts one job into the ledger, durable when it returns.
        working: runs jobs as long as it is open.
        left: SQL that counts the jobs that are not done; none where the queue keeps no record.
        setup: makes the tables.

    """

    putting: Callable[[str], AbstractAsyncContextManager[Put]]
    working: Callable[[str], AbstractAsyncContextManager[None]]
    left: str = ""
    setup: Callable[[str], Awaitable[None]] | None = None


# ── this library ─────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def _putting_ours(url: str) -> AsyncIterator[Put]:
    from asyncsched import Scheduler

    scheduler = Scheduler(url, role="submit")
    scheduler.job()(job)
    async with scheduler:
        yield partial(scheduler.schedule_once, job)


@asynccontextmanager
async def _working_ours(url: str) -> AsyncIterator[None]:
    from asyncsched import Scheduler

    scheduler = Scheduler(url)
    scheduler.job()(job)
    async with scheduler:
        yield


OURS = Queue(_putting_ours, _working_ours, "SELECT count(*) FROM asyncsched_runs WHERE state <> 'succeeded'")


# ── the drivers alone ────────────────────────────────────────────────────────────────────────────

_TABLE = """CREATE TABLE queue (id text PRIMARY KEY, due bigint NOT NULL, state text NOT NULL, arguments text);
CREATE INDEX queue_ready ON queue (due) WHERE state = 'pending'"""
_PUT = "INSERT INTO queue VALUES (?, ?, 'pending', ?)"
_CLAIM = """UPDATE queue SET state = 'running' WHERE id = (
    SELECT id FROM queue WHERE state = 'pending' ORDER BY due LIMIT 1 {locking}
) RETURNING id, arguments"""
_FINISH = "UPDATE queue SET state = 'done' WHERE id = ?"


def lite(path: str) -> sqlite3.Connection:
    """Return a connection of SQLite whose every statement is a durable transaction."""
    made = sqlite3.connect(path, isolation_level=None)
    made.execute("PRAGMA journal_mode = WAL")
    made.execute("PRAGMA synchronous = FULL")
    return made


def _row(number: int) -> tuple[str, int, str]:
    return f"{number:032x}", time.time_ns() // 1000, json.dumps([number])


async def _set_up_sqlite(url: str) -> None:
    lite(path_of(url)).executescript(_TABLE)


@asynccontextmanager
async def _putting_sqlite(url: str) -> AsyncIterator[Put]:
    connection = lite(path_of(url))

    async def put(number: int) -> None:
        connection.execute(_PUT, _row(number))

    yield put
    connection.close()


@asynccontextmanager
async def _working_sqlite(url: str) -> AsyncIterator[None]:
    connection = lite(path_of(url))
    claim = _CLAIM.format(locking="")
    while (row := connection.execute(claim).fetchone()) is not None:
        await job(*json.loads(row[1]))
        connection.execute(_FINISH, (row[0],))
    yield
    connection.close()


RAW_SQLITE = Queue(
    _putting_sqlite, _working_sqlite, "SELECT count(*) FROM queue WHERE state <> 'done'", _set_up_sqlite
)


async def _set_up_postgres(url: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_TABLE)


@asynccontextmanager
async def _connections(url: str) -> AsyncIterator[list[Any]]:
    import psycopg

    made = [await psycopg.AsyncConnection.connect(url, autocommit=True) for _ in range(CONNECTIONS)]
    yield made
    for connection in made:
        await connection.close()


def _percent(sql: str) -> str:
    return sql.replace("?", "%s")


@asynccontextmanager
async def _putting_postgres(url: str) -> AsyncIterator[Put]:
    async with _connections(url) as connections:
        free: asyncio.LifoQueue[Any] = asyncio.LifoQueue()
        for connection in connections:
            free.put_nowait(connection)

        async def put(number: int) -> None:
            connection = await free.get()
            await connection.execute(_percent(_PUT), _row(number))
            free.put_nowait(connection)

        yield put


@asynccontextmanager
async def _working_postgres(url: str) -> AsyncIterator[None]:
    claim = _CLAIM.format(locking="FOR UPDATE SKIP LOCKED")

    async def work(connection: Any) -> None:
        while (row := await (await connection.execute(claim)).fetchone()) is not None:
            await job(*json.loads(row[1]))
            await connection.execute(_percent(_FINISH), (row[0],))

    async with _connections(url) as connections, asyncio.TaskGroup() as group:
        for connection in connections:
            group.create_task(work(connection))
        yield


RAW_POSTGRES = Queue(
    _putting_postgres, _working_postgres, "SELECT count(*) FROM queue WHERE state <> 'done'", _set_up_postgres
)


# ── APScheduler ──────────────────────────────────────────────────────────────────────────────────


def _engine(url: str, make: Any = None, connections: int = CONNECTIONS) -> Any:
    from sqlalchemy import create_engine, event

    address = url.replace("postgresql:", "postgresql+psycopg:")
    engine = (make or create_engine)(address, pool_size=connections)
    if url.startswith("sqlite"):

        @event.listens_for(engine, "connect")
        def durable(connection: Any, record: Any) -> None:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")

    return engine


def _aps3(url: str) -> Any:
    from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore

    scheduler = aps3(job_defaults={"misfire_grace_time": None})
    scheduler.add_jobstore(SQLAlchemyJobStore(engine=_engine(url)))
    return scheduler


@asynccontextmanager
async def _putting_aps3(url: str) -> AsyncIterator[Put]:
    scheduler = _aps3(url)
    scheduler.start(paused=True)

    async def put(number: int) -> None:
        scheduler.add_job(job, "date", run_date=datetime.now(UTC), args=(number,))

    yield put
    scheduler.shutdown(wait=False)


@asynccontextmanager
async def _working_aps3(url: str) -> AsyncIterator[None]:
    scheduler = _aps3(url)
    scheduler.start()
    yield
    scheduler.shutdown(wait=False)


APS3 = Queue(_putting_aps3, _working_aps3, "SELECT count(*) FROM apscheduler_jobs")


@asynccontextmanager
async def aps4(url: str, shared: bool = False) -> AsyncIterator[Any]:
    """Yield its scheduler; ``shared`` with others, which its event broker tells of what is new.

    https://apscheduler.readthedocs.io/en/master/userguide.html, "Using multiple schedulers". It warns of
    aiosqlite, so SQLite goes through its threads.
    """
    from apscheduler import AsyncScheduler
    from apscheduler.datastores.sqlalchemy import SQLAlchemyDataStore
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = _engine(url, None if url.startswith("sqlite") else create_async_engine)
    store, brokers = SQLAlchemyDataStore(engine), []
    if shared:
        from apscheduler.eventbrokers.psycopg import PsycopgEventBroker

        brokers = [PsycopgEventBroker.from_async_sqla_engine(engine)]
    async with AsyncScheduler(store, *brokers) as scheduler:
        yield scheduler


@asynccontextmanager
async def _putting_aps4(url: str) -> AsyncIterator[Put]:
    async with aps4(url) as scheduler:
        await scheduler.configure_task("job", func=job)
        # Several at once are refused by SQLite's lock, or wait for one another's connections for ever.
        gate = asyncio.Semaphore(1 if url.startswith("sqlite") else AT_ONCE)

        async def put(number: int) -> None:
            async with gate:
                await scheduler.add_job("job", args=(number,))

        yield put


@asynccontextmanager
async def _working_aps4(url: str, shared: bool = False) -> AsyncIterator[None]:
    async with aps4(url, shared) as scheduler:
        await scheduler.configure_task("job", func=job, max_running_jobs=AT_ONCE)
        await scheduler.start_in_background()
        yield
        await scheduler.stop()


APS4 = Queue(_putting_aps4, _working_aps4, "SELECT count(*) FROM jobs")
APS4_SHARED = replace(APS4, working=partial(_working_aps4, shared=True))


# ── huey ─────────────────────────────────────────────────────────────────────────────────────────


def _huey(url: str) -> Any:
    # https://huey.readthedocs.io/en/latest/api.html#SqliteHuey: it writes ahead by itself; fsync is as for everyone.
    from huey import SqliteHuey

    huey = SqliteHuey(filename=path_of(url), fsync=True, results=False)
    return huey, huey.task(name="job")(done.append)


@asynccontextmanager
async def _putting_huey(url: str) -> AsyncIterator[Put]:
    _, task = _huey(url)

    async def put(number: int) -> None:
        task(number)  # it has calls for synchronous code only

    yield put


@asynccontextmanager
async def _working_huey(url: str) -> AsyncIterator[None]:
    # https://huey.readthedocs.io/en/latest/consumer.html: threads, the default kind; a second one only adds waiting.
    huey, _ = _huey(url)
    consumer = huey.create_consumer(workers=1, periodic=False, initial_delay=0.01, check_worker_health=False)
    consumer._set_signal_handlers = lambda: None  # the process is ours
    consumer.start()
    yield
    consumer.stop(graceful=True)


HUEY = Queue(_putting_huey, _working_huey, "SELECT count(*) FROM task")


# ── queues on Redis ──────────────────────────────────────────────────────────────────────────────

SAQ = Queue(saq.putting, saq.working)
DOCKET = Queue(docket.putting, docket.working)


# ── queues on PostgreSQL ─────────────────────────────────────────────────────────────────────────


def _database(url: str) -> str:
    # Named apart, because asyncpg does not find it among a URL's options.
    return parse_qs(urlsplit(url).query)["dbname"][0]


@asynccontextmanager
async def pgqueuer(url: str, producing: bool = False) -> AsyncIterator[Any]:
    """Yield its application: a pool for what puts jobs, one connection for what runs them.

    That is the checklist of https://pgqueuer.readthedocs.io/en/latest/guides/performance-tuning/.
    """
    import asyncpg
    from pgqueuer import PgQueuer

    if producing:
        async with asyncpg.create_pool(
            url, database=_database(url), min_size=2, max_size=CONNECTIONS
        ) as pool:
            yield PgQueuer.from_asyncpg_pool(pool)
        return
    connection = await asyncpg.connect(url, database=_database(url))
    yield PgQueuer.from_asyncpg_connection(connection)
    await connection.close()


async def _set_up_pgqueuer(url: str) -> None:
    async with pgqueuer(url) as queuer:
        await queuer.queries.install()
        await queuer.queries.optimize_autovacuum()


@asynccontextmanager
async def _putting_pgqueuer(url: str) -> AsyncIterator[Put]:
    async with pgqueuer(url, producing=True) as queuer:

        async def put(number: int) -> None:
            await queuer.queries.enqueue("job", str(number).encode())

        yield put


@asynccontextmanager
async def _working_pgqueuer(url: str, **batches: int) -> AsyncIterator[None]:
    async with pgqueuer(url) as queuer:

        @queuer.entrypoint("job")
        async def run(one: Any) -> None:
            await job(int(one.payload))

        task = asyncio.create_task(queuer.run(**batches))
        yield
        queuer.shutdown.set()
        await task


PGQUEUER = Queue(_putting_pgqueuer, _working_pgqueuer, "SELECT count(*) FROM pgqueuer", _set_up_pgqueuer)
PGQUEUER_100 = replace(
    PGQUEUER, working=partial(_working_pgqueuer, batch_size=100)
)  # 1,000 take about as long


@asynccontextmanager
async def procrastinate(url: str) -> AsyncIterator[Any]:
    """Yield its application: https://procrastinate.readthedocs.io/en/stable/howto/basics/connector.html."""
    from procrastinate import App, PsycopgConnector

    app = App(connector=PsycopgConnector(conninfo=url, min_size=2, max_size=CONNECTIONS))
    app.task(name="job")(job)
    async with app.open_async():
        yield app


async def _set_up_procrastinate(url: str) -> None:
    async with procrastinate(url) as app:
        await app.schema_manager.apply_schema_async()


@asynccontextmanager
async def _putting_procrastinate(url: str) -> AsyncIterator[Put]:
    async with procrastinate(url) as app:

        async def put(number: int) -> None:
            await app.tasks["job"].defer_async(number=number)

        yield put


@asynccontextmanager
async def _working_procrastinate(url: str) -> AsyncIterator[None]:
    async with procrastinate(url) as app:
        task = asyncio.create_task(
            app.run_worker_async(concurrency=AT_ONCE, install_signal_handlers=False, delete_jobs="never")
        )
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


PROCRASTINATE = Queue(
    _putting_procrastinate,
    _working_procrastinate,
    "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')",
    _set_up_procrastinate,
)


# ── what all of them are asked for ───────────────────────────────────────────────────────────────


def path_of(url: str) -> str:
    """Return the path in a URL of SQLite."""
    return urlsplit(url).path[1:]


def counter(url: str, sql: str) -> Callable[[], int]:
    """Return what asks a database, on a connection of its own, for a number."""
    if url.startswith("sqlite"):
        connection: Any = lite(path_of(url))
    else:
        import psycopg

        connection = psycopg.connect(url, autocommit=True)
    return lambda: int(connection.execute(sql).fetchone()[0])


async def enqueue(put: Put, n: int, writers: int = AT_ONCE) -> float:
    """Have tasks put ``n`` jobs, each waiting for its own; return how many per second they were."""
    numbers = count()

    async def write() -> None:
        while (number := next(numbers)) < n:
            await put(number)

    began = time.perf_counter()
    await asyncio.gather(*(write() for _ in range(writers)))
    return n / (time.perf_counter() - began)


async def run_all(queue: Queue, url: str, n: int) -> float:
    """Open a worker and have it do all jobs; return how many per second the ledger has as done."""
    left = counter(url, queue.left) if queue.left else lambda: 0
    began = time.perf_counter()
    async with queue.working(url):
        while len(done) < n:
            await asyncio.sleep(0.001)
        while left():
            await asyncio.sleep(0.001)
        took = time.perf_counter() - began
    return n / took


def loop_of(system: str) -> Callable[[Any], Any]:
    """Return what runs a coroutine: pgqueuer's own command uses uvloop, so it may here."""
    if system.startswith("pgqueuer"):
        import uvloop

        run: Callable[[Any], Any] = uvloop.run
        return run
    return asyncio.run
