"""A connection with named queries, used in one thread: the argument of every operation of the SQL stores.

The differences between databases stand in the subclasses of :class:`Session`, in ``sqlite`` and ``postgres``, and
in the ``.sql`` files.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from asyncsched._core.instants import Instant
from asyncsched._core.records import RunRecord, ScheduleRecord
from asyncsched.stores.sql.rows import Quarantine, activity_row, read_run, read_schedule

if TYPE_CHECKING:
    from asyncsched._core.reporting import Entry
    from asyncsched.abc import ReadTrigger
    from asyncsched.stores.sql.request import Request

Ruling = Literal["again", "unavailable", "refused", "locked"]
"""The meaning of an error: try the statement again; the database is unavailable; this item is wrong; another
transaction holds a lock that it needs."""

Params = Mapping[str, Any] | Sequence[Any]


class Session:
    """One connection. Used by one thread.

    Args:
        namespace: the namespace of the rows.
        queries: SQL by name.
        triggers: makes a trigger from a schedule's row.
        quarantine: logs rows that make no sense.

    """

    dialect: str
    """The folder of its SQL."""
    place = "the database"
    """The place of its tables, for errors."""
    elsewhere = "another database"
    """The words for another such place, for errors."""
    example = "postgresql://…"
    """A store's URL that leads there, for errors."""
    most_at_once = sys.maxsize
    """How many rows of new runs fit into one statement."""

    def __init__(
        self, namespace: str, queries: Mapping[str, str], triggers: ReadTrigger, quarantine: Quarantine
    ) -> None:
        self.namespace = namespace
        self.queries = queries
        self.triggers = triggers
        self.quarantine = quarantine
        self._announced = False
        self._version: int | None = None
        self._single = False  # the only statement commits itself
        self.locks_first = True
        """Whether a transaction locks what its requests need before all else, which keeps the order of locks."""
        self.entry: Entry | None = None
        """The record of what somebody did that the operation under way carries."""
        self.leaves_out = False
        """Whether an operation leaves out what another transaction has locked, as far as it can."""

    # ── a database fills these in ────────────────────────────────────────────────────────────

    def connect(self) -> None:
        """Open the connection, if it is not open."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the connection; never raises."""
        raise NotImplementedError

    def execute(self, sql: str, params: Params = ()) -> Any:
        """Execute one statement and return its cursor."""
        raise NotImplementedError

    def executemany(self, sql: str, rows: Sequence[Params]) -> int:
        """Execute one statement for each row; return how many rows of the table it touched in all."""
        raise NotImplementedError

    def begin(self) -> None:
        """Begin a transaction that will write."""
        raise NotImplementedError

    def rollback(self) -> None:
        """Undo the transaction; never raises, and drops a connection that is broken."""
        raise NotImplementedError

    def interrupt(self) -> None:
        """Have the statement under way fail soon, if it waits for a server. From any thread."""

    def judge(self, error: BaseException) -> Ruling:
        """Return the meaning of an error."""
        raise NotImplementedError

    def clear_the_way(self) -> None:
        """Remove a known obstacle, if there is one, before a transaction is tried again."""

    def explain(self, error: BaseException) -> Exception:
        """Return the error of asyncsched that says the same."""
        raise NotImplementedError

    def array(self, values: Iterable[Any]) -> Any:
        """Return several values as one parameter."""
        return json.dumps(list(values))

    def adapted(self, sql: str) -> str:
        """Return SQL with ``:name`` parameters in the form that the driver takes."""
        return sql

    def write_id(self, run_id: int) -> Any:
        """Return a run's id in the form that the database stores."""
        return f"{run_id:032x}"

    def read_id(self, value: Any) -> int:
        """Return a run's id from the form that the database stores."""
        if len(value) != 32:
            raise ValueError("a run's id has 32 hexadecimal digits")
        return int(value, 16)

    def tell_others(self) -> None:
        """Notify other instances, inside the transaction, that there may be work."""
        self.run("announce", {"namespace": self.namespace})

    def script(self, sql: str) -> None:
        """Execute the statements of a migration."""
        raise NotImplementedError

    # ── a database may fill these in ─────────────────────────────────────────────────────────

    def exists(self) -> bool:
        """Whether the database exists; on SQLite, opening would make one."""
        return True

    def set_up(self) -> None:
        """Set up the database before there are tables."""

    def lock_schema(self) -> None:
        """Make other instances that would make tables wait for the end of the transaction."""

    def cut(self, requests: list[Request]) -> list[list[Request]]:
        """Return the requests grouped by transaction, in order: some databases write several at the same time."""
        return [requests]

    def lock_first(self, requests: Sequence[Request]) -> None:
        """Lock the rows that a transaction's requests need before all others."""

    def hold(self, schedules: Iterable[str | None]) -> None:
        """Lock schedules, before any run."""

    def locked(self, kind: Literal["schedules", "runs", "limits"], ids: Iterable[Any]) -> set[Any]:
        """Return which rows of those given are locked by another transaction; lock the others."""
        return set()

    def changed(self, runs: Iterable[RunRecord]) -> None:
        """Remember the runs that a transaction changes, so that waiters for them can be notified."""

    def insert_new(self, rows: Sequence[Params]) -> None:
        """Insert new runs; a run that is in the table already was written before, and the answer was lost."""
        self.many("insert_run", rows)

    @contextmanager
    def leaving_out(self) -> Iterator[None]:
        """Have operations leave out what another transaction has locked."""
        self.leaves_out = True
        try:
            yield
        finally:
            self.leaves_out = False

    # ── transactions ─────────────────────────────────────────────────────────────────────────

    def start(self, requests: Sequence[Request] = ()) -> None:
        """Begin a transaction for some requests, connecting first where need be."""
        self._announced, self._version = False, None
        self._single = self._needs_one_statement(requests)
        self.connect()
        if not self._single:
            self.begin()
            if self.locks_first and len(requests) > 1:  # a single request takes its locks in order
                self.lock_first(requests)

    def need_transaction(self) -> None:
        """Begin a transaction after all: the only statement was refused, and becomes several."""
        if self._single:
            self._single = False
            self.begin()

    def _needs_one_statement(self, requests: Sequence[Request]) -> bool:
        """Whether the requests are one statement, which commits itself."""
        if len(requests) == 1 and requests[0].kind == "beat":
            return True
        return 0 < len(requests) <= self.most_at_once and all(map(_is_one_insert, requests))

    def commit(self) -> None:
        """Commit, with the notification of other instances if there may be work for them."""
        if self._single:
            return
        if self._announced:
            self.tell_others()
        self.execute("COMMIT")

    # A nested savepoint has another name: after an error, the inner one does not stop a rollback to the outer one.

    def savepoint(self, name: str = "item") -> None:
        """Set a savepoint."""
        if not self._single:
            self.execute(f"SAVEPOINT {name}")

    def release(self, name: str = "item") -> None:
        """Keep the changes since the savepoint."""
        if not self._single:
            self.execute(f"RELEASE SAVEPOINT {name}")

    def go_back(self, name: str = "item") -> None:
        """Undo the changes since the savepoint."""
        if not self._single:  # else nothing was done
            self.execute(f"ROLLBACK TO SAVEPOINT {name}")
            self.execute(f"RELEASE SAVEPOINT {name}")
        self._version = None

    def announce(self) -> None:
        """Remember that other instances may have work once this transaction is committed."""
        self._announced = True

    def keep_entry(self) -> None:
        """Keep the record that the operation carries, if it carries one: it has changed something."""
        if self.entry is not None:
            self.entry.kept = self.entry.record
            self.run("add_activity", activity_row(self.namespace, self.entry.kept))

    def version(self) -> int:
        """Return the number of this transaction's change of schedules."""
        self.announce()
        if self._version is None:
            self._version = self.counted("version")
        assert self._version is not None
        return self._version

    # ── named queries ────────────────────────────────────────────────────────────────────────

    def all(self, name: str, **params: Any) -> list[Any]:
        """Return all rows of a query; the namespace is added to the parameters."""
        params["namespace"] = self.namespace
        found: list[Any] = self.execute(self.queries[name], params).fetchall()
        return found

    def several(self, *queries: tuple[str, dict[str, Any]]) -> list[list[Any]]:
        """Return the rows of each query, in order, for queries of which none needs another's answer."""
        return [self.all(name, **params) for name, params in queries]

    def one(self, name: str, **params: Any) -> Any:
        """Return the first row of a query, or ``None``."""
        params["namespace"] = self.namespace
        return self.execute(self.queries[name], params).fetchone()

    def counted(self, name: str) -> int:
        """Return the new value of a counter in the ledger's row; a deleted row is inserted again."""
        row = self.one(name)
        if row is None:
            self.do("found")
            row = self.one(name)
        count: int = row[0]
        return count

    def run(self, name: str, params: Params) -> int:
        """Execute a statement; return how many rows it touched."""
        count: int = self.execute(self.queries[name], params).rowcount
        return count

    def do(self, name: str, **params: Any) -> int:
        """Execute a statement with named parameters and the namespace; return how many rows it touched."""
        params["namespace"] = self.namespace
        return self.run(name, params)

    def many(self, name: str, rows: Sequence[Params]) -> int:
        """Execute a statement for each row; return how many rows of the table it touched."""
        if not rows:
            return 0
        if len(rows) == 1:
            return self.run(name, rows[0])
        return self.executemany(self.queries[name], rows)

    def later(self, name: str, rows: Sequence[Params]) -> None:
        """Execute a statement for each row, before every later statement; the number of rows touched is not needed."""
        self.many(name, rows)

    # ── records ──────────────────────────────────────────────────────────────────────────────

    def read(self, row: Sequence[Any]) -> RunRecord:
        """Return the run of a row."""
        return read_run(row, self.read_id)

    def runs(self, name: str, **params: Any) -> list[RunRecord]:
        """Return the runs of a query, without those that make no sense."""
        return self.runs_of(self.all(name, **params))

    def runs_of(self, rows: Sequence[Any]) -> list[RunRecord]:
        """Return the runs of rows, without those that make no sense."""
        return self.quarantine.readable("run", rows, self.read)

    def a_run(self, name: str, **params: Any) -> RunRecord | None:
        """Return the run of a query, or ``None``."""
        found = self.runs(name, **params)
        return found[0] if found else None

    def schedules(self, name: str, **params: Any) -> list[ScheduleRecord]:
        """Return the schedules of a query, without those that make no sense."""
        return self.schedules_of(self.all(name, **params))

    def schedules_of(self, rows: Sequence[Any]) -> list[ScheduleRecord]:
        """Return the schedules of rows, without those that make no sense."""
        return self.quarantine.readable("schedule", rows, lambda row: read_schedule(row, self.triggers))

    def time(self) -> Instant | None:
        """Return the database's own time, or ``None`` where it has none."""
        return None


def _is_one_insert(request: Request) -> bool:
    """Whether a request is one row that needs no query first: any number of such requests is one statement."""
    return request.kind == "add" and len(request.payload.runs) == 1 and request.payload.runs[0].key is None
