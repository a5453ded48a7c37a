"""Instances: who lives, who is declared dead, and what each hears of the others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Set
from typing import Any, NamedTuple

from asyncsched._core.instants import Instant, Now
from asyncsched._core.records import InstanceRecord
from asyncsched._core.requests import Changes, Watch
from asyncsched.stores.sql.operations.claiming import cancel_requested
from asyncsched.stores.sql.operations.recording import fence
from asyncsched.stores.sql.session import Session


class Joining(NamedTuple):
    """A request to take a seat as a living instance."""

    instance: InstanceRecord
    now: Now


def join(session: Session, request: Joining) -> InstanceRecord:
    """Take a seat; an instance that joins again keeps the one it had."""
    me, now = request
    ordinal = me.ordinal or session.counted("ordinal")
    session.do(
        "join", incarnation=me.incarnation, ordinal=ordinal, host=me.host, pid=me.pid, version=me.version,
        role=me.role, jobs=json.dumps(sorted(me.jobs)), schedules=json.dumps(sorted(me.schedules)),
        started_at=me.started_at or now.wall, now=now.wall,
    )  # fmt: skip
    session.announce()
    return me._replace(ordinal=ordinal, started_at=me.started_at or now.wall, beat=1, beat_at=now.wall)


class Beating(NamedTuple):
    """A request to say that an instance lives."""

    incarnation: int
    now: Now


def beat(session: Session, request: Beating) -> bool:
    """Say that an instance lives; False means that it was declared dead."""
    return session.do("beat", incarnation=request.incarnation, now=request.now.wall) == 1


class DeclaringDead(NamedTuple):
    """A request to declare an instance dead whose beat has stood still at ``beat``."""

    incarnation: int
    beat: int
    now: Now


def declare_dead(session: Session, request: DeclaringDead) -> dict[str, int] | None:
    """Declare an instance dead and fence its runs; ``None`` if it lives or was buried before."""
    if not session.do("declare_dead", incarnation=request.incarnation, beat=request.beat):
        return None
    runs = session.runs("held", holder=request.incarnation)
    session.announce()
    return dict(fence(session, runs, "its instance died", request.now, True))


def sweep(session: Session, now: Now) -> dict[str, int]:
    """Fence what is held by no instance at all."""
    return dict(fence(session, session.runs("astray"), "its instance died", now, True))


class Releasing(NamedTuple):
    """A request to let go of runs that an instance holds without knowing them."""

    incarnation: int
    held: Mapping[int, Instant] | None
    now: Now


def release_held(session: Session, request: Releasing) -> dict[str, int]:
    """Let go of held runs that were never begun: those, if they are still held since then, or all."""
    runs = session.runs("held", holder=request.incarnation)
    if request.held is not None:
        runs = [run for run in runs if request.held.get(run.id) == run.started_at]
    return dict(fence(session, runs, "released", request.now, False))


def leave(session: Session, incarnation: int, known: Set[int], now: Now) -> None:
    """Take an instance out that ends, and let go of what it holds and does not know.

    A claim of its own that is still being committed, its answer lost, is waited for. Who knows runs that
    it holds yet could not record how they ended: its row stays until it is declared dead, as by a crash.
    """
    session.one("hold_instance", incarnation=incarnation)
    held = session.runs("held", holder=incarnation)
    unknown = [run for run in held if run.id not in known]
    if len(unknown) == len(held):
        session.do("leave", incarnation=incarnation)
    fence(session, unknown, "released", now, False)
    session.announce()


def instances(session: Session) -> list[InstanceRecord]:
    """Return the instances that live, oldest first."""
    return session.quarantine.readable("instance", session.all("instances"), _read)


def _read(row: Any) -> InstanceRecord:
    incarnation, beat, ordinal, host, pid, version, role, jobs, schedules, started_at, beat_at = row
    return InstanceRecord(
        incarnation, host, pid, version, role, frozenset(json.loads(jobs)), frozenset(json.loads(schedules)),
        ordinal, started_at, beat, beat_at,
    )  # fmt: skip


class NoLedger(Exception):
    """The row is gone that counts the changes of a namespace."""


_LEDGER = -1
"""What ``poll`` calls the ledger's own row, which comes before all instances."""


def found(session: Session) -> None:
    """Put that row back, so that everybody reads all schedules anew."""
    session.do("found")


def poll(session: Session, watch: Watch) -> Changes:
    """Return what has changed since an instance last looked."""
    return changes(session, watch, *ledger(session.all("poll")))


def ledger(rows: Iterable[Any]) -> tuple[Any, list[Any]]:
    """Return the ledger's own row of what ``poll`` found, and those of the instances.

    Raises:
        NoLedger: somebody deleted it.

    """
    first, *beats = sorted(rows) or [(None,)]
    if first[0] != _LEDGER:
        raise NoLedger
    return first, beats


def changes(session: Session, watch: Watch, own: Any, beats: Iterable[Any]) -> Changes:
    """Return the same from what the first query found."""
    _, work_version, version, dropped = own
    found = Changes(work_version, version, [(incarnation, beat) for incarnation, beat, _, _ in beats])
    if work_version != watch.work_version:
        found.cancel_requests = cancel_requested(session, watch.holder)
    if version != watch.version:
        since = watch.version if version > watch.version else -1  # it was put back: nothing is known
        found.schedules = session.schedules("schedules_since", version=since)
        if dropped > since:
            found.ids = {id for (id,) in session.all("schedule_ids")}
    if watch.runs:
        ids = session.array(session.write_id(run_id) for run_id in watch.runs)
        found.runs = {session.read_id(id): tuple(rest) for id, *rest in session.all("states", ids=ids)}
    return found
