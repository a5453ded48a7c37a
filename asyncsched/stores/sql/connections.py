"""What every store in a database is at its base: two connections, each in a thread of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from asyncsched._backends.clock import SystemClock
from asyncsched._core.errors import SchedulerStateError, StoreUnavailable
from asyncsched._core.instants import Instant
from asyncsched.stores.sql.group_commit import Operation, Reader, Writer
from asyncsched.stores.sql.rows import Quarantine
from asyncsched.stores.sql.session import Session
from asyncsched.stores.sql.thread import Worker

if TYPE_CHECKING:
    from asyncsched.abc import Clock, ReadTrigger


class Connected:
    """One connection that writes and one that reads, opened together.

    Args:
        timeout: seconds that a call waits for an answer.
        operations: what can be asked of the writer.

    """

    def __init__(self, timeout: float, operations: dict[str, Operation]) -> None:
        self.timeout = timeout
        self.clock: Clock = SystemClock()
        self._operations = operations
        self._triggers: ReadTrigger = _unread
        self._hint: Callable[[], None] = _nothing
        self._writer: Worker | None = None
        self._reader: Worker | None = None
        self._group: Writer | None = None
        self._looks: Reader | None = None

    def prepare(self, clock: Clock, triggers: ReadTrigger) -> None:
        """Take the clock, and what makes a trigger of a schedule's row. Before ``open``."""
        self.clock = clock
        self._triggers = triggers

    @property
    def trouble(self) -> str:
        """What keeps the store from answering, in words; ``""`` while it is well."""
        return self._writer.trouble if self._writer is not None else "it is closed"

    # ── what a database fills in ─────────────────────────────────────────────────────────────

    def _make_session(self, quarantine: Quarantine, writes: bool) -> Session:
        """Return a connection that is not open yet."""
        raise NotImplementedError

    def _prepare(self, session: Session) -> None:
        """Create or check the schema, waiting at most the timeout. In the writer's thread."""
        raise NotImplementedError

    # ── a life ───────────────────────────────────────────────────────────────────────────────

    async def open(self, hint: Callable[[], None]) -> None:
        self._hint = hint
        quarantine = Quarantine()
        writing, reading = (self._make_session(quarantine, writes) for writes in (True, False))
        self._group = Writer(writing, self._operations)
        # Opening may wait for others that migrate, each for its own timeout.
        opener = Worker(
            "asyncsched-open", self._open_in_thread(writing), _nothing, self.timeout * 3, self.clock
        )
        try:
            await opener.ask("open", None)
        finally:
            await opener.close()
        self._writer = self._group.worker = Worker(
            "asyncsched-writer", self._group.serve, writing.close, self.timeout, self.clock
        )
        self._looks = Reader(reading)
        self._reader = self._looks.worker = Worker(
            "asyncsched-reader", self._looks.serve, reading.close, self.timeout, self.clock
        )

    def _open_in_thread(self, session: Session) -> Callable[[list[Any]], None]:
        def serve(asks: list[Any]) -> None:
            for ask in asks:
                try:
                    self._prepare(session)
                except Exception as error:
                    ask.error = session.explain(error)
                finally:
                    session.close()

        return serve

    async def close(self) -> None:
        writer, reader, self._writer, self._reader = self._writer, self._reader, None, None
        self._hint = _nothing
        for waiting in (self._group, self._looks):
            if waiting is not None:
                waiting.wake()
        for worker in (writer, reader):
            if worker is not None:
                await worker.close()

    def _write(self, kind: str, request: Any, weight: int = 1, urgent: bool = False) -> Awaitable[Any]:
        if self._writer is None:
            raise StoreUnavailable("the store is not open")
        return self._writer.ask(kind, request, weight, urgent)

    async def _call(self, operation: Callable[..., Any], *args: Any) -> Any:
        return await self._write("call", lambda session: operation(session, *args))

    async def _read(self, request: Callable[[Session], Any], kind: str = "read") -> Any:
        if self._reader is None:
            raise StoreUnavailable("the store is not open")
        return await self._reader.ask(kind, request)


def _nothing() -> None:
    pass


def _unread(id: str, spec: str | None, anchor: Instant) -> Any:
    raise SchedulerStateError("the store was not prepared: nothing says how triggers are read")
