"""Work that no living instance can do: schedules and pending runs of jobs that are in no instance's code.

A job's function was renamed or removed while work of it waits. The work is kept; the log, an event and the health
say so. A job with ``aliases`` takes the work of its old names over.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from asyncsched._core.events import JobUnknown
from asyncsched._core.instants import MINUTE, SECOND, Instant, to_datetime
from asyncsched._core.mapping import unknown_job
from asyncsched._core.records import InstanceRecord
from asyncsched._core.requests import RunQuery
from asyncsched._core.text import counted

if TYPE_CHECKING:
    from asyncsched._backends.clock import ClusterTimeline
    from asyncsched._core.jobs import Declared, JobRegistry
    from asyncsched._engine.agenda import Agenda
    from asyncsched._engine.environment import Environment
    from asyncsched.abc import ClusterStore

logger = logging.getLogger("asyncsched.scheduler")

GRACE = MINUTE
"""Microseconds for which a job may be unknown before the health says so: in a deployment, the new code comes late."""

AGAIN = 10 * SECOND
"""Microseconds between two looks while there is such work: it may be removed, or cancelled."""

_MOST = 1000
"""The number of pending runs of a job that are counted."""


class Orphans:
    """Finds the work of one store that no living instance can do.

    Args:
        store, timeline, environment, agenda: of the worker.
        registry: the declarations of the code.

    """

    def __init__(
        self, store: ClusterStore, timeline: ClusterTimeline, environment: Environment, agenda: Agenda,
        registry: JobRegistry,
    ) -> None:  # fmt: skip
        self._store = store
        self._timeline = timeline
        self._bus = environment.bus
        self._agenda = agenda
        self._registry = registry
        self._living: frozenset[str] = frozenset()  # the jobs that living instances know
        self._unknown: dict[str, tuple[Instant, str]] = {}  # of each such job: since when, and what waits
        self._looked: Instant = 0
        self._to_come = False  # something has changed since then
        self._joined = False
        self._speaks = False  # of all instances, the newest one writes the lines

    def knows(self, job: str) -> bool:
        """Whether a living instance knows a job, as far as this instance has heard."""
        return job in self._living or job in self._registry.jobs

    async def follow(self, members: Sequence[InstanceRecord], me: int) -> None:
        """Take over the work of old names, and look for work that no living instance can do.

        Args:
            members: the living instances, oldest first.
            me: the incarnation of this instance.

        """
        self._living = frozenset[str]().union(*(member.jobs for member in members))
        self._joined = any(member.incarnation == me for member in members)
        # An admin's script that submits or inspects does not have the app's code, also while the app is down.
        working = [member.incarnation for member in members if member.role != "submit"]
        self._speaks = working[-1:] == [me]
        for job in self._registry.jobs.values():
            for alias in job.aliases:
                knowing = [member.incarnation for member in members if alias in member.jobs]
                if knowing and knowing[-1] == me:  # else an older version of the code was started again
                    await self._take_over(job.name, alias)
        await self._look()

    async def take_over_schedules(self, declared: Iterable[Declared]) -> None:
        """Rename the declared schedules that have a job's old name for their id, before they are declared anew.

        Such a schedule keeps its history, its pause and its next slot.

        Args:
            declared: the schedules that the code declares now.

        """
        known = self._registry.schedules
        former = {id: one.id for one in declared for id in one.ids[1:] if id not in known}
        if not former:
            return
        stand = {record.id: record for record in await self._store.schedules({*former, *former.values()})}
        for alias, id in former.items():
            old = stand.get(alias)
            if old is not None and old.declared and old.job == alias and id not in stand:
                stand[id] = old
                await self._take_over(id, alias, schedule=True)
                self._agenda.forget(alias)

    async def look_again(self, changed: bool) -> bool:
        """Look once more, if there was such work at the last look and that was some seconds ago.

        Args:
            changed: whether work in the store has changed, so that such work may be gone.

        Returns:
            Whether a look after a change is still to come.

        """
        self._to_come = bool(self._unknown) and (self._to_come or changed)
        if self._unknown and self._timeline.now().steady - self._looked >= AGAIN:
            await self._look()
        return self._to_come

    def trouble(self) -> tuple[str, Instant] | None:
        """Return what the health says of such work, and since when it waits; ``None`` while all is well."""
        now = self._timeline.now().wall
        old = [(since, job, what) for job, (since, what) in self._unknown.items() if now - since >= GRACE]
        if not old:
            return None
        said = "; ".join(
            f"{unknown_job(job)}, and it has work that waits: {what}" for _, job, what in sorted(old)[:5]
        )
        return said, min(old)[0]

    async def _take_over(self, job: str, alias: str, schedule: bool = False) -> None:
        renamed, runs = await self._store.rename_job(alias, job, schedule)
        if renamed:
            self._agenda.follow(await self._store.schedules(renamed))
        if renamed or runs:
            logger.info("job %r takes over %s of %r", job, _described(len(renamed), runs), alias)
            self._agenda.notify()

    async def _look(self) -> None:
        now = self._timeline.now()
        schedules = Counter(
            record.job for record in self._agenda.schedules.values()
            if not record.declared and not self.knows(record.job)
        )  # fmt: skip
        runs = {}
        for job in await self._store.job_names():
            if not self.knows(job):
                query = RunQuery(job=job, states=("pending",), limit=_MOST)
                runs[job] = len(await self._store.runs(query))
        found = {job for job in (*schedules, *runs) if schedules[job] or runs.get(job)}
        for job in sorted(found):
            what = _described(schedules[job], runs.get(job, 0))
            if job not in self._unknown:
                self._say(job, schedules[job], runs.get(job, 0))
            self._unknown[job] = self._unknown.get(job, (now.wall, ""))[0], what
        for job in self._unknown.keys() - found:
            del self._unknown[job]
            if self.knows(job):
                logger.info("job %r is known again: its schedules and pending runs go on", job)
        self._looked, self._to_come = now.steady, False

    def _say(self, job: str, schedules: int, runs: int) -> None:
        if self._speaks:
            logger.warning(
                "%s, and it has work that waits: %s. If its function was renamed, declare it with aliases=(%r,); if it "
                "was removed, remove() its schedules and cancel_many(job=%r)",
                unknown_job(job), _described(schedules, runs), job, job,
            )  # fmt: skip
        if self._joined and self._bus.wants(JobUnknown):
            at = to_datetime(self._timeline.now().wall)
            self._bus.emit(JobUnknown(at, job, schedules, runs))


def _described(schedules: int, runs: int) -> str:
    parts = [counted(schedules, "schedule")] if schedules else []
    if runs:
        parts.append(("at least " if runs == _MOST else "") + counted(runs, "pending run"))
    return " and ".join(parts)
