"""The control of single runs of one worker: queries, cancels, moves and results, for the runs' handles."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from threading import current_thread, get_ident
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from asyncsched._core.errors import SchedulerClosed, SchedulerStateError, StoreError, StoreUnavailable
from asyncsched._core.instants import Instant
from asyncsched._core.jobs import Job, JobRegistry
from asyncsched._core.mapping import result_of, run_id_text, run_view
from asyncsched._core.models import Run
from asyncsched._core.records import RunRecord
from asyncsched._core.rules.outcome import NOT_KEPT
from asyncsched._scheduler.lookup import run_of_id
from asyncsched._scheduler.once import due_time

if TYPE_CHECKING:
    from asyncsched._engine.waiters import Waiters
    from asyncsched._engine.worker import Worker

T = TypeVar("T")


def view_here(record: RunRecord, job: Job | None, worker: Worker) -> Run:
    """Return a run as it stands; one that is ready says for which place it waits in this process."""
    view = run_view(record, job, worker.knows(record.job))
    parked = view.waiting_for == "job"  # in memory, because the last claim did not ask for its job
    if record.state != "pending" or (view.waiting_for is not None and not parked):
        return view
    if not parked and (record.ready_at is None or record.ready_at > worker.timeline.now()[record.steady]):
        return view
    waits_for = worker.capacity.awaited_by(record.executor, record.job)
    return view if waits_for is None else replace(view, waiting_for=waits_for)


def in_another_loop() -> SchedulerStateError:
    """Return the error for a call that was awaited in the event loop of another thread."""
    return SchedulerStateError(
        f"the call was made in an event loop of thread {current_thread().name!r}, and the scheduler lives in that of "
        "another thread; from there use schedule_once_sync(...), or let the scheduler's own loop make the call, as "
        "anyio.from_thread.run(scheduler.pause, id, token=token) or asyncio.run_coroutine_threadsafe do"
    )


class RunControl:
    """Queries, cancels and moves single runs of one worker, for their handles.

    Args:
        worker: the worker whose store has the runs.
        waiters: wakes handles at changes of their runs.
        registry: has the jobs of the runs.

    """

    __slots__ = ("_registry", "_waiters", "_worker", "error_of")

    def __init__(self, worker: Worker, waiters: Waiters, registry: JobRegistry) -> None:
        self._worker = worker
        self._waiters = waiters
        self._registry = registry
        self.error_of = waiters.error_of

    def job_of(self, name: str) -> Job | None:
        """Return a run's job, if this scheduler knows it."""
        return self._registry.find(name)

    def view_of(self, record: RunRecord) -> Run:
        """Return a run as it stands."""
        return view_here(record, self.job_of(record.job), self._worker)

    def result_of(self, record: RunRecord) -> Any:
        """Return a success's result; it may be one that was too large to be kept with its run."""
        value = result_of(record, self.job_of(record.job))
        if value is None and record.why.startswith(NOT_KEPT):
            value = self._waiters.result_of(record.id)
            if value is None:
                id = run_id_text(record.id)
                raise StoreError(
                    f"run {id} of job {record.job!r} succeeded; its result is gone: {record.why}"
                )
        return value

    def closed(self) -> bool:
        """Whether the scheduler has been closed."""
        return self._waiters.closed

    def watch(self, run_id: int) -> tuple[anyio.Event, Callable[[], None]]:
        """Return an event that is set at the run's next change, and a call that ends the wait."""
        self._check_loop()
        return self._waiters.wait_for(run_id)

    def _check_loop(self) -> None:
        if get_ident() != self._waiters.thread:
            raise in_another_loop()

    async def query(self, run_id: int) -> RunRecord | None:
        """Return the run as it stands, or ``None``."""
        self._check_loop()
        return await self._answer(run_of_id(self._worker.store, run_id))

    async def cancel(self, run_id: int, why: str) -> RunRecord | None:
        """End a pending run, or ask its holder to cancel it. Returns the run, or ``None``."""
        if await self.query(run_id) is None:
            return None  # a write would not find it either, and might wait for a user's transaction
        worker = self._worker
        record, ended = await self._answer(worker.store.cancel(run_id, why, worker.timeline.now()))
        if record is not None and ended:
            worker.endings.run_ended(record, self.job_of(record.job))  # it ended here, not at its holder
        elif record is not None and record.state == "running":
            worker.runner.cancel(run_id, why)
        return record

    async def move(self, run_id: int, due: Instant, steady: bool) -> RunRecord | None:
        """Give a pending run another time. Returns the run as it stands, or ``None``.

        Raises:
            SchedulerClosed: the scheduler has been closed.

        """
        self._check_loop()
        worker = self._worker
        if self.closed():
            raise self._gone()
        record = await self._answer(worker.store.move(run_id, due, steady, worker.timeline.now()))
        if record is not None and record.state == "pending":
            worker.agenda.add(record)
        return record

    def due_time(self, delay: float | timedelta | None, at: datetime | None) -> tuple[Instant, bool]:
        """Return a due time, and whether it stands on the steady timeline."""
        self._check_loop()
        return due_time(delay, at, self._worker.timeline.now())

    async def _answer(self, answer: Awaitable[T]) -> T:
        """Return the store's answer; raise ``SchedulerClosed`` if the store was closed with the scheduler."""
        try:
            return await answer
        except StoreUnavailable:
            if self.closed():
                raise self._gone() from None
            raise

    def _gone(self) -> SchedulerClosed:
        if not self._worker.store.durable:
            return SchedulerClosed("the scheduler has been closed, and its runs ended with it")
        return SchedulerClosed(
            "the scheduler has been closed, and its store with it; the run is kept there: when a scheduler runs "
            "again, use its handle(run_id)"
        )
