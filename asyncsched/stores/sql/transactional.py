"""A SQL store's writes in a transaction of the user's: new runs, and a job's success."""

from __future__ import annotations

import inspect
from typing import Any

from asyncsched._core.errors import SchedulerStateError
from asyncsched._core.instants import Now
from asyncsched._core.records import RunRecord
from asyncsched._core.rules.outcome import COMPLETED
from asyncsched.stores.sql.drivers import execute, in_style, rows_of
from asyncsched.stores.sql.open_transactions import OpenTransactions
from asyncsched.stores.sql.rows import Quarantine, new_run
from asyncsched.stores.sql.session import Session
from asyncsched.stores.sql.statements import load


class ByUser:
    """The part of a store that uses connections of the user's, on any thread."""

    namespace: str
    dialect: str
    """The database, as SQLAlchemy calls it."""
    folder: str
    """The folder of its SQL."""
    paramstyle: str
    """How its driver marks parameters, in the words of PEP 249."""
    _completing: set[int]
    """Runs whose success may stand in the job's own transaction."""

    _transactions: OpenTransactions
    """The transactions of the user's that may be open still."""

    def _make_session(self, quarantine: Quarantine, writes: bool) -> Session:
        raise NotImplementedError

    def statement(self, run: RunRecord) -> tuple[str, tuple[Any, ...]]:
        """Return the INSERT that puts a run into the ledger, with its parameters in the driver's style."""
        session = self._make_session(Quarantine(), False)
        row = tuple(new_run(self.namespace, run, session.write_id))
        return in_style(load(self.folder)["insert_run"], self.paramstyle), row

    def add_in(self, connection: Any, run: RunRecord, now: Now) -> Any:
        """Put a run into the ledger in the transaction that ``connection`` is in.

        Returns:
            The number of runs added: 0 if another run holds the key. Awaitable on async connections.

        """
        queries, session = load(self.folder), self._make_session(Quarantine(), False)
        statements = self._announcing()
        if run.key is not None:
            statements.append((queries["drop_old_key"], (self.namespace, run.job, run.key, now.wall)))
            if run.key_from is not None:
                statements.append((queries["pass_key"], (session.write_id(run.key_from), run.key)))
        statements.append((queries["insert_run"], new_run(self.namespace, run, session.write_id)))
        self._transactions.begun(run, False)
        return execute(connection, self.dialect, statements)

    def key_holder_in(self, connection: Any, run: RunRecord) -> Any:
        """Return the run that holds a run's key, as ``connection`` sees it: one row of id and arguments, or none.

        Awaitable on async connections.
        """
        return rows_of(
            connection, self.dialect, (load(self.folder)["key_holder_in"], (self.namespace, run.job, run.key))
        )

    def _announcing(self) -> list[Any]:
        """Return statements that notify other instances when the user's transaction commits."""
        return []

    def complete_in(self, run: RunRecord, connection: Any) -> Any:
        """Write a held run's success in the transaction that ``connection`` is in.

        Returns:
            ``None``; awaitable on async connections.

        Raises:
            SchedulerStateError: the run is no longer held here, so the transaction must not commit.

        """
        session = self._make_session(Quarantine(), False)
        params = (COMPLETED, session.write_id(run.id), run.holder, run.attempt)
        self._completing.add(run.id)
        self._transactions.begun(run, True)
        done = execute(connection, self.dialect, [(load(self.folder)["complete"], params)])
        return _checked_later(done, run) if inspect.isawaitable(done) else _checked(done, run)


def _checked(count: int, run: RunRecord) -> None:
    if count != 1:
        raise SchedulerStateError(
            f"run {run.id:032x} of job {run.job!r} is no longer held by this instance: another instance may have "
            "begun it again, so roll the transaction back"
        )


async def _checked_later(count: Any, run: RunRecord) -> None:
    _checked(await count, run)
