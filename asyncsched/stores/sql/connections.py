"""The base of every store in a database: two connections or more, each in a separate thread."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import TYPE_CHECKING, Any

import anyio

from asyncsched._backends.clock import SystemClock
from asyncsched._core.errors import SchedulerStateError, StoreUnavailable
from asyncsched._core.instants import Instant
from asyncsched.stores.sql.carrying import payload_of
from asyncsched.stores.sql.group_commit import GroupCommit, Operation, Reader
from asyncsched.stores.sql.rows import Quarantine
from asyncsched.stores.sql.session import Session
from asyncsched.stores.sql.thread import DatabaseThread

if TYPE_CHECKING:
    from asyncsched.abc import Clock, ReadTrigger


class Connected:
    """One connection that writes and one that reads, opened together; more of them, where the database gains by it.

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
        self._beats: Reader | None = None
        self._beater: DatabaseThread | None = None
        self._adds: GroupCommit | None = None
        self._adder: DatabaseThread | None = None

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

    def _make_beating_session(self) -> Session | None:
        """Return a session for beats alone, so that no other request makes them late; ``None`` for the writer's."""
        return None

    def _make_adding_session(self, quarantine: Quarantine) -> Session | None:
        """Return a session that adds runs beside the writer's; ``None`` where one connection writes at a time."""
        return None

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
        self._polls = Reader(reading)
        self._writer = self._group.thread = self._begin("writer", self._group, writing)
        self._reader = self._polls.thread = self._begin("reader", self._polls, reading)
        if (beating := self._make_beating_session()) is not None:
            self._beats = Reader(beating)
            self._beater = self._beats.thread = self._begin("beats", self._beats, beating)
        if (adding := self._make_adding_session(quarantine)) is not None:
            self._adds = GroupCommit(adding, self._operations, quiet=True)
            self._adder = self._adds.thread = self._begin("adder", self._adds, adding)

    def _begin(self, name: str, server: GroupCommit | Reader, session: Session) -> DatabaseThread:
        return DatabaseThread(
            f"asyncsched-{name}", server.serve, session.close, self.timeout, self.clock, session.interrupt
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

    def hurry(self, seconds: float) -> None:
        """Have all calls answered, or fail, within ``seconds``, and :meth:`close` take no longer: the process ends."""
        for thread in (self._writer, self._reader, self._beater, self._adder):
            if thread is not None:
                thread.hurry(seconds)

    async def close(self) -> None:
        threads = (self._beater, self._writer, self._adder, self._reader)
        self._beater = self._writer = self._adder = self._reader = None
        self._notify = _nothing
        for waiting in (self._group, self._adds, self._polls, self._beats):
            if waiting is not None:
                waiting.wake()
        async with anyio.create_task_group() as group:
            for thread in threads:
                if thread is not None:
                    group.start_soon(thread.close)

    def _write(
        self, kind: str, payload: Any, weight: int = 1, urgent: bool = False, about: Hashable = None
    ) -> Awaitable[Any]:
        if self._writer is None:
            raise StoreUnavailable("the store is not open")
        return self._writer.submit(kind, payload, weight, urgent, about)

    def _insert(self, payload: Any) -> Awaitable[Any]:
        """Have the thread that is free write a run that needs nothing else in its transaction.

        While one transaction waits for the disk, the next one is written: to wait in one line of transactions would
        take twice as long.
        """
        adder = self._adder
        if adder is None or adder.busy or self._writer is None or not self._writer.busy:
            return self._write("add", payload)
        return adder.submit("add", payload)

    async def _call(self, operation: Callable[..., Any], *args: Any, about: Hashable = None) -> Any:
        return await self._write("call", payload_of(operation, args), about=about)

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
