"""The waiting handles: they wake at changes of their runs. Here is also the exception that a run raised."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import get_ident
from typing import Any

import anyio

_ERRORS_KEPT = 256
_RESULTS_KEPT = 64


class Waiters:
    """Wakes the handles that wait for a run. Each handle then queries the store."""

    def __init__(self) -> None:
        self._events: dict[int, list[anyio.Event]] = {}
        self._errors: OrderedDict[int, BaseException] = OrderedDict()
        self._results: OrderedDict[int, Any] = OrderedDict()
        self.closed = False
        self.thread = get_ident()
        """The thread of the event loop in which handles wait."""

    def wait_for(self, run_id: int) -> tuple[anyio.Event, Callable[[], None]]:
        """Return an event that is set at the run's next change, and a call that ends the wait."""
        event = anyio.Event()
        self._events.setdefault(run_id, []).append(event)

        def leave() -> None:
            waiting = self._events.get(run_id)
            if waiting is not None and event in waiting:
                waiting.remove(event)
                if not waiting:
                    del self._events[run_id]

        return event, leave

    @property
    def waited_for(self) -> list[int]:
        """The runs that handles wait for."""
        return list(self._events)

    def notify(self, run_id: int) -> None:
        """Wake the handles that wait for a change of this run."""
        if self._events:
            for event in self._events.pop(run_id, ()):
                event.set()

    def close(self) -> None:
        """Wake every handle that still waits, because no further change will come."""
        self.closed = True
        for events in self._events.values():
            for event in events:
                event.set()
        self._events.clear()

    # ── results too large for the store, and exceptions of runs ───────────────────────────────────────────────────────────────────

    def keep_result(self, run_id: int, value: Any) -> None:
        """Keep a result that is too large to be kept with its run, for the handles in this process."""
        self._results[run_id] = value
        if len(self._results) > _RESULTS_KEPT:
            self._results.popitem(last=False)

    def result_of(self, run_id: int) -> Any:
        """Return such a result, if the run is among the last that had one in this process; else ``None``."""
        return self._results.get(run_id)

    def keep_error(self, run_id: int, error: BaseException) -> None:
        """Keep the exception that ended a run, for observers and for its handle's ``__cause__``."""
        self._errors[run_id] = error
        if len(self._errors) > _ERRORS_KEPT:
            self.drop_frames(self._errors.popitem(last=False)[1])

    def drop_frames(self, error: BaseException | None) -> None:
        """Drop the traceback of a kept exception once observers have heard of it: frames hold the job's memory."""
        if error is not None:
            error.with_traceback(None)

    def error_of(self, run_id: int) -> BaseException | None:
        """Return the exception of a run, if the run is among the last that failed in this process."""
        return self._errors.get(run_id)
