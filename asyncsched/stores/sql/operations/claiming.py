"""The claim: due schedules move on, their runs appear, and ready runs begin, in one transaction.

The decisions are made in plain code over rows that the transaction has locked; they are the same as in the
memory store.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from asyncsched._core.instants import Instant, Now
from asyncsched._core.records import RunRecord, Stretch
from asyncsched._core.requests import Claim, Claimed, Fenced, Firing
from asyncsched._core.rules.admission import admit
from asyncsched._core.rules.ending import count_run
from asyncsched._core.rules.outcome import COMPLETED
from asyncsched._core.rules.transitions import advance, begin
from asyncsched.stores.sql.operations.cancelling import finish_pending, request_cancel
from asyncsched.stores.sql.operations.limiter import Limits
from asyncsched.stores.sql.operations.stretches import skip
from asyncsched.stores.sql.rows import new_run
from asyncsched.stores.sql.session import Session


class Claiming(NamedTuple):
    """A request to claim."""

    claim: Claim
    now: Now


def claim(session: Session, request: Claiming) -> Claimed:
    """Move due schedules on, make their runs, and take ready runs as far as there is capacity.

    Raises:
        Fenced: the instance has been declared dead.

    """
    wanted, now = request
    claimed = Claimed()
    firings = wanted.firings
    if session.leaves_out and firings:
        firings = _without_locked(session, firings, claimed)
    alive, *found = session.several(
        ("alive", {"incarnation": wanted.holder}), *_firing_queries(session, firings)
    )
    if not alive:
        raise Fenced(f"instance {wanted.holder:08x} has been declared dead")
    if firings:
        _fire(session, firings, found, claimed, now)
    _take(session, wanted, claimed, now)
    return claimed


# ── schedules move on ────────────────────────────────────────────────────────────────────────────


def _without_locked(session: Session, firings: Sequence[Firing], claimed: Claimed) -> list[Firing]:
    """Return the firings whose schedules, and runs to be replaced, no other transaction has locked."""
    claimed.locked = session.locked("schedules", [firing.schedule for firing in firings])
    free = {firing.schedule: firing for firing in firings if firing.schedule not in claimed.locked}
    replacing = session.array(sorted(id for id, firing in free.items() if firing.overlap == "replace"))
    live = session.runs("live", schedules=replacing)
    locked = session.locked("runs", [run.id for run in live])
    claimed.locked |= {run.schedule for run in live if run.id in locked and run.schedule is not None}
    return [firing for id, firing in free.items() if id not in claimed.locked]


def _firing_queries(session: Session, firings: Sequence[Firing]) -> list[tuple[str, dict[str, Any]]]:
    """Return the queries about due schedules; the first one locks the schedules."""
    if not firings:
        return []
    ids = session.array(sorted(firing.schedule for firing in firings))
    slots = session.array((run.schedule, run.slot) for firing in firings for run in firing.runs)
    return [("lock_schedules", {"ids": ids}), ("live", {"schedules": ids}), ("slots_done", {"slots": slots})]


def _fire(
    session: Session, firings: Sequence[Firing], found: Sequence[Sequence[Any]], claimed: Claimed, now: Now
) -> None:
    stand = {record.id: record for record in session.schedules_of(found[0])}
    live: dict[str | None, list[RunRecord]] = {}
    for run in session.runs_of(found[1]):
        live.setdefault(run.schedule, []).append(run)
    done = set(map(tuple, found[2]))  # the clock was set back past these slots
    won = []
    for firing in firings:
        record = stand.get(firing.schedule)
        if record is None:
            continue
        if record.revision == firing.revision and not record.paused:
            won.append((firing, record, record.cursor))
            advance(record, firing)
        claimed.schedules.append(record)
    made: list[Any] = []
    for firing, record, before in won:
        if firing.stretch is not None:
            claimed.skipped.append(skip(session, firing.stretch, before))
        for run in firing.runs:
            if (run.schedule, run.slot) in done or record.used_up:
                continue
            own = live.setdefault(firing.schedule, [])
            if row := _admit(session, run, firing, own, before, claimed, now):
                count_run(record, run)
                made += row
            before = run.slot if run.slot is not None else before
    moved = [record for _, record, _ in won]
    claimed.ended = [record for record in moved if record.next_slot is None]
    session.later(
        "move_schedule",
        [
            (one.cursor, one.next_slot, one.next_due, one.runs_made, session.namespace, one.id, one.revision - 1)
            for one in moved
        ],
    )  # fmt: skip
    session.later("insert_run", made)


def _admit(
    session: Session, run: RunRecord, firing: Firing, live: list[RunRecord], before: Instant,
    claimed: Claimed, now: Now,
) -> list[Any]:  # fmt: skip
    """Return the row of a slot's run, if the overlap rule lets it have one."""
    assert run.slot is not None
    waiting = sum(other.waits_for == "overlap" for other in live)
    decision = admit(firing.overlap, len(live), waiting, firing.chained)
    if decision == "skip":
        lost = Stretch(firing.schedule, run.slot, run.slot, 1, "overlap")
        claimed.skipped.append(skip(session, lost, before))
        return []
    if decision == "replace":
        _replace(session, live, claimed, now)
        decision = "wait" if live else "run"
    waits_for = "overlap" if decision == "wait" else None
    # A copy: the caller's run stays unchanged, because this transaction may be begun again.
    entered = RunRecord(run.id, run.job, run.due)
    entered.waits_for = waits_for
    live.append(entered)
    return [new_run(session.namespace, run, session.write_id, waits_for)]


def _replace(session: Session, live: list[RunRecord], claimed: Claimed, now: Now) -> None:
    """Request the running runs of a schedule to end, and end the pending ones."""
    running = [run for run in live if run.state == "running"]
    request_cancel(session, running, "replaced")
    claimed.cancel_requests += [(run.id, "replaced") for run in running if run.cancel_requested is None]
    for run in live:
        if run.state == "pending":
            finish_pending(session, run, "replaced", now.wall)
            claimed.dropped.append(run)
    live[:] = running


# ── runs begin ───────────────────────────────────────────────────────────────────────────────────


def _take(session: Session, wanted: Claim, claimed: Claimed, moment: Now) -> None:
    now = moment.wall
    candidates, claimed.next_wall, claimed.more = _candidates(session, wanted, now)
    if session.leaves_out:
        candidates = _without_locked_limits(session, candidates)
    limits = Limits(session, candidates, now)
    begun, waiting = [], []
    for run in candidates:
        closed, dropped = limits.take(run) if run.rare is not None and run.permits else ("", "")
        if not closed:
            begin(run, wanted.holder, moment)
            begun.append(run)
        elif dropped:
            finish_pending(session, run, dropped, now, limits)
            claimed.dropped.append(run)
        else:
            waiting.append((closed, session.write_id(run.id)))
    session.later("wait_for", waiting)
    if begun:
        runs = session.array(session.write_id(run.id) for run in begun)
        session.later("begin", [{"holder": wanted.holder, "now": now, "runs": runs}])
    woken, turn = limits.write()
    if turn is not None and turn > now:
        claimed.next_wall = turn if claimed.next_wall is None else min(claimed.next_wall, turn)
    free_left = sum(wanted.free.values()) > len(begun)
    claimed.more = claimed.more or (free_left and (woken > 0 or len(begun) < len(candidates)))
    claimed.runs = begun


def _without_locked_limits(session: Session, candidates: list[RunRecord]) -> list[RunRecord]:
    locked = session.locked("limits", {permit.key for run in candidates for permit in run.permits})
    return [run for run in candidates if not any(permit.key in locked for permit in run.permits)]


def earliest(session: Session, wanted: Claim, now: Instant) -> Instant | None:
    """Return when a claim would find its first ready run: 0 for now, ``None`` for never. Only reads."""
    moments = []
    for executor, priority, first, later in session.all(
        "levels", executors=session.array(wanted.free), now=now
    ):
        if first is not None and session.all(
            "ready", **_level_params(session, wanted, executor, priority, now)
        ):
            return 0
        if later is not None:
            moments.append(later)
    return min(moments, default=None)


def _candidates(
    session: Session, wanted: Claim, now: Instant
) -> tuple[list[RunRecord], Instant | None, bool]:
    """Return the ready runs by rank, as far as there is capacity; when the next is ready; and if there are more."""
    found: list[RunRecord] = []
    upcoming: Instant | None = None
    more = False
    room = dict.fromkeys(wanted.free, 0)
    levels, at_once = _levels(session, wanted, now)
    for executor, priority, first, later in levels:
        if later is not None:
            upcoming = later if upcoming is None else min(upcoming, later)
        most = _most(wanted, executor)
        if first is None or most <= 0:
            continue
        rows = at_once.get((executor, priority))
        if rows is None:
            rows = session.all("ready", **_level_params(session, wanted, executor, priority, now))
        ready, woken = _without_paused(session, rows, now)
        more = more or woken or len(rows) == most
        found += ready
    found.sort(key=lambda run: (run.rank, run.id))
    taken = []
    for run in found:
        if room[run.executor] < _most(wanted, run.executor):
            room[run.executor] += 1
            taken.append(run)
    more = more and any(room[name] < free for name, free in wanted.free.items() if free > 0)
    return taken, upcoming, more


def _levels(
    session: Session, wanted: Claim, now: Instant
) -> tuple[list[Any], dict[tuple[str, int], list[Any]]]:
    """Return the levels of the pending runs, and, from the same trip, the ready runs of levels with a run just made."""
    made = {(run.executor, run.priority) for firing in wanted.firings for run in firing.runs}
    about = {
        level: _level_params(session, wanted, *level, now)
        for level in sorted(made)
        if _most(wanted, level[0]) > 0
    }
    levels, *ready = session.several(
        ("levels", {"executors": session.array(wanted.free), "now": now}),
        *(("ready", each) for each in about.values()),
    )
    return levels, dict(zip(about, ready, strict=True))


def _most(wanted: Claim, executor: str) -> int:
    return min(wanted.free.get(executor, 0), wanted.most)


def _level_params(
    session: Session, wanted: Claim, executor: str, priority: int, now: Instant
) -> dict[str, Any]:
    """Return the parameters of the query for the ready runs of one level."""
    jobs = session.array(wanted.jobs or ())
    most = _most(wanted, executor)
    return {"executor": executor, "priority": priority, "now": now, "most": most, "jobs": jobs}


def _without_paused(session: Session, rows: Sequence[Any], now: Instant) -> tuple[list[RunRecord], bool]:
    """Return the runs of rows, without paused ones, and whether runs may try the limits of those paused ones now."""
    found, aside, parked = [], [], []
    for row in rows:
        try:
            run = session.read(row)
        except Exception as error:
            session.quarantine.name("run", row[0], error)
            aside.append(("quarantined", row[0]))
            continue
        if row[-1] or row[-2]:
            if not session.leaves_out:  # a schedule's lock, or a job's, may be in the way
                parked.append(run)
        else:
            found.append(run)
    session.later("wait_for", aside)
    session.later("park", [(session.write_id(run.id),) for run in parked])
    limits = Limits(session, parked, now)
    for run in parked:
        limits.leave(run)  # a paused run does not use the place for which it may have been woken
    woken, _ = limits.write()
    return found, woken > 0


def cancel_requested(session: Session, holder: int) -> list[tuple[int, str]]:
    """Return the runs that a holder is requested to cancel, each with the reason."""
    rows = session.all("cancel_requests", holder=holder)
    return [(session.read_id(id), why) for id, why in rows if why != COMPLETED]
