"""huey: runs become tasks of a huey instance, and its consumer calls the functions."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from asyncsched._core.errors import ConfigurationError
from asyncsched._core.text import safe_repr
from asyncsched.abc import Answer
from asyncsched.executors.handoff.base import HandoffExecutor, TaskLost
from asyncsched.executors.handoff.courier import engine_time

try:
    import huey
    from huey.api import TaskWrapper
    from huey.exceptions import TaskException
except ModuleNotFoundError as missing:  # pragma: no cover - the environment of the engine's tests has it
    raise ConfigurationError("the huey executor needs huey: pip install 'asyncsched[huey]'") from missing

_SENT = "asyncsched-sent-{}"
"""The key of the mark that a task was handed over: huey cannot tell a queued task from an unknown one."""


LONGEST = 86_400.0
"""Seconds for which the end of a task is waited for that is in the queue no more."""

LOOK_EVERY = 60.0
"""Seconds between two looks through the whole queue, once a task has been waited for so long."""


class HueyEngine:
    """Speaks to a huey instance; see :class:`HueyExecutor`."""

    name = "huey"

    def __init__(self, instance: huey.Huey, longest: float) -> None:
        self._huey = instance
        self._longest = longest
        self._look_again = 0.0
        self._names: dict[str, str] = {}
        self._waited_since: dict[str, float] = {}
        self.away: tuple[type[BaseException], ...] = (
            sqlite3.OperationalError,
            ConnectionError,
            *_errors_of_redis(),
        )

    def open(self) -> None:
        self._huey.storage.queue_size()

    def close(self) -> None:
        """Leave the instance, which is the user's."""

    def check(self, func: Callable[..., Any], job: str) -> None:
        if not isinstance(func, TaskWrapper):
            raise ConfigurationError(f"job {job!r}: {safe_repr(func)} is no huey task; pass the task itself")

    def submit(
        self, id: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        assert isinstance(func, TaskWrapper)
        task = func.s(*args, **kwargs)
        task.id, task.retries = id, 0
        self._names[id] = f"{type(task).__module__}.{type(task).__name__}"
        self._huey.storage.put_data(_SENT.format(id), b"1")
        self._huey.enqueue(task)

    def poll(self, ids: Sequence[str]) -> Mapping[str, Answer]:
        found = {}
        for id in ids:
            if self._huey.storage.has_data_for_key(id):
                found[id] = self._answer(id)
            elif not self._huey.storage.has_data_for_key(_SENT.format(id)):
                found[id] = Answer(unknown=True)
        found |= self._given_up([id for id in ids if id not in found])
        for id in found:
            self._let_go(id)
        return found

    def _given_up(self, ids: Sequence[str]) -> dict[str, Answer]:
        """Return an answer for each task that left the queue and has been waited for too long."""
        now = engine_time()
        late = [id for id in ids if now - self._waited_since.setdefault(id, now) >= self._longest]
        if not late or now < self._look_again:
            return {}
        self._look_again = now + LOOK_EVERY
        serializer, storage = self._huey.serializer, self._huey.storage
        queued = {serializer.deserialize(message).id for message in storage.enqueued_items()}
        self._waited_since |= dict.fromkeys(queued & set(late), now)
        return {id: Answer(error=self._lost(id)) for id in late if id not in queued}

    def _lost(self, id: str) -> TaskLost:
        return TaskLost(
            f"task {self._names.get(id, id)} has left huey's queue, and no end of it has come for {self._longest:g} s: "
            "the consumers do not know it, it was killed with its consumer, or it takes longer (longest=); install "
            "its module where they run, and restart them"
        )

    def _let_go(self, id: str) -> None:
        self._names.pop(id, None)
        self._waited_since.pop(id, None)

    def _answer(self, id: str) -> Answer:
        try:
            return Answer(self._huey.result(id, preserve=True))
        except TaskException as error:
            return Answer(error=error)

    def cancel(self, id: str) -> None:
        self._huey.revoke_by_id(id)
        self._let_go(id)

    def forget(self, id: str) -> None:
        self._huey.storage.delete_data(_SENT.format(id))
        self._huey.storage.delete_data(id)

    def page(self, id: str) -> str:
        return ""


def _errors_of_redis() -> tuple[type[BaseException], ...]:
    try:
        from redis import exceptions
    except ModuleNotFoundError:
        return ()
    return (exceptions.ConnectionError, exceptions.TimeoutError)


class HueyExecutor(HandoffExecutor):
    """Runs functions as tasks of a huey instance, which must keep results, ``None`` included (``store_none=True``).

    A cancel revokes a task that waits; huey cannot stop one that runs. Nor does it say anything of a task that
    its consumer does not know or is killed in: such a run ends by the job's ``timeout``, or fails after ``longest``.

    Args:
        instance: the huey instance.
        capacity: how many tasks may be under way at once.
        patience: seconds for which a hand-over is tried again while the storage cannot be reached.
        longest: seconds for which the end of a task is waited for that is in the queue no more; then the run fails
            with ``TaskLost``.

    Raises:
        ConfigurationError: the instance keeps no results, or ``longest`` is no positive number.

    """

    def __init__(
        self, instance: huey.Huey, capacity: int = 1000, *, patience: float = 60.0, longest: float = LONGEST
    ) -> None:
        if longest <= 0:
            raise ConfigurationError(f"HueyExecutor: longest must be positive, not {longest}")
        if not (instance.results and instance.store_none):
            raise ConfigurationError(
                "HueyExecutor needs to see the end of every task: make the huey instance with store_none=True"
            )
        super().__init__(HueyEngine(instance, longest), capacity, patience=patience)
