"""The flow of virtual time. It knows no backend: a loop asks it what to do when nothing is ready.

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
"""Real seconds between two polls of child processes, whose end may not wake the loop."""


class Driver(Protocol):
    """The event loop that moves the time while the loop runs."""

    def wake(self) -> None:
        """Make the loop poll again. Called from other threads."""
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
        if _innermost.get() is self:  # false where the context was copied meanwhile
            _innermost.set(self._previous)

    def begin(self) -> None:
        """Begin to hold, without a mark in the calling context."""
        self._open = True
        self._activate(True)

    def end(self) -> None:
        """End the hold."""
        self._open = False
        self._activate(False)

    @contextmanager
    def released(self) -> Iterator[None]:
        """Let time go on in this block: the outside work waits for the loop, not the loop for the work."""
        self._activate(False)
        try:
            yield
        finally:
            self._activate(self._open)  # the hold may have ended meanwhile, in an abandoned thread

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
        self.on_jump: list[Callable[[float], object]] = []
        self._thread = 0
        # Other threads add and discard: each is one atomic step of the dict, so no lock is needed.
        self._holds: dict[Hold, float] = {}
        self._children: list[tuple[Callable[[], int | None], float]] = []
        self._waited = 0.0  # real seconds spent waiting for holds; patience is measured in these
        self._graced = False
        self._flowing_to: float | None = None

    def attach(self, driver: Driver) -> None:
        """Take the loop that begins to run as the driver of the time."""
        self.driver = driver
        self._thread = threading.get_ident()

    def detach(self) -> None:
        """Forget the driver: its loop has stopped."""
        self.driver = None

    def forget(self) -> None:
        """Wait no longer for child processes: the loop is closed, and no task learns of their end."""
        self._children.clear()

    def add(self, hold: Hold) -> None:
        """Add a hold that begins. From any thread."""
        self._holds[hold] = self._waited

    def discard(self, hold: Hold) -> None:
        """Remove a hold that ends, and wake the loop if it waits in another thread."""
        self._holds.pop(hold, None)
        driver = self.driver
        if driver is not None and threading.get_ident() != self._thread:
            driver.wake()

    def watch(self, returncode: Callable[[], int | None]) -> None:
        """Hold until a child process has ended."""
        self._children.append((returncode, self._waited))

    @property
    def held(self) -> bool:
        """Whether there is any hold, however old."""
        return bool(self._holds) or any(returncode() is None for returncode, _ in self._children)

    def _oldest(self) -> float | None:
        # The children as they were at the last look: one that has ended since may have bytes that nobody has read.
        return min(
            [*list(self._holds.copy().values())[:1], *(since for _, since in self._children[:1])],
            default=None,
        )

    def _a_child_has_ended(self) -> bool:
        alive = [child for child in self._children if child[0]() is None]
        ended = len(alive) < len(self._children)
        self._children = alive
        return ended

    def busy(self) -> None:
        """Note that something is ready, so that the next idle moment gets its I/O grace again."""
        self._graced = False

    def idle(self, deadline: float, listening: bool) -> float:
        """Decide what an idle loop does, and return how many real seconds it waits for I/O.

        0 means that the loop looks again at once: time has jumped, or a waiter was woken.

        Args:
            deadline: when the next timer is due, in virtual time; infinite if there is none.
            listening: whether tasks wait for sockets or pipes.

        """
        self._flowing_to = None
        if self._children and self._a_child_has_ended():
            self._graced = False
            return 0.0  # that may be after the last poll, so its last bytes and its end are read first
        if listening and not self._graced and (deadline < inf or self.settlers):
            self._graced = True  # bytes sent a moment ago may still be on their way
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
            self.pass_until(deadline)
            self._graced = False
            return 0.0
        return inf

    def slept(self, real: float) -> None:
        """Count the real seconds that the wait from :meth:`idle` has taken."""
        if self._holds or self._children:
            self._waited += real
        if self._flowing_to is not None:
            self.pass_until(min(self.now + real, self._flowing_to))

    def pass_until(self, moment: float) -> None:
        """Let time pass, and tell those that want to know."""
        self.now = max(self.now, moment)
        for call in list(self.on_jump):
            call(self.now)
