"""The migrations that a database lacks, and their SQL: for an app whose role may not make tables.

By default a store makes its tables at start, and brings them up to date. A store that is opened with
``migrate=False`` does not, and its error names the migrations that are missing; then a role that may make
tables applies the SQL that :func:`sql` returns, in one transaction::

    python -c "from asyncsched.stores.migrations import sql; print(sql('postgresql://…'))" | psql -1 …

Both calls block, and are for scripts, not for an event loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from asyncsched._core.errors import ConfigurationError
from asyncsched.stores.factory import open_store
from asyncsched.stores.sql import schema
from asyncsched.stores.sql.rows import Quarantine
from asyncsched.stores.sql.statements import Migration as Migration
from asyncsched.stores.sql.statements import migrations

if TYPE_CHECKING:
    from asyncsched.stores.sql.store import SqlStore

__all__ = ["Migration", "plan", "sql"]


def plan(url: str) -> list[Migration]:
    """Return the migrations that a database lacks, oldest first; nothing is changed.

    Args:
        url: of the store, as ``Scheduler`` takes it.

    Raises:
        ConfigurationError: the URL names no database.
        SchemaError: the tables are newer than this version of asyncsched, or belong to another program.
        StoreUnavailable: the database cannot be reached.

    """
    session = _store(url)._make_session(Quarantine(), False)
    if not session.exists():
        return list(migrations(session.dialect))
    try:
        session.connect()
        return list(schema.missing(session))
    except Exception as error:
        raise session.explain(error) from error
    finally:
        session.close()


def sql(url: str, after: int | None = None) -> str:
    """Return the SQL that brings a database up to date; ``""`` where nothing is missing.

    The SQL also records the migrations that it applies, so that the app then accepts the tables.
    Execute the SQL in one transaction.

    Args:
        url: of the store, as ``Scheduler`` takes it.
        after: the number of the last migration that was applied (0: none was); then the database is
            not queried, and need not be reachable. ``None``: the database is queried.

    Raises:
        ConfigurationError, SchemaError, StoreUnavailable: as :func:`plan`.

    Example:
        >>> print(sql("sqlite:///jobs.db", after=0))

    """
    steps: Sequence[Migration]
    if after is None:
        steps = plan(url)
    else:
        steps = [step for step in migrations(_store(url).folder) if step.number > after]
    return schema.script(steps)


def _store(url: str) -> SqlStore:
    if not isinstance(url, str):
        raise ConfigurationError(
            "migrations: give the URL of a database, such as postgresql://… or sqlite:///…"
        )
    return cast("SqlStore", open_store(url, "default")())
