"""The handle that ``schedule_once`` returns: typed, awaitable, cancellable."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

import anyio

from asyncsched._core.errors import (
    ArgumentError,
    ConfigurationError,
    NotCancellable,
    RunCancelled,
    RunFailed,
    RunLost,
    RunTimedOut,
    SchedulerClosed,
    StoreUnavailable,
    UnknownRun,
)
from asyncsched._core.instants import SECOND, to_micros
from asyncsched._core.mapping import run_id_text
from asyncsched._core.models import Progress, Run
from asyncsched._core.records import RunRecord
from asyncsched._core.shown import ShownAsData
from asyncsched._core.states import Outcome
from asyncsched._engine.attempt import lent_place
from asyncsched._scheduler.control import RunControl

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_PAUSE = 0.25
"""Seconds between two queries to a store that does not answer."""

_UNCOMMITTED = (
    "it was put into a transaction of your own, which has not committed (yet); use the handle after the commit, "
    "and not after a rollback"
)

_FAILURES: dict[str, type[RunFailed]] = {"cancelled": RunCancelled, "timed_out": RunTimedOut, "lost": RunLost}


class RunHandle(ShownAsData, Generic[T_co]):
    """One run, scheduled by this instance or by another one. As a FastAPI response it is its id and ``created``.

    Attributes:
        created: whether this call made the run; False if its ``key`` found an earlier run.

    """

    __slots__ = ("__weakref__", "_control", "_id", "_record", "_uncommitted", "created")

    def __init__(
        self, control: RunControl, run_id: int, record: RunRecord | None = None, created: bool = False,
        uncommitted: bool = False,
    ) -> None:  # fmt: skip
        self._control = control
        self._id = run_id
        self._record = record
        self._uncommitted = uncommitted  # the run is in a user's transaction that has not committed yet
        self.created = created

    @property
    def id(self) -> str:
        """The run's id: 32 hexadecimal digits, in order of time."""
        return run_id_text(self._id)

    def to_json(self) -> dict[str, Any]:
        """Return the handle as data: the run's id, and whether this call made the run."""
        return {"id": self.id, "created": self.created}

    async def _query(self) -> RunRecord:
        found = await self._control.query(self._id)
        if found is not None:
            self._record, self._uncommitted = found, False
        if self._record is None or (found is None and (self._record.live or self._uncommitted)):
            raise self._unknown()
        return self._record

    async def _query_patiently(self) -> RunRecord:
        """Return the run, however long the store is away: an outage must not end a wait for a run."""
        while True:
            try:
                return await self._query()
            except StoreUnavailable:
                await anyio.sleep(_PAUSE)

    def _unknown(self) -> UnknownRun:
        return UnknownRun(self.id, _UNCOMMITTED) if self._uncommitted else UnknownRun(self.id)

    async def _ended(self, timeout: float | timedelta | None) -> RunRecord:
        seconds = None if timeout is None else to_micros(timeout, "timeout") / SECOND
        if seconds is not None and seconds < 0:
            raise ConfigurationError(f"timeout must not be negative, not {timeout}")
        with anyio.move_on_after(seconds):
            while True:
                # Subscribe first, then query, so that no change in between is missed.
                changed, leave = self._control.watch(self._id)
                try:
                    record = await self._query_patiently()
                    if not record.live:
                        return record
                    if self._control.closed():
                        raise SchedulerClosed(
                            f"run {self.id} of job {record.job!r} had not ended when the scheduler was closed"
                        )
                    with lent_place(self._id):
                        await changed.wait()
                finally:
                    leave()
        job = self._record.job if self._record is not None else "?"
        raise TimeoutError(f"run {self.id} of job {job!r} had not ended after {timeout} s; it goes on")

    async def status(self) -> Run:
        """Return the run as it stands now.

        Raises:
            UnknownRun: it has been pruned, or the transaction that it is part of has not committed.

        """
        record = await self._query()
        return self._control.view_of(record)

    async def wait(self, timeout: float | timedelta | None = None) -> Run:
        """Wait until the run has its outcome, and return the run; a failure does not raise.

        An outage of the store does not end the wait.

        Args:
            timeout: seconds or ``timedelta``.

        Raises:
            TimeoutError: the run has no outcome yet; it goes on.
            UnknownRun: as :meth:`status`; for a run that is not committed it is raised at once.
            SchedulerClosed: the scheduler was closed before.

        """
        record = await self._ended(timeout)
        return self._control.view_of(record)

    async def result(self, timeout: float | timedelta | None = None) -> T_co:
        """Wait until the run has its outcome, and return the value that the job returned.

        An outage of the store does not end the wait.

        Args:
            timeout: seconds or ``timedelta`` to wait.

        Raises:
            RunFailed: the run ended without success; the subclass says how, and ``__cause__`` is the original
                exception if the job ran in this process.
            StoreError: the result was larger than ``result_limit`` and not kept, and it is not in this process.
            TimeoutError: the run has no outcome yet; it goes on.
            UnknownRun: as :meth:`status`; for a run that is not committed it is raised at once.
            SchedulerClosed: the scheduler was closed before.

        """
        record = await self._ended(timeout)
        if record.state == "succeeded":
            value: T_co = self._control.result_of(record)
            return value
        raise failure_of(record) from self._control.error_of(self._id)

    async def cancel(self) -> bool:
        """Cancel the run, and wait until it has ended. A pending run never begins.

        Returns:
            Whether the run ended as cancelled; False if it ended otherwise before the cancel took effect.

        """
        record = await self._control.cancel(self._id, "cancelled")
        if record is None:
            raise self._unknown()
        record = await self._ended(None)
        return record.state == "cancelled"

    async def reschedule(self, *, delay: float | timedelta | None = None, at: datetime | None = None) -> None:
        """Give the pending run another time.

        Args:
            delay: seconds or ``timedelta`` from now.
            at: aware datetime; past means now.

        Raises:
            NotCancellable: the run has begun, or ended.
            UnknownRun: there is no run of that id, or it has been pruned.
            ArgumentError: neither ``delay`` nor ``at`` was given, or both.

        """
        if delay is None and at is None:
            raise ArgumentError("reschedule: give delay= or at=")
        if self._uncommitted:
            await self._query()  # a write would wait for the end of that transaction
        record = await self._control.move(self._id, *self._control.due_time(delay, at))
        if record is None:
            raise self._unknown()
        if record.state != "pending":
            raise NotCancellable(f"run {self.id} is {record.state}: only a pending run can be moved")

    async def updates(self) -> AsyncIterator[Progress]:
        """Yield the run's progress each time it changes, until the run has ended."""
        last: Progress | None = None
        while True:
            changed, leave = self._control.watch(self._id)
            try:
                record = await self._query_patiently()
                progress, over = record.progress, not record.live or self._control.closed()
                if progress is not None and progress != last:
                    last = progress
                    yield progress
                if over:
                    return
                await changed.wait()
            finally:
                leave()

    def __repr__(self) -> str:
        return f"<RunHandle {self.id}>"


def failure_of(record: RunRecord) -> RunFailed:
    """Return the exception for a run that ended without success."""
    kind: Any = _FAILURES.get(record.state, RunFailed)
    outcome = Outcome(record.state, record.why)  # type: ignore[arg-type]  # rows hold the words as text
    error = record.error
    if error is None:
        made: RunFailed = kind(run_id_text(record.id), record.job, outcome)
    else:
        made = kind(run_id_text(record.id), record.job, outcome, error.type, error.message, error.traceback)
    return made


def run_number(id: object) -> int:
    """Return the number of a run's id.

    Raises:
        UnknownRun: the text cannot be one.

    """
    try:
        number = int(id, 16) if isinstance(id, str) and len(id) == 32 else 0
    except ValueError:
        number = 0
    if number <= 0:
        raise UnknownRun(str(id), "a run's id has 32 hexadecimal digits")
    return number
