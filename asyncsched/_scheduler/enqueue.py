"""One-offs: ``schedule_once`` and its kin."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, TypeVarTuple, Unpack, overload

from asyncsched._backends.turns import in_turns
from asyncsched._core.errors import (
    ArgumentError,
    ConfigurationError,
    KeyConflict,
    SchedulerStateError,
    UnknownRun,
)
from asyncsched._core.instants import to_micros
from asyncsched._core.jobs import Job
from asyncsched._core.records import RunRecord
from asyncsched._core.requests import Added
from asyncsched._core.text import safe_repr, shorten
from asyncsched._scheduler.handle import RunHandle
from asyncsched._scheduler.once import Once, handle_of, make_run, put_off
from asyncsched._scheduler.registry import Registry
from asyncsched.abc import TransactionalStore

if TYPE_CHECKING:
    from asyncsched._core.instants import Now
    from asyncsched._engine.runtime import Runtime
    from asyncsched._engine.worker import Worker

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


ONE_TURN = 32
"""How many items of a batch are seen to before others get their turn: about 0.3 ms."""


class OnceOptions(TypedDict, total=False):
    """What may be said of one call; :meth:`Enqueue.schedule_once` explains each."""

    delay: float | timedelta | None
    at: datetime | None
    key: str | None
    key_ttl: float | timedelta
    replace: bool
    priority: int | None
    tags: Sequence[str]
    connection: Any


class Enqueue:
    """The part of a scheduler that is used in request handlers."""

    _registry: Registry

    def _running(self) -> Runtime:
        raise NotImplementedError

    @overload
    async def schedule_once(
        self, func: Callable[[Unpack[Ts]], Awaitable[T]], *args: *Ts, kwargs: None = None,
        **options: Unpack[OnceOptions],
    ) -> RunHandle[T]: ...  # fmt: skip

    @overload
    async def schedule_once(
        self, func: Callable[[Unpack[Ts]], T], *args: *Ts, kwargs: None = None,
        **options: Unpack[OnceOptions],
    ) -> RunHandle[T]: ...  # fmt: skip

    @overload
    async def schedule_once(
        self, func: Callable[..., Awaitable[T]], *args: Any, kwargs: Mapping[str, Any],
        **options: Unpack[OnceOptions],
    ) -> RunHandle[T]: ...  # fmt: skip

    @overload
    async def schedule_once(
        self, func: Callable[..., T], *args: Any, kwargs: Mapping[str, Any],
        **options: Unpack[OnceOptions],
    ) -> RunHandle[T]: ...  # fmt: skip

    @overload
    async def schedule_once(
        self, func: str, *args: Any, kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[OnceOptions],
    ) -> RunHandle[Any]: ...  # fmt: skip

    async def schedule_once(
        self, func: Any, *args: object, kwargs: Mapping[str, Any] | None = None,
        delay: float | timedelta | None = None, at: datetime | None = None, key: str | None = None,
        key_ttl: float | timedelta = 0, replace: bool = False, priority: int | None = None,
        tags: Sequence[str] = (), connection: Any = None, **unknown: object,
    ) -> RunHandle[Any]:  # fmt: skip
        """Run a job once: now, after a delay, or at a moment.

        Args:
            func: a declared function or a job's name; in memory any function.
            *args: its positional arguments, type-checked.
            kwargs: its keyword arguments.
            delay: seconds or ``timedelta`` from now.
            at: aware datetime; past means now.
            key: makes repeating safe: while a run of the job with this key is live, and ``key_ttl``
                seconds after its success, that run is returned instead (``handle.created`` is False).
            replace: with a ``key``: a pending run takes over this call's time and arguments, which
                is a debounce.
            priority: overrides the job's.
            tags: added to the job's.
            connection: a database connection or session whose transaction the run becomes part of.
                Until that has committed, the handle knows no run: all it is asked, ``result`` and
                ``wait`` too, raises ``UnknownRun``. So it does for ever after a rollback.

        Returns:
            A handle, before the job has begun.

        Raises:
            UnknownJob: no such job is declared, and the store is a durable one.
            ArgumentError: the function does not take these arguments, or JSON cannot carry them.
            KeyConflict: the key belongs to a run with other arguments.
            SchedulerStateError: the scheduler is not running.

        """
        if unknown:
            name = next(iter(unknown))
            raise ArgumentError(
                f"schedule_once has no argument {name!r}; arguments of the job's function are given by "
                f"position, or as kwargs={{{name!r}: ...}}"
            )
        runtime = self._running()
        once = Once(func, args, kwargs, delay, at, key, key_ttl, priority, tags)
        if connection is not None:
            if replace:
                raise ArgumentError(
                    "replace=True and connection= do not go together: moving a run is no INSERT"
                )
            return await self._add_in(runtime.main, connection, self._of_statement(once))
        job = self._job_for(func, runtime)
        if replace and key is None:
            raise ArgumentError(
                f"job {job.name!r}: replace=True needs a key=, by which the run to move is found"
            )
        worker = runtime.main if not job.each_instance else await runtime.local()
        now = worker.timeline.now()
        run = make_run(worker, job, once, now)
        added = (await worker.store.add((run,), now, replace))[0]
        worker.engine.added(added.run)
        return handle_of(worker, run, added)

    async def _add_in(self, worker: Worker, connection: Any, run: RunRecord) -> RunHandle[Any]:
        """Put a run into the ledger through the user's own connection."""
        store: Any = worker.store
        count = await _answer(store.add_in(connection, run, worker.timeline.now()))
        if count != 0:  # a driver that does not know how many says -1
            return RunHandle(worker.control, run.id, run, True, uncommitted=True)
        for id, arguments in await _answer(store.key_holder_in(connection, run)):
            conflict = arguments != run.arguments
            number = int(id.replace("-", ""), 16)
            found = await worker.store.run(number)
            if found is not None:
                worker.engine.added(found)
                return handle_of(worker, run, Added(found, False, conflict))
            # The same transaction wrote it before, and nobody else sees it yet.
            run.id = number
            handle_of(worker, run, Added(run, False, conflict))
            return RunHandle(worker.control, number, run, False, uncommitted=True)
        raise KeyConflict(
            f"job {run.job!r}: the key {shorten(run.key or '')!r} belongs to a run that this transaction does "
            "not see; try it again in a new one",
            "",
        )

    def statement(
        self, func: Callable[..., Any] | str, *args: Any, kwargs: Mapping[str, Any] | None = None,
        delay: float | timedelta | None = None, at: datetime | None = None, key: str | None = None,
        key_ttl: float | timedelta = 0, priority: int | None = None, tags: Sequence[str] = (),
    ) -> tuple[str, tuple[Any, ...]]:  # fmt: skip
        """Return the one INSERT that schedules a run, to execute in a transaction of your own.

        The run exists exactly if that transaction commits. Executed twice it changes nothing; with a
        ``key`` that another live run holds, it inserts nothing.

        Returns:
            The SQL and its parameters, as ``sqlite3`` or psycopg take them.

        Raises:
            SchedulerStateError: the scheduler is not running, or keeps its runs in memory.
            UnknownJob, ArgumentError: as :meth:`schedule_once`.

        """
        store: Any = self._running().main.store
        run = self._of_statement(Once(func, args, kwargs, delay, at, key, key_ttl, priority, tags))
        made: tuple[str, tuple[Any, ...]] = store.statement(run)
        return made

    def _of_statement(self, once: Once) -> RunRecord:
        runtime = self._running()
        worker = runtime.main
        if not isinstance(worker.store, TransactionalStore):
            raise SchedulerStateError(
                "a run in your own transaction needs a SQLite or PostgreSQL store; this scheduler keeps its runs "
                "in memory"
            )
        return make_run(worker, self._job_for(once.func, runtime), once, worker.timeline.now())

    async def schedule_many(
        self, items: Sequence[Once], *, over: timedelta | float | None = None
    ) -> list[RunHandle[Any]]:
        """Schedule many one-offs at once.

        Up to 100 are one transaction. More are written in several, in order, so that nothing else
        waits for them: if the call is cancelled in between, or the store fails, the first of them
        exist. With a ``key`` on each, repeating the call is safe.

        Args:
            items: ``Once`` values; all are checked before the first is written.
            over: a stretch of time to spread those over that have no time of their own, evenly.

        Returns:
            One handle for each item, in order.

        Raises:
            KeyConflict: a key belongs to a run with other arguments; nothing else is undone by it.
            StoreUnavailable: the store did not take the rest in time.

        """
        runtime = self._running()
        worker = runtime.main
        now = worker.timeline.now()
        spread = 0 if over is None else to_micros(over, "schedule_many: over")
        if spread < 0:
            raise ConfigurationError(f"schedule_many: over must not be negative, not {over}")
        loose: list[RunRecord] = []
        first: dict[bool, RunRecord] = {}  # by timeline

        def make(item: Once) -> RunRecord:
            run = self._of_many(item, runtime, now)
            if spread and item.timeless:
                loose.append(run)
            if run.due < first.setdefault(run.steady, run).due:
                first[run.steady] = run
            return run

        runs = await in_turns(make, items, ONE_TURN)
        await in_turns(
            lambda number: put_off(loose[number], spread * number // len(loose)), range(len(loose)), ONE_TURN
        )
        try:
            added = await worker.store.add(runs, now)
        finally:
            for run in first.values():  # it may be there, even if the others are not
                worker.engine.added(run)
        return await in_turns(
            lambda number: handle_of(worker, runs[number], added[number]), range(len(runs)), ONE_TURN
        )

    def _of_many(self, item: Once, runtime: Runtime, now: Now) -> RunRecord:
        if not isinstance(item, Once):
            raise ConfigurationError(f"schedule_many takes Once(...) values, not {safe_repr(item)}")
        job = self._job_for(item.func, runtime)
        if job.each_instance:
            raise ConfigurationError(
                f"job {job.name!r} is each_instance, and kept apart; schedule it by schedule_once"
            )
        return make_run(runtime.main, job, item, now)

    @overload
    def schedule_once_sync(
        self, func: Callable[[Unpack[Ts]], Awaitable[T]], *args: *Ts, kwargs: None = None,
        **options: Unpack[OnceOptions],
    ) -> RunHandle[T]: ...  # fmt: skip

    @overload
    def schedule_once_sync(
        self, func: Callable[[Unpack[Ts]], T], *args: *Ts, kwargs: None = None,
        **options: Unpack[OnceOptions],
    ) -> RunHandle[T]: ...  # fmt: skip

    @overload
    def schedule_once_sync(
        self, func: Callable[..., Awaitable[T]], *args: Any, kwargs: Mapping[str, Any],
        **options: Unpack[OnceOptions],
    ) -> RunHandle[T]: ...  # fmt: skip

    @overload
    def schedule_once_sync(
        self, func: Callable[..., T], *args: Any, kwargs: Mapping[str, Any],
        **options: Unpack[OnceOptions],
    ) -> RunHandle[T]: ...  # fmt: skip

    @overload
    def schedule_once_sync(
        self, func: str, *args: Any, kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[OnceOptions],
    ) -> RunHandle[Any]: ...  # fmt: skip

    def schedule_once_sync(
        self, func: Any, *args: object, kwargs: Any = None, **options: Unpack[OnceOptions]
    ) -> RunHandle[Any]:
        """Do what :meth:`schedule_once` does, from a sync handler or any other thread; it blocks briefly.

        Raises:
            SchedulerStateError: called in the event loop's own thread; use ``await schedule_once``.

        """
        runtime = self._running()
        if get_ident() == runtime.thread:
            raise SchedulerStateError(
                "schedule_once_sync() was called in the event loop's thread, which it would block; "
                "there, use await scheduler.schedule_once(...)"
            )
        return runtime.from_thread(lambda: self.schedule_once(func, *args, kwargs=kwargs, **options))

    def handle(self, run_id: str) -> RunHandle[Any]:
        """Return the handle of a run by its id, from whichever instance it was scheduled.

        Raises:
            UnknownRun: the text cannot be a run's id. Whether there is such a run shows at its use.

        """
        runtime = self._running()
        try:
            number = int(run_id, 16)
            if len(run_id) != 32 or not 0 < number < 1 << 128:
                raise ValueError
        except (ValueError, TypeError):
            raise UnknownRun(str(run_id), "a run's id has 32 hexadecimal digits") from None
        return RunHandle(runtime.control(runtime.main), number)

    def _job_for(self, func: Any, runtime: Runtime) -> Job:
        job = self._registry.find(func)
        if job is None:
            if isinstance(func, str) or runtime.main.store.durable or not callable(func):
                return self._registry.get(func)
            job = self._registry.adopt(func, runtime.unlearn)
            runtime.learn(job)
        return job


async def _answer(found: Any) -> Any:
    return await found if inspect.isawaitable(found) else found
