"""What a store may keep beside schedules and runs: figures, and the record of what people did."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, Protocol, runtime_checkable

from asyncsched._core.book import Book
from asyncsched._core.instants import Instant


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
        """Return the tallies that were written since a version, and all periods of two days; and the new version."""
        ...

    async def add_activity(self, one: ActivityRecord) -> None:
        """Keep a record; one whose id is kept already was written before, and its answer was lost."""
        ...

    async def activity(self, query: ActivityQuery) -> list[ActivityRecord]:
        """Return the records that match, newest first."""
        ...
