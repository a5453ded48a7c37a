"""A thread that owns one connection, and the requests that the event loop sends to it.

A caller hands a request over and waits for its future; the thread takes all queued requests, answers them, and
wakes the loop once for the whole batch. Nothing in the loop ever blocks.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from math import inf
from queue import Empty, SimpleQueue
from typing import Any

import anyio
from anyio.lowlevel import cancel_shielded_checkpoint

from asyncsched._backends.base import Port
from asyncsched._backends.current import current_port
from asyncsched._core.errors import StoreUnavailable
from asyncsched.abc import Clock
from asyncsched.stores.sql.locked import Locked
from asyncsched.stores.sql.request import READING, Request
from asyncsched.stores.sql.under_way import UnderWay

AT_ONCE = 512
"""How many requests one batch answers at most, so that waking their callers takes the loop no longer than 1 ms."""

WOKEN = 32
"""How many callers are woken in one turn of the loop."""

HOLD = 0.05
"""Seconds that one batch takes at most, so that a beat never waits for longer."""

WEIGHT = 2048
"""How many rows one batch writes at most; fewer, where the rows of the last batches took longer than ``HOLD``."""

LEAST = 100
"""How many rows one batch may write in any case."""

_INTERRUPTED = 0.2
"""Seconds in which a thread ends whose statement was interrupted; one that connects just now ends later."""


class DatabaseThread:
    """The thread and its queue.

    Args:
        name: the thread's name.
        serve: called in the thread with some requests; fills in their results and errors.
        end: called in the thread when it ends.
        interrupt: called in the loop; has a statement under way in the thread fail soon.
        timeout: seconds after which a call without an answer fails.
        clock: the clock; a virtual one stands still while the thread works.

    """

    def __init__(
        self,
        name: str,
        serve: Callable[[list[Request]], None],
        end: Callable[[], None],
        timeout: float,
        clock: Clock,
        interrupt: Callable[[], None] = lambda: None,
    ) -> None:
        self._serve = serve
        self._end = end
        self._interrupt = interrupt
        self._timeout = timeout
        self._clock = clock
        self._port: Port = current_port()
        self._next: list[Request] = []  # submitted in this turn of the loop, and not handed over yet
        self._expires = 0.0  # the monotonic time at which all of those expire
        self._queue: deque[Request] = deque()
        self._locked = Locked()
        self._wake: SimpleQueue[bool] = SimpleQueue()
        self._under_way = UnderWay(clock, self._port, timeout, self._expire)
        self._closing = False
        self.most = WEIGHT
        """How many rows one batch writes at present."""
        self.lost_answers = 0
        """How many calls failed without an answer although their request may have been done."""
        self.trouble = ""
        """The reason why the thread does not answer, in words; for errors and health pages."""
        self._ended = self._port.future()
        self._over = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    # ── in the loop ──────────────────────────────────────────────────────────────────────────

    @property
    def busy(self) -> bool:
        """Whether callers wait for an answer whose requests came before this turn of the loop."""
        return len(self._under_way) > len(self._next)

    async def submit(
        self, kind: str, payload: Any, weight: int = 1, urgent: bool = False, about: Hashable = None
    ) -> Any:
        """Have the thread do a request that writes about ``weight`` rows, and return its answer.

        A call that is cancelled before the thread takes the request has no effect; after that the cancellation waits
        for the answer. ``about`` says what the request needs that a transaction may have locked; see ``locked``.

        Raises:
            StoreUnavailable: there was no answer in time.

        """
        if self._closing:
            raise StoreUnavailable("the store has been closed")
        request = Request(kind, payload, weight, urgent, about)
        waiter = request.waiter = self._port.future()
        self._enter(request)
        try:
            await waiter
        except BaseException:
            if not request.done and not self._withdraw(request) and not self._abandon(request):
                with anyio.CancelScope(shield=True):
                    await self._wait_out(request)
            raise
        error = request.late or request.error
        if error is not None:
            try:
                raise error
            finally:
                del request, error  # the traceback refers to this frame
        return request.result

    def _abandon(self, request: Request) -> bool:
        """Stop waiting for a request that only reads, whatever the thread is doing with it."""
        if request.kind not in READING:
            return False
        request.lost = request.done = True
        self._under_way.remove(request)
        return True

    async def _wait_out(self, request: Request) -> None:
        """Wait for the answer whatever happens: asyncio's ``cancel()`` ignores the shield."""
        while not request.done:
            waiter = request.waiter = self._port.future()
            try:
                await waiter
            except BaseException:
                pass  # submit() raises the first cancellation in the end

    def _enter(self, request: Request) -> None:
        """Have a request handed over once all tasks of this turn of the loop have submitted theirs."""
        if not self._next:
            self._port.call_next(self._hand_over)
            self._expires = self._under_way.expires()
        request.expires = self._expires
        self._under_way.add(request)
        self._next.append(request)

    def _hand_over(self) -> None:
        """Hand over the requests of one turn, without those whose callers were cancelled."""
        requests, self._next = self._next, []
        for request in requests:
            if request.waiter is not None and request.waiter.cancelled():
                self._under_way.remove(request)
                request.done = True
            elif request.urgent:
                self._queue.appendleft(request)
            else:
                self._queue.append(request)
        # The thread empties the queue before it sleeps: it is awake if the queue was not empty before.
        if len(self._queue) <= len(requests):
            self._wake.put(True)

    def _withdraw(self, request: Request) -> bool:
        """Take a request back, unless the thread has taken it."""
        for waiting in (self._next, self._queue, self._locked):
            try:
                waiting.remove(request)
            except (ValueError, IndexError):  # IndexError: the thread took a request just now
                continue
            self._under_way.remove(request)
            return True
        return False

    def _expire(self, request: Request) -> None:
        begun = not self._withdraw(request)
        done = "; the request may have been done" if begun else "; nothing was done"
        reason = request.obstacle or self.trouble
        ends = self._under_way.deadline < inf
        request.late = StoreUnavailable(
            f"the store gave no answer {'before the end' if ends else f'within {self._timeout:g} s'}"
            + (f" ({reason})" if reason else "")
            + ("" if request.kind in READING else done)
        )
        self._under_way.remove(request)
        if begun:
            request.lost = True
            self.lost_answers += 1
        request.settle()

    def _collect(self, requests: list[Request]) -> None:
        answered = [request for request in requests if not request.lost]
        for request in answered:
            self._under_way.remove(request)
        self._settle(answered, 0)

    def _settle(self, requests: list[Request], first: int) -> None:
        """Wake the callers of requests, some in each turn of the loop: the thread goes on with their next requests."""
        for request in requests[first : first + WOKEN]:
            request.settle()
        if first + WOKEN < len(requests):
            self._port.call_next(lambda: self._settle(requests, first + WOKEN))

    def hurry(self, seconds: float) -> None:
        """Have all calls answered, or fail, within ``seconds``: those under way, and those to come."""
        self._under_way.hurry(seconds)

    async def close(self) -> None:
        """End the thread after the requests that it has been given, waiting at most the timeout."""
        self._closing = True
        self._under_way.close()
        self._hand_over()
        self._wake.put(False)
        await self._wait_for_end(min(self._timeout, self._under_way.deadline - self._clock.monotonic()))
        if not self._over:
            self._interrupt()
            await self._wait_for_end(_INTERRUPTED)
        while self._over and self._thread.is_alive():
            await cancel_shielded_checkpoint()  # to say so was its last act: it ends in microseconds
        for request in self._under_way:
            request.late = StoreUnavailable("the store was closed before it gave an answer")
            request.lost = True
            self._under_way.remove(request)
            request.settle()

    async def _wait_for_end(self, seconds: float) -> None:
        with anyio.CancelScope(shield=True), anyio.move_on_after(max(0.0, seconds)):
            with self._clock.hold():
                while not self._over:
                    self._ended = self._port.future()
                    await self._ended

    def _note_end(self) -> None:
        self._over = True
        if not self._ended.done():
            self._ended.set_result(None)

    # ── in the thread ────────────────────────────────────────────────────────────────────────

    def take(self) -> list[Request]:
        """Take queued requests, in order. In the thread."""
        taken: list[Request] = []
        weight = 0
        queue = self._queue
        while queue and len(taken) < AT_ONCE and weight < self.most:
            try:
                request = queue.popleft()
            except IndexError:  # withdrawn just now
                break
            if request.about in self._locked:
                self._locked.put(request, time.monotonic())
                continue
            taken.append(request)
            weight += request.weight
        return taken

    def _run(self) -> None:
        try:
            go_on = True
            while go_on:
                go_on = self._sleep()
                for requests in self._batches():
                    self._answer(requests)
        finally:
            self._end()
            self._call(self._note_end)

    def _sleep(self) -> bool:
        """Sleep until there are requests, or one that met a lock is due; return False at the end."""
        try:
            return self._wake.get(timeout=self._locked.pause(time.monotonic()))
        except Empty:
            return True

    def _batches(self) -> Iterator[list[Request]]:
        """Yield the requests to do now: those of the queue, and by turns one that met a lock."""
        while True:
            if batch := self.take():
                yield batch
            if tried := self._locked.due(time.monotonic()):
                yield tried
            if not batch and not tried:
                return

    def _answer(self, requests: list[Request]) -> None:
        began = time.monotonic()
        try:
            self._serve(requests)
        except BaseException as error:
            for request in requests:
                request.error = request.error or error
        ended = time.monotonic()
        self._pace(sum(request.weight for request in requests), ended - began)
        answered = []
        for request in requests:
            if request.met_lock:
                self._locked.put(request, ended)
            elif request.left:
                request.left = False
                self._queue.append(request)
            else:
                request.answered = True
                answered.append(request)
                if self._locked:
                    self._queue.extendleft(self._locked.free(request))
        self._call(lambda: self._collect(answered))

    def _pace(self, rows: int, took: float) -> None:
        """Learn from one batch how many rows the next may write: it falls at once, and rises little by little."""
        if rows >= LEAST:
            fitting = int(rows * HOLD / max(took, 1e-6))
            self.most = max(LEAST, min(fitting, 2 * self.most, WEIGHT))

    def _call(self, callback: Callable[[], object]) -> None:
        try:
            self._port.call_soon(callback)
        except RuntimeError:
            pass  # the loop is closed, and its callers with it
