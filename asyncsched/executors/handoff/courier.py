"""The one thread that talks to an engine: it gives it tasks, cancels them, and asks for the ends of all at once."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from asyncsched.abc import Answer, TaskEngine

if TYPE_CHECKING:
    from asyncsched._backends.base import Future, Port

logger = logging.getLogger("asyncsched.executors")

SHORTEST, LONGEST = 0.02, 2.0
"""Seconds between two polls: the first after something has happened, and the longest while nothing does."""

FORGET_AFTER = 600.0
"""Seconds after a task's end for which its outcome stays in the engine, until the store surely has it."""

CLOSING = 5.0
"""Seconds that the last cancels and the disconnect may take."""


def engine_time() -> float:
    """Return the machine's monotonic time in seconds: engines are in the real world, so no virtual clock applies."""
    return time.monotonic()


class Task:
    """A call on its way through the engine. ``answer`` is ``None`` at its end if it never got there.

    It is handed over in the context of the attempt, which an engine's instrumentation sends along, as for traces.
    """

    __slots__ = ("answer", "args", "context", "func", "future", "id", "kwargs", "taken_up", "until")

    def __init__(
        self,
        id: str,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        future: Future,
        *,
        taken_up: bool,
    ) -> None:
        self.id = id
        self.context = copy_context()
        self.func = func
        self.args = args
        self.kwargs = kwargs
        self.future = future
        self.taken_up = taken_up
        self.until = 0.0
        self.answer: Answer | None = None


class Courier:
    """Carries tasks to one engine and answers back, in one thread for all of them.

    Args:
        engine: the engine.
        name: the executor's name in messages.
        port: the event loop in which the tasks are waited for.
        patience: seconds for which a task may wait for an engine that cannot be reached.

    """

    def __init__(self, engine: TaskEngine, name: str, port: Port, patience: float) -> None:
        self.trouble = ""
        self._engine = engine
        self._name = name
        self._port = port
        self._patience = patience
        self._orders: SimpleQueue[Callable[[], None]] = SimpleQueue()
        # All that follows is the thread's own.
        self._to_give: deque[Task] = deque()
        self._to_cancel: deque[str] = deque()
        self._waiting: dict[str, Task] = {}
        self._ended: deque[tuple[float, str]] = deque()
        self._open = False
        self._closing = False
        self._thread = threading.Thread(target=self._main, name=f"asyncsched-{name}", daemon=True)
        self._thread.start()

    # ── in the loop ──────────────────────────────────────────────────────────────────────────

    def future(self) -> Future:
        """Return a future that a task's answer ends."""
        return self._port.future()

    def submit(self, task: Task) -> None:
        """Give a task to the engine; or wait for its answer only, if the engine has it already."""
        self._orders.put(lambda: self._take(task))

    def drop(self, task: Task, *, cancel: bool) -> None:
        """Wait for a task no longer; with ``cancel``, end it in the engine, too."""
        self._orders.put(lambda: self._drop(task, cancel))

    async def close(self) -> None:
        """End the thread, after the cancels that are still to be made."""
        self._orders.put(self._close)
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._thread.join, CLOSING)
        if self._thread.is_alive():
            logger.warning(
                "executor %r: its engine does not answer, and its thread is left behind", self._name
            )

    # ── the orders, in the thread ────────────────────────────────────────────────────────────

    def _take(self, task: Task) -> None:
        task.until = engine_time() + self._patience
        self._to_give.append(task)

    def _drop(self, task: Task, cancel: bool) -> None:
        if task in self._to_give:
            self._to_give.remove(task)
        elif self._waiting.pop(task.id, None) is not None and cancel:
            self._to_cancel.append(task.id)

    def _close(self) -> None:
        self._closing = True

    # ── the thread ───────────────────────────────────────────────────────────────────────────

    def _main(self) -> None:
        pause = SHORTEST
        while not self._closing:
            moved = self._follow_orders(pause)
            moved = self._try_a_turn() or moved
            pause = SHORTEST if moved else min(2 * pause, LONGEST)
        try:
            if self._open:
                self._engine.close()
        except Exception as error:
            logger.info("executor %r: its engine was not disconnected: %s", self._name, error)

    def _follow_orders(self, pause: float) -> bool:
        """Follow the orders that are there; wait for one first, at most ``pause`` seconds if tasks are under way."""
        busy = self._to_give or self._to_cancel or self._waiting
        try:
            self._orders.get(timeout=pause if busy else None)()
            while True:
                self._orders.get_nowait()()
        except Empty:
            return not self._orders.empty()

    def _try_a_turn(self) -> bool:
        try:
            moved = self._turn()
        except self._engine.away as error:
            self._not_reached(error)
            return False
        except Exception:  # one failure must not end all hand-overs
            logger.exception("executor %r: talking to its engine failed; the next try follows", self._name)
            return False
        if self.trouble:
            logger.info("executor %r: its engine is reached again", self._name)
            self.trouble = ""
        return moved

    def _turn(self) -> bool:
        """Do what is to be done once; return whether something has happened."""
        if not self._open:
            self._engine.open()
            self._open = True
        moved = bool(self._to_give or self._to_cancel)
        while self._to_cancel:
            self._engine.cancel(self._to_cancel[0])
            self._to_cancel.popleft()
        while self._to_give and not self._closing:
            self._give(self._to_give[0])
            self._to_give.popleft()
        if self._waiting and not self._closing:
            for id, answer in self._engine.poll(list(self._waiting)).items():
                self._end(id, answer)
                moved = True
        while self._ended and self._ended[0][0] <= engine_time():
            self._engine.forget(self._ended[0][1])
            self._ended.popleft()
        return moved

    def _give(self, task: Task) -> None:
        try:
            if not task.taken_up or self._is_unknown(task.id):
                task.context.run(self._engine.submit, task.id, task.func, task.args, task.kwargs)
        except self._engine.away:
            raise
        except Exception as error:  # the task cannot be sent, say: that is its own failure
            self._answer(task, Answer(error=error))
        else:
            self._waiting[task.id] = task

    def _is_unknown(self, id: str) -> bool:
        answer = self._engine.poll((id,)).get(id)
        return answer is not None and answer.unknown

    def _end(self, id: str, answer: Answer) -> None:
        if not answer.unknown:
            self._ended.append((engine_time() + FORGET_AFTER, id))
        self._answer(self._waiting.pop(id), answer)

    def _answer(self, task: Task, answer: Answer | None) -> None:
        task.answer = answer
        try:
            self._port.call_soon(lambda: None if task.future.done() else task.future.set_result(None))
        except RuntimeError:
            pass  # the loop is over, and nobody waits

    def _not_reached(self, error: BaseException) -> None:
        if not self.trouble:
            logger.warning(
                "executor %r: its engine cannot be reached; what runs there is waited for, and new runs are "
                "handed over when it is back: %s", self._name, error,
            )  # fmt: skip
        self.trouble = f"{type(error).__name__}: {error}"
        for task in [task for task in self._to_give if task.until < engine_time()]:
            self._to_give.remove(task)
            self._answer(task, None)
