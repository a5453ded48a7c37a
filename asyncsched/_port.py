"""What threads and processes need of an event loop, on asyncio, uvloop and trio alike.

No task groups and no streams: a park-and-wake future, a way in from other threads, and callbacks
for file descriptors. On asyncio these are the loop's own; on trio small ones on ``trio.lowlevel``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, cast

import anyio.lowlevel

if TYPE_CHECKING:
    import trio


class Future(Protocol):
    """One task parks on it; anybody in the loop's thread wakes it with a value."""

    def done(self) -> bool: ...

    def set_result(self, result: Any, /) -> None: ...

    def result(self) -> Any: ...

    def cancelled(self) -> bool: ...

    def __await__(self) -> Generator[Any, Any, Any]: ...


class Port(Protocol):
    """The event loop, as far as threads and processes need it. All but ``call_soon`` only from its own thread."""

    token: anyio.lowlevel.EventLoopToken

    def future(self) -> Future:
        """Return a future that one task may await, once."""
        ...

    def call_soon(self, callback: Callable[[], object], /) -> object:
        """Call ``callback`` in the loop, from any thread. Raises ``RuntimeError`` if the loop is over."""
        ...

    def call_next(self, callback: Callable[[], object], /) -> object:
        """Call ``callback`` when those that run in this turn of the loop have run."""
        ...

    def call_at(self, when: float, callback: Callable[[], object], /) -> object:
        """Call ``callback`` at the loop's time ``when``."""
        ...

    def watch(self, fd: int, callback: Callable[[], object], /) -> object:
        """Call ``callback`` whenever ``fd`` is readable, until ``unwatch``."""
        ...

    def unwatch(self, fd: int) -> None:
        """Stop watching ``fd``, for reading and writing; must be called before it is closed."""
        ...

    def drain(self, fd: int, step: Callable[[], bool]) -> None:
        """Call ``step`` whenever ``fd`` is writable, until it returns True."""
        ...


def current_port() -> Port:
    """Return the port of the event loop that the calling task runs in."""
    token = anyio.lowlevel.current_token()
    if isinstance(token.native_token, asyncio.AbstractEventLoop):
        return _AsyncioPort(token, token.native_token)
    return _TrioPort(token)


class _AsyncioPort:
    def __init__(self, token: anyio.lowlevel.EventLoopToken, loop: asyncio.AbstractEventLoop) -> None:
        self.token = token
        self._loop = loop
        # The loop's own methods: a call of ours around each would be all that it adds.
        self.future: Callable[[], Future] = loop.create_future
        self.call_soon: Callable[[Callable[[], object]], object] = loop.call_soon_threadsafe
        self.call_next: Callable[[Callable[[], object]], object] = loop.call_soon
        self.call_at: Callable[[float, Callable[[], object]], object] = loop.call_at
        self.watch: Callable[[int, Callable[[], object]], object] = loop.add_reader

    def unwatch(self, fd: int) -> None:
        self._loop.remove_reader(fd)
        self._loop.remove_writer(fd)

    def drain(self, fd: int, step: Callable[[], bool]) -> None:
        def writable() -> None:
            if step():
                self._loop.remove_writer(fd)

        self._loop.add_writer(fd, writable)


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

        self._task = None
        self.raise_cancel = raise_cancel
        return trio.lowlevel.Abort.SUCCEEDED


class _TrioPort:
    def __init__(self, token: anyio.lowlevel.EventLoopToken) -> None:
        import trio

        self.token = token
        self._trio = trio
        self._native = cast("trio.lowlevel.TrioToken", token.native_token)
        self.future: Callable[[], Future] = _TrioFuture
        self.call_soon: Callable[[Callable[[], object]], object] = self._native.run_sync_soon
        self.call_next = self.call_soon
        self._open: dict[int, object] = {}

    def call_at(self, when: float, callback: Callable[[], object]) -> None:
        self._trio.lowlevel.spawn_system_task(
            self._call_at, when, callback, name="asyncsched waiting for a moment"
        )

    async def _call_at(self, when: float, callback: Callable[[], object]) -> None:
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
