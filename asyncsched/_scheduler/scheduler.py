"""The class ``Scheduler``: the parts of the face in one, and the start and the end of the running parts."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import timedelta, tzinfo
from threading import current_thread, main_thread
from types import TracebackType
from typing import Any, Unpack

import anyio

from asyncsched._backends.current import current_task_id
from asyncsched._core.checks import check_int
from asyncsched._core.errors import SchedulerClosed, SchedulerStateError
from asyncsched._core.rules.outcome import RESULT_LIMIT
from asyncsched._core.rules.retention import Retention
from asyncsched._core.trigger import TriggerCodec
from asyncsched._engine.environment import Settings
from asyncsched._engine.runtime import Runtime, make_environment
from asyncsched._engine.server import current_server
from asyncsched._engine.shutdown import Shutdown
from asyncsched._scheduler.decorators import Declarations
from asyncsched._scheduler.enqueue import Enqueue
from asyncsched._scheduler.forgotten import watch
from asyncsched._scheduler.many import ManySchedules
from asyncsched._scheduler.options import JobDefaults, check_flag, check_name
from asyncsched._scheduler.parallel import Parallel
from asyncsched._scheduler.queries import Queries
from asyncsched._scheduler.registry import Registry
from asyncsched._scheduler.reporting import Reporting
from asyncsched._scheduler.runs import Runs
from asyncsched._scheduler.schedules import Schedules
from asyncsched._scheduler.scope import Scope, open_scope
from asyncsched._scheduler.settings import (
    Choices,
    Opener,
    Overridable,
    Role,
    SchedulerOptions,
    StoreChoice,
    checked_executors,
    checked_kind,
    checked_role,
    from_environment,
    seconds_of,
)
from asyncsched._scheduler.signals import Signals, carried_by, checked_observers
from asyncsched.abc import Clock, Executor
from asyncsched.executors.loop import LoopExecutor
from asyncsched.executors.thread import ThreadExecutor
from asyncsched.observers.log import LogObserver
from asyncsched.stores.factory import open_store
from asyncsched.triggers.codec import is_known, trigger_from_json, trigger_to_json


class Scheduler(
    Declarations, Enqueue, Schedules, ManySchedules, Runs, Queries, Parallel, Reporting, Signals, Overridable
):
    """Runs cron, interval and one-off work inside an async application, on time, once, and visibly.

    Use it as the lifespan of an ASGI app (``FastAPI(lifespan=scheduler.lifespan)``), as an async
    context manager, or by itself (``anyio.run(scheduler.run_forever)``).

    Args:
        store: where schedules and runs are kept: ``None`` for memory, a URL such as
            ``sqlite:///jobs.db`` or ``postgresql://…``, a ``Store``, or a function that returns one of
            these at each start.
        namespace: schedulers of one namespace on one store are one cluster.
        timezone: the zone of cron expressions without one.
        executors: further executors by name, or others in place of ``loop``, ``thread``, ``process``.
        role: ``both``; ``submit`` (adds runs, and runs none); ``run``; or ``off`` (starts nothing and
            still answers: for the tests of an app). By default the value of ``ASYNCSCHED_ROLE`` at
            start, else ``both``.
        shutdown_timeout: seconds that running attempts have before they are cancelled.
        strict: memory sends arguments and results through JSON, as a durable store would.
        observers: callables that hear every event.
        clock: a ``Clock``; the machine's by default.
        store_timeout: seconds that a store named by a URL has to answer before a call raises
            ``StoreUnavailable``; at start, the scheduler waits for the store for so long.
        stall_threshold: seconds that one job may block the event loop before the log names it;
            ``None`` for no watchdog.
        result_limit: the most bytes that a result has to be kept with its run, as JSON in a database; ``None`` for
            no limit. A run with a larger result succeeds without it, and ``why`` says so.
        defaults: options of all jobs that do not have their own, as ``JobDefaults(timeout=60)``.
        retention: what is kept of runs that have ended, and for how long.

    Attributes:
        state: a mapping for what the lifespan opens, such as a pool, so that jobs reach it:
            ``Provide(lambda: scheduler.state["pool"])``.
        overrides: for tests; ``scheduler.overrides[open_session] = fake_session`` has ``Provide`` call
            ``fake_session`` in place of ``open_session``, from the next attempt on.

    Raises:
        ConfigurationError: an argument is wrong.

    """

    def __init__(
        self,
        store: StoreChoice | Callable[[], StoreChoice] = None,
        *,
        namespace: str = "default",
        timezone: str | tzinfo = "UTC",
        executors: Mapping[str, Executor] | None = None,
        role: Role | None = None,
        shutdown_timeout: float | timedelta = 10,
        strict: bool = False,
        observers: Sequence[Callable[..., Any]] = (),
        clock: Clock | None = None,
        stall_threshold: float | None = 0.1,
        result_limit: int | None = RESULT_LIMIT,
        store_timeout: float | timedelta = 5,
        defaults: JobDefaults | None = None,
        retention: Retention | None = None,
    ) -> None:
        self.namespace = check_name(namespace, "namespace")
        self._executors: dict[str, Executor] = {
            "loop": LoopExecutor(), "thread": ThreadExecutor(), **checked_executors(executors)
        }  # fmt: skip
        self._observers = (LogObserver(), *checked_observers(observers))
        checked_kind(defaults, JobDefaults, "defaults")
        kept = checked_kind(retention, Retention, "retention")
        given = {} if defaults is None else defaults.given()
        super().__init__(Registry(self._executors, carried_by(self._observers), given), timezone)
        self._bounds = None if kept is None else kept.bounds
        self._strict = check_flag(strict, "strict")
        answer = seconds_of(store_timeout, "store_timeout")
        opener = Opener(self.namespace, answer, self._bounds, self._strict)
        self._choices = Choices(opener, store, clock, role)
        self.overrides = self._choices.overrides
        self._patience = seconds_of(shutdown_timeout, "shutdown_timeout", zero=True)
        if stall_threshold is not None:
            seconds_of(stall_threshold, "stall_threshold")
        self._stall_threshold = stall_threshold
        self._result_limit = (
            None if result_limit is None else check_int(result_limit, "result_limit", 0, sys.maxsize)
        )
        self.state: dict[str, Any] = {}
        self._runtime = None
        self._task = 0
        self._ever = False
        watch(self)

    # ── settings from elsewhere ──────────────────────────────────────────────────────────────

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str] | None = None, **options: Unpack[SchedulerOptions]
    ) -> Scheduler:
        """Make a scheduler with the settings of the environment.

        ``ASYNCSCHED_STORE`` (a URL; without it, memory) and ``ASYNCSCHED_ROLE`` are read at each start;
        ``ASYNCSCHED_NAMESPACE``, ``ASYNCSCHED_TIMEZONE``, ``ASYNCSCHED_SHUTDOWN_TIMEOUT`` and
        ``ASYNCSCHED_STORE_TIMEOUT`` (seconds) now.

        Args:
            environ: the environment; that of the process by default.
            **options: arguments of ``Scheduler``; they win over the environment.

        Raises:
            ConfigurationError: a value is wrong; that of the store is checked at the start.

        """
        found = from_environment(os.environ if environ is None else environ)
        found.update(options)
        return cls(**found)

    # ── a life ───────────────────────────────────────────────────────────────────────────────

    async def __aenter__(self) -> Scheduler:
        if self._runtime is not None:
            raise SchedulerStateError(
                "this scheduler has been started already; one Scheduler is started once at a time, "
                "so enter it in one lifespan only, or make a second Scheduler"
            )
        role = self._choices.role or os.environ.get("ASYNCSCHED_ROLE") or "both"
        checked_role(role, "role (ASYNCSCHED_ROLE)")
        settings = Settings(
            role, TriggerCodec(trigger_to_json, trigger_from_json, is_known),
            open_store(None, self.namespace, bounds=self._bounds), self.overrides, self._result_limit,
        )  # fmt: skip
        environment = make_environment(
            settings, self._executors, self._choices.clock, self._observers, self._stall_threshold
        )
        self._registry.restart()
        runtime = Runtime(
            self._choices.make_store(),
            environment,
            self._registry,
            self._executors,
            current_server(),
            self._strict,
        )
        self._runtime, self._task, self._open = runtime, current_task_id(), True
        try:
            await runtime.open()
        except BaseException:
            self._runtime, self._open = None, False
            raise
        self._ever = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        runtime = self._running()
        moved = current_task_id() != self._task
        if moved and not runtime.environment.backend.leaves_anywhere:
            raise SchedulerStateError(_MOVED)
        # A cancelled lifespan has no time: all attempts are cancelled at once, and recorded.
        forced = exc_type is not None and not issubclass(exc_type, Exception)
        try:
            await runtime.close(0 if forced else self._patience)
        finally:
            self._runtime, self._open = None, False
            self._controls.clear()
        if moved:
            raise SchedulerStateError(_MOVED)

    @asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncIterator[dict[str, Any]]:
        """Be the lifespan of an ASGI app: ``FastAPI(lifespan=scheduler.lifespan)``.

        Inside the lifespan of your app: ``async with scheduler.lifespan(app) as state: yield state``.

        Yields:
            The lifespan state that puts the scheduler at ``request.state.scheduler``.

        """
        async with self:
            yield {"scheduler": self, f"scheduler:{self.namespace}": self}

    async def run_forever(self) -> None:
        """Start, and run until SIGINT, SIGTERM or :meth:`stop`, without any ASGI app.

        A second signal cancels the running attempts at once. Signals reach the main thread only: in another
        thread, only :meth:`stop` ends it.

        Example:
            >>> anyio.run(scheduler.run_forever)

        """
        hears = current_thread() is main_thread()
        signals = anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) if hears else nullcontext()
        with signals as heard:
            async with anyio.create_task_group() as group:
                async with self:
                    shutdown = self._running().shutdown
                    if heard is not None:
                        group.start_soon(_obey, heard, shutdown)
                    await shutdown.stopped.wait()
                group.cancel_scope.cancel()

    def stop(self) -> None:
        """Begin no more runs, and end :meth:`run_forever` as SIGTERM would; from any thread. Idempotent.

        In the lifespan of an app it does what :meth:`drain` does, since the server ends the lifespan.

        Raises:
            SchedulerStateError: the scheduler has not been started.

        """
        if self._runtime is None and self._ever:
            return
        runtime = self._running()
        try:
            runtime.environment.backend.call_soon_threadsafe(runtime.shutdown.stop)
        except RuntimeError:  # the loop is over, and the scheduler with it
            return

    def scope(self) -> AbstractAsyncContextManager[Scope]:
        """Return a block whose schedules and one-offs end with it: ``async with scheduler.scope() as scope:``.

        They are kept in memory, and their functions may be any callables. A job's failure does not end the
        block. Leaving the block cancels its pending and running runs, and waits for their ends.

        Raises:
            SchedulerStateError: the scheduler is not running.

        """
        return open_scope(self._running(), self._registry, self._timezone)

    def drain(self) -> None:
        """Begin no more runs from now on; running attempts go on. Idempotent.

        Raises:
            SchedulerStateError: the scheduler is not running.

        """
        self._running().shutdown.drain()

    def _running(self) -> Runtime:
        if self._runtime is None:
            if self._ever:
                raise SchedulerClosed("the scheduler has been closed; nothing can be scheduled any more")
            raise SchedulerStateError(
                "the scheduler has not been started; put lifespan=scheduler.lifespan into your app, "
                "or use it inside `async with scheduler:`. A server runs the lifespan of the outermost app alone, so for "
                "a mounted app it belongs there; httpx.ASGITransport, and a TestClient outside `with`, run none"
            )
        return self._runtime

    def __repr__(self) -> str:
        state = "running" if self._runtime is not None else "closed" if self._ever else "not started"
        return f"<Scheduler {self.namespace!r} {state}, {len(self._registry.jobs)} jobs>"


async def _obey(signals: AsyncIterator[int], shutdown: Shutdown) -> None:
    """Stop at the first signal, and at the second cancel the running attempts."""
    await anext(signals)
    shutdown.stop()
    await anext(signals)
    shutdown.force()


_MOVED = (
    "the scheduler was left in another task than it was entered in; enter and leave it in one task, "
    "for example with `async with scheduler:` around the whole of your main function or lifespan, or in a fixture of "
    "pytest-asyncio with `async with running(scheduler):` from asyncsched.testing"
)
