"""Celery: runs become tasks of an existing Celery app, and its workers call the functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from asyncsched._core.errors import ConfigurationError
from asyncsched._core.text import safe_repr
from asyncsched.abc import Answer
from asyncsched.executors.handoff.base import HandoffExecutor
from asyncsched.executors.handoff.named import remote_name

try:
    import celery
    from celery import states
    from kombu.exceptions import OperationalError
except ModuleNotFoundError as missing:  # pragma: no cover - the environment of the engine's tests has it
    raise ConfigurationError(
        "the Celery executor needs Celery: pip install 'asyncsched[celery]'"
    ) from missing

SENT = "SENT"
"""The state of a task that was handed over: Celery has none, and calls it PENDING as any id that it never saw."""


class CeleryEngine:
    """Speaks to a Celery app; see :class:`CeleryExecutor`."""

    name = "celery"

    def __init__(self, app: celery.Celery, options: Mapping[str, Any]) -> None:
        self._app = app
        self._options = dict(options)
        self.away: tuple[type[BaseException], ...] = (
            OperationalError,
            ConnectionError,
            TimeoutError,
            *_errors_of(app),
        )

    def open(self) -> None:
        if isinstance(self._app.backend, celery.backends.base.DisabledBackend):
            raise ConfigurationError(
                "the Celery app has no result backend, so no outcome would ever be known; set result_backend"
            )

    def close(self) -> None:
        """Leave the app's connections, which are the user's."""

    def check(self, func: Callable[..., Any], job: str) -> None:
        if not isinstance(func, celery.Task) and remote_name(func) is None:
            raise ConfigurationError(
                f"job {job!r}: {safe_repr(func)} is no Celery task; pass the task itself, or mark a stand-in with "
                '@remote("name.of.the.task")'
            )
        if isinstance(func, celery.Task) and func.ignore_result:
            raise ConfigurationError(
                f"job {job!r}: the Celery task {func.name!r} has ignore_result=True, so its end would never be known"
            )

    def submit(
        self, id: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        name = remote_name(func) or func.name  # type: ignore[attr-defined]  # check() has seen to it
        # First the mark, so that a crash between the two never leaves a task that looks as if it were not sent.
        self._app.backend.store_result(id, None, SENT)
        options = self._options
        if isinstance(func, celery.Task) and func.max_retries:
            options = {**options, "retries": func.max_retries}  # retries are the scheduler's, and never both
        self._app.send_task(name, args, kwargs, task_id=id, retry=False, ignore_result=False, **options)

    def poll(self, ids: Sequence[str]) -> Mapping[str, Answer]:
        return {id: answer for id, meta in self._metas(ids) if (answer := _answer(meta)) is not None}

    def _metas(self, ids: Sequence[str]) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the state of each task; by one round trip, where the backend can."""
        backend = self._app.backend
        if not hasattr(backend, "mget"):
            return [(id, backend.get_task_meta(id, cache=False)) for id in ids]
        found = backend.mget([backend.get_key_for_task(id) for id in ids])
        return [
            (id, {"status": states.PENDING} if text is None else backend.decode_result(text))
            for id, text in zip(ids, found, strict=True)
        ]

    def cancel(self, id: str) -> None:
        self._app.control.revoke(id, terminate=True, signal="SIGTERM")

    def forget(self, id: str) -> None:
        self._app.backend.forget(id)

    def page(self, id: str) -> str:
        return ""


def _answer(meta: Mapping[str, Any]) -> Answer | None:
    state = meta["status"]
    if state == states.PENDING:
        return Answer(unknown=True)
    if state == states.SUCCESS:
        return Answer(meta["result"])
    if state not in states.EXCEPTION_STATES - {states.RETRY}:
        return None
    error = meta["result"]
    if isinstance(error, celery.exceptions.NotRegistered):
        error = ConfigurationError(
            f"Celery's workers do not know the task {error}; let them import its module, by the app's include= or "
            "autodiscover_tasks(), and restart them"
        )
    elif not isinstance(error, BaseException):
        error = RuntimeError(str(error))
    if text := meta.get("traceback"):
        error.add_note(f"In the Celery worker:\n{text}")
    return Answer(error=error)


def _errors_of(app: celery.Celery) -> tuple[type[BaseException], ...]:
    """Return the exceptions by which the app's broker and result backend say that they cannot be reached."""
    connection = app.connection_for_write()
    found = {*connection.connection_errors, *connection.channel_errors}
    found |= set(getattr(app.backend, "connection_errors", ())) | set(
        getattr(app.backend, "exceptions_to_retry", ())
    )
    return tuple(kind for kind in found if kind not in (Exception, OSError))


class CeleryExecutor(HandoffExecutor):
    """Runs functions as tasks of a Celery app.

    ::

        scheduler = Scheduler(url, executors={"celery": CeleryExecutor(app)})
        scheduler.cron("0 3 * * *", executor="celery")(nightly_report)  # a Celery task

    The task's id is the run's id. A cancel and a timeout revoke the task and terminate it. ``Retry`` of the
    job makes new tasks; Celery's own retries of the task are off, so nothing is retried by both.

    Args:
        app: the Celery app, with a result backend.
        capacity: how many tasks may be under way at once.
        patience: seconds for which a hand-over is tried again while the broker cannot be reached.
        **options: passed on with every task, such as ``queue="reports"``.

    """

    def __init__(
        self, app: celery.Celery, capacity: int = 1000, *, patience: float = 60.0, **options: Any
    ) -> None:
        super().__init__(CeleryEngine(app, options), capacity, patience=patience)
