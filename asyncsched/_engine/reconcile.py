"""The reconciler: it brings the schedules that the code declares into the store, new ones and changed ones.

A schedule's row carries the fingerprint of the code that declared it. The declaration of the newest living
instance counts; a changed fingerprint plans the schedule anew, from now on and on the old grid.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace as copy
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from asyncsched._core.errors import ConfigurationError, TriggerError
from asyncsched._core.instants import Instant, to_datetime
from asyncsched._core.records import InstanceRecord, ScheduleRecord, Stretch
from asyncsched._core.rules.due import first_slot, resumed
from asyncsched._core.rules.ending import slots_after_end
from asyncsched._core.trigger import InstantTrigger, asking
from asyncsched._core.version import VERSION
from asyncsched._engine.written import WrittenTrigger

if TYPE_CHECKING:
    from asyncsched._backends.clock import Timeline
    from asyncsched._core.instants import Now
    from asyncsched._core.jobs import Declared, JobRegistry
    from asyncsched._core.trigger import TriggerCodec
    from asyncsched._engine.agenda import Agenda
    from asyncsched._engine.orphans import Orphans
    from asyncsched.abc import Store

logger = logging.getLogger("asyncsched.scheduler")

_TRIES = 20
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class ForeignTrigger(InstantTrigger):
    """A trigger of a user's class, which only the code that declares it has."""

    foreign = True

    def next_instant(self, after: Instant) -> Instant | None:
        return None

    def previous_instant(self, before: Instant) -> Instant | None:
        return None

    def describe(self) -> str:
        return "a trigger of a user's class, which this instance does not have"


def _written(declared: Declared) -> str:
    """Return a declaration's arguments as JSON."""
    given = declared.arguments
    return given if isinstance(given, str) else declared.job.signature.encode(given)


def _edited(one: Declared, stands: ScheduleRecord) -> str:
    """Return the columns that differ from the code though the fingerprint is the same: they were edited by hand."""
    code = {"job": one.job.name, "arguments": _written(one), "jitter": one.jitter, "max_runs": one.max_runs}
    return ", ".join(name for name, value in code.items() if getattr(stands, name) != value)


class Reconciler:
    """Brings the schedules that one instance's code declares into its store, and makes and reads their rows.

    Args:
        store: the ledger.
        timeline: the store's time.
        registry: the declarations of the code.
        triggers: writes triggers as JSON, and reads them.
        agenda: knows the schedules of the store.
        orphans: is told of the living instances, where the store is shared.
        strict: whether memory sends arguments through JSON, as a durable store would.

    """

    def __init__(
        self, store: Store, timeline: Timeline, registry: JobRegistry, triggers: TriggerCodec,
        agenda: Agenda, orphans: Orphans | None, strict: bool,
    ) -> None:  # fmt: skip
        self._store = store
        self._timeline = timeline
        self._registry = registry
        self._triggers = triggers
        self._agenda = agenda
        self._orphans = orphans
        self._as_json = store.durable or strict
        self._from_spec = lru_cache(maxsize=4096)(self._read)

    def describe(self, incarnation: int, role: str) -> InstanceRecord:
        """Return the record of this instance, for the other instances."""
        shared = [job for job in self._registry.jobs.values() if not job.each_instance]
        jobs = {name: job.signature.fingerprint() for job in shared for name in (job.name, *job.aliases)}
        return InstanceRecord(
            incarnation, socket.gethostname(), os.getpid(), VERSION, role,
            frozenset(jobs), frozenset(id for one in self.declared() for id in one.ids), signatures=jobs,
        )  # fmt: skip

    # ── rows ─────────────────────────────────────────────────────────────────────────────────

    def new_schedule(self, declared: Declared, now: Now, by_code: bool = True) -> ScheduleRecord:
        """Return the row of a schedule that is first known now.

        Args:
            declared: the schedule.
            now: the moment.
            by_code: whether the code declares it.

        Raises:
            ConfigurationError: the trigger will never fire.

        """
        trigger = declared.trigger
        steady = not self._store.durable and trigger.steady
        at = now.steady if steady else now.wall
        spec = self._spec(trigger) if self._store.durable else None
        if self._store.durable and spec is None and not by_code:
            self._triggers.to_json(trigger)  # raises the error that says what is wrong
        record = ScheduleRecord(
            declared.id, declared.job.name, trigger.anchored(at), anchor=at, cursor=at - 1, steady=steady,
            arguments=_written(declared) if self._as_json else declared.arguments, jitter=declared.jitter,
            spec=spec, declared=by_code, created_at=now.wall, edition_since=now.wall, max_runs=declared.max_runs,
        )  # fmt: skip
        # An immediate interval's own anchor is a slot: the search begins just before it.
        with asking(record.id):
            record.next_slot, record.next_due = first_slot(record, at - 1) or (None, None)
        if record.next_slot is None:
            raise ConfigurationError(
                f"schedule {declared.id!r}: its trigger never fires after {to_datetime(at)}; "
                "give it a later time, or leave it out"
            )
        return record

    def succeed(
        self, record: ScheduleRecord, declared: Declared, before: ScheduleRecord, lost: Stretch | None, now: Now
    ) -> None:  # fmt: skip
        """Give a schedule's new row what outlives its replacement: its anchor, its age, and its pause, if it has one.

        Args:
            record: the new row.
            declared: the schedule.
            before: the row that it replaces.
            lost: the slots that get no run because of that.
            now: the moment.

        """
        record.edition, record.edition_since, record.created_at = (
            before.edition + 1,
            now.wall,
            before.created_at,
        )
        record.runs_made = before.runs_made
        if before.paused and not record.paused:
            record.paused, record.paused_at, record.note, record.by = (
                True,
                before.paused_at,
                before.note,
                before.by,
            )
        if record.steady == before.steady:  # else the two anchors stand on different timelines
            record.anchor, record.trigger = before.anchor, declared.trigger.anchored(before.anchor)
            settled = before.cursor if lost is None else lost.last
            record.cursor = settled if record.used_up else max(record.cursor, settled)
        with asking(record.id):
            record.next_slot, record.next_due = first_slot(record, record.cursor) or (None, None)

    def read_trigger(self, id: str, spec: str | None, anchor: Instant) -> InstantTrigger:
        """Return the trigger of a schedule's row.

        Raises:
            TriggerError, ValueError: the text is not that of a trigger.

        """
        if spec is not None:
            return self._from_spec(spec, anchor)
        declared = self._registry.schedules.get(id)
        if declared is None or self._spec(declared.trigger) is not None:
            return ForeignTrigger()
        return declared.trigger.anchored(anchor)

    def _read(self, spec: str, anchor: Instant) -> InstantTrigger:
        return WrittenTrigger(spec, anchor, self._triggers)

    def _spec(self, trigger: Any) -> str | None:
        """Return a trigger as text, or ``None`` if only code can make it or a part of it."""
        try:
            return json.dumps(self._triggers.to_json(trigger), separators=(",", ":"))
        except TriggerError:
            return None

    def fingerprint(self, declared: Declared, job: str | None = None) -> str:
        """Return a text that changes when the code's declaration changes; of its job of another name, if given."""
        trigger = declared.trigger
        text = self._spec(trigger)
        if text is None:
            user = trigger.original
            shown = _ADDRESS.sub("", repr(user))  # the address differs from process to process
            text = f"{type(user).__module__}.{type(user).__qualname__}{shown}"
        most = () if declared.max_runs is None else (declared.max_runs,)
        whole = json.dumps((text, _written(declared), declared.jitter, job or declared.job.name, *most))
        return blake2b(whole.encode(), digest_size=12).hexdigest()

    # ── declarations ─────────────────────────────────────────────────────────────────────────

    def declared(self) -> list[Declared]:
        """Return the schedules that the code declares for the cluster."""
        return [one for one in self._registry.schedules.values() if not one.job.each_instance]

    async def declare(self, incarnation: int, ids: Collection[str] | None = None) -> None:
        """Write the code's schedules into the store, as the instance whose declarations count.

        Raises:
            ConfigurationError: a trigger that is new, or has changed, never fires.

        """
        wanted = [one for one in self.declared() if ids is None or one.id in ids]
        if self._orphans is not None:
            await self._orphans.take_over_schedules(wanted)
        stand = {record.id: record for record in await self._store.schedules([one.id for one in wanted])}
        for one in wanted:
            await self._declare(one, stand.get(one.id), incarnation)

    async def _declare(self, one: Declared, stands: ScheduleRecord | None, incarnation: int) -> None:
        mark = self.fingerprint(one)
        for _ in range(_TRIES):
            now = self._timeline.now()
            wanted, lost = self._wanted(one, stands, mark, now)
            if wanted is None:
                return
            wanted.fingerprint, wanted.declared, wanted.declared_by = mark, True, incarnation
            wanted.orphaned = False
            revision = 0 if stands is None else stands.revision
            after = await self._store.put_schedule(wanted, revision, now, lost)
            if after is wanted:
                return
            stands = after
        logger.warning(
            "schedule %r: other instances changed it at each of %d tries; its row was left as it is",
            one.id,
            _TRIES,
        )

    def _wanted(
        self, one: Declared, stands: ScheduleRecord | None, mark: str, now: Now
    ) -> tuple[ScheduleRecord | None, Stretch | None]:
        """Return the row by the code, or ``None`` if it needs no write, and the slots that the change loses."""
        if stands is None:
            return self.new_schedule(one, now), None
        former = [self.fingerprint(one, alias) for alias in one.job.aliases]
        if stands.declared and stands.fingerprint in (mark, *former):
            renamed = copy(stands, job=one.job.name) if stands.job in one.job.aliases else stands
            edited = _edited(one, renamed)
            if not edited:
                as_it_is = stands.fingerprint == mark and renamed is stands and not stands.orphaned
                return (None if as_it_is else copy(renamed)), None
            logger.warning(
                "schedule %r: its %s was edited in the store; the schedule is declared anew, as the code has it",
                one.id, edited,
            )  # fmt: skip
        return _changed(one, stands, self.new_schedule(one, now), now)

    # ── whose declaration counts ─────────────────────────────────────────────────────────────

    async def members_changed(self, me: int, members: Sequence[InstanceRecord]) -> None:
        """Declare the schedules of which this instance is the newest, and find the work that no instance can do.

        Args:
            me: the incarnation of this instance.
            members: the living instances, oldest first.

        """
        self._compare_signatures(members)
        mine = {id for id, incarnation in _newest(members).items() if incarnation == me}
        if mine:
            await self.declare(me, mine)
        # An admin's script that submits or inspects does not have the app's code, also while the app is down.
        working = [member for member in members if member.role != "submit"]
        if working and working[-1].incarnation == me:
            await self._mark_orphans(members, me)
        if self._orphans is not None:
            await self._orphans.follow(members, me)

    async def look_for_orphans(self, changed: bool) -> bool:
        """Look once more for work that no instance can do, if there was some; return whether a look is to come."""
        return self._orphans is not None and await self._orphans.look_again(changed)

    def _compare_signatures(self, members: Sequence[InstanceRecord]) -> None:
        """Note of each job whether a living instance that runs it has another signature of its function."""
        running = [member.signatures for member in members if member.role in ("both", "run")]
        for job in self._registry.jobs.values():
            if not job.each_instance:
                mine = job.signature.fingerprint()
                names = (job.name, *job.aliases)
                others = [other.get(name, mine) for other in running for name in names]
                job.signature.differs_elsewhere = any(other not in (mine, "") for other in others)

    async def _mark_orphans(self, members: Sequence[InstanceRecord], me: int) -> None:
        """Mark a schedule as orphaned if the newest instance that knows its job does not declare it."""
        declared = [record.id for record in self._agenda.schedules.values() if record.declared]
        for record in await self._store.schedules(declared):
            if not record.declared:
                continue
            knowing = [member for member in members if record.job in member.jobs]
            orphaned = not knowing or record.id not in knowing[-1].schedules
            if (
                not orphaned and knowing[-1].incarnation == me
            ):  # it may have an old name, and a schedule the new one
                orphaned = record.id not in self._registry.schedules
            if orphaned == record.orphaned:
                continue
            wanted = copy(record, orphaned=orphaned)
            after = await self._store.put_schedule(wanted, record.revision, self._timeline.now())
            if after is wanted and orphaned:
                logger.warning(
                    "schedule %r: no instance declares it any more; it is kept, and not fired", record.id
                )


def _newest(members: Iterable[InstanceRecord]) -> dict[str, int]:
    """Return the instance whose declaration of each schedule counts: the newest one that declares it."""
    return {id: member.incarnation for member in members for id in member.schedules}


def _changed(
    one: Declared, stands: ScheduleRecord, fresh: ScheduleRecord, now: Now
) -> tuple[ScheduleRecord, Stretch | None]:
    """Return the row of a schedule whose declaration has changed, and the slots that the old row still owed."""
    owed, _ = resumed(stands, now.wall) if stands.next_slot is not None else (None, None)
    lost = slots_after_end(stands, one.max_runs, now.wall)
    if owed is not None:
        reason = "paused" if stands.paused else "missed"
        lost = Stretch(stands.id, *owed[:3], reason, owed.exact)
    wanted = copy(
        fresh, anchor=stands.anchor, created_at=stands.created_at, edition=stands.edition + 1,
        trigger=one.trigger.anchored(stands.anchor),
        failures=stands.failures, cursor=max(now.wall, stands.cursor), runs_made=stands.runs_made,
    )  # fmt: skip
    if wanted.used_up and stands.used_up:
        wanted.cursor = stands.cursor
    wanted.next_slot, wanted.next_due = first_slot(wanted, wanted.cursor) or (None, None)
    return wanted, lost
