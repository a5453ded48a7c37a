"""The ledger in a SQLite file: several processes of one host, and nothing lost at ``kill -9``.

WAL and ``synchronous=FULL``: what was answered survives the process and the power. One thread
writes, with group commit; one reads.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncsched._errors import (
    ArgumentError,
    AsyncSchedError,
    ConfigurationError,
    SchemaError,
    StoreError,
    StoreUnavailable,
)
from asyncsched._ledger import Seen, Watch
from asyncsched.stores import _members as members
from asyncsched.stores._queries import load, migrations
from asyncsched.stores._rows import Quarantine
from asyncsched.stores._session import Params, Ruling, Session
from asyncsched.stores._sql import SqlStore

if TYPE_CHECKING:
    from asyncsched.abc import ReadTrigger

_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_WRONG_FILE = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})
_PATIENCE = 0.5
"""Seconds that SQLite itself waits for a lock, before we look whether anybody still waits for us."""

_REMOTE = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ncpfs", "fuse.sshfs", "fuse.glusterfs"}
)


class SqliteStore(SqlStore):
    """A ledger in a SQLite file, for any number of processes of one host.

    Args:
        path: of the file; it is made if it is not there, its folder is not.
        namespace, timeout, lease, beat, poll: see :class:`asyncsched.stores._sql.SqlStore`.

    """

    dialect = folder = "sqlite"
    paramstyle = "qmark"

    def __init__(self, path: str | os.PathLike[str], namespace: str = "default", **options: Any) -> None:
        super().__init__(namespace, **options)
        self.path = Path(path)
        self._seen_version: int | None = None
        self._looked_for: tuple[Any, ...] = ()

    def _make_session(self, quarantine: Quarantine, writes: bool) -> Session:
        return SqliteSession(self.path, writes, self.namespace, self._triggers, quarantine)

    def _prepare(self, session: Session) -> None:
        assert isinstance(session, SqliteSession)
        self._seen_version = None
        prepare(session, self.timeout)

    def _look(self, session: Session, watch: Watch) -> Seen | None:
        version: int = session.execute("PRAGMA data_version").fetchone()[0]
        asked_for = (watch.holder, watch.version, watch.signal, frozenset(watch.runs))
        if version == self._seen_version and asked_for == self._looked_for and not watch.fully:
            return None
        self._seen_version, self._looked_for = version, asked_for
        return members.look(session, watch)

    def __repr__(self) -> str:
        return f"<SqliteStore {str(self.path)!r} namespace {self.namespace!r}>"


class SqliteSession(Session):
    """One connection to the file."""

    def __init__(
        self, path: Path, writes: bool, namespace: str, triggers: ReadTrigger, quarantine: Quarantine
    ) -> None:
        super().__init__(namespace, {}, triggers, quarantine)
        self.path = path
        self._writes = writes
        self._connection: sqlite3.Connection | None = None

    def connect(self) -> None:
        if self._connection is not None:
            return
        self.queries = load("sqlite")  # here in the thread, because it reads files
        mode = "rw" if self._connection is None and self.path.exists() else "rwc"
        made = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={mode}", uri=True, timeout=_PATIENCE, isolation_level=None,
            cached_statements=256,
        )  # fmt: skip
        try:
            made.execute("PRAGMA synchronous = FULL")
            if not self._writes:
                made.execute("PRAGMA query_only = ON")
        except BaseException:
            made.close()
            raise
        self._connection = made
        self.execute = made.execute  # type: ignore[method-assign, assignment]  # one call less for every statement

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
        return self._connection.executemany(sql, rows).rowcount

    def begin(self) -> None:
        self.execute("BEGIN IMMEDIATE")

    def rollback(self) -> None:
        try:
            if self._connection is not None and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            self.close()

    def judge(self, error: BaseException) -> Ruling:
        if isinstance(error, sqlite3.OperationalError):
            code = _code(error)
            if code in _LOCKED:
                return "again"
            if code != sqlite3.SQLITE_ERROR:  # that one is SQL's own: a bug of ours, or a foreign table
                return "unavailable"
        elif isinstance(error, sqlite3.DatabaseError) and _code(error) in _WRONG_FILE:
            return "unavailable"
        return "refused"

    def explain(self, error: BaseException) -> Exception:
        if isinstance(error, sqlite3.Error):
            return self._explain(error)
        if isinstance(error, UnicodeEncodeError):
            return ArgumentError(f"the store cannot keep this text: {error.reason}")
        if isinstance(error, Exception):
            return error
        return StoreError(f"{type(error).__name__} while the store was written to")

    def _explain(self, error: sqlite3.Error) -> AsyncSchedError:
        code = _code(error)
        if code in _WRONG_FILE:
            return SchemaError(f"{self.path} is no SQLite database, or a damaged one ({error})")
        if code in _LOCKED:
            return StoreUnavailable(f"{self.path}: another process holds its lock ({error})")
        if code == sqlite3.SQLITE_FULL:
            return StoreUnavailable(f"{self.path}: the disk is full")
        if code == sqlite3.SQLITE_READONLY:
            return StoreUnavailable(f"{self.path} cannot be written to: the file or its folder is read-only")
        if code == sqlite3.SQLITE_CANTOPEN:
            return StoreUnavailable(
                f"{self.path} cannot be opened: see that its folder exists and can be written to"
            )
        if self.judge(error) == "unavailable":
            return StoreUnavailable(f"{self.path}: {error}")
        return StoreError(f"{self.path}: {error}")

    def __del__(self) -> None:
        self.close()


def _code(error: sqlite3.Error) -> int:
    """Return the primary result code of an error: the lower byte of the extended one."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


# ── opening ──────────────────────────────────────────────────────────────────────────────────────


def prepare(session: SqliteSession, timeout: float) -> None:
    """Create or check the schema.

    One process at a time, because the switch to WAL does not honour SQLite's own patience.

    Raises:
        SchemaError: the file is no database, or its schema is newer or not ours.
        StoreUnavailable: it cannot be opened, or another holds its lock for all of the timeout.

    """
    refuse_remote(session.path)
    if not session.path.parent.is_dir():
        raise StoreUnavailable(
            f"{session.path} cannot be opened: there is no folder {session.path.parent}; make it first"
        )
    deadline = time.monotonic() + timeout
    with _opening(session.path, deadline):
        while True:
            try:
                _migrate(session)
                return
            except sqlite3.Error as error:
                session.rollback()
                session.close()
                if session.judge(error) != "again" or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)


def _migrate(session: SqliteSession) -> None:
    session.connect()
    mode = session.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreError(
            f"{session.path}: SQLite could not switch to its write-ahead log (it stays at {mode!r}); use a "
            "file on a local disk"
        )
    if not _steps(session) and session.one("ledger") is not None:
        return
    session.start()
    for step in _steps(session):  # read again: another process may have been quicker
        for statement in statements(step.sql):
            session.execute(statement)
        session.execute(
            "INSERT INTO asyncsched_schema (number, name) VALUES (?, ?)", (step.number, step.name)
        )
    session.do("found")
    session.commit()


def _steps(session: SqliteSession) -> list[Any]:
    """Return the migrations that are not applied yet, making their table.

    Raises:
        SchemaError: the schema is newer than this code, or not ours.

    """
    known = migrations("sqlite")
    tables = {
        name
        for (name,) in session.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'asyncsched~_%' ESCAPE '~'"
        )
    }
    if "asyncsched_schema" not in tables:
        if tables:
            raise SchemaError(
                f"{session.path} has tables named {', '.join(sorted(tables)[:3])} that are not of asyncsched; "
                "use another file"
            )
        if session._connection is not None and session._connection.in_transaction:
            session.execute("CREATE TABLE asyncsched_schema (number INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        return list(known)
    (found,) = session.execute("SELECT max(number) FROM asyncsched_schema").fetchone()
    if (found or 0) > known[-1].number:
        raise SchemaError(
            f"{session.path} has schema {found}, and this version of asyncsched knows up to "
            f"{known[-1].number}; update asyncsched, or use another file"
        )
    return [step for step in known if step.number > (found or 0)]


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


if sys.platform == "win32":
    import msvcrt

    def _lock(fd: int) -> None:
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def _opening(path: Path, deadline: float) -> Iterator[None]:
    """Hold the lock file beside the database, as far as the system has locks."""
    try:
        fd = os.open(f"{path}-open", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:  # a read-only folder: SQLite will say so better
        yield
        return
    try:
        while time.monotonic() < deadline:
            try:
                _lock(fd)
                break
            except OSError:
                time.sleep(0.01)
        # Not had in time, as behind a process that was stopped: SQLite's own locks hold in any case.
        yield
    finally:
        os.close(fd)


def refuse_remote(path: Path, mounts: str = "/proc/mounts") -> None:
    """Refuse a file on a network, where SQLite's write-ahead log cannot work.

    Raises:
        StoreError: the path is on a network file system.

    """
    try:
        lines = Path(mounts).read_text("utf-8", "replace").splitlines()
    except OSError:
        return
    absolute = path.absolute()
    kind, longest = "", -1
    for line in lines:
        fields = line.split()
        if len(fields) > 2 and absolute.is_relative_to(fields[1]) and len(fields[1]) >= longest:
            kind, longest = fields[2], len(fields[1])
    if kind in _REMOTE:
        raise StoreError(
            f"{path} is on a network file system ({kind}), where SQLite's write-ahead log cannot work; use a "
            "local disk, or PostgreSQL for several hosts"
        )


def path_of(url: str) -> Path:
    """Return the path in ``sqlite:///relative.db`` or ``sqlite:////absolute.db``.

    Raises:
        ConfigurationError: it names no file.

    """
    rest = url.removeprefix("sqlite:")
    if not rest.startswith("///") or rest == "///" or "?" in rest:
        raise ConfigurationError(
            "a SQLite store is sqlite:///relative.db or sqlite:////absolute/path.db, with three or four slashes"
        )
    if rest == "///:memory:":
        raise ConfigurationError(
            "store: SQLite's :memory: is gone with its connection; leave store out to keep runs in memory"
        )
    return Path(rest[3:])
