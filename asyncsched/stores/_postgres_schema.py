"""The tables of the PostgreSQL store: made and brought up to date under a lock, or printed as SQL."""

from __future__ import annotations

import time

from asyncsched._errors import SchemaError
from asyncsched.stores._postgres_link import will_pass
from asyncsched.stores._queries import Migration, migrations
from asyncsched.stores._session import Session

_LOCK = 0x6173796E63736368  # "asyncsch": one lock of the database, whatever the namespace
_PAUSE = 0.1


def prepare(session: Session, timeout: float, migrates: bool) -> None:
    """Create or check the tables, waiting at most ``timeout`` seconds for a server that is away.

    Raises:
        SchemaError: they are newer than this code, not ours, or missing where we may not make them.
        StoreUnavailable: the server cannot be reached.

    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            session.connect()
            _bring_up(session, migrates)
            return
        except Exception as error:
            session.rollback()
            session.judge(error)
            if not will_pass(error) or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)


def _bring_up(session: Session, migrates: bool) -> None:
    if not plan(session) and session.one("ledger") is not None:
        return
    session.start()
    session.execute("SELECT pg_advisory_xact_lock(:lock)", {"lock": _LOCK})
    steps = plan(session)  # read again: another process may have been quicker
    if steps and not migrates:
        raise SchemaError(
            f"the tables lack {', '.join(step.name for step in steps)}; apply what "
            "asyncsched.stores.postgres.migration_sql() returns, or leave out migrate=False"
        )
    for step in steps:
        session.execute(script(step))
    session.do("found")
    session.execute("COMMIT")


def plan(session: Session) -> list[Migration]:
    """Return the migrations that are not applied yet.

    Raises:
        SchemaError: the tables are newer than this code, or not ours.

    """
    known = migrations("postgres")
    tables = {
        name
        for (name,) in session.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() "
            "AND starts_with(tablename, 'asyncsched_')"
        )
    }
    if "asyncsched_schema" not in tables:
        if tables:
            raise SchemaError(
                f"there are tables named {', '.join(sorted(tables)[:3])} that are not of asyncsched; use another "
                "database, or another schema by ?options=-csearch_path%3Dname"
            )
        return list(known)
    (found,) = session.execute("SELECT coalesce(max(number), 0) FROM asyncsched_schema").fetchone()
    if found > known[-1].number:
        raise SchemaError(
            f"the database has schema {found}, and this version of asyncsched knows up to {known[-1].number}; "
            "update asyncsched, or use another database"
        )
    return [step for step in known if step.number > found]


def script(step: Migration) -> str:
    """Return the SQL of a migration, with what marks it as applied."""
    table = "CREATE TABLE asyncsched_schema (number integer PRIMARY KEY, name text NOT NULL);\n"
    mark = f"INSERT INTO asyncsched_schema (number, name) VALUES ({step.number}, '{step.name}');\n"
    return f"{table if step.number == 1 else ''}{step.sql}\n{mark}"
