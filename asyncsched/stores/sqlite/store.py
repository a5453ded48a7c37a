"""The ledger in a SQLite file: for several processes of one host; it loses nothing at ``kill -9``.

WAL and ``synchronous=FULL``: a write that was answered survives a crash of the process and a power
failure. One thread writes, with group commit; another one reads.
"""

from __future__ import annotations

import gc
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncsched._core.errors import ArgumentError, AsyncSchedError, SchemaError, StoreError, StoreUnavailable
from asyncsched._core.requests import Changes, Claim, Watch
from asyncsched._core.text import shorten
from asyncsched.stores.sql import schema
from asyncsched.stores.sql.bulk import MOST, by_values
from asyncsched.stores.sql.open_transactions import OpenTransactions
from asyncsched.stores.sql.operations import instances as members
from asyncsched.stores.sql.operations.claiming import earliest
from asyncsched.stores.sql.rows import Quarantine
from asyncsched.stores.sql.session import Params, Ruling, Session
from asyncsched.stores.sql.statements import load
from asyncsched.stores.sql.store import SqlStore
from asyncsched.stores.sqlite.file import Rights, check_place, lock_holder, lock_is_ours, opening
from asyncsched.stores.sqlite.file import path_of as path_of

if TYPE_CHECKING:
    from asyncsched.abc import ReadTrigger

_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_WRONG_FILE = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})
_OTHER_TABLES = ("no such column", "no such table", "has no column named")
_OLDEST = (3, 37)
"""The first SQLite that checks the types of values (STRICT)."""
_LOOKS, _WRITES = 3, 0.02
"""Looks at the lock, and seconds between two: this process's own writer does not hold it at each of them."""
_BUSY_TIMEOUT = 0.5
"""Seconds that SQLite waits for a lock, before the thread checks whether a caller still waits."""


class SqliteStore(SqlStore):
    """A ledger in a SQLite file, for any number of processes of one host.

    Args:
        path: of the file. A missing file is made, a missing folder is not.
        namespace, timeout, lease, beat, poll, migrate: see :class:`asyncsched.stores.sql.store.SqlStore`.

    """

    dialect = folder = "sqlite"
    paramstyle = "qmark"

    def __init__(self, path: str | os.PathLike[str], namespace: str = "default", **options: Any) -> None:
        super().__init__(namespace, **options)
        holds = "no instance can write to the file: nothing begins, and no outcome is recorded"
        self._transactions = OpenTransactions(self.lease / 3, holds, self._is_locked_here)
        self.path = Path(path).absolute()  # the working directory may change later
        self._rights = Rights(self.path)
        self._seen: tuple[Any, ...] | None = None

    def _make_session(self, quarantine: Quarantine, writes: bool) -> Session:
        return SqliteSession(self.path, writes, self.namespace, self._triggers, quarantine, self._rights)

    def _prepare(self, session: Session) -> None:
        self._seen = None
        if sqlite3.sqlite_version_info < _OLDEST:
            raise StoreError(
                f"this Python has SQLite {sqlite3.sqlite_version}, and the store needs 3.37 or newer; use a newer "
                "build of Python, or PostgreSQL"
            )
        check_place(self.path)
        # One process at a time opens the file, because the switch to the write-ahead log does not honour
        # the busy timeout of SQLite.
        with opening(self.path, self.timeout):
            schema.prepare(session, self.timeout, self.migrates)

    def _is_locked_here(self, session: Session) -> bool:
        for _ in range(_LOOKS):
            if not lock_is_ours(self.path):
                return False
            time.sleep(_WRITES)
        return True

    def _poll(self, session: Session, watch: Watch, wanted: Claim | None) -> Changes | None:
        assert isinstance(session, SqliteSession)
        self._transactions.look(session)
        file = (session.opened, session.execute("PRAGMA data_version").fetchone()[0])
        watched = (watch.holder, frozenset(watch.runs))
        if self._seen == (file, watched, watch.version, watch.work_version) and not watch.fully:
            return None
        changes = members.poll(session, watch)
        # The file's version changes with this instance's writes, too. Reading pending runs costs less than
        # an empty claim.
        if wanted is not None and changes.work_version != watch.work_version:
            changes.earliest = earliest(session, wanted, self.clock.wall())
        # This comes last, because a poll that failed on the way has seen no changes.
        self._seen = (file, watched, changes.version, changes.work_version)
        return changes

    def __repr__(self) -> str:
        return f"<SqliteStore {str(self.path)!r} namespace {self.namespace!r}>"


class SqliteSession(Session):
    """One connection to the file."""

    dialect = "sqlite"
    elsewhere = "another file"
    most_at_once = MOST

    def __init__(
        self,
        path: Path,
        writes: bool,
        namespace: str,
        triggers: ReadTrigger,
        quarantine: Quarantine,
        rights: Rights,
    ) -> None:
        super().__init__(namespace, {}, triggers, quarantine)
        self.path = path
        self.place = str(path)
        self.example = f"sqlite:///{path}"
        self._writes = writes
        self._rights, self._restored = rights, rights.restored
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None  # device and inode of the open file
        self.opened = 0
        """The number of times that the file was opened."""

    def connect(self) -> None:
        if self._connection is not None and not self._writes:
            self._check_file()
            if self._restored != self._rights.restored:
                self.close()
        if self._connection is not None:
            return
        self._restored = self._rights.restored
        self.queries = load("sqlite")  # in the thread, because it reads files
        # Only the session that prepares the store makes the file, and never again: it would be another ledger.
        makes = self._writes and not self.opened and not self.exists()
        mode = "rwc" if makes else "rw"
        made = sqlite3.connect(
            f"{self.path.as_uri()}?mode={mode}", uri=True, timeout=_BUSY_TIMEOUT, isolation_level=None,
            cached_statements=256,
        )  # fmt: skip
        try:
            self._file = self._file_there()
            made.execute("PRAGMA synchronous = FULL")
            if not self._writes:
                made.execute("PRAGMA query_only = ON")
        except BaseException:
            made.close()
            raise
        self._connection = made
        self.opened += 1
        self.execute = made.execute  # type: ignore[method-assign, assignment]  # saves a call per statement

    def _file_there(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _check_file(self) -> None:
        """Close a file that was removed or replaced: SQLite would go on with it, and no process could open it."""
        if self._file_there() != self._file:
            self.close()
            raise StoreUnavailable(
                f"{self.path} was removed or replaced while it was in use; writes that were not answered are not in it"
            )

    def commit(self) -> None:
        super().commit()
        self._check_file()

    def close(self) -> None:
        made, self._connection = self._connection, None
        self.__dict__.pop("execute", None)
        if made is not None:
            with suppress(sqlite3.Error):
                made.close()

    def execute(self, sql: str, params: Params = ()) -> Any:
        self.connect()
        assert self._connection is not None
        return self._connection.execute(sql, params)

    def executemany(self, sql: str, rows: Sequence[Params]) -> int:
        assert self._connection is not None
        if not sql.startswith("INSERT"):
            return self._connection.executemany(sql, rows).rowcount
        return sum(self._connection.execute(*one).rowcount for one in by_values(sql, rows))

    def begin(self) -> None:
        self.execute("BEGIN IMMEDIATE")

    def exists(self) -> bool:
        try:
            self.path.stat()  # from Python 3.14 on, Path.exists hides that a name is too long
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def set_up(self) -> None:
        mode = self.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise StoreError(
                f"{self.path}: SQLite could not switch to its write-ahead log (it stays at {mode!r}); use a "
                "file on a local disk"
            )

    def script(self, sql: str) -> None:
        for statement in statements(sql):
            self.execute(statement)

    def rollback(self) -> None:
        try:
            if self._connection is not None and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            self.close()

    def judge(self, error: BaseException) -> Ruling:
        if isinstance(error, StoreUnavailable):
            return "unavailable"
        if isinstance(error, sqlite3.OperationalError):
            code = _code(error)
            if code in _LOCKED:
                return "again"
            if code == sqlite3.SQLITE_READONLY:
                self.close()  # a connection that was opened while the file was read-only stays so
                self._rights.restore()
            if code != sqlite3.SQLITE_ERROR:  # an error of the SQL: a bug, or tables of another program
                return "unavailable"
        elif isinstance(error, sqlite3.DatabaseError) and _code(error) in _WRONG_FILE:
            return "unavailable"
        return "refused"

    def clear_the_way(self) -> None:
        # A connection that a job left open refers to itself: its lock stays until a garbage collection.
        if lock_is_ours(self.path):
            gc.collect()

    def explain(self, error: BaseException) -> Exception:
        if isinstance(error, sqlite3.Error):
            return self._explain(error)
        if isinstance(error, UnicodeEncodeError):
            return ArgumentError(f"the store cannot keep this text: {error.reason}")
        if isinstance(error, OSError):
            return StoreError(f"{shorten(str(self.path), 120)} cannot be opened: {error.strerror}")
        if isinstance(error, Exception):
            return error
        return StoreError(f"the store failed with {type(error).__name__} while it was written to")

    def _explain(self, error: sqlite3.Error) -> AsyncSchedError:
        code = _code(error)
        if code in _WRONG_FILE:
            return SchemaError(f"{self.path} is no SQLite database, or a damaged one ({error})")
        if code in _LOCKED:
            return StoreUnavailable(f"{self.path}: {lock_holder(self.path)} holds its lock")
        if code == sqlite3.SQLITE_FULL:
            return StoreUnavailable(f"{self.path}: the disk is full")
        if code == sqlite3.SQLITE_IOERR:
            return StoreUnavailable(f"{self.path}: {error}; check the disk, and limits on a file's size")
        if code == sqlite3.SQLITE_READONLY:
            return StoreUnavailable(f"{self.path} cannot be written to: the file or its folder is read-only")
        made = self.opened or not self._writes
        if code == sqlite3.SQLITE_CANTOPEN and made and not self.exists():
            return StoreUnavailable(
                f"{self.path} was removed while it was in use; put it back, or restart to begin a new one"
            )
        if code == sqlite3.SQLITE_CANTOPEN:
            return StoreUnavailable(
                f"{self.path} cannot be opened: check that its folder exists and can be written to"
            )
        if self.judge(error) == "unavailable":
            return StoreUnavailable(f"{self.path}: {error}")
        if any(words in str(error) for words in _OTHER_TABLES):
            return SchemaError(f"{self.path}: the tables are not those of this version: {error}")
        return StoreError(f"{self.path}: {error}")

    def __del__(self) -> None:
        self.close()


def _code(error: sqlite3.Error) -> int:
    """Return the primary result code of an error: the lower byte of the extended code."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def statements(script: str) -> Iterator[str]:
    """Yield the statements of an SQL file."""
    lines: list[str] = []
    for line in script.splitlines():
        if not line.lstrip().startswith("--"):
            lines.append(line)
        if lines and sqlite3.complete_statement(text := "\n".join(lines)):
            if text.strip():
                yield text
            lines = []
