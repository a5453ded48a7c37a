"""The session of a PostgreSQL store: connections, transactions, ids and notifications."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from psycopg.errors import UniqueViolation
from psycopg.pq import TransactionStatus
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import TextLoader

from asyncsched._core.errors import SchemaError, StoreError
from asyncsched._core.instants import Instant
from asyncsched._core.records import RunRecord
from asyncsched.stores.postgres import connection as link
from asyncsched.stores.sql.bulk import by_arrays
from asyncsched.stores.sql.operations.claiming import Claiming
from asyncsched.stores.sql.operations.recording import Recording
from asyncsched.stores.sql.request import Request
from asyncsched.stores.sql.session import Params, Ruling, Session
from asyncsched.stores.sql.statements import load

if TYPE_CHECKING:
    from asyncsched.abc import ReadTrigger
    from asyncsched.stores.sql.rows import Quarantine

_QUERIES = load("postgres")  # the files are read at import, not inside the loop
_NAMED = re.compile(r"(?<!:):([a-z_]\w*)")

_MANY = 4
"""The number of rows from which on one statement over arrays is quicker than one per row."""

_LOCK = 0x6173796E63736368  # "asyncsch": one lock per database, for all namespaces

Committed = Callable[[bool, set[int]], None]


@cache
def adapt(sql: str) -> bytes:
    """Return a statement with psycopg's placeholders for ``:name`` and ``?``."""
    return _NAMED.sub(r"%(\1)s", sql).replace("?", "%s").encode()


class PostgresSession(Session):
    """One connection, opened when it is needed, and again after it was lost.

    Args:
        line: makes its connections.
        committed: called after COMMIT with whether other instances may have work, and the changed runs.
        beaten: called with the server's time at every beat.
        ghosts: the lost connections whose server process may still run.

    """

    dialect = "postgres"
    elsewhere = "another database, or another schema by ?options=-csearch_path%3Dname"

    def __init__(
        self, line: link.Line, namespace: str, triggers: ReadTrigger, quarantine: Quarantine,
        committed: Committed = lambda work, runs: None, beaten: Callable[[Instant], None] = lambda at: None,
        ghosts: link.Ghosts | None = None,
    ) -> None:  # fmt: skip
        super().__init__(namespace, _QUERIES, triggers, quarantine)
        self._line = line
        self._committed = committed
        self._beaten = beaten
        self._ghosts = ghosts
        self._changed: set[int] = set()
        self._held_first: frozenset[str | None] = frozenset()
        # A statement whose answer is not needed is sent with the next one: every round trip hands over
        # the interpreter's lock twice, which costs more than the trip.
        self._before: list[tuple[bytes, Params | None]] = []
        self._connection: link.Connection | None = None
        self._server: tuple[int, str] | None = None

    def connect(self) -> None:
        if self._connection is None:
            made = self._line.connect()
            made.adapters.register_loader("uuid", TextLoader)
            # All numbers have one type, so that a statement is prepared once, not for each mix of their sizes.
            made.adapters.register_dumper(int, Int8Dumper)
            self._connection = made
            if self._ghosts is not None:
                self._server = link.server_process(made)
                self.see_off()

    def check_pooler(self) -> None:
        """Refuse a pooler that keeps no session for a connection: LISTEN and settings would not last.

        A pooler gives each connection a process id that is not the server's. It keeps no sessions if the
        same process of the server then answers on two connections.
        """
        assert self._connection is not None
        if self._server is None or self._server[0] == self._connection.info.backend_pid:
            return
        with self._line._replace(name="probe").connect() as second:
            if link.server_process(second) == link.server_process(self._connection):
                raise StoreError(
                    "the URL leads to a pooler that keeps no session for a connection, such as PgBouncer in "
                    "transaction mode; use its session mode, or connect to the server directly"
                )

    def interrupt(self) -> None:
        connection = self._connection
        if connection is not None:
            connection.give_up()

    def close(self) -> None:
        connection, self._connection, self._server = self._connection, None, None
        if connection is not None:
            connection.close()

    def _lose(self) -> None:
        """Close a connection that cannot be used; the server may still execute its last statements."""
        if self._server is not None and self._ghosts is not None:
            self._ghosts.add(self._server)
        self.close()

    def see_off(self) -> None:
        """Have the server terminate the processes of connections that were lost."""
        if self._ghosts and self._connection is not None:
            self._ghosts.see_off(self._connection)

    def execute(self, sql: str, params: Params = ()) -> Any:
        connection = self._connection
        assert connection is not None
        if not self._before:
            return connection.execute(adapt(sql), params or None)
        before, self._before = self._before, []
        with connection.together():
            for command in before:
                connection.execute(*command)
            return connection.execute(adapt(sql), params or None)

    def executemany(self, sql: str, rows: Sequence[Params]) -> int:
        self._send()
        assert self._connection is not None
        with self._connection.cursor() as cursor:
            cursor.executemany(adapt(sql), rows)
            return cursor.rowcount

    def _send(self) -> None:
        before, self._before = self._before, []
        assert self._connection is not None
        for command in before:
            self._connection.execute(*command)

    def many(self, name: str, rows: Sequence[Params]) -> int:
        """Execute a statement for each row, or its form for many rows, if it has one."""
        form = self.queries.get(f"{name}_all")
        if form is None or len(rows) < _MANY:
            return super().many(name, rows)
        return self._by_arrays(form, rows)

    def _by_arrays(self, form: str, rows: Sequence[Params]) -> int:
        count: int = self.execute(*by_arrays(form, rows)).rowcount
        return count

    def insert_new(self, rows: Sequence[Params]) -> None:
        if len(rows) < _MANY:
            self.many("insert_run", rows)
            return
        form = self.queries["insert_run_all"]
        self.savepoint("new")
        try:  # the check for conflicts takes the server a quarter longer
            self._by_arrays(form.removesuffix("ON CONFLICT DO NOTHING"), rows)
        except UniqueViolation:
            self.go_back("new")
            self._by_arrays(form, rows)
        else:
            self.release("new")

    def later(self, name: str, rows: Sequence[Params]) -> None:
        form = self.queries.get(f"{name}_all")
        if form is None or len(rows) < _MANY:
            self._before += [(adapt(self.queries[name]), row) for row in rows]
        else:
            sql, params = by_arrays(form, rows)
            self._before.append((adapt(sql), params))

    def several(self, *queries: tuple[str, dict[str, Any]]) -> list[list[Any]]:
        assert self._connection is not None
        with self._connection.together():
            self._send()
            cursors = [
                self._connection.execute(adapt(self.queries[name]), {**params, "namespace": self.namespace})
                for name, params in queries
            ]
            return [cursor.fetchall() for cursor in cursors]

    def run(self, name: str, params: Params) -> int:
        cursor = self.execute(self.queries[name], params)
        if name == "beat" and (row := cursor.fetchone()) is not None:
            self._beaten(row[0])
        count: int = cursor.rowcount
        return count

    def script(self, sql: str) -> None:
        self._send()
        assert self._connection is not None
        self._connection.execute(sql.encode(), prepare=False)

    def set_up(self) -> None:
        assert self._connection is not None
        if self._connection.info.parameter_status("server_encoding") == "SQL_ASCII":
            raise SchemaError(
                "the database's encoding is SQL_ASCII, which keeps bytes, not text; make a database with CREATE "
                "DATABASE … ENCODING 'UTF8' TEMPLATE template0"
            )

    def lock_schema(self) -> None:
        # Tables may be changed while others use them: that may take as long as a statement may.
        self.execute(f"SET LOCAL lock_timeout = {int(self._line.timeout * 400)}")
        self.execute("SELECT pg_advisory_xact_lock(:lock)", {"lock": _LOCK})

    def start(self, requests: Sequence[Request] = ()) -> None:
        self._changed, self._before, self._held_first = set(), [], frozenset()
        super().start(requests)

    def begin(self) -> None:
        self._before = [(b"BEGIN", None)]

    def commit(self) -> None:
        if not self._single:
            self.execute("COMMIT")
        if self._announced or self._changed:
            self._committed(self._announced, self._changed)

    def savepoint(self, name: str = "item") -> None:
        if not self._single:
            self._before.append((b"SAVEPOINT " + name.encode(), None))

    def release(self, name: str = "item") -> None:
        if not self._single:
            if any(params is not None for _, params in self._before):
                assert self._connection is not None
                with self._connection.together():  # at once, so that an error belongs to this item
                    self._send()
            self._before.append((b"RELEASE SAVEPOINT " + name.encode(), None))

    def go_back(self, name: str = "item") -> None:
        if not self._single:  # a single statement that failed has done nothing
            self._before = [one for one in self._before if one[1] is None]
            self._send()
            assert self._connection is not None
            self._connection.undo(b"ROLLBACK TO SAVEPOINT " + name.encode())
            self._before.append((b"RELEASE SAVEPOINT " + name.encode(), None))
            self._send()
        self._version = None

    def rollback(self) -> None:
        self._before = []
        connection = self._connection
        if connection is None:
            return
        try:
            if connection.info.transaction_status != TransactionStatus.IDLE:
                connection.undo()
        except Exception:
            self._lose()

    def judge(self, error: BaseException) -> Ruling:
        if link.is_gone(error, self._connection):
            self._lose()
        if link.is_locked(error):
            return "locked"
        if link.will_pass(error):
            return "again"
        return "refused" if link.is_item(error) else "unavailable"

    def explain(self, error: BaseException) -> Exception:
        return link.explain(error)

    def read_id(self, value: Any) -> int:
        return int(value.replace("-", ""), 16)

    def changed(self, runs: Iterable[RunRecord]) -> None:
        self._changed.update(run.id for run in runs)

    def tell_others(self) -> None:
        """Do nothing: a notification inside the transaction would serialise all commits."""

    def hold(self, schedules: Iterable[str | None]) -> None:
        ids = sorted({id for id in schedules if id is not None} - self._held_first)
        if ids:
            self.all("hold_schedules", ids=self.array(ids))

    def locked(self, kind: Literal["schedules", "runs", "limits"], ids: Iterable[Any]) -> set[Any]:
        runs = kind == "runs"
        given = self.array(sorted(self.write_id(id) if runs else id for id in ids))
        return {self.read_id(id) if runs else id for (id,) in self.all(f"locked_{kind}", ids=given)}

    def cut(self, requests: list[Request]) -> list[list[Request]]:
        """Return the requests in groups that may share a transaction, because they take locks in one order."""
        alone = [[request] for request in requests if request.kind in ("beat", "call")]
        last = [[request] for request in requests if request.kind == "leave"]
        shared = [request for request in requests if request.kind not in ("beat", "call", "leave")]
        if any(request.kind == "record" and _has_permits(request.payload) for request in shared):
            # Limits come last, in the order of their keys; one transaction gives them back or takes them.
            claims = [request for request in shared if request.kind == "claim"]
            shared = [request for request in shared if request.kind != "claim"]
            return [*alone, *filter(None, (shared, claims)), *last]
        return [*alone, *filter(None, (shared,)), *last]

    def lock_first(self, requests: Sequence[Request]) -> None:
        """Lock the rows that are first in the order of locks: instances, then schedules by id."""
        schedules = frozenset(_schedules_of(requests))
        if schedules:
            for request in requests:
                if isinstance(request.payload, Claiming):
                    self.all("alive", incarnation=request.payload.claim.holder)
            self.hold(schedules)
            self._held_first = schedules

    def time(self) -> Instant | None:
        row = self.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").fetchone()
        return int(row[0])


def _has_permits(recording: Recording) -> bool:
    return any(ending.run.permits for ending in recording.endings)


def _schedules_of(requests: Sequence[Request]) -> Iterable[str | None]:
    for request in requests:
        if isinstance(request.payload, Claiming):
            yield from (firing.schedule for firing in request.payload.claim.firings)
        elif isinstance(request.payload, Recording):
            for run, verdict, _ in request.payload.endings:
                if run.origin == "schedule" and verdict.state != "pending":
                    yield run.schedule
