"""The backend for trio: tasks, sleeping, and a way in for threads and processes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import suppress
from contextvars import Context
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import anyio.lowlevel

from asyncsched._backends._asyncio import _STUBBORN
from asyncsched._backends.base import TURNS, Backend, Future, Main, Sleeper, Task

if TYPE_CHECKING:
    import trio

logger = logging.getLogger("asyncsched.scheduler")


class _TrioTask:
    __slots__ = ("_scope",)

    def __init__(self, scope: trio.CancelScope) -> None:
        self._scope = scope

    def cancel(self) -> None:
        self._scope.cancel()


class _TrioBackend:
    leaves_anywhere = False

    def __init__(self) -> None:
        import trio

        self._trio = trio
        self.time = trio.lowlevel.current_clock().current_time  # callable from other threads, too
        self._token = trio.lowlevel.current_trio_token()
        self._manager = trio.open_nursery()
        self._ended: trio.Event | None = None  # made by join(): few calls of it, and many runs
        self._count = 0

    async def __aenter__(self) -> Backend:
        self._nursery = await self._manager.__aenter__()
        self._start_soon: Any = self._nursery.start_soon
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._nursery.cancel_scope.cancel()
        left = 0
        with self._trio.CancelScope(shield=True):
            left = await self.join(_STUBBORN)
        if left:
            logger.error(
                "%d tasks do not end although they were cancelled, because they shield themselves; trio leaves no "
                "task behind, so the scheduler is closed only when they end",
                left,
            )
        await self._manager.__aexit__(exc_type, exc, traceback)

    async def join(self, timeout: float) -> int:
        with self._trio.move_on_after(timeout):
            while self._count:
                self._ended = self._trio.Event()
                await self._ended.wait()
        return self._count

    def spawn(self, main: Main, context: Context, name: str | None = None, *, apart: bool = False) -> Task:
        scope = self._trio.CancelScope(shield=apart)
        self._count += 1
        context.run(self._start_soon, self._run, scope, main, name=name)
        return _TrioTask(scope)

    async def _run(self, scope: trio.CancelScope, main: Main) -> None:
        try:
            with scope:
                await main
        finally:
            self._count -= 1
            if self._ended is not None and not self._count:
                self._ended.set()

    def torn_down(self) -> bool:
        return True  # in trio, Cancelled comes only from a scope that was cancelled

    def sleeper(self) -> Sleeper:
        return _TrioSleeper(self._trio)

    def call_soon_threadsafe(self, call: Callable[[], object]) -> None:
        self._token.run_sync_soon(call)

    async def pause(self, turns: int = TURNS) -> None:
        for _ in range(turns):
            await self._trio.lowlevel.checkpoint()


class _TrioSleeper:
    def __init__(self, trio: Any) -> None:
        self._trio = trio
        self._event = trio.Event()

    async def until(self, deadline: float) -> None:
        with self._trio.move_on_at(deadline):
            await self._event.wait()
        if self._event.is_set():
            self._event = self._trio.Event()

    def wake(self) -> None:
        self._event.set()


class _TrioFuture:
    """The part of ``asyncio.Future`` that is needed here, for one waiting task."""

    __slots__ = ("_done", "_result", "_task", "raise_cancel")

    def __init__(self) -> None:
        self._done = False
        self._result: Any = None
        self._task: trio.lowlevel.Task | None = None
        self.raise_cancel: Callable[[], Any] | None = None

    def done(self) -> bool:
        return self._done

    def cancelled(self) -> bool:
        return self.raise_cancel is not None

    def result(self) -> Any:
        return self._result

    def set_result(self, result: Any, /) -> None:
        self._done = True
        self._result = result
        if self._task is not None:
            import trio

            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)

    def __await__(self) -> Generator[Any, Any, Any]:
        if not self._done:
            import trio

            self._task = trio.lowlevel.current_task()
            parked = trio.lowlevel.wait_task_rescheduled(self._abort)  # noqa: ASYNC105 - in the next line
            yield from parked.__await__()
        return self._result

    def _abort(self, raise_cancel: Callable[[], Any]) -> Any:
        import trio

        # Done at once, as asyncio's: its task runs again only later, and what it is given meanwhile is lost.
        self._done = True
        self._task = None
        self.raise_cancel = raise_cancel
        return trio.lowlevel.Abort.SUCCEEDED


class _TrioPort:
    def __init__(self, token: anyio.lowlevel.EventLoopToken) -> None:
        import trio

        self.token = token
        self._trio = trio
        self._native = cast("trio.lowlevel.TrioToken", token.native_token)
        self.time: Callable[[], float] = trio.lowlevel.current_clock().current_time
        self.future: Callable[[], Future] = _TrioFuture
        self.call_soon: Callable[[Callable[[], object]], object] = self._native.run_sync_soon
        self.call_next = self.call_soon
        self._open: dict[int, object] = {}

    def call_at(self, when: float, callback: Callable[[], object]) -> Task:
        scope = self._trio.CancelScope()
        self._trio.lowlevel.spawn_system_task(
            self._call_at, scope, when, callback, name="asyncsched waiting for a moment"
        )
        return _TrioTask(scope)

    async def _call_at(self, scope: trio.CancelScope, when: float, callback: Callable[[], object]) -> None:
        with scope:
            await self._trio.sleep_until(when)
            callback()

    def watch(self, fd: int, callback: Callable[[], object]) -> None:
        # A system task: outside every cancel scope of the user's, as a loop callback is on asyncio.
        mark = self._open.setdefault(fd, object())
        self._trio.lowlevel.spawn_system_task(
            self._watch, fd, mark, callback, name="asyncsched watching a worker"
        )

    async def _watch(self, fd: int, mark: object, callback: Callable[[], object]) -> None:
        with suppress(self._trio.ClosedResourceError):
            while self._open.get(fd) is mark:
                await self._trio.lowlevel.wait_readable(fd)
                # The number may belong to another file by now.
                if self._open.get(fd) is mark:
                    callback()

    def unwatch(self, fd: int) -> None:
        if self._open.pop(fd, None) is not None:
            self._trio.lowlevel.notify_closing(fd)

    def drain(self, fd: int, step: Callable[[], bool]) -> None:
        mark = self._open.setdefault(fd, object())
        self._trio.lowlevel.spawn_system_task(
            self._drain, fd, mark, step, name="asyncsched writing to a worker"
        )

    async def _drain(self, fd: int, mark: object, step: Callable[[], bool]) -> None:
        with suppress(self._trio.ClosedResourceError):
            while self._open.get(fd) is mark and not step():
                await self._trio.lowlevel.wait_writable(fd)
