"""Dask distributed: runs become tasks of a cluster, and its workers call the functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from asyncsched._core.arguments.functions import refuse_unless_sync
from asyncsched._core.errors import ConfigurationError
from asyncsched._core.text import describe_error
from asyncsched.abc import Answer
from asyncsched.executors.handoff.base import HandoffExecutor

try:
    from distributed import Client, Future
    from distributed.comm.core import CommClosedError
except ModuleNotFoundError as missing:  # pragma: no cover - the environment of the engine's tests has it
    raise ConfigurationError(
        "the Dask executor needs distributed: pip install 'asyncsched[dask]'"
    ) from missing

_ENDED = ("finished", "error", "cancelled", "lost")


class DaskEngine:
    """Speaks to a Dask scheduler; see :class:`DaskExecutor`.

    A task's future is published under the run's id: it lives on in the cluster without this process, and any
    later client finds it there.
    """

    name = "dask"
    away: tuple[type[BaseException], ...] = (CommClosedError, OSError, TimeoutError)

    def __init__(self, address: Any, options: Mapping[str, Any]) -> None:
        self._address = address
        self._options = dict(options)
        self._client: Client | None = None
        self._futures: dict[str, Future[Any]] = {}

    @property
    def client(self) -> Client:
        """The connected client; one that lost its scheduler for good is replaced.

        Raises:
            TimeoutError: the scheduler is not connected now.

        """
        self.open()
        client = self._client
        if client is None or client.status != "running":
            raise TimeoutError("the Dask scheduler is not connected")
        return client

    def open(self) -> None:
        if self._client is None or self._client.status in ("closed", "closing"):
            self._futures.clear()  # those of another client
            self._client = Client(self._address, set_as_default=False, timeout=5, name="asyncsched")

    def close(self) -> None:
        client, self._client = self._client, None
        self._futures.clear()
        if client is not None:
            client.close(timeout=2)

    def check(self, func: Callable[..., Any], job: str) -> None:
        refuse_unless_sync(func, job, "Dask worker")

    def submit(
        self, id: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        client = self.client
        options = {"retries": 0, **self._options}
        future = client.submit(func, *args, key=f"asyncsched-{id}", pure=False, **options, **kwargs)
        client.publish_dataset(future, name=id, override=True)
        self._futures[id] = future

    def poll(self, ids: Sequence[str]) -> Mapping[str, Answer]:
        client = self.client
        found = {}
        for id in ids:
            future = self._futures.get(id)
            if future is None:  # of an earlier instance
                future = client.get_dataset(id, default=None)
                if future is None:
                    found[id] = Answer(unknown=True)
                    continue
                self._futures[id] = future
            if future.status in _ENDED:
                found[id] = _answer(future)
                del self._futures[id]
        return found

    def cancel(self, id: str) -> None:
        future = self._futures.pop(id, None) or self.client.get_dataset(id, default=None)
        if future is not None:
            future.cancel(force=True)
        self.forget(id)

    def forget(self, id: str) -> None:
        self.client.unpublish_dataset(id)

    def page(self, id: str) -> str:
        client = self._client
        return str(client.dashboard_link or "") if client is not None and client.status == "running" else ""


def _answer(future: Future[Any]) -> Answer:
    if future.status == "finished":
        return Answer(future.result(timeout=30))
    if future.status == "error":
        error = future.exception(timeout=30)
        if isinstance(error, RuntimeError) and str(error).lstrip().startswith("Error during deserialization"):
            raised = ConfigurationError(
                f"Dask cannot read the function or its arguments ({describe_error(error.__cause__ or error)}); install "
                "their modules where its scheduler and its workers run, and restart them"
            )
            raised.__cause__ = error
            error = raised
        return Answer(error=error)
    return Answer(
        unknown=True
    )  # cancelled or lost, but not by a cancel of the run: the scheduler was restarted


class DaskExecutor(HandoffExecutor):
    """Runs functions as tasks of a Dask cluster.

    A cancel forgets the task: Dask stops one that waits, and cannot stop one whose function runs in a worker's
    thread already; that one ends by itself, and its result is dropped. The run's reference has the address of
    Dask's own dashboard.

    Args:
        address: of the Dask scheduler, such as ``"tcp://scheduler:8786"``; or a cluster object.
        capacity: how many tasks may be under way at once.
        patience: seconds for which a hand-over is tried again while the scheduler cannot be reached.
        **options: passed on with every task, such as ``resources={"GPU": 1}`` or ``priority=10``.

    Raises:
        ConfigurationError: ``retries`` is among the options: the scheduler retries, and never both.

    """

    def __init__(self, address: Any, capacity: int = 1000, *, patience: float = 60.0, **options: Any) -> None:
        if "retries" in options:
            raise ConfigurationError(
                "DaskExecutor takes no retries=: give the job a Retry of asyncsched, which makes a new task each time"
            )
        super().__init__(DaskEngine(address, options), capacity, patience=patience)
