"""The claim path at a million rows, over both databases: what each call touches does not grow with the table.

Every statement that the store's own calls execute is looked at, so none can be forgotten. What is
counted are rows and steps, not seconds.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from asyncsched._core.records import JobPause, Permit, RunRecord, Stretch
from asyncsched._core.requests import Claim, Ending, RunQuery, Verdict, Watch
from asyncsched._scheduler.lookup import run_of_slot
from asyncsched.stores.sql.operations import stretches
from asyncsched.stores.sql.schema import script
from asyncsched.stores.sql.statements import load, migrations
from asyncsched.stores.sqlite import SqliteStore
from asyncsched.stores.sqlite.store import SqliteSession
from asyncsched.testing import VirtualClock
from asyncsched.testing.conformance import Stage
from tests.postgres import Server
from tests.stores.sql import million

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.blocking_ok,
    pytest.mark.timeout(240),  # a million rows are made
    pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True),  # the same statements on both
]

_IDS = count(1)

MOST_ROWS = 3000
"""How many rows one statement may touch: a batch, and what belongs to it."""

MOST_STEPS = 200_000
"""The same of a call in SQLite, in steps of its machine: some hundreds for each row of a batch."""


# ── what the calls are ───────────────────────────────────────────────────────────────────────────


async def claim_a_batch(stage: Stage) -> None:
    claimed = await stage.claim(free=256)
    assert len(claimed.runs) == 256
    for run in claimed.runs[:128]:
        assert await stage.end(run)
    await stage.store.note(claimed.runs[200], stage.now)
    assert await stage.end(claimed.runs[201], "failed")


async def fire_schedules(stage: Stage) -> None:
    records = await stage.store.schedules([f"s{number}" for number in range(64)])
    assert len(records) == 64
    before, stage.at = stage.at, records[0].next_slot or 0
    firings = [stage.fire(record, slots=2, overlap="queue_all", executor="fired") for record in records]
    claimed = await stage.store.claim(Claim(1, firings, {"fired": 100}, jobs=("job",)), stage.now)
    assert len(claimed.schedules) == len(claimed.runs) == 64
    assert await stage.end(claimed.runs[0])  # and the second of its slots may begin
    assert await end_all(stage, claimed.runs[1:])
    stage.wait(1_000_000_000)
    again = await stage.store.claim(Claim(1, [], {"fired": 100}, jobs=("job",)), stage.now)
    assert len(again.runs) == 64
    assert await end_all(stage, again.runs)
    stage.at = before


async def end_all(stage: Stage, runs: Sequence[RunRecord]) -> bool:
    return all(await stage.store.record([Ending(run, Verdict("succeeded"), stage.now) for run in runs]))


async def wake_who_waits_for_a_limit(stage: Stage) -> None:
    limits = [Permit("limit", 3), *(Permit(f"limit {number}", 3) for number in (5, 15, 25))]
    runs = [stage.run(permits=(permit,), priority=100, executor="other") for permit in limits]
    await stage.add(*runs)
    claimed = await stage.claim_from("other", 10)
    assert len(claimed) == 4
    for run in claimed:
        assert await stage.end(run)  # and the first of 100,000 that wait may try
    await stage.add(*(stage.run(permits=(Permit("limit", 1),), executor="other") for _ in range(3)))
    assert await stage.claim_from("other", 10) == []


async def next_due(stage: Stage) -> None:
    stage.wait(-million.RUNS * 1_000_000)  # a moment at which nothing is ready
    assert (await stage.claim(free=1)).next_wall is not None
    stage.wait(million.RUNS * 1_000_000)


async def add_with_and_without_keys(stage: Stage) -> None:
    await stage.add(*(stage.run() for _ in range(256)))
    await stage.add(*(stage.run(key=f"key {number}") for number in range(20)))
    found = await stage.add(*(stage.run(key=f"key {number}") for number in range(20)), replace=True)
    assert not any(one.created for one in found)


async def cancel_and_move(stage: Stage) -> None:
    waiting = await stage.store.runs(RunQuery(states=("pending",), limit=2))
    for run in waiting:
        assert await stage.store.move(run.id, stage.at + 1, False, stage.now)
        assert (await stage.store.cancel(run.id, "asked", stage.now)).ended
    assert len(await stage.store.runs(RunQuery(ids=(waiting[0].id,)))) == 1
    assert len(await stage.store.runs(RunQuery(ids=[run.id for run in waiting]))) == 2
    await run_of_slot(stage.store, "s1", million.NOW)


async def list_dead_letters(stage: Stage) -> None:
    """The newest, of all and of some; and those that ended lately, or long ago."""
    letters = await stage.store.runs(RunQuery(dead_letters=True))
    assert len(letters) == 100
    assert len(await stage.store.runs(RunQuery(dead_letters=True, states=("failed",), job="job"))) == 100
    for ago, most in ((3600 * 1_000_000, 100), (million.RUNS * 1_000_000, 100)):
        since = letters[0].due - ago
        found = await stage.store.runs(RunQuery(dead_letters=True, finished_since=since, limit=most))
        assert [run.id for run in found] == [run.id for run in letters if run.finished_at >= since][:most]


def list_by(query: RunQuery, *, finds: bool | None) -> Callable[[Stage], Awaitable[None]]:
    """Return a call that lists a page of runs, whether any match (``None``: perhaps)."""

    async def list_runs(stage: Stage) -> None:
        found = await stage.store.runs(query)
        assert finds is None or (len(found) > 0) == finds, (query, len(found))

    list_runs.__name__ = f"list_runs {query}"
    return list_runs


def lists() -> Iterator[Callable[[Stage], Awaitable[None]]]:
    """Yield the list of each filter: with many runs and with none, alone, with each state, and as dead letters."""
    seen = {name for query, _ in million.FILTERS for name, value in query.items() if value is not None}
    assert seen >= set(RunQuery._fields) - {
        "ids",
        "slot",
        "limit",
        "before",
        "states",
        "finished_since",
        "dead_letters",
        "live",
    }
    for given, states in million.FILTERS:
        yield list_by(RunQuery(**given), finds=bool(states))
        page = RunQuery(**given, before=(million.NOW, 1 << 100), limit=10)
        yield list_by(page, finds=bool(states))
        for state in ("pending", "running", "succeeded", "failed", "timed_out", "cancelled", "lost"):
            finds = state in states or (None if states else False)  # other calls cancel some
            yield list_by(RunQuery(**given, states=(state,)), finds=finds)
        yield list_by(RunQuery(**given, dead_letters=True), finds="failed" in states)
        yield list_by(RunQuery(**given, dead_letters=True, states=("lost",)), finds=False)


async def poll(stage: Stage) -> None:
    assert await stage.store.poll(Watch(1, 0, 0, frozenset({1, 2}), True)) is not None
    assert await stage.store.beat(1, stage.now)


async def pause_and_resume(stage: Stage) -> None:
    await stage.store.pause_job("nothing of it is there", JobPause("", "", stage.at), stage.now)
    await stage.store.pause_job("nothing of it is there", None, stage.now)
    (record,) = await stage.store.schedules(("s7",))
    for paused in (True, False):
        lost = None if paused else Stretch("s7", million.NOW, million.NOW, 1, "paused")
        record = replace(record, paused=paused)
        assert await stage.store.put_schedule(record, record.revision, stage.now, lost) is record


async def death(stage: Stage) -> None:
    fenced = await stage.store.declare_dead(3, 1, stage.now)
    assert sum(fenced.values()) == million.RUNS / 100 / 8
    held = await stage.store.held(4)
    assert await stage.store.let_go(4, dict(list(held.items())[:100]), stage.now) == {"pending": 100}
    await stage.store.leave(5, set(held), stage.now)


async def prune(stage: Stage) -> None:
    stage.store.bounds.count = 2000  # of the newest: all the others are looked at, portion by portion
    portion, cancel_requested = stage.store._call, []

    async def some(operation: Any, *args: Any) -> Any:
        cancel_requested.append(operation)
        if operation is stretches.prune_stretches and cancel_requested.count(operation) > 1:
            return None
        answer = await portion(operation, *args)
        return (answer[0], None) if len(cancel_requested) == 3 else answer

    stage.store._call = some
    try:
        assert 500 < await stage.store.prune(stage.now) <= 1503
    finally:
        del stage.store._call


CALLS: list[Callable[[Stage], Awaitable[None]]] = [
    *lists(), claim_a_batch, fire_schedules, wake_who_waits_for_a_limit, next_due, add_with_and_without_keys, cancel_and_move,
    list_dead_letters, poll, pause_and_resume, death, prune,
]  # fmt: skip


class Million(Stage):
    """A stage whose claims may ask for another executor, and whose runs are no other stage's."""

    def __init__(self, make_store: Callable[[], Any], clock: VirtualClock) -> None:
        super().__init__(make_store, clock)
        self._ids = _IDS

    async def claim_from(self, executor: str, free: int) -> list[Any]:
        claim = Claim(1, [], {executor: free}, jobs=("job", "other"))
        return list((await self.store.claim(claim, self.now)).runs)


# ── SQLite ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    file = tmp_path / "ledger.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        for setting in (
            "journal_mode = off",
            "synchronous = off",
            "cache_size = -400000",
            "temp_store = memory",
        ):
            connection.execute(f"PRAGMA {setting}")
        for statement in million.statements("sqlite"):
            connection.executescript(statement)
    return file


class Steps:
    """Counts the steps of SQLite's machine, and keeps what was executed."""

    def __init__(self) -> None:
        self.hundreds = 0
        self.executed: dict[str, Any] = {}

    def count(self) -> int:
        self.hundreds += 1
        return 0


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    steps = Steps()
    connect = SqliteSession.connect

    def watched(self: SqliteSession) -> None:
        if self._connection is not None:
            return
        connect(self)
        made = self._connection
        assert made is not None
        made.set_progress_handler(steps.count, 100)
        monkeypatch.setitem(self.__dict__, "execute", lambda sql, params=(): note(made.execute, sql, params))

    def note(execute: Any, sql: str, params: Any) -> Any:
        steps.executed.setdefault(sql, params)
        return execute(sql, params)

    monkeypatch.setattr(SqliteSession, "connect", watched)
    return steps


async def test_sqlite(
    sqlite_file: Path, steps: Steps, virtual_clock: VirtualClock, anyio_backend: Any
) -> None:
    async with Million(lambda: SqliteStore(sqlite_file, timeout=60), virtual_clock) as stage:
        for call in CALLS:  # in one test, so that the rows are made once
            steps.hundreds = 0
            await call(stage)
            print(f"\n{call.__name__}: {steps.hundreds * 100} steps")
            # Who dies holds five times a batch, what is pruned leaves ten indexes, and a list reads all that runs,
            # or all of its tag.
            more = 5 if call is death else 1
            if call is prune or call.__name__.startswith("list_runs"):
                more = 6 if "tag='often'" in call.__name__ else 3
            assert steps.hundreds * 100 < MOST_STEPS * more, call.__name__
    words = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")
    executed = {sql: params for sql, params in steps.executed.items() if sql.startswith(words)}
    assert len(executed) > 40
    with closing(sqlite3.connect(sqlite_file)) as connection:
        for sql, params in executed.items():
            check_plan(connection, sql, params)
        connection.execute("ANALYZE")  # as a user's PRAGMA optimize does
        for sql, params in executed.items():
            check_plan(connection, sql, params, may_sort=True)  # of the few that it then knows to be there


async def test_no_statement_for_sqlite_reads_a_table(anyio_backend: Any) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(script(migrations("sqlite")))
        for name, sql in load("sqlite").items():
            if name in _PARTS or "{where}" in sql:
                continue
            names = dict.fromkeys(re.findall(r"(?<!:):([a-z_]\w*)", sql))
            check_plan(connection, sql, names or [None] * sql.count("?"))


_PARTS = ("branch", "from_tags", "where_states", "where_tag", "where_dead_letter", "where_finished_since")
_ON_RUNS = re.compile(r"(SEARCH|SCAN) (r|x|asyncsched_runs)( |$)")


def check_plan(connection: sqlite3.Connection, sql: str, params: Any, may_sort: bool = False) -> None:
    """Have a statement read no whole table, nor all runs of a namespace, which is no less."""
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", params)]
    assert not [line for line in plan if reads_a_table(line)], (sql, plan)
    if "asyncsched_runs" in sql and not may_sort:
        sorts = [line for line in plan if line.endswith("FOR ORDER BY")]
        # Running runs are sorted, of which there are as many as capacity admits.
        held = sql.count("r.holder >= 0") + sql.count("INDEXED BY asyncsched_runs_held")
        assert len(sorts) <= held, (sql, plan)
    on_runs = [line for line in plan if _ON_RUNS.match(line)]
    # A list in order of time begins with what is newest, and ends with its limit.
    if on_runs and "ORDER BY 3 DESC" not in sql and "INDEXED BY" not in sql:
        assert not [line for line in on_runs if line.endswith("(namespace=?)")], (sql, plan)
        assert not [line for line in plan if "ORDER BY" in line and not may_sort], (sql, plan)


def reads_a_table(line: str) -> bool:
    """Whether a line of a plan reads all of a table or of an index."""
    if line.startswith("SCAN"):
        return line.split()[1] in ("r", "x", "s", "l", "p", "i") or line.split()[1].startswith("asyncsched_")
    return "AUTOMATIC" in line


# ── PostgreSQL ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def pg_million(pg_server: Server) -> Iterator[str]:
    psycopg = pytest.importorskip("psycopg")
    name = pg_server.create_database()
    with psycopg.connect(pg_server.dsn(name)) as connection:  # one transaction: the rows pass the log by
        connection.execute("SET maintenance_work_mem = '256MB'")
        for statement in million.statements("postgres"):
            connection.execute(statement.encode())
        connection.execute("ALTER TABLE asyncsched_runs SET (autovacuum_enabled = off)")
    yield name
    pg_server.drop_database(name)


class Plans:
    """Explains each statement right before it is executed, the first times."""

    def __init__(self) -> None:
        self.found: list[tuple[str, dict[str, Any]]] = []
        self.times: Counter[str] = Counter()

    def explain(self, session: Any, sql: str, params: Any) -> None:
        from asyncsched.stores.postgres.session import adapt

        self.times[sql] += 1
        if self.times[sql] > 6:
            return
        session._send()
        connection = session._connection
        with connection.transaction(force_rollback=True):
            explain = b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + adapt(sql)
            ((plan,),) = connection.execute(explain, params or None).fetchall()
        self.found.append((sql, plan[0]["Plan"]))


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> Plans:
    pytest.importorskip("psycopg")
    from asyncsched.stores.postgres.session import PostgresSession

    plans = Plans()
    execute, executemany = PostgresSession.execute, PostgresSession.executemany
    words = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")

    def explained(self: PostgresSession, sql: str, params: Any = ()) -> Any:
        if sql.startswith(words) and "asyncsched_" in sql:
            plans.explain(self, sql, params)
        return execute(self, sql, params)

    def explained_many(self: PostgresSession, sql: str, rows: Any) -> int:
        plans.explain(self, sql, rows[0])
        return executemany(self, sql, rows)

    monkeypatch.setattr(PostgresSession, "execute", explained)
    monkeypatch.setattr(PostgresSession, "executemany", explained_many)
    return plans


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


async def test_postgres(
    pg_server: Server, pg_million: str, plans: Plans, virtual_clock: VirtualClock, anyio_backend: Any
) -> None:
    from asyncsched.stores.postgres import PostgresStore

    url = pg_server.dsn(pg_million)
    for analyzed in (False, True):
        if analyzed:
            pg_server.run("ANALYZE", database=pg_million)
        async with Million(lambda: PostgresStore(url, timeout=60), virtual_clock) as stage:
            for call in CALLS:
                if not (analyzed and call is death):  # who is dead is dead
                    await call(stage)
    assert len(plans.times) > 40
    for sql, plan in plans.found:
        check(sql, plan)


def check(sql: str, plan: dict[str, Any]) -> None:
    """Have a statement touch few rows and few blocks, and read no table."""
    most = MOST_ROWS + (2000 if "OFFSET" in sql else 0)  # what ends the history is counted off an index
    if "r.holder >= 0" in sql:  # a list reads all that runs, which the capacity of the executors bounds
        most += million.RUNS // 100
    if "asyncsched_run_tags" in sql:  # whose index has no state
        most += million.TAGGED
    if "permits IS NOT NULL" in sql:  # who holds a limit is counted over all that runs, every five minutes
        most += million.RUNS // 100
    for node in nodes(plan):
        dropped = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        touched = (node["Actual Rows"] + dropped) * node["Actual Loops"]
        assert touched <= (100 if node["Node Type"] == "Seq Scan" else most), (sql, node)
    blocks = 40 * MOST_ROWS + (5 * million.TAGGED if "asyncsched_run_tags" in sql else 0)
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] <= blocks, (sql, plan)


@pytest.mark.parametrize("rows", [0, 128])
async def test_a_batch_that_is_planned_while_the_table_is_small_probes_the_key(
    pg_server: Server, pg_database: str, anyio_backend: Any, rows: int
) -> None:
    pytest.importorskip("psycopg")
    from asyncsched.stores.postgres.connection import Line

    pg_server.run(script(migrations("postgres")), database=pg_database)
    if rows:  # as many as there are when the server looks at a new table for the first time
        pg_server.run(
            "INSERT INTO asyncsched_runs (id, namespace, job, due, executor, origin, ready_at, rank, priority, arguments, "
            "key_ttl, max_attempts, state) SELECT md5(n::text)::uuid, 'n', 'j', n, 'loop', 'once', n, n, 0, '[]', 0, 1, "
            f"'pending' FROM generate_series(1, {rows}) AS n",
            "ANALYZE asyncsched_runs", database=pg_database,
        )  # fmt: skip
    with Line(pg_server.dsn(pg_database), "plans", 5).connect() as connection:
        connection.prepare_threshold = None
        for name in ("succeed", "record_all", "states"):
            places = re.findall(r"\?|(?<!:):[a-z_]\w*", load("postgres")[name])
            sql = load("postgres")[name]
            for number, place in enumerate(places, 1):
                sql = sql.replace(place, f"${number}", 1 if place == "?" else -1)
            connection.execute(f"PREPARE {name} AS {sql}".encode())
            nulls = ", ".join(["NULL"] * len(places))
            found = connection.execute(f"EXPLAIN (FORMAT JSON) EXECUTE {name}({nulls})".encode()).fetchone()
            scans = [
                one for one in nodes(found[0][0]["Plan"]) if one.get("Relation Name") == "asyncsched_runs"
            ]
            assert all("Index Cond" in one for one in scans if "Scan" in one["Node Type"]), (name, scans)
