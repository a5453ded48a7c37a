"""RQ: runs become jobs of a queue, and its workers call the functions."""

from __future__ import annotations

import builtins
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from asyncsched._core.arguments.functions import refuse_unless_sync
from asyncsched._core.errors import ConfigurationError
from asyncsched.abc import Answer
from asyncsched.executors.handoff.base import HandoffExecutor
from asyncsched.executors.handoff.courier import engine_time
from asyncsched.executors.handoff.named import import_path

try:
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import TimeoutError as RedisTimeoutError
    from rq import Queue
    from rq.command import send_stop_job_command
    from rq.exceptions import InvalidJobOperation, NoSuchJobError
    from rq.job import Job, JobStatus
    from rq.results import Result
except ModuleNotFoundError as missing:  # pragma: no cover - the environment of the engine's tests has it
    raise ConfigurationError("the RQ executor needs RQ: pip install 'asyncsched[rq]'") from missing

KEPT = 86_400
"""Seconds for which RQ keeps an outcome, unless it is deleted before."""

LOOK_EVERY = 1.0
"""Seconds between two looks at jobs that have no result yet."""


class RQEngine:
    """Speaks to an RQ queue; see :class:`RQExecutor`."""

    name = "rq"
    away: tuple[type[BaseException], ...] = (RedisConnectionError, RedisTimeoutError, ConnectionError)

    def __init__(self, queue: Queue, options: Mapping[str, Any]) -> None:
        self._queue = queue
        self._seen = set[str]()
        self._look_again = 0.0
        self._options = {"timeout": -1, "result_ttl": KEPT, "failure_ttl": KEPT, **options}

    def open(self) -> None:
        self._queue.connection.ping()

    def close(self) -> None:
        """Leave the connection, which is the user's."""

    def check(self, func: Callable[..., Any], job: str) -> None:
        refuse_unless_sync(func, job, "worker of RQ")
        import_path(func, job, "RQ")

    def submit(
        self, id: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        path = import_path(func, id, "RQ")
        self._queue.enqueue_call(path, args, kwargs, job_id=id, **self._options)
        self._seen.add(id)

    def poll(self, ids: Sequence[str]) -> Mapping[str, Answer]:
        # One request finds the results of all. A job that was deleted or cancelled by hand gets none, so those
        # without are looked at now and then, too.
        connection, serializer = self._queue.connection, self._queue.serializer
        found = {}
        keys = {Result.get_key(id): id for id in ids}
        told = connection.xread(dict.fromkeys(keys, "0-0"), count=1)
        for key, entries in told.items() if isinstance(told, dict) else told:
            # Redis answers with a list, or in its newer protocol with a dict of lists of lists.
            number, fields = entries[0][0] if isinstance(entries[0], list) else entries[0]
            id = keys[key.decode()]
            try:
                found[id] = _answer(Result.restore(id, number.decode(), fields, connection, serializer))
            except Exception as error:  # its value cannot be read in this process
                found[id] = Answer(error=error)
        if (now := engine_time()) >= self._look_again:
            self._look_again, self._seen = now + LOOK_EVERY, set()
        if look_at := [id for id in ids if id not in found and id not in self._seen]:
            for id, job in zip(look_at, Job.fetch_many(look_at, connection, serializer), strict=True):
                if job is None:
                    found[id] = Answer(unknown=True)
                elif job.get_status(refresh=False) in (JobStatus.STOPPED, JobStatus.CANCELED):
                    found[id] = Answer(error=RuntimeError("the job was stopped in RQ"))
            self._seen.update(look_at)
        return found

    def cancel(self, id: str) -> None:
        try:
            job = Job.fetch(id, self._queue.connection, self._queue.serializer)
            if job.get_status() == JobStatus.STARTED:
                send_stop_job_command(self._queue.connection, id, self._queue.serializer)
            else:
                job.cancel()
        except (NoSuchJobError, InvalidJobOperation):
            return  # it has ended

    def forget(self, id: str) -> None:
        try:
            Job.fetch(id, self._queue.connection, self._queue.serializer).delete()
        except NoSuchJobError:
            return

    def page(self, id: str) -> str:
        return ""


_NOT_IMPORTED = "Invalid attribute name: "
"""How RQ begins its own error for a function that a worker cannot import."""


def _answer(result: Result) -> Answer:
    if result.type is Result.Type.SUCCESSFUL:
        return Answer(result.return_value)
    return Answer(error=_error(result.exc_string or ""))


def _error(text: str) -> BaseException:
    """Return the exception at the end of a traceback, of its own class where that can be imported.

    RQ keeps the text alone, so the exception has its message as the only argument.
    """
    last = text.strip().rpartition("\n")[2] or "the job failed in RQ"
    name, _, message = last.partition(": ")
    kind = _class_of(name)
    error: BaseException
    if message.startswith(_NOT_IMPORTED) and "in import_attribute" in text:
        kind, message = (
            ConfigurationError,
            (
                f"RQ's workers cannot import {message.removeprefix(_NOT_IMPORTED)}; install its module where they run, and "
                "restart them"
            ),
        )
    try:
        error = RuntimeError(last) if kind is None else kind(message)
    except Exception:  # its class takes other arguments
        error = RuntimeError(last)
    error.add_note(f"In the RQ worker:\n{text}")
    return error


def _class_of(name: str) -> type[Exception] | None:
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module) if module else builtins, attribute, None)
    except Exception:  # a module that this process does not have
        return None
    return found if isinstance(found, type) and issubclass(found, Exception) else None


class RQExecutor(HandoffExecutor):
    """Runs functions as jobs of an RQ queue.

    A function is found by its import path, which the workers must have; a function that is theirs alone is
    marked with :func:`asyncsched.executors.handoff.remote`. The job's id is the run's id.

    Args:
        queue: the queue, with its Redis connection.
        capacity: how many jobs may be under way at once.
        patience: seconds for which a hand-over is tried again while Redis cannot be reached.
        **options: passed on with every job, such as ``result_ttl=3600`` or ``at_front=True``.

    Raises:
        ConfigurationError: ``retry`` is among the options: the scheduler retries, and never both.

    """

    def __init__(self, queue: Queue, capacity: int = 1000, *, patience: float = 60.0, **options: Any) -> None:
        if "retry" in options:
            raise ConfigurationError(
                "RQExecutor takes no retry=: give the job a Retry of asyncsched, which makes a new RQ job each time"
            )
        super().__init__(RQEngine(queue, options), capacity, patience=patience)
