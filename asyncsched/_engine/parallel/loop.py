"""A parallel loop, which the consumer of its results drives.

Its calls are no runs: they have no row in the ledger, no retry and no timeout, so a million of them cost no more
memory than a few. Within a job they belong to the job's run, which shows their progress, and whose end is theirs.

One task takes items and begins calls while there is room: for ``limit`` calls, for a place in the executor, and in
the window of items that were taken and whose results were not yet handed out. Each call is a task of its own, with
one item or, where the executor has batches and calls are short, with as many as last about 10 ms.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import anyio

from asyncsched._core.context import CurrentRun, current_run
from asyncsched._core.parallel import KEPT, ItemFailed, MapFailed
from asyncsched._engine.attempt import GRACE, lent_place
from asyncsched._engine.parallel.call import Call, ItemLink, LoopOptions, Target
from asyncsched._engine.parallel.items import Items
from asyncsched._engine.parallel.results import NOTHING, SKIPPED, BatchSize, Results
from asyncsched._engine.parallel.signals import Signal
from asyncsched.abc import Answer, Batch

if TYPE_CHECKING:
    from asyncsched._backends.base import Main, Task
    from asyncsched._engine.environment import Environment


class ParallelLoop:
    """The running part of one loop. Whoever iterates calls :meth:`next`, and :meth:`stop` or :meth:`close` at an end.

    Args:
        environment: the scheduler's shared parts.
        target: what is called.
        source: an iterator or an async iterator of items.
        options: the options.

    Attributes:
        id: stands in for a run's id where the loop is in no job.
        stopped: whether no call is to begin any more.

    """

    def __init__(
        self, environment: Environment, target: Target, source: Iterator[Any] | AsyncIterator[Any],
        options: LoopOptions,
    ) -> None:  # fmt: skip
        self._environment = environment
        self._backend = environment.backend
        self._capacity = environment.capacity
        self._context = copy_context()
        self._outer = current_run(None)
        self._at = environment.clock.wall()
        self.id = environment.ids.next(self._at)
        self.target = target
        self.options = options
        self._changed, self._arrived = Signal(), Signal()
        self._items = Items(source, environment.backend.time, self._changed)
        self._again: deque[tuple[int, list[Any]]] = (
            deque()
        )  # given back by a call, with the index of the first
        self._results = Results(ordered=options.ordered)
        self._size = BatchSize(options.batch)
        self._calls: set[Call] = set()
        self._tasks = self._done = self._failed = 0
        self._errors: list[ItemFailed] = []
        self._broken: BaseException | None = None
        self._begun = self._ended = self._told = self.stopped = False

    # ── the consumer's side ──────────────────────────────────────────────────────────────────

    async def next(self) -> Any:
        """Return the next result.

        Raises:
            StopAsyncIteration: there is no other.
            MapFailed: items failed, and all others were done.
            ItemFailed: an item failed, and the loop was to stop at it.

        """
        self._begin()
        while (value := self._pop()) is NOTHING:
            if self._ended:
                raise self._outcome()
            try:
                with self._lent():
                    await self._arrived.wait()
            except anyio.get_cancelled_exc_class():
                await self.close()
                raise
        return value

    @property
    def over(self) -> bool:
        """Whether nothing is left to be stopped."""
        return self.stopped or self._ended

    def _begin(self) -> None:
        if not self._begun and not self.stopped:
            self._begun = True
            self._capacity.subscribe(self._changed.set)
            self._environment.loops.add(self)
            self._spawn(self._feed())

    def _pop(self) -> Any:
        if self.stopped:
            return NOTHING
        full = not self._has_window()
        value = self._results.pop()
        if full:
            self._changed.set()
        return value

    def _lent(self) -> AbstractContextManager[None]:
        return nullcontext() if self._outer is None else lent_place(self.id)

    def _outcome(self) -> BaseException:
        """Return what the consumer is told at the end: once, and ``StopAsyncIteration`` later."""
        if self._told or (self.stopped and self._broken is None):
            return StopAsyncIteration()
        self._told = True
        errors, self._errors = sorted(self._errors, key=lambda error: error.index), []
        failed = MapFailed(self.target.name, self._failed, errors) if errors else None
        if (first := self._broken or self._items.error) is not None:
            if failed is not None and first.__cause__ is None:
                first.__cause__ = failed
            return first
        return failed or StopAsyncIteration()

    def stop(self, why: BaseException | None = None) -> None:
        """Begin no other call, and cancel those under way; ``why`` is what the consumer is told."""
        if self.stopped or self._ended:
            return
        self.stopped, self._broken = True, why
        self._again.clear()
        self._items.stop()
        for call in list(self._calls):
            call.cancel()
        if not self._begun:
            self._end()
        self._changed.set()

    async def close(self) -> None:
        """Stop, and wait until the calls have ended; a call that swallows its cancellation is left after a grace."""
        self.stop()
        with anyio.move_on_after(GRACE, shield=True):
            while not self._ended:
                await self._arrived.wait()

    # ── beginning calls ──────────────────────────────────────────────────────────────────────

    async def _feed(self) -> None:
        self._items.begin(self._spawn)
        try:
            while not self._is_over():
                if self._has_room() and (batch := self._take()) is not None:
                    self._begin_call(*batch)
                    await self._backend.pause(1)
                elif not self._is_over():  # taking may have shown that there is no other item
                    await self._changed.wait()
        finally:
            self._capacity.unsubscribe(self._changed.set)
            if not self._is_over():  # the event loop is being torn down
                self.stop()

    def _is_over(self) -> bool:
        return self.stopped or (self._items.over and not self._again and not self._calls)

    def _has_room(self) -> bool:
        # One call at least is under way, however full the executor: the caller may have its last place.
        free = not self._calls or self._capacity.free[self.target.place] > 0
        return free and len(self._calls) < self.options.limit

    def _has_window(self) -> bool:
        return self._items.taken - self._results.handed < 2 * self.options.limit * self._size.items

    def _take(self) -> tuple[int, list[Any]] | None:
        """Return the items of the next call with the index of the first, or ``None`` if none is there now."""
        if self._again:
            return self._again.popleft()
        if not self._has_window():
            return None
        first = self._items.taken
        items = self._items.take(self._size.items)
        return (first, items) if items else None

    def _begin_call(self, first: int, items: list[Any]) -> None:
        call = Call(self, first, items)
        self._calls.add(call)
        self._capacity.take(self.target.place)
        if self.target.executor.traits.in_loop:
            self._environment.watcher.busy()
        call.task = self._spawn(call.main())

    def _spawn(self, main: Main) -> Task:
        self._tasks += 1
        return self._backend.spawn(self._counted(main), self._context.copy(), self.target.name)

    async def _counted(self, main: Main) -> None:
        try:
            await main
        finally:
            self._tasks -= 1
            if not self._tasks:
                self._end()
            self._changed.set()

    def _end(self) -> None:
        self._ended = True
        self._environment.loops.discard(self)
        self._arrived.set()

    # ── the calls' side ──────────────────────────────────────────────────────────────────────

    def current(self, first: int) -> CurrentRun:
        """Return what ``current_run()`` is in a call: the run around the loop, or one that is in no ledger."""
        outer, link = self._outer, ItemLink(self, self._outer, first)
        if outer is None:
            return CurrentRun(self.id, self.target.name, self._at, 1, None, link)
        return CurrentRun(outer._id, outer.job, outer._due, outer.attempt, outer.key, link)

    def torn_down(self) -> bool:
        """Return whether the event loop of the current task ends."""
        return self._backend.torn_down()

    def arrived(self, index: int, item: Any, answer: Answer) -> None:
        """Keep an item's result, or its failure, for the consumer."""
        value = answer.value if answer.error is None else self._failure(index, item, answer.error)
        self._done += 1
        self._results.put(index, value)
        if self._outer is not None and self.options.progress:
            failed = f"{self._failed} failed" if self._failed else ""
            self._outer._link.progress(self._done, self.options.total, failed)
        self._arrived.set()

    def _failure(self, index: int, item: Any, error: BaseException) -> Any:
        self._failed += 1
        failure = ItemFailed(index, item, self.target.name, error)
        if self.options.on_error == "yield":
            return failure
        if self.options.on_error == "stop":
            self.stop(failure)
        elif len(self._errors) < KEPT:
            self._errors.append(failure)
        return SKIPPED

    def call_ended(
        self, call: Call, cost: Batch | None, answered: int, left: list[tuple[int, list[Any]]]
    ) -> None:
        """Free a call's place, and give its items without an answer to later calls."""
        self._calls.discard(call)
        self._capacity.give_back(self.target.place)
        if self.target.executor.traits.in_loop:
            self._environment.watcher.idle()
        if not self.stopped:
            self._again.extend(left)
        if cost is not None and answered:
            self._size.fit(cost, answered)
        self._changed.set()
