"""Progress of running runs: the latest is kept, written, and passed to handles at most every half second."""

from __future__ import annotations

import logging
from contextvars import Context
from typing import TYPE_CHECKING

import anyio

from asyncsched._core.records import RunRecord

if TYPE_CHECKING:
    from asyncsched._backends.clock import Timeline
    from asyncsched._engine.environment import Environment
    from asyncsched.abc import Store

logger = logging.getLogger("asyncsched.job")

EVERY = 0.5


class ProgressBoard:
    """Collects the progress of runs from all threads, and writes it at a bounded rate."""

    def __init__(self, store: Store, timeline: Timeline, environment: Environment) -> None:
        self._store = store
        self._timeline = timeline
        self._clock = environment.clock
        self._waiters = environment.waiters
        self._backend = environment.backend
        self._changed: dict[int, RunRecord] = {}
        self._busy = False
        self._last = float("-inf")

    def changed(self, run: RunRecord) -> None:
        """Note a run's progress. Callable from any thread."""
        self._changed[run.id] = run
        if not self._busy:
            self._backend.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        if self._changed and not self._busy:
            self._busy = True
            self._backend.spawn(self._write(), Context())

    async def _write(self) -> None:
        try:
            while self._changed:
                await anyio.sleep(max(0.0, self._last + EVERY - self._clock.monotonic()))
                self._last = self._clock.monotonic()
                # One by one, each step atomic: other threads add runs while this loop removes them.
                for _ in range(len(self._changed)):
                    run = self._changed.popitem()[1]
                    if run.state == "running":
                        await self._store.note(run, self._timeline.now())
                    self._waiters.notify(run.id)
        except Exception:
            logger.exception("the progress of runs could not be written; the next report is tried again")
        except BaseException:  # the scheduler is being closed
            self._busy = False
            raise
        self._busy = False
        self._begin()  # for progress that came after the loop, from a thread that still saw ``_busy``
