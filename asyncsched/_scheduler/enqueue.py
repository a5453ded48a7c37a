"""One-offs: ``schedule_once``, ``schedule_many``, ``schedule_once_sync``, ``statement`` and ``handle``."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, TypeVarTuple, Unpack, overload

from asyncsched._backends.turns import in_turns
from asyncsched._core.errors import ArgumentError, ConfigurationError, KeyConflict, SchedulerStateError
from asyncsched._core.instants import to_micros
from asyncsched._core.records import RunRecord
from asyncsched._core.requests import Added
from asyncsched._core.text import safe_repr, shorten
from asyncsched._scheduler.face import Face, Running
from asyncsched._scheduler.handle import RunHandle, run_number
from asyncsched._scheduler.lookup import run_of_id
from asyncsched._scheduler.once import Once, put_off
from asyncsched.abc import TransactionalStore

if TYPE_CHECKING:
    from asyncsched._core.instants import Now
    from asyncsched._engine.worker import Worker

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


_new = tuple.__new__

ONE_TURN = 32
"""The items of a batch that are prepared before other tasks get their turn: about 0.3 ms."""


class OnceOptions(TypedDict, total=False):
    """The options of one call; :meth:`Enqueue.schedule_once` explains each."""

    delay: float | timedelta | None
    at: datetime | None
    key: str | None
    key_ttl: float | timedelta
    replace: bool
    priority: int | None
    tags: Sequence[str]
    connection: Any


class Enqueue(Face):
    """The part of a scheduler that is used in request handlers."""

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
            key: makes it safe to repeat the call: while a run of the job with this key is live, and ``key_ttl``
                seconds after its success, the call returns that run (``handle.created`` is False). A job that
                schedules itself under its own key passes the key on to the new run, once.
            replace: with a ``key``: a pending run takes over this call's time and arguments, which
                is a debounce.
            priority: overrides the job's.
            tags: added to the job's.
            connection: a database connection or session whose transaction the run becomes part of.
                Until that has committed, the handle finds no run: each of its calls, ``result`` and
                ``wait`` too, raises ``UnknownRun``. After a rollback they do so for ever.

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
        running = self._here()
        # Twice as quick as the constructor of a named tuple.
        once = _new(Once, (func, args, kwargs, delay, at, key, key_ttl, priority, tags))
        if connection is not None:
            if replace:
                raise ArgumentError(
                    "replace=True and connection= do not go together: moving a run is no INSERT"
                )
            return await self._add_in(running.main, connection, self._of_statement(once))
        job = self._job_for(func, running)
        if replace and key is None:
            raise ArgumentError(
                f"job {job.name!r}: replace=True needs a key=, by which the run to move is found"
            )
        worker = running.main if not job.each_instance else await running.local()
        now = worker.timeline.now()
        run = self._make_run(worker, job, once, now)
        added = (await worker.store.add((run,), now, replace))[0]
        worker.agenda.add(added.run)
        return self._handle_of(worker, run, added)

    async def _add_in(self, worker: Worker, connection: Any, run: RunRecord) -> RunHandle[Any]:
        """Put a run into the ledger through the user's connection."""
        store: Any = worker.store
        count = await _answer(store.add_in(connection, run, worker.timeline.now()))
        if count != 0:  # a driver that does not know the number returns -1
            return RunHandle(self._control(worker), run.id, run, True, uncommitted=True)
        for id, arguments in await _answer(store.key_holder_in(connection, run)):
            conflict = arguments != run.arguments
            number = int(id.replace("-", ""), 16)
            found = await run_of_id(worker.store, number)
            if found is not None:
                worker.agenda.add(found)
                return self._handle_of(worker, run, Added(found, False, conflict))
            # The same transaction wrote the run before, and no other connection sees it yet.
            run.id = number
            self._handle_of(worker, run, Added(run, False, conflict))
            return RunHandle(self._control(worker), number, run, False, uncommitted=True)
        raise KeyConflict(
            f"job {run.job!r}: the key {shorten(run.key or '')!r} belongs to a run that this transaction does "
            "not see; try again in a new transaction",
            "",
        )

    def statement(
        self, func: Callable[..., Any] | str, *args: Any, kwargs: Mapping[str, Any] | None = None,
        delay: float | timedelta | None = None, at: datetime | None = None, key: str | None = None,
        key_ttl: float | timedelta = 0, priority: int | None = None, tags: Sequence[str] = (),
    ) -> tuple[str, tuple[Any, ...]]:  # fmt: skip
        """Return the one INSERT that schedules a run, to execute in a transaction of your app.

        The run exists exactly if that transaction commits. A second execution changes nothing; with a
        ``key`` that another live run holds, the statement inserts nothing.

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
        running = self._running()
        worker = running.main
        if not isinstance(worker.store, TransactionalStore):
            raise SchedulerStateError(
                "a run in your own transaction needs a SQLite or PostgreSQL store; this scheduler keeps its runs "
                "in memory"
            )
        return self._make_run(worker, self._job_for(once.func, running), once, worker.timeline.now())

    async def schedule_many(
        self, items: Sequence[Once], *, over: timedelta | float | None = None
    ) -> list[RunHandle[Any]]:
        """Schedule many one-offs at once.

        Up to 100 are one transaction. More are written in several, in order, so that no other write
        waits for all of them: if the call is cancelled in between, or the store fails, the first of them
        exist. With a ``key`` on each, the call can be repeated safely.

        Args:
            items: ``Once`` values; all are checked before the first is written.
            over: a stretch of time, over which the items without ``delay`` and ``at`` are spread evenly.

        Returns:
            One handle for each item, in order.

        Raises:
            KeyConflict: a key belongs to a run with other arguments; nothing else is undone by it.
            StoreUnavailable: the store did not take the rest in time.

        """
        running = self._here()
        worker = running.main
        now = worker.timeline.now()
        spread = 0 if over is None else to_micros(over, "schedule_many: over")
        if spread < 0:
            raise ConfigurationError(f"schedule_many: over must not be negative, not {over}")
        loose: list[RunRecord] = []
        first: dict[bool, RunRecord] = {}  # by timeline

        def make(some: Sequence[Once]) -> list[RunRecord]:
            made = [self._of_many(item, running, now) for item in some]
            if spread:
                loose.extend(run for run, item in zip(made, some, strict=True) if item.timeless)
            for run in made:
                if run.due < first.setdefault(run.steady, run).due:
                    first[run.steady] = run
            return made

        def put_off_some(numbers: Sequence[int]) -> Sequence[int]:
            for number in numbers:
                put_off(loose[number], spread * number // len(loose))
            return numbers

        runs = await in_turns(make, items, ONE_TURN)
        await in_turns(put_off_some, range(len(loose)), ONE_TURN)
        try:
            added = await worker.store.add(runs, now)
        finally:
            for run in first.values():  # the first may be in the store, even if the others are not
                worker.agenda.add(run)
        return await in_turns(
            lambda some: [self._handle_of(worker, runs[number], added[number]) for number in some],
            range(len(runs)), ONE_TURN,
        )  # fmt: skip

    def _of_many(self, item: Once, running: Running, now: Now) -> RunRecord:
        if not isinstance(item, Once):
            raise ConfigurationError(f"schedule_many takes Once(...) values, not {safe_repr(item)}")
        job = self._job_for(item.func, running)
        if job.each_instance:
            raise ConfigurationError(
                f"job {job.name!r} is each_instance, and its runs are kept apart; schedule it by schedule_once"
            )
        return self._make_run(running.main, job, item, now)

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
        """Call :meth:`schedule_once` from a sync handler or any other thread; the call blocks briefly.

        Raises:
            SchedulerStateError: called in the event loop's own thread; use ``await schedule_once``.

        """
        running = self._running()
        if get_ident() == running.thread:
            raise SchedulerStateError(
                "schedule_once_sync() was called in the event loop's thread, which it would block; "
                "there, use await scheduler.schedule_once(...)"
            )
        return running.from_thread(lambda: self.schedule_once(func, *args, kwargs=kwargs, **options))

    def handle(self, run_id: str) -> RunHandle[Any]:
        """Return the handle of a run by its id, from whichever instance it was scheduled.

        Raises:
            UnknownRun: the text cannot be a run's id. Whether there is such a run shows when the handle is used.

        """
        return RunHandle(self._control(self._running().main), run_number(run_id))


async def _answer(found: Any) -> Any:
    return await found if inspect.isawaitable(found) else found
