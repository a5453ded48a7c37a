"""What moves virtual time. Knows no backend: the loops ask it what to do when nothing is ready.

Virtual time stands still while anything runs. When nothing is ready it jumps to the next timer,
unless work goes on outside the loop (a *hold*): then the loop waits in real time with virtual time
frozen. A hold older than ``patience`` real seconds no longer freezes it: virtual time then flows as
real time does, so that a test whose thread hangs still meets its own timeouts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from types import TracebackType
from typing import Protocol

LOOK_AT_CHILDREN = 0.005
"""Real seconds between two looks at child processes, whose end may wake nobody."""


class Driver(Protocol):
    """The event loop that the time belongs to while it runs."""

    def wake(self) -> None:
        """Make the loop look again. Called from other threads."""
        ...

    async def sleep_until(self, deadline: float) -> None:
        """Return when virtual time has reached ``deadline``, exactly."""
        ...


class Hold:
    """A context in which work goes on outside the loop, so that time must not jump over it."""

    __slots__ = ("_flow", "_open", "_previous", "active")

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._previous: Hold | None = None
        self._open = False
        self.active = False

    def __enter__(self) -> None:
        self._previous = _innermost.get()
        _innermost.set(self)
        self.begin()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self.end()
        if _innermost.get() is self:  # it is not where a context was copied meanwhile
            _innermost.set(self._previous)

    def begin(self) -> None:
        """Hold, without telling the calling context."""
        self._open = True
        self._activate(True)

    def end(self) -> None:
        """Hold no more."""
        self._open = False
        self._activate(False)

    @contextmanager
    def released(self) -> Iterator[None]:
        """Let time go on meanwhile: the work outside waits for the loop, not the loop for it."""
        self._activate(False)
        try:
            yield
        finally:
            self._activate(self._open)  # it may have ended meanwhile: an abandoned thread

    def _activate(self, active: bool) -> None:
        self.active = active
        if active:
            self._flow.add(self)
        else:
            self._flow.discard(self)


_innermost: ContextVar[Hold | None] = ContextVar("asyncsched_testing_hold", default=None)


def current_hold() -> Hold | None:
    """Return the innermost hold around the calling code, in its task or in its worker thread."""
    hold = _innermost.get()
    return hold if hold is not None and hold.active else None


class Flow:
    """Virtual seconds since the start, and the decision whether they jump, flow or stand still."""

    def __init__(self, patience: float, io_grace: float) -> None:
        self.now = 0.0
        self.patience = patience
        self.io_grace = io_grace
        self.driver: Driver | None = None
        self.settlers: list[Callable[[], object]] = []
        self._thread = 0
        # Other threads add and discard: each is one step of the dict, so that nobody waits for a lock.
        self._holds: dict[Hold, float] = {}
        self._children: list[tuple[Callable[[], int | None], float]] = []
        self._waited = 0.0  # real seconds spent waiting for holds: what patience is measured in
        self._graced = False
        self._flowing_to: float | None = None

    def attach(self, driver: Driver) -> None:
        """Give the time to a loop that begins to run."""
        self.driver = driver
        self._thread = threading.get_ident()

    def detach(self) -> None:
        """Take it back: the loop has stopped."""
        self.driver = None

    def forget(self) -> None:
        """Wait no more for child processes: their loop is closed, and nobody hears of their end."""
        self._children.clear()

    def add(self, hold: Hold) -> None:
        """Count a hold that begins. From any thread."""
        self._holds[hold] = self._waited

    def discard(self, hold: Hold) -> None:
        """Count it no more, and wake a loop that waits for it in another thread."""
        self._holds.pop(hold, None)
        driver = self.driver
        if driver is not None and threading.get_ident() != self._thread:
            driver.wake()

    def watch(self, returncode: Callable[[], int | None]) -> None:
        """Hold until a child process has ended."""
        self._children.append((returncode, self._waited))

    @property
    def held(self) -> bool:
        """Whether anything holds, for however long it does already."""
        return self._oldest() is not None

    def _oldest(self) -> float | None:
        oldest = next(iter(self._holds.copy().values()), None)
        if self._children:
            self._children = [child for child in self._children if child[0]() is None]
        if self._children:
            since = self._children[0][1]
            oldest = since if oldest is None else min(oldest, since)
        return oldest

    def busy(self) -> None:
        """Hear that something is ready: the next idle moment is a new one."""
        self._graced = False

    def idle(self, deadline: float, listening: bool) -> float:
        """Decide what an idle loop does, and return how many real seconds it waits for I/O.

        0 means that the loop looks again at once: time has jumped, or a waiter was woken.

        Args:
            deadline: when the next timer is due, in virtual time; infinite if there is none.
            listening: whether tasks wait for sockets or pipes.

        """
        self._flowing_to = None
        if listening and not self._graced and (deadline < inf or self.settlers):
            self._graced = True  # what was sent a moment ago may still be on its way
            return self.io_grace
        oldest = self._oldest()
        slice_ = LOOK_AT_CHILDREN if self._children else inf
        if oldest is not None and (left := oldest + self.patience - self._waited) > 0:
            return min(left, slice_)
        if self.settlers:
            woken, self.settlers = self.settlers, []
            for wake in woken:
                wake()
            return 0.0
        if oldest is not None:
            self._flowing_to = deadline
            return max(0.0, min(deadline - self.now, slice_))
        if deadline < inf:
            self.now = max(self.now, deadline)
            self._graced = False
            return 0.0
        return inf

    def slept(self, real: float) -> None:
        """Hear how many real seconds the wait that :meth:`idle` asked for has taken."""
        if self._holds or self._children:
            self._waited += real
        if self._flowing_to is not None:
            self.now = max(self.now, min(self.now + real, self._flowing_to))
