"""One-offs: ``schedule_once`` and its kin."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, TypeVarTuple, Unpack, overload

from anyio.lowlevel import checkpoint

from asyncsched._errors import (
    ArgumentError,
    ConfigurationError,
    KeyConflict,
    SchedulerStateError,
    UnknownRun,
    shorten,
    shown,
)
from asyncsched._handle import RunHandle
from asyncsched._instants import to_micros
from asyncsched._jobs import Job
from asyncsched._ledger import Added, RunQuery, RunRecord
from asyncsched._models import check_int
from asyncsched._options import tags_of
from asyncsched._registry import Registry
from asyncsched._views import run_id_text

if TYPE_CHECKING:
    from asyncsched._clock import Now
    from asyncsched._line import Line
    from asyncsched._machine import Machine

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_ONE_TURN = 64
"""How many items of a batch are looked at before others get their turn: about 1 ms."""


@dataclass(frozen=True, slots=True)
class Once:
    """One item of ``schedule_many``: what ``schedule_once`` takes, as a value."""

    func: Callable[..., Any] | str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    delay: float | timedelta | None = None
    at: datetime | None = None
    key: str | None = None
    key_ttl: float | timedelta = 0
    priority: int | None = None
    tags: tuple[str, ...] = ()


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
    _strict: bool

    def _running(self) -> Machine:
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
        machine = self._running()
        if connection is not None:
            if replace:
                raise ArgumentError(
                    "replace=True and connection= do not go together: moving a run is no INSERT"
                )
            run = self._of_statement(func, args, kwargs, delay, at, key, key_ttl, priority, tags)
            return await self._add_in(machine, connection, run)
        job = self._job_for(func, machine)
        if replace and key is None:
            raise ArgumentError(
                f"job {job.name!r}: replace=True needs a key=, by which the run to move is found"
            )
        line = machine.main if not job.each_instance else await machine.local()
        now = line.timeline.now()
        run = self._record(machine, line, job, args, kwargs, delay, at, now, key, key_ttl, priority, tags)
        added = (await line.store.add((run,), now, replace))[0]
        return self._handle(line, run, added)

    async def _add_in(self, machine: Machine, connection: Any, run: RunRecord) -> RunHandle[Any]:
        """Put a run into the ledger through the user's own connection."""
        line = machine.main
        store: Any = line.store
        count = store.add_in(connection, run, line.timeline.now())
        if inspect.isawaitable(count):
            count = await count
        if count != 0:  # a driver that does not know how many says -1
            return RunHandle(line.desk, run.id, run, True, uncommitted=True)
        self._registry.let_go(run.job)
        found = await line.store.runs(RunQuery(job=run.job, key=run.key, limit=1))
        if not found:  # it was written in a transaction that is still open: ours, or another
            raise KeyConflict(
                f"job {run.job!r}: the key {shorten(run.key or '')!r} is held in a transaction that is still open",
                "",
            )
        return self._handle(line, run, Added(found[0], False, found[0].arguments != run.arguments))

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
        run = self._of_statement(func, args, kwargs, delay, at, key, key_ttl, priority, tags)
        made: tuple[str, tuple[Any, ...]] = store.statement(run)
        return made

    def _of_statement(self, func: Any, args: Any, kwargs: Any, delay: Any, at: Any, *more: Any) -> RunRecord:
        machine = self._running()
        line = machine.main
        if not callable(getattr(line.store, "add_in", None)):
            raise SchedulerStateError(
                "a run in your own transaction needs a SQLite or PostgreSQL store; this scheduler keeps its runs "
                "in memory"
            )
        job = self._job_for(func, machine)
        return self._record(machine, line, job, args, kwargs, delay, at, line.timeline.now(), *more)

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
        machine = self._running()
        line = machine.main
        now = line.timeline.now()
        spread = 0 if over is None else to_micros(over, "schedule_many: over")
        if spread < 0:
            raise ConfigurationError(f"schedule_many: over must not be negative, not {over}")
        for item in items:
            if not isinstance(item, Once):
                raise ConfigurationError(f"schedule_many takes Once(...) values, not {shown(item)}")
        loose = sum(item.delay is None and item.at is None for item in items) if spread else 0
        runs: list[RunRecord] = []
        number = 0
        for turn, item in enumerate(items, 1):
            if turn % _ONE_TURN == 0:
                await checkpoint()
            job = self._job_for(item.func, machine)
            if job.each_instance:
                raise ConfigurationError(
                    f"job {job.name!r} is each_instance, and kept apart; schedule it by schedule_once"
                )
            run = self._record(
                machine, line, job, item.args, item.kwargs, item.delay, item.at, now, item.key, item.key_ttl,
                item.priority, item.tags,
            )  # fmt: skip
            if loose and item.delay is None and item.at is None:
                put_off(run, spread * number // loose)
                number += 1
            runs.append(run)
        added = await line.store.add(runs, now)
        for one in added:  # all of them, before a conflict is told: the others are not undone by it
            if one.run.state == "pending":
                line.engine.added(one.run)
        handles = []
        for run, one in zip(runs, added, strict=True):
            handles.append(self._handle(line, run, one))
            if len(handles) % _ONE_TURN == 0:
                await checkpoint()
        return handles

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
        machine = self._running()
        if get_ident() == machine.thread:
            raise SchedulerStateError(
                "schedule_once_sync() was called in the event loop's thread, which it would block; "
                "there, use await scheduler.schedule_once(...)"
            )
        return machine.from_thread(lambda: self.schedule_once(func, *args, kwargs=kwargs, **options))

    def handle(self, run_id: str) -> RunHandle[Any]:
        """Return the handle of a run by its id, from whichever instance it was scheduled.

        Raises:
            UnknownRun: the text cannot be a run's id. Whether there is such a run shows at its use.

        """
        machine = self._running()
        try:
            number = int(run_id, 16)
            if len(run_id) != 32 or not 0 < number < 1 << 128:
                raise ValueError
        except (ValueError, TypeError):
            raise UnknownRun(str(run_id), "a run's id has 32 hexadecimal digits") from None
        return RunHandle(machine.desk(machine.main), number)

    def _job_for(self, func: Any, machine: Machine) -> Job:
        job = self._registry.find(func)
        if job is None:
            if isinstance(func, str) or machine.main.store.durable or not callable(func):
                return self._registry.get(func)
            job = self._registry.adopt(func, machine.unlearn)
            machine.learn(job)
        return job

    def _record(
        self, machine: Machine, line: Line, job: Job, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None,
        delay: float | timedelta | None, at: datetime | None, now: Now, key: str | None = None,
        key_ttl: float | timedelta = 0, priority: int | None = None, tags: Sequence[str] = (),
        origin: str = "once", schedule: str | None = None,
    ) -> RunRecord:  # fmt: skip
        """Return a run that is to be added, everything about it checked.

        Raises:
            ArgumentError: the arguments do not fit, or one of the others is of no use.
            ConfigurationError: a time or a number is wrong. Both name the job.

        """
        arguments = job.signature.bind(args, kwargs)
        permits = job.permits(arguments) if job.limits else ()  # type: ignore[arg-type]  # not JSON yet
        as_json = line.store.durable or self._strict
        if key is not None or key_ttl:
            _check_key(job, key, key_ttl)
            arguments = job.signature.canonical(arguments)  # type: ignore[arg-type]  # f(1) is f(x=1)
        if as_json:
            arguments = job.signature.encode(arguments)  # type: ignore[arg-type]
        if priority is not None:
            check_int(priority, f"job {job.name!r}: priority", -1000, 1000)
        try:
            due, steady = line.desk.when(delay, at, now)
        except (ConfigurationError, ArgumentError) as error:
            raise type(error)(f"job {job.name!r}: {error}") from None
        self._registry.in_use(job.name)
        return RunRecord(
            machine.ids.next(now.wall),
            job.name,
            due,
            steady=steady,
            executor=job.executor,
            origin=origin,
            schedule=schedule,
            priority=job.priority if priority is None else priority,
            arguments=arguments,
            key=key,
            key_ttl=to_micros(key_ttl, "key_ttl") if key_ttl else 0,
            tags=job.tags + tags_of(tags, f"job {job.name!r}") if tags else job.tags,
            permits=permits,
            max_attempts=job.attempts,
            carried=_carried(job, as_json) if job.carry else None,
        )

    def _handle(self, line: Line, run: RunRecord, added: Added) -> RunHandle[Any]:
        stands = added.run
        if stands is not run:
            self._registry.let_go(run.job)
        if added.conflict:
            raise KeyConflict(
                f"job {stands.job!r}: the key {shorten(stands.key or '')!r} belongs to run "
                f"{run_id_text(stands.id)}, which is {stands.state} and has other arguments; use another key, or "
                "replace=True while it is pending",
                run_id_text(stands.id),
            )
        if stands.state == "pending":
            line.engine.added(stands)
        return RunHandle(line.desk, stands.id, stands, added.created)


def put_off(run: RunRecord, micros: int) -> None:
    """Move a run that has not been added yet by so much."""
    run.due += micros
    run.rank += micros
    run.ready_at = run.due


def _check_key(job: Job, key: object, key_ttl: Any) -> None:
    if key is None:
        raise ArgumentError(f"job {job.name!r}: key_ttl needs a key=, which it keeps for so long")
    if not isinstance(key, str) or not 0 < len(key) <= 500:
        raise ArgumentError(f"job {job.name!r}: key must be a text of 1 to 500 characters, not {shown(key)}")
    if key_ttl and to_micros(key_ttl, f"job {job.name!r}: key_ttl") < 0:
        raise ConfigurationError(f"job {job.name!r}: key_ttl must not be negative, not {key_ttl}")


def _carried(job: Job, as_json: bool) -> dict[str, Any]:
    """Return what the job's context variables stand at here, as far as they are set."""
    carried = {name: variable.get() for name, variable in job.carry.items() if _is_set(variable)}
    if as_json:
        for name, value in carried.items():
            try:
                carried[name] = json.loads(json.dumps(value, allow_nan=False))
            except (TypeError, ValueError, RecursionError):
                raise ArgumentError(
                    f"job {job.name!r}: carry: the context variable {name!r} is {shown(value)}, which JSON "
                    "cannot carry; set it to a text, a number, or a list or dict of those"
                ) from None
    return carried


def _is_set(variable: Any) -> bool:
    try:
        variable.get()
    except LookupError:
        return False
    return True
