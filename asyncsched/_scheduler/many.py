"""Many schedules at once: added from a list, and removed, paused or resumed by tag or job, in portions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol, Required, TypedDict, TypeVar, Unpack

import anyio
from anyio.lowlevel import checkpoint

from asyncsched._backends.turns import portions
from asyncsched._core.errors import ConfigurationError, UnknownSchedule
from asyncsched._core.models import Schedule
from asyncsched._core.records import ScheduleRecord
from asyncsched._core.text import safe_repr
from asyncsched._core.trigger import Trigger
from asyncsched._scheduler.face import Face, check_texts

V = TypeVar("V")
R = TypeVar("R")

_AT_ONCE = 50
"""The calls that are under way at the same time: a database writes them in one transaction."""


class NewSchedule(TypedDict, total=False):
    """One schedule to add; :meth:`Schedules.add_schedule` explains each key."""

    job: Required[Callable[..., Any] | str]
    trigger: Required[Trigger]
    id: str | None
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] | None
    jitter: float | timedelta | None
    paused: bool
    replace: bool
    tags: Sequence[str]
    max_runs: int | None


class Whose(TypedDict, total=False):
    """Which schedules are meant; at least one filter is needed."""

    tag: str | None
    job: str | None


class _Operates(Protocol):
    """The calls for one schedule."""

    async def _add(self, job: Callable[..., Any] | str, trigger: Trigger, **options: Any) -> Schedule: ...
    async def pause(self, id: str, note: str = "", by: str = "") -> None: ...
    async def resume(self, id: str) -> None: ...
    async def remove(self, id: str) -> None: ...


class ManySchedules(Face):
    """The part of a scheduler that handles schedules by the thousand."""

    async def add_schedules(self, items: Sequence[NewSchedule]) -> list[Schedule]:
        """Add many schedules while the scheduler runs, as :meth:`Schedules.add_schedule` adds one.

        The schedules are written in portions, so that no other write waits for all of them: if one of them is
        refused, or the call is cancelled in between, others exist. With an ``id`` and ``replace`` on each, the
        call can be repeated safely.

        Args:
            items: the arguments of ``add_schedule``, a mapping for each; all are checked for their form first.

        Returns:
            The schedules, in order.

        Raises:
            ScheduleExists, ConfigurationError: as for ``add_schedule``; the first that was refused.

        Example:
            >>> await scheduler.add_schedules([
            ...     {"job": remind, "trigger": Cron("0 9 * * *"), "id": f"remind-{user}", "args": (user,)}
            ...     for user in users
            ... ])

        """
        for number, item in enumerate(items):
            if not isinstance(item, Mapping) or not {"job", "trigger"} <= item.keys() <= _KEYS:
                raise ConfigurationError(
                    f"add_schedules: item {number} must be a mapping with job, trigger and other arguments of "
                    f"add_schedule, not {safe_repr(item)}"
                )
        operates: _Operates = self  # type: ignore[assignment]  # the scheduler has all the parts
        return await _in_portions(lambda item: operates._add(**item), items, self._writes_together())

    async def pause_many(self, note: str = "", by: str = "", **whose: Unpack[Whose]) -> int:
        """Pause the schedules with a tag, or of a job, as :meth:`Schedules.pause` does one; return their number.

        Schedules that are paused already stay as they are. A tag is the schedule's own, or its job's.
        """
        operates: _Operates = self  # type: ignore[assignment]
        ids = await self._ids("pause_many", whose, lambda record: not record.paused)
        return await _count(lambda one: operates.pause(one, note, by), ids, self._writes_together())

    async def resume_many(self, **whose: Unpack[Whose]) -> int:
        """Resume the paused schedules with a tag, or of a job, as :meth:`Schedules.resume` does one; return their number.

        Schedules that are paused with their job are not among them.
        """
        operates: _Operates = self  # type: ignore[assignment]
        pauses = await self._running().main.store.paused_jobs()

        def is_paused_itself(record: ScheduleRecord) -> bool:
            pause = pauses.get(record.job)
            return record.paused and (pause is None or pause.since != record.paused_at)

        ids = await self._ids("resume_many", whose, is_paused_itself)
        return await _count(operates.resume, ids, self._writes_together())

    async def remove_many(self, **whose: Unpack[Whose]) -> int:
        """Remove the schedules with a tag, or of a job, as :meth:`Schedules.remove` does one; return their number.

        Schedules that the code declares are not among them.
        """
        operates: _Operates = self  # type: ignore[assignment]
        ids = await self._ids("remove_many", whose, lambda record: not record.declared or record.orphaned)
        return await _count(operates.remove, ids, self._writes_together())

    def _writes_together(self) -> bool:
        """Whether the store makes one transaction of calls that are under way together; memory gains nothing by it."""
        return self._running().main.store.durable

    async def _ids(self, call: str, whose: Whose, fits: Callable[[ScheduleRecord], bool]) -> list[str]:
        tag, job = whose.get("tag"), whose.get("job")
        if tag is None and job is None:
            raise ConfigurationError(f"{call}: give tag= or job=; without one it would mean all schedules")
        check_texts(tag=tag, job=job)
        jobs = self._registry.jobs

        def tags(record: ScheduleRecord) -> Collection[str]:
            return record.tags + jobs[record.job].tags if record.job in jobs else record.tags

        return [
            record.id
            for record in await self._running().main.store.schedules()
            if (job is None or record.job == job) and (tag is None or tag in tags(record)) and fits(record)
        ]


_KEYS = NewSchedule.__annotations__.keys()


async def _in_portions(call: Callable[[V], Awaitable[R]], items: Sequence[V], together: bool) -> list[R]:
    """Return the answers of a call for each item, in order; raise the first error after its portion has ended."""
    answers: dict[int, R] = {}
    errors: dict[int, Exception] = {}

    async def one(number: int) -> None:
        try:
            answers[number] = await call(items[number])
        except Exception as error:
            errors[number] = error

    for numbers in portions(range(len(items)), _AT_ONCE):
        if together:
            async with anyio.create_task_group() as group:
                for number in numbers:
                    group.start_soon(one, number)
        else:
            for number in numbers:
                await one(number)
            await checkpoint()
        if errors:
            raise errors[min(errors)]
    return [answers[number] for number in range(len(items))]


async def _count(call: Callable[[str], Awaitable[None]], ids: Sequence[str], together: bool) -> int:
    """Return for how many schedules a call was done; one that was removed meanwhile does not count."""

    async def one(id: str) -> bool:
        try:
            await call(id)
        except UnknownSchedule:
            return False
        return True

    return sum(await _in_portions(one, ids, together))
