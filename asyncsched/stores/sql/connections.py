"""The base of every store in a database: two connections, each in a separate thread."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from asyncsched._backends.clock import SystemClock
from asyncsched._core.errors import SchedulerStateError, StoreUnavailable
from asyncsched._core.instants import Instant
from asyncsched.stores.sql.group_commit import GroupCommit, Operation, Reader
from asyncsched.stores.sql.rows import Quarantine
from asyncsched.stores.sql.session import Session
from asyncsched.stores.sql.thread import DatabaseThread

if TYPE_CHECKING:
    from asyncsched.abc import Clock, ReadTrigger


class Connected:
    """One connection that writes and one that reads, opened together.

    Args:
        timeout: seconds that a call waits for an answer.
        operations: the operations of the writer, by kind of request.

    """

    def __init__(self, timeout: float, operations: dict[str, Operation]) -> None:
        self.timeout = timeout
        self.clock: Clock = SystemClock()
        self._operations = operations
        self._triggers: ReadTrigger = _refuse_triggers
        self._notify: Callable[[], None] = _nothing
        self._writer: DatabaseThread | None = None
        self._reader: DatabaseThread | None = None
        self._group: GroupCommit | None = None
        self._polls: Reader | None = None

    def prepare(self, clock: Clock, triggers: ReadTrigger) -> None:
        """Set the clock, and the function that makes a trigger from a schedule's row. Called before ``open``."""
        self.clock = clock
        self._triggers = triggers

    @property
    def trouble(self) -> str:
        """The reason why the store does not answer, in words; ``""`` while it does."""
        return self._writer.trouble if self._writer is not None else "it is closed"

    # ── a database fills these in ────────────────────────────────────────────────────────────

    def _make_session(self, quarantine: Quarantine, writes: bool) -> Session:
        """Return a session whose connection is not open yet."""
        raise NotImplementedError

    def _prepare(self, session: Session) -> None:
        """Create or check the schema, waiting at most the timeout. In the opener's thread."""
        raise NotImplementedError

    # ── open and close ───────────────────────────────────────────────────────────────────────

    async def open(self, notify: Callable[[], None]) -> None:
        self._notify = notify
        quarantine = Quarantine()
        writing, reading = (self._make_session(quarantine, writes) for writes in (True, False))
        self._group = GroupCommit(writing, self._operations)
        # Opening may wait for other instances that migrate, each of which takes at most its timeout.
        opener = DatabaseThread(
            "asyncsched-open", self._open_in_thread(writing), _nothing, self.timeout * 3, self.clock
        )
        try:
            await opener.submit("open", None)
        finally:
            await opener.close()
        self._writer = self._group.thread = DatabaseThread(
            "asyncsched-writer", self._group.serve, writing.close, self.timeout, self.clock
        )
        self._polls = Reader(reading)
        self._reader = self._polls.thread = DatabaseThread(
            "asyncsched-reader", self._polls.serve, reading.close, self.timeout, self.clock
        )

    def _open_in_thread(self, session: Session) -> Callable[[list[Any]], None]:
        def serve(requests: list[Any]) -> None:
            for request in requests:
                try:
                    self._prepare(session)
                except Exception as error:
                    request.error = session.explain(error)
                finally:
                    session.close()

        return serve

    async def close(self) -> None:
        writer, reader, self._writer, self._reader = self._writer, self._reader, None, None
        self._notify = _nothing
        for waiting in (self._group, self._polls):
            if waiting is not None:
                waiting.wake()
        for thread in (writer, reader):
            if thread is not None:
                await thread.close()

    def _write(self, kind: str, payload: Any, weight: int = 1, urgent: bool = False) -> Awaitable[Any]:
        if self._writer is None:
            raise StoreUnavailable("the store is not open")
        return self._writer.submit(kind, payload, weight, urgent)

    async def _call(self, operation: Callable[..., Any], *args: Any) -> Any:
        return await self._write("call", lambda session: operation(session, *args))

    async def _read(self, payload: Callable[[Session], Any], kind: str = "read") -> Any:
        if self._reader is None:
            raise StoreUnavailable("the store is not open")
        return await self._reader.submit(kind, payload)


def _nothing() -> None:
    pass


def _refuse_triggers(id: str, spec: str | None, anchor: Instant) -> Any:
    raise SchedulerStateError(
        "the store was not prepared: prepare() must set the reader of triggers before open()"
    )
