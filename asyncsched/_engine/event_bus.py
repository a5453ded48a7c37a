"""Who hears what: observers hear events, handles hear the end of their run."""

from __future__ import annotations

import inspect
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import anyio

from asyncsched._core.events import Event
from asyncsched.abc import Observer, SelectiveObserver

if TYPE_CHECKING:
    from asyncsched._backends.base import Backend

logger = logging.getLogger("asyncsched.observer")

QUEUE = 1000
"""How many events wait for an async observer; what comes above is counted and dropped."""

SLOW = 0.05
"""Seconds after which a plain observer is said to block the event loop."""

_ERRORS_KEPT = 256


class EventBus:
    """Hands out events and the ends of runs. Nothing that listens can hurt what happens."""

    def __init__(self, observers: Sequence[Any], monotonic: Callable[[], float] = lambda: 0.0) -> None:
        self._monotonic = monotonic
        self._observers = [_plain(observer) for observer in observers]
        self._by_kind: dict[type[Event], list[Any]] = {}
        self._waiters: dict[int, list[anyio.Event]] = {}
        self._errors: OrderedDict[int, BaseException] = OrderedDict()
        self.closed = False

    def start(self, backend: Backend) -> None:
        """Begin to serve the async observers."""
        self.closed = False
        for observer in self._observers:
            if isinstance(observer, _Queued):
                observer.serving = True
                backend.spawn(observer.serve(), copy_context())

    def stop(self) -> None:
        """Let async observers finish what they have, and wake whoever still waits for a run."""
        self.closed = True
        for observer in self._observers:
            if isinstance(observer, _Queued):
                observer.close()
        for events in self._waiters.values():
            for event in events:
                event.set()
        self._waiters.clear()

    # ── events ───────────────────────────────────────────────────────────────────────────────

    def wants(self, kind: type[Event]) -> bool:
        """Whether anybody hears this kind of event; it need not be made otherwise."""
        found = self._by_kind.get(kind)
        return bool(self._listeners(kind)) if found is None else found != []

    def emit(self, event: Event) -> None:
        """Tell every observer that wants it. One that raises or blocks is named in the log."""
        for observer in self._listeners(type(event)):
            began = self._monotonic()
            try:
                observer(event)
            except KeyboardInterrupt:
                raise
            except BaseException:  # what it raises is its own affair, SystemExit too
                logger.exception("observer %r failed at %s; it is kept", observer, type(event).__name__)
            took = self._monotonic() - began
            if took > SLOW:
                logger.warning(
                    "observer %r blocked the event loop for %.0f ms at %s; make it quick, or an async function",
                    observer, took * 1000, type(event).__name__,
                )  # fmt: skip

    def _listeners(self, kind: type[Event]) -> list[Any]:
        found = self._by_kind.get(kind)
        if found is None:
            found = [one for one in self._observers if issubclass(kind, _wants(one))]
            self._by_kind[kind] = found
        return found

    # ── the ends of runs ─────────────────────────────────────────────────────────────────────

    def keep(self, run_id: int, error: BaseException) -> None:
        """Keep what ended a run, for its handle's ``__cause__``."""
        self._errors[run_id] = error.with_traceback(None)  # frames would hold the job's memory
        if len(self._errors) > _ERRORS_KEPT:
            self._errors.popitem(last=False)

    def ended(self, run_id: int) -> None:
        """Wake who waits for this run."""
        if self._waiters:
            self.notify(run_id)

    def notify(self, run_id: int) -> None:
        """Wake who waits for any change of this run; each looks again by itself."""
        for event in self._waiters.pop(run_id, ()):
            event.set()

    def error_of(self, run_id: int) -> BaseException | None:
        """Return what the run raised, if it ran in this process not too long ago."""
        return self._errors.get(run_id)

    def wait_for(self, run_id: int) -> tuple[anyio.Event, Callable[[], None]]:
        """Return an event set at the run's end, and what takes the wait back."""
        event = anyio.Event()
        self._waiters.setdefault(run_id, []).append(event)

        def leave() -> None:
            waiting = self._waiters.get(run_id)
            if waiting is not None and event in waiting:
                waiting.remove(event)
                if not waiting:
                    del self._waiters[run_id]

        return event, leave

    @property
    def waited_for(self) -> list[int]:
        """The runs that somebody waits for."""
        return list(self._waiters)


def _plain(observer: Any) -> Any:
    if inspect.iscoroutinefunction(observer) or inspect.iscoroutinefunction(type(observer).__call__):
        return _Queued(observer)
    return observer


def _wants(observer: Observer) -> type[Event] | tuple[type[Event], ...]:
    return observer.wants if isinstance(observer, SelectiveObserver) else Event


class _Queued:
    """An async observer behind a bounded queue."""

    def __init__(self, observer: Any) -> None:
        self._observer = observer
        self.wants = _wants(observer)
        self.lost = 0
        self.serving = False
        self._send, self._receive = anyio.create_memory_object_stream[Event](QUEUE)

    def __call__(self, event: Event) -> None:
        try:
            self._send.send_nowait(event)
        except anyio.WouldBlock:
            if not self.lost:
                logger.warning("observer %r is too slow: events are dropped, and counted", self._observer)
            self.lost += 1

    def close(self) -> None:
        self._send.close()
        if not self.serving:
            self._receive.close()

    async def serve(self) -> None:
        async with self._receive:
            async for event in self._receive:
                try:
                    await self._observer(event)
                except (KeyboardInterrupt, GeneratorExit):
                    raise
                except anyio.get_cancelled_exc_class():
                    raise
                except BaseException:
                    logger.exception(
                        "observer %r failed at %s; it is kept", self._observer, type(event).__name__
                    )
        if self.lost:
            logger.warning("observer %r was too slow for %d events in all", self._observer, self.lost)

    def __repr__(self) -> str:
        return repr(self._observer)
