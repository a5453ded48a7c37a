"""What the code declares, brought into the store: new, changed, removed, and by whom.

A schedule's row carries the fingerprint of the code that declared it. The newest instance that lives
and declares it has the word; a changed fingerprint plans anew from now on the old grid.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace as copy
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, cast

from asyncsched._core.errors import ConfigurationError, TriggerError
from asyncsched._core.instants import Instant, to_datetime
from asyncsched._core.records import InstanceRecord, ScheduleRecord, Stretch
from asyncsched._core.rules.due import first_slot, resumed
from asyncsched._core.trigger import UserTrigger, asking
from asyncsched.triggers import trigger_from_json, trigger_to_json

if TYPE_CHECKING:
    from asyncsched._backends.clock import Timeline
    from asyncsched._core.instants import Now
    from asyncsched._core.jobs import Declared
    from asyncsched._core.trigger import InstantTrigger
    from asyncsched._scheduler.registry import Registry
    from asyncsched.abc import ClusterStore, Store

logger = logging.getLogger("asyncsched.scheduler")

_TRIES = 20
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class ForeignTrigger:
    """A trigger of somebody's own kind, which only the code that declares it has."""

    foreign = True

    def next_instant(self, after: Instant) -> Instant | None:
        return None

    def previous_instant(self, before: Instant) -> Instant | None:
        return None

    def describe(self) -> str:
        return "a trigger of the code's own, which this instance does not have"


@lru_cache(maxsize=4096)
def _from_spec(spec: str, anchor: Instant) -> InstantTrigger:
    return trigger_from_json(json.loads(spec)).anchored(anchor)


def new_schedule(
    declared: Declared, store: Store, now: Now, by_code: bool = True, strict: bool = False
) -> ScheduleRecord:
    """Return the row of a schedule that is first known now.

    Args:
        declared: what it is.
        store: where it is going to be kept.
        now: the moment.
        by_code: whether it stands in the code.
        strict: whether its arguments go through JSON though the store is memory.

    Raises:
        ConfigurationError: the trigger will never fire.

    """
    trigger: Any = declared.trigger
    steady = not store.durable and getattr(trigger, "steady", False)
    at = now.steady if steady else now.wall
    anchored = _anchored(trigger, at)
    spec = None
    arguments = declared.arguments
    if store.durable:
        spec = _spec(trigger)
        if spec is None and not by_code:
            trigger_to_json(trigger)  # says what is wrong
    if store.durable or strict:
        arguments = _written(declared)
    record = ScheduleRecord(
        declared.id, declared.job.name, anchored, anchor=at, cursor=at - 1, steady=steady,
        arguments=arguments, jitter=declared.jitter, spec=spec, declared=by_code, created_at=now.wall,
        edition_since=now.wall,
    )  # fmt: skip
    # An immediate interval's own anchor is a slot: what comes is looked for from just before it.
    with asking(record.id):
        record.next_slot, record.next_due = first_slot(record, at - 1) or (None, None)
    if record.next_slot is None:
        raise ConfigurationError(
            f"schedule {declared.id!r}: its trigger never fires after {to_datetime(at)}; "
            "give it a later time, or leave it out"
        )
    return record


def _spec(trigger: Any) -> str | None:
    """Return a trigger as text, or ``None`` where only code can make it, or a part of it."""
    try:
        return json.dumps(trigger_to_json(trigger), separators=(",", ":"))
    except TriggerError:
        return None


def _anchored(trigger: Any, at: Instant) -> Any:
    return trigger.anchored(at) if hasattr(trigger, "anchored") else trigger


def fingerprint(declared: Declared) -> str:
    """Return what changes when the code's own declaration changes."""
    trigger: Any = declared.trigger
    text = _spec(trigger)
    if text is None:
        user = trigger.trigger if isinstance(trigger, UserTrigger) else trigger
        shown = _ADDRESS.sub("", repr(user))  # which is another in each process
        text = f"{type(user).__module__}.{type(user).__qualname__}{shown}"
    whole = json.dumps((text, _written(declared), declared.jitter, declared.job.name))
    return blake2b(whole.encode(), digest_size=12).hexdigest()


def _written(declared: Declared) -> str:
    """Return a declaration's arguments as JSON."""
    given = declared.arguments
    return given if isinstance(given, str) else declared.job.signature.encode(given)


def _edited(one: Declared, stands: ScheduleRecord) -> str:
    """Return which columns differ from the code though its fingerprint is the same; no call of ours does that."""
    code = {"job": one.job.name, "arguments": _written(one), "jitter": one.jitter}
    return ", ".join(name for name, value in code.items() if getattr(stands, name) != value)


class Reconciler:
    """What one instance's code declares, and the store that it is brought into."""

    def __init__(self, store: Store, timeline: Timeline, registry: Registry) -> None:
        self._store = store
        self._timeline = timeline
        self._registry = registry

    def read_trigger(self, id: str, spec: str | None, anchor: Instant) -> InstantTrigger:
        """Return the trigger of a schedule's row.

        Raises:
            TriggerError, ValueError: the text is none of a trigger.

        """
        if spec is not None:
            return _from_spec(spec, anchor)
        declared = self._registry.schedules.get(id)
        if declared is None or _spec(declared.trigger) is not None:
            return ForeignTrigger()
        anchored: InstantTrigger = _anchored(declared.trigger, anchor)
        return anchored

    def declared(self) -> list[Declared]:
        """Return what the code declares for the cluster."""
        return [one for one in self._registry.schedules.values() if not one.job.each_instance]

    async def declare(self, incarnation: int, ids: Collection[str] | None = None) -> None:
        """Bring the code's schedules into the store: this instance has the word about them.

        Raises:
            ConfigurationError: a trigger that is new, or has changed, never fires.

        """
        stand = {record.id: record for record in await self._store.schedules()}
        for one in self.declared():
            if ids is None or one.id in ids:
                await self._declare(one, stand.get(one.id), incarnation)

    async def _declare(self, one: Declared, stands: ScheduleRecord | None, incarnation: int) -> None:
        mark = fingerprint(one)
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
            "schedule %r is being changed by others all the time; its row was left as it is", one.id
        )

    def _wanted(
        self, one: Declared, stands: ScheduleRecord | None, mark: str, now: Now
    ) -> tuple[ScheduleRecord | None, Stretch | None]:
        """Return the row as the code wants it, if it is to be written, and what is lost by the change."""
        if stands is None:
            return new_schedule(one, self._store, now), None
        if stands.declared and stands.fingerprint == mark:
            edited = _edited(one, stands)
            if not edited:
                return (copy(stands) if stands.orphaned else None), None
            logger.warning(
                "schedule %r: somebody edited its %s in the store; it is declared anew as the code has it",
                one.id, edited,
            )  # fmt: skip
        return _changed(one, stands, new_schedule(one, self._store, now), now)

    # ── who has the word ─────────────────────────────────────────────────────────────────────

    async def members_changed(self, me: int, members: Sequence[InstanceRecord]) -> None:
        """Hear who lives now: take the word where it has come to us, and mark what is orphaned."""
        mine = {id for id, incarnation in _newest(members).items() if incarnation == me}
        if mine:
            await self.declare(me, mine)
        if members and members[-1].incarnation == me:
            await self._mark_orphans(members)

    async def put_back(self, known: ScheduleRecord, me: int) -> ScheduleRecord | None:
        """Put a schedule's row back as it stood, where somebody deleted it or edited it into nonsense.

        Returns:
            What stands; ``None`` where that is not for us to say: the schedule is not in our code, or
            a newer instance has the word, whose rows we may not even be able to read.

        """
        store = cast("ClusterStore", self._store)
        firing = [member for member in await store.instances() if member.role != "submit"]
        if not known.declared or _newest(firing).get(known.id) != me:
            return None
        wanted = copy(known)
        stands = await store.put_schedule(wanted, 0, self._timeline.now())
        if stands is wanted:
            logger.warning(
                "schedule %r: its row was deleted from the store, or made unreadable; it is in the code, so it is "
                "put back as it stood (to be rid of it take it out of the code, or pause it)", known.id,
            )  # fmt: skip
        return stands

    async def _mark_orphans(self, members: Sequence[InstanceRecord]) -> None:
        """A schedule is orphaned if the newest instance that knows its job does not declare it."""
        for record in await self._store.schedules():
            if not record.declared:
                continue
            knowing = [member for member in members if record.job in member.jobs]
            orphaned = not knowing or record.id not in knowing[-1].schedules
            if orphaned == record.orphaned:
                continue
            wanted = copy(record, orphaned=orphaned)
            after = await self._store.put_schedule(wanted, record.revision, self._timeline.now())
            if after is wanted and orphaned:
                logger.warning(
                    "schedule %r is in the code of no instance any more: it is kept, and not fired", record.id
                )


def _newest(members: Iterable[InstanceRecord]) -> dict[str, int]:
    """Return who has the word about each declared schedule: the last of those that know it, oldest first."""
    return {id: member.incarnation for member in members for id in member.schedules}


def _changed(
    one: Declared, stands: ScheduleRecord, fresh: ScheduleRecord, now: Now
) -> tuple[ScheduleRecord, Stretch | None]:
    """Return the row of a schedule whose code has changed, and what the old one still owed."""
    owed, _ = resumed(stands, now.wall) if stands.next_slot is not None else (None, None)
    lost = None
    if owed is not None:
        reason = "paused" if stands.paused else "missed"
        lost = Stretch(stands.id, *owed[:3], reason, owed.exact)
    trigger: Any = one.trigger
    wanted = copy(
        fresh, anchor=stands.anchor, created_at=stands.created_at, edition=stands.edition + 1,
        trigger=_anchored(trigger, stands.anchor),
        failures=stands.failures, cursor=max(now.wall, stands.cursor),
    )  # fmt: skip
    wanted.next_slot, wanted.next_due = first_slot(wanted, wanted.cursor) or (None, None)
    return wanted, lost
