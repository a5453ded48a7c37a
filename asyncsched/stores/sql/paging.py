"""Schedules read in portions: no answer that a caller waits for grows with their number."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any

from asyncsched._backends.turns import portions
from asyncsched._core.checks import can_be_kept
from asyncsched._core.records import ScheduleRecord
from asyncsched.stores.sql.operations.schedules import PAGE, page
from asyncsched.stores.sql.session import Session

Read = Callable[[Callable[[Session], Any]], Awaitable[Any]]
"""Has a function read from the database, in the reader's thread."""


async def read_schedules(read: Read, ids: Collection[str] | None) -> list[ScheduleRecord]:
    """Return all schedules, or those of some ids that exist."""
    found: list[ScheduleRecord] = []
    if ids is None:
        after: str | None = ""
        while after is not None:
            some, after = await read(partial(page, after=after))
            found += some
        return found
    # No schedule has an id that cannot be stored as text, and a database may refuse to compare with one.
    for those in portions([id for id in ids if can_be_kept(id)], PAGE):
        found += await read(partial(_those, ids=those))
    return found


def _those(session: Session, ids: Collection[str]) -> list[ScheduleRecord]:
    return session.schedules("schedules_by_id", ids=session.array(ids))
