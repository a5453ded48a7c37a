"""Takes the items of a parallel loop from its iterable, which may be async, endless, or fail."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import anyio

from asyncsched._engine.attempt import GRACE
from asyncsched._engine.parallel.signals import Signal

if TYPE_CHECKING:
    from asyncsched._backends.base import Main, Task

logger = logging.getLogger("asyncsched.job")

_SLICE = 0.002
"""Seconds after which an iterable makes way for the event loop."""

_READ_AHEAD = 16
"""Items of an async iterable that are kept ready beyond a batch."""


class Items:
    """The items that are still to be taken.

    Args:
        source: the iterator.
        time: the event loop's time.
        changed: set whenever an item may be there, or no more come.

    Attributes:
        taken: the number of items taken so far.
        exhausted: whether the iterable has no more.
        error: what the iterable raised.

    """

    def __init__(
        self, source: Iterator[Any] | AsyncIterator[Any], time: Callable[[], float], changed: Signal
    ) -> None:
        self._source: Iterator[Any] = iter(()) if isinstance(source, AsyncIterator) else source
        self._stream = source if isinstance(source, AsyncIterator) else None
        self._time = time
        self._changed = changed
        self._ready: deque[Any] = deque()  # what the async iterable gave
        self._room = Signal()
        self._reader: Task | None = None
        self._stopped = self._reading = False
        self.taken = 0
        self.exhausted = False
        self.error: BaseException | None = None

    @property
    def over(self) -> bool:
        """Whether there is no item, and none will come."""
        return self.exhausted and not self._ready

    def begin(self, spawn: Callable[[Main], Task]) -> None:
        """Begin to read an async iterable, in a task of its own."""
        if self._stream is not None:
            self._reader = spawn(self._read(self._stream))

    def stop(self) -> None:
        """Take no more."""
        self._stopped = True
        self._ready.clear()
        if self._stream is None:
            self.exhausted, self._source = True, iter(())
        elif not self.exhausted:
            self._room.set()
            if self._reading and self._reader is not None:  # a task is cancelled only after its first step
                self._reader.cancel()

    def take(self, most: int) -> list[Any]:
        """Return the next items, as many as are there at once."""
        if self._stream is None:
            items = [] if self.exhausted else self._from_iterator(most)
        else:
            items = [self._ready.popleft() for _ in range(min(most, len(self._ready)))]
            self._room.set()
        self.taken += len(items)
        return items

    def _from_iterator(self, most: int) -> list[Any]:
        items: list[Any] = []
        until = self._time() + _SLICE
        try:
            for item in self._source:
                items.append(item)
                if len(items) >= most or self._time() >= until:
                    return items
        except BaseException as error:  # whatever the iterable raises is for the consumer of the results
            self.error = error
        self.exhausted, self._source = True, iter(())
        return items

    async def _read(self, stream: AsyncIterator[Any]) -> None:
        self._reading = True
        try:
            while not self._stopped:
                while len(self._ready) >= _READ_AHEAD and not self._stopped:
                    await self._room.wait()
                self._ready.append(await anext(stream))
                self._changed.set()
        except StopAsyncIteration:
            pass
        except BaseException as error:
            if not self._stopped:
                self.error = error
        await self._close(stream)
        self.exhausted = True
        self._changed.set()

    async def _close(self, stream: AsyncIterator[Any]) -> None:
        if not isinstance(stream, AsyncGenerator):
            return
        with anyio.move_on_after(GRACE, shield=True):
            try:
                await stream.aclose()
            except Exception:
                logger.exception("the async iterable of a parallel loop could not be closed")
