"""A warning of transactions of the user's that stay open although the store has written in them.

Until such a transaction ends, it holds locks: in SQLite that of the whole file, in PostgreSQL those of a key or run.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from asyncsched._core.records import RunRecord
from asyncsched._core.rules.outcome import COMPLETED
from asyncsched.stores.sql.session import Session

logger = logging.getLogger("asyncsched.store")


class _Begun(NamedTuple):
    at: float
    run: int
    job: str
    completes: bool


class OpenTransactions:
    """The transactions of the user's in which the store has written, until each has been looked at.

    Args:
        patience: seconds after which one that is open still is warned of.
        holds: what it holds, in words.
        is_open: called in the reader's thread; whether any transaction in which a run was written is open for so long.

    """

    def __init__(self, patience: float, holds: str, is_open: Callable[[Session], bool]) -> None:
        self._patience = patience
        self._holds = holds
        self._is_open = is_open
        self._begun: deque[_Begun] = deque()

    def begun(self, run: RunRecord, completes: bool) -> None:
        """Note a write in a transaction of the user's. From any thread.

        Args:
            run: the run that was added, or whose success was written.
            completes: which of the two.

        """
        self._begun.append(_Begun(time.monotonic(), run.id, run.job, completes))

    def look(self, session: Session) -> None:
        """Warn of those that are open for too long. In the reader's thread."""
        while self._begun and self._begun[0].at <= time.monotonic() - self._patience:
            one = self._begun.popleft()
            if not _is_committed(session, one) and self._is_open(session):
                logger.warning(
                    "the transaction in which %s run %032x of job %r has been open for %.0f s: until it ends, %s. "
                    "Commit right after the call, and do what takes long before or after",
                    "complete_in() ended" if one.completes else "schedule_once(connection=…) added",
                    one.run, one.job, time.monotonic() - one.at, self._holds,
                    extra={"run_id": f"{one.run:032x}", "job": one.job},
                )  # fmt: skip


def _is_committed(session: Session, one: _Begun) -> bool:
    run = session.a_run("run", id=session.write_id(one.run))
    if one.completes:
        return run is None or run.state != "running" or run.cancel_requested == COMPLETED
    return run is not None
