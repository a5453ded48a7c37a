"""Observers hear events: plain calls at once, asynchronous ones through a bounded queue."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, cast

import anyio

from asyncsched._core.events import Event
from asyncsched._core.instants import Instant, to_datetime
from asyncsched._core.interrupts import interrupt_in
from asyncsched._core.mapping import run_view
from asyncsched.abc import (
    AttachedObserver,
    Figures,
    Observer,
    QueuedObserver,
    RecordObserver,
    SelectiveObserver,
)

if TYPE_CHECKING:
    from asyncsched._backends.base import Backend
    from asyncsched._core.jobs import Job
    from asyncsched._core.records import RunRecord

logger = logging.getLogger("asyncsched.observer")

QUEUE = 1000
"""The most events that wait for an async observer; further ones are counted and dropped."""

SLOW = 0.05
"""Seconds after which the log names a plain observer for blocking the event loop."""


class EventBus:
    """Hands events to observers. An observer that fails stops neither the others nor the scheduler."""

    def __init__(self, observers: Sequence[Any], monotonic: Callable[[], float] = lambda: 0.0) -> None:
        self._monotonic = monotonic
        self._observers = [_plain(observer) for observer in observers]
        self._by_kind = _ByKind(self._observers)
        self.wants: Callable[[type[Event]], Sequence[Any]] = self._by_kind.__getitem__
        """Returns the observers that hear a kind of event: where there are none, the event need not be made."""
        self._context = copy_context()

    def attach(self, figures: Figures) -> None:
        """Give the scheduler's figures to the observers that take them; the log names an observer that raises."""
        for observer in self._observers:
            asked = observer.observer if isinstance(observer, _Queued | _ByRecord) else observer
            if isinstance(asked, AttachedObserver):
                try:
                    asked.attach(figures)
                except Exception:
                    logger.exception("observer %r failed at attach; it is kept", asked)

    def subscribe(self, observer: Observer) -> None:
        """Add a plain observer of the scheduler's own, which hears events before the users' observers."""
        self._observers.insert(0, observer)
        self._by_kind.clear()

    def unsubscribe(self, observer: Observer) -> None:
        """Remove an observer that was added; idempotent."""
        self._observers[:] = [one for one in self._observers if one is not observer]
        self._by_kind.clear()

    def start(self, backend: Backend) -> None:
        """Begin to serve the async observers."""
        for observer in self._observers:
            if isinstance(observer, _Queued):
                observer.serving = True
                backend.spawn(observer.serve(), copy_context())

    def stop(self) -> None:
        """Tell no more events; the async observers finish those in their queues."""
        for observer in self._observers:
            if isinstance(observer, _Queued):
                observer.close()
        self._observers.clear()
        self._by_kind.clear()

    def emit(self, event: Event) -> None:
        """Call every observer that hears this kind, in a copy of the context in which the scheduler was started.

        The log names an observer that raises or blocks.
        """
        self._context.copy().run(self.emit_here, event)

    def emit_here(self, event: Event) -> None:
        """Call them in the present context: the begin of an attempt is heard in the context of the attempt."""
        for observer in self._by_kind[type(event)]:
            self._tell(observer, type(event), observer, event)

    def emit_run(self, kind: type[Event], run: RunRecord, job: Job | None, at: Instant, *more: Any) -> None:
        """Emit an event of a run; its view is made for the first observer that takes one."""
        self._context.copy().run(self.emit_run_here, kind, run, job, at, *more)

    def emit_run_here(
        self, kind: type[Event], run: RunRecord, job: Job | None, at: Instant, *more: Any
    ) -> None:
        """Do the same in the present context."""
        make = cast("Callable[..., Event]", kind)
        event: Event | None = None
        for observer in self._by_kind[kind]:
            if isinstance(observer, _ByRecord):
                self._tell(observer, kind, observer.hear, kind, run, at)
            else:
                if event is None:
                    event = make(to_datetime(at), run_view(run, job), *more)
                self._tell(observer, kind, observer, event)

    def _tell(self, observer: Any, kind: type[Event], call: Callable[..., object], *what: Any) -> None:
        began = self._monotonic()
        try:
            call(*what)
        except BaseException as error:  # SystemExit, too: an observer must not end the program
            if interrupt_in(error) is not None:
                raise
            logger.exception("observer %r failed at %s; it is kept", observer, kind.__name__)
        took = self._monotonic() - began
        if took > SLOW:
            logger.warning(
                "observer %r blocked the event loop for %.0f ms at %s; make it faster, or an async function",
                observer, took * 1000, kind.__name__,
            )  # fmt: skip


class _ByKind(dict[type[Event], list[Any]]):
    """The observers that hear each kind of event; a kind is looked up when it first occurs."""

    def __init__(self, observers: Sequence[Any]) -> None:
        super().__init__()
        self._observers = observers

    def __missing__(self, kind: type[Event]) -> list[Any]:
        found = self[kind] = [one for one in self._observers if issubclass(kind, _wants(one))]
        return found


def _plain(observer: Any) -> Any:
    if inspect.iscoroutinefunction(observer) or inspect.iscoroutinefunction(type(observer).__call__):
        return _Queued(observer)
    return _ByRecord(observer) if isinstance(observer, RecordObserver) else observer


def _wants(observer: Observer) -> type[Event] | tuple[type[Event], ...]:
    return observer.wants if isinstance(observer, SelectiveObserver) else Event


class _ByRecord:
    """An observer that takes a run's record in place of its view."""

    def __init__(self, observer: RecordObserver) -> None:
        self.observer = observer
        self.hear = observer.hear

    @property
    def wants(self) -> type[Event] | tuple[type[Event], ...]:
        return _wants(self.observer)

    def __call__(self, event: Event) -> None:
        self.observer(event)

    def __repr__(self) -> str:
        return repr(self.observer)


class _Queued:
    """An async observer behind a bounded queue."""

    def __init__(self, observer: Any) -> None:
        self.observer = observer
        self.wants = _wants(observer)
        self.lost = 0
        self.serving = False
        self._send, self._receive = anyio.create_memory_object_stream[Event](QUEUE)

    def __call__(self, event: Event) -> None:
        choosy = self.observer if isinstance(self.observer, QueuedObserver) else None
        if choosy is not None and not choosy.accepts(event):
            return
        try:
            self._send.send_nowait(event)
        except anyio.WouldBlock:
            if not self.lost:
                logger.warning("observer %r is too slow: events are dropped and counted", self.observer)
            self.lost += 1
            if choosy is not None:
                choosy.lost += 1

    def close(self) -> None:
        self._send.close()
        if not self.serving:
            self._receive.close()

    async def serve(self) -> None:
        async with self._receive:
            async for event in self._receive:
                try:
                    await self.observer(event)
                except (GeneratorExit, anyio.get_cancelled_exc_class()):
                    raise
                except BaseException as error:
                    if interrupt_in(error) is not None:
                        raise
                    logger.exception(
                        "observer %r failed at %s; it is kept", self.observer, type(event).__name__
                    )
        if self.lost:
            logger.warning("observer %r was too slow for %d events in all", self.observer, self.lost)

    def __repr__(self) -> str:
        return repr(self.observer)
