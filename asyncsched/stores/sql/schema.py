"""The tables of a SQL store: made and brought up to date under a lock, or refused with a reason."""

from __future__ import annotations

import time
from collections.abc import Sequence

from asyncsched._core.errors import SchemaError, StoreUnavailable
from asyncsched.stores.sql.session import Session
from asyncsched.stores.sql.statements import Migration, migrations

_PAUSE = 0.02
"""Seconds between two attempts at a database that is locked or unavailable."""


def prepare(session: Session, timeout: float, migrates: bool) -> None:
    """Create or check the tables, waiting at most ``timeout`` seconds for a database that is locked or unavailable.

    Raises:
        SchemaError: the tables are newer than this code, not of asyncsched, or missing where ``migrates`` is false;
            or a migration failed, and nothing of it was applied.
        StoreUnavailable: the database cannot be reached.

    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            session.connect()
            _bring_up(session, migrates)
            return
        except Exception as error:
            session.rollback()
            if session.judge(error) not in ("again", "locked") or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)


def _bring_up(session: Session, migrates: bool) -> None:
    session.set_up()
    if not missing(session) and session.one("ledger") is not None:
        return
    session.start()
    session.lock_schema()
    steps = missing(session)  # read again: another process may have migrated first
    if steps and not migrates:
        raise SchemaError(
            f"{session.place} lacks {', '.join(step.name for step in steps)}; apply what "
            f"asyncsched.stores.migrations.sql({session.example!r}) returns, or leave out migrate=False"
        )
    for step in steps:
        _apply(session, step)
    session.do("found")
    session.commit()


def _apply(session: Session, step: Migration) -> None:
    try:
        session.script(script((step,)))
    except Exception as error:
        explained = session.explain(error)
        if session.judge(error) == "again" or isinstance(explained, StoreUnavailable):
            raise
        raise SchemaError(
            f"the migration {step.name} failed, and nothing of it was applied: {explained}. Where this role may "
            f"not make tables, have another role apply what asyncsched.stores.migrations.sql({session.example!r}) "
            "returns"
        ) from error


def missing(session: Session) -> Sequence[Migration]:
    """Return the migrations that are not applied yet, oldest first.

    Raises:
        SchemaError: the tables are newer than this code, or not of asyncsched.

    """
    known = migrations(session.dialect)
    tables = [name for (name,) in session.all("tables")]
    if "asyncsched_schema" not in tables:
        if tables:
            raise SchemaError(
                f"{session.place} has tables named {', '.join(sorted(tables)[:3])} that are not of asyncsched; "
                f"use {session.elsewhere}"
            )
        return known
    found = session.one("schema")[0]
    if not found and len(tables) > 1:
        raise SchemaError(
            f"{session.place} has tables of asyncsched, and its asyncsched_schema is empty: their version is unknown. "
            f"If it is this version, insert the row again: INSERT INTO asyncsched_schema (number, name) VALUES "
            f"({known[-1].number}, '{known[-1].name}'); else use {session.elsewhere}"
        )
    if found > known[-1].number:
        raise SchemaError(
            f"{session.place} has schema {found}, and this version of asyncsched knows up to {known[-1].number}; "
            f"update asyncsched, or use {session.elsewhere}"
        )
    return [step for step in known if step.number > found]


def script(steps: Sequence[Migration]) -> str:
    """Return the SQL of migrations, with the statement that marks each as applied."""
    return "\n".join(
        f"{step.sql}\nINSERT INTO asyncsched_schema (number, name) VALUES ({step.number}, '{step.name}');\n"
        for step in steps
    )
