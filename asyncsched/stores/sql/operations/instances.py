"""Instances join, beat and leave, are declared dead, and poll for changes by others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Set
from typing import Any, NamedTuple

from asyncsched._core.instants import Instant, Now
from asyncsched._core.records import InstanceRecord
from asyncsched._core.reporting import death_of
from asyncsched._core.requests import Changes, Watch
from asyncsched.stores.sql.operations.claiming import cancel_requested
from asyncsched.stores.sql.operations.recording import fence
from asyncsched.stores.sql.operations.reporting import add_activity
from asyncsched.stores.sql.operations.schedules import PAGE
from asyncsched.stores.sql.session import Session


class Joining(NamedTuple):
    """A request to join the cluster."""

    instance: InstanceRecord
    now: Now


def join(session: Session, request: Joining) -> InstanceRecord:
    """Insert an instance's row; an instance that joins again keeps its ordinal."""
    me, now = request
    ordinal = me.ordinal or session.counted("ordinal")
    session.do(
        "join", incarnation=me.incarnation, ordinal=ordinal, host=me.host, pid=me.pid, version=me.version,
        role=me.role, jobs=json.dumps({name: me.signatures.get(name, "") for name in sorted(me.jobs)}), schedules=json.dumps(sorted(me.schedules)),
        started_at=me.started_at or now.wall, now=now.wall,
    )  # fmt: skip
    session.announce()
    return me._replace(ordinal=ordinal, started_at=me.started_at or now.wall, beat=1, beat_at=now.wall)


class Beating(NamedTuple):
    """A request to count an instance's beat; ``lag`` is of its event loop, in microseconds."""

    incarnation: int
    now: Now
    lag: int = 0


def beat(session: Session, request: Beating) -> bool:
    """Count an instance's beat; return False if the instance was declared dead."""
    return session.do("beat", incarnation=request.incarnation, now=request.now.wall, lag=request.lag) == 1


class DeclaringDead(NamedTuple):
    """A request to declare an instance dead, whose beat has stood still at ``beat``."""

    incarnation: int
    beat: int
    now: Now


def declare_dead(session: Session, request: DeclaringDead) -> dict[str, int] | None:
    """Declare an instance dead and fence its runs; return ``None`` if it lives or was declared dead before.

    A record of it stays with those of what people did: the list of the living has it no more.
    """
    dead = next((one for one in instances(session) if one.incarnation == request.incarnation), None)
    if not session.do("declare_dead", incarnation=request.incarnation, beat=request.beat):
        return None
    runs = session.runs("held", holder=request.incarnation)
    session.announce()
    fenced = dict(fence(session, runs, "its instance died", request.now, True))
    if dead is not None:
        add_activity(session, death_of(dead, fenced, request.now.wall))
    return fenced


def sweep(session: Session, now: Now) -> dict[str, int]:
    """Fence the runs whose holder is no living instance."""
    return dict(fence(session, session.runs("astray"), "its instance died", now, True))


def held(session: Session, incarnation: int) -> dict[int, Instant]:
    """Return the runs that an instance holds. As an operation, this comes after all claims under way."""
    return {run.id: run.started_at or 0 for run in session.runs("held", holder=incarnation)}


class Releasing(NamedTuple):
    """A request to release runs that the store says an instance holds but the instance never heard of."""

    incarnation: int
    held: Mapping[int, Instant] | None
    now: Now


def release_held(session: Session, request: Releasing) -> dict[str, int]:
    """Release held runs that were never begun: those of the request that are still held since then, or all."""
    runs = session.runs("held", holder=request.incarnation)
    if request.held is not None:
        runs = [run for run in runs if request.held.get(run.id) == run.started_at]
    return dict(fence(session, runs, "released", request.now, False))


def leave(session: Session, incarnation: int, known: Set[int], now: Now) -> None:
    """Remove the row of an instance that ends, and release the runs that it holds but never heard of.

    The lock on the row waits for a claim of the instance that is still being committed and whose answer was
    lost. An instance that knows runs it still holds could not record how they ended: its row stays until the
    instance is declared dead, as after a crash.
    """
    session.one("hold_instance", incarnation=incarnation)
    held = session.runs("held", holder=incarnation)
    unknown = [run for run in held if run.id not in known]
    if len(unknown) == len(held):
        session.do("leave", incarnation=incarnation)
    fence(session, unknown, "released", now, False)
    session.announce()


def instances(session: Session) -> list[InstanceRecord]:
    """Return the living instances, oldest first."""
    return session.quarantine.readable("instance", session.all("instances"), _read)


def _read(row: Any) -> InstanceRecord:
    incarnation, beat, ordinal, host, pid, version, role, jobs, schedules, started_at, beat_at, lag = row
    known = json.loads(jobs)
    return InstanceRecord(
        incarnation, host, pid, version, role, frozenset(known), frozenset(json.loads(schedules)),
        ordinal, started_at, beat, beat_at, known if isinstance(known, dict) else {}, lag,
    )  # fmt: skip


class NoLedger(Exception):
    """The ledger's row, which counts the changes of a namespace, was deleted."""


_LEDGER = -1
"""The incarnation that ``poll`` returns for the ledger's row, which sorts before all instances."""


def found(session: Session) -> None:
    """Insert the ledger's row again, so that every instance reads all schedules anew."""
    session.do("found")


def poll(session: Session, watch: Watch) -> Changes:
    """Return the changes since an instance's last poll."""
    return changes(session, watch, *ledger(session.all("poll")))


def ledger(rows: Iterable[Any]) -> tuple[Any, list[Any]]:
    """Return the ledger's row and the instances' rows from the rows of ``poll``.

    Raises:
        NoLedger: the ledger's row was deleted.

    """
    first, *beats = sorted(rows) or [(None,)]
    if first[0] != _LEDGER:
        raise NoLedger
    return first, beats


def _changed_schedules(session: Session, watch: Watch, found: Changes, dropped: int) -> None:
    """Add a portion of the schedules that have changed since an instance's last poll, by version and id."""
    # No id is empty: (version + 1, "") is after all schedules of that version, and before those of the next.
    version, after = (watch.version + 1, "") if watch.after is None else (watch.version, watch.after)
    if found.version < watch.version:  # the ledger's row was inserted again: all schedules are read
        version, after = 0, ""
    rows = session.all("schedules_since", version=version, after=after, most=PAGE)
    found.schedules = session.schedules_of([row[:-1] for row in rows])
    if len(rows) == PAGE:
        found.after, found.version = rows[-1][0], rows[-1][-1]
    # The portion of the last removal; an instance that has just started knows no schedule that was removed.
    since = watch.version if watch.version <= found.version else 0
    if watch.version >= 0 and since < dropped <= found.version:
        found.ids = {id for (id,) in session.all("schedule_ids")}


def changes(session: Session, watch: Watch, own: Any, beats: Iterable[Any]) -> Changes:
    """Return the changes since an instance's last poll, from the rows of its first query."""
    _, work_version, version, dropped = own
    found = Changes(work_version, version, [(incarnation, beat) for incarnation, beat, _, _ in beats])
    if work_version != watch.work_version:
        found.cancel_requests = cancel_requested(session, watch.holder)
    if version != watch.version or watch.after is not None:
        _changed_schedules(session, watch, found, dropped)
    if watch.runs:
        ids = session.array(session.write_id(run_id) for run_id in watch.runs)
        found.runs = {session.read_id(id): tuple(rest) for id, *rest in session.all("states", ids=ids)}
    return found
