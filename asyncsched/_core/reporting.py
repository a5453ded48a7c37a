"""What a store may keep beside schedules and runs: figures, and the record of what people did."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from asyncsched._core.book import Book
from asyncsched._core.ids import id_at
from asyncsched._core.instants import Instant, to_datetime

if TYPE_CHECKING:
    from asyncsched._core.records import InstanceRecord


class ActivityRecord(NamedTuple):
    """One operation of a person or a program: what it did, to what, and with which result.

    ``via`` is ``page``, ``api``, ``cli``, or ``code`` for a call that the app made itself. ``failed`` is set
    where the operation was refused, and ``result`` then is the error.
    """

    id: int
    at: Instant
    action: str
    subject: str
    by: str = ""
    note: str = ""
    via: str = "code"
    result: str = ""
    failed: bool = False


DEAD = "declare_dead"
"""The action of the record that an instance leaves which was declared dead."""


def death_of(dead: InstanceRecord, fenced: Mapping[str, int], now: Instant) -> ActivityRecord:
    """Return the record of an instance that was declared dead: when it was last heard of, and what became of its runs."""
    runs = ", ".join(f"{count} {state}" for state, count in sorted(fenced.items()))
    heard = to_datetime(dead.beat_at).strftime("%Y-%m-%d %H:%M:%S UTC")
    result = f"last heard of {heard}; {f'of its runs {runs}' if runs else 'it held no runs'}"
    return ActivityRecord(
        id_at(now, dead.incarnation), now, DEAD, f"{dead.host}:{dead.pid}", via="cluster", result=result
    )


BEGUN = "begun"
"""The result of an operation of several writes until its last one is done."""


class Entry:
    """A record on its way into the ledger, with the writes that it tells of.

    Attributes:
        record: the record as it stands; its result may change from write to write.
        kept: the record as the last write kept it that carried it; ``None`` if that write changed nothing.

    """

    __slots__ = ("kept", "record")

    def __init__(self, record: ActivityRecord) -> None:
        self.record = record
        self.kept: ActivityRecord | None = None


class ActivityQuery(NamedTuple):
    """A query for the record of what people did, newest first; ``before`` is an id, to page on."""

    subject: str | None = None
    actions: Collection[str] | None = None
    by: str | None = None
    before: int | None = None
    limit: int = 100

    def matches(self, one: ActivityRecord) -> bool:
        """Whether a record matches, for a store that filters record by record."""
        return (
            (self.subject is None or one.subject == self.subject)
            and (self.actions is None or one.action in self.actions)
            and (self.by is None or one.by == self.by)
            and (self.before is None or one.id < self.before)
        )


@runtime_checkable
class ReportingStore(Protocol):
    """A store that keeps figures and the record of what people did.

    Under a store that does not, both stay in the memory of the process, and begin anew at each start.
    """

    async def add_tallies(self, counted: Book, source: int, number: int) -> None:
        """Add what an instance has counted. A ``number`` that the ``source`` has given before is not added again."""
        ...

    async def tallies(self, version: int) -> tuple[Book, int]:
        """Return the tallies and periods that were written since a version, and the new version."""
        ...

    def along(self, entry: Entry) -> AbstractContextManager[None]:
        """Have the writes inside the block carry a record: each that changes something keeps it, too.

        The record is kept as by :meth:`add_activity`, in the transaction of the change. Only the writes of the task that
        enters the block are meant: ``put_schedule``, ``remove_schedule``, ``add``, ``close_letters``, ``cancel``
        and ``pause_job``.
        """
        ...

    async def add_activity(self, one: ActivityRecord) -> None:
        """Keep a record. Of one whose id is kept already, only the result is replaced, and only if that is ``BEGUN``."""
        ...

    async def activity(self, query: ActivityQuery) -> list[ActivityRecord]:
        """Return the records that match, newest first."""
        ...
