"""The ledger in memory: the default; it keeps every promise but durability beyond the process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from asyncsched._backends.turns import in_turns
from asyncsched._core.instants import Instant, Now
from asyncsched._core.records import JobPause, RunRecord, ScheduleRecord, Stretch
from asyncsched._core.requests import (
    Added,
    Cancelled,
    Claim,
    Claimed,
    Closed,
    Closing,
    Ending,
    Firing,
    RunQuery,
    Verdict,
)
from asyncsched._core.rules.admission import admit
from asyncsched._core.rules.outcome import heeding
from asyncsched._core.rules.retention import Bounds
from asyncsched._core.rules.transitions import advance, begin, drop, end, goes_on, move, park, take_over, wake
from asyncsched.stores.memory.history import History
from asyncsched.stores.memory.keys import Keys, same
from asyncsched.stores.memory.letters import close_letter
from asyncsched.stores.memory.query import Labels, select
from asyncsched.stores.memory.schedules import ScheduleEntry
from asyncsched.stores.memory.waiting import Waiting

_ONE_TURN = 100
"""Runs added before other tasks of the loop get their turn: about 0.1 ms."""

_new = tuple.__new__


class MemoryStore:
    """Keeps runs and schedules as Python objects, and their arguments as copies where those are plain containers.

    The store belongs to one event loop, in which no other code runs between two awaits. So every
    method is one transaction, because none of them awaits, except ``add`` with very many runs.
    """

    durable = False

    def __init__(self, bounds: Bounds | None = None) -> None:
        self._runs: dict[int, RunRecord] = {}
        self._entries: dict[str, ScheduleEntry] = {}  # by schedule id
        self._waiting = Waiting()
        self._keys = Keys()
        self._labels = Labels()
        self._paused_jobs: dict[str, JobPause] = {}
        self._history = History(bounds or Bounds(), self._forget)
        self._cancel_requests: list[tuple[int, str]] = []

    async def open(self, notify: Callable[[], None]) -> None:
        self._waiting.notify = notify
        self._waiting.release_unknown()

    async def close(self) -> None:
        self._waiting.notify = lambda: None

    # ── schedules ────────────────────────────────────────────────────────────────────────────

    async def schedules(self, ids: Collection[str] | None = None) -> list[ScheduleRecord]:
        found = [self._record(id) for id in (self._entries if ids is None else ids)]
        return [record for record in found if record is not None]

    async def put_schedule(
        self, record: ScheduleRecord, revision: int, now: Now, lost: Stretch | None = None
    ) -> ScheduleRecord:
        return self.put(record, revision, lost)

    def put(self, record: ScheduleRecord, revision: int, lost: Stretch | None = None) -> ScheduleRecord:
        """Do the same as ``put_schedule``, for callers that cannot await."""
        stands = self._record(record.id)
        if (0 if stands is None else stands.revision) != revision:
            assert stands is not None or revision
            return stands if stands is not None else record
        record.revision = revision + 1
        entry = self._entry(record.id)
        entry.record = record
        if lost is not None:
            entry.skip(lost)
        if goes_on(stands, record):
            self._waiting.release("schedule", record.id)
        return record

    def _entry(self, schedule: str) -> ScheduleEntry:
        entry = self._entries.get(schedule)
        if entry is None:
            entry = self._entries[schedule] = ScheduleEntry()
        return entry

    def _record(self, schedule: str | None) -> ScheduleRecord | None:
        entry = self._entries.get(schedule) if schedule is not None else None
        return None if entry is None else entry.record

    async def remove_schedule(self, id: str, now: Now) -> bool:
        # Its slots cannot be explained any more: only its runs stay, until they are pruned.
        entry = self._entry(id)
        known, entry.record = entry.record is not None, None
        entry.stretches = ()
        self._history.drop_schedule(id)
        if entry.blank:
            del self._entries[id]
        self._waiting.release("schedule", id)
        return known

    async def pause_job(self, job: str, pause: JobPause | None, now: Now) -> None:
        if pause is not None:
            self._paused_jobs[job] = pause
        else:
            self._paused_jobs.pop(job, None)
            self._waiting.release("job", job)

    async def paused_jobs(self) -> dict[str, JobPause]:
        return dict(self._paused_jobs)

    # ── adding runs ──────────────────────────────────────────────────────────────────────────

    async def add(self, runs: Sequence[RunRecord], now: Now, replace: bool = False) -> list[Added]:
        if len(runs) == 1:  # nearly every call is like this
            return [self._add(runs[0], now, replace)]
        return await in_turns(lambda some: [self._add(run, now, replace) for run in some], runs, _ONE_TURN)

    def _add(self, run: RunRecord, now: Now, replace: bool) -> Added:
        if run.rare is not None and (holder := self._keys.holder(run, now)) is not None:
            return self._found(holder, run, replace, now)
        self._runs[run.id] = run
        if run.rare is not None or run.tags:
            self._keys.give(run)
            self._labels.add(run)
        if run.schedule is not None:
            self._entry(run.schedule).add(run)
        if run.due <= (now.steady if run.steady else now.wall):
            self._waiting.until_its_turn(run)  # "now" is the usual time: one queue is enough
        else:
            self._waiting.until_ready(run)
        return _new(Added, (run, True, False))  # twice as quick as the constructor of a named tuple

    def _found(self, holder: RunRecord, run: RunRecord, replace: bool, now: Now) -> Added:
        if replace and holder.state == "pending":
            self._waiting.leave(holder, now)
            take_over(holder, run)
            self._waiting.until_ready(holder)
            self._waiting.notify()
            return Added(holder, False)
        return Added(holder, False, conflict=not same(holder.arguments, run.arguments))

    async def close_letters(self, closings: Sequence[Closing], now: Now) -> list[Closed]:
        return [close_letter(one, self._runs, lambda run: self._add(run, now, False)) for one in closings]

    # ── the claim ────────────────────────────────────────────────────────────────────────────

    async def claim(self, claim: Claim, now: Now) -> Claimed:
        holder, firings, places, most, jobs = claim
        claimed = Claimed()
        for firing in firings:
            self._fire(firing, claimed, now)
        self._waiting.ripen(now, claim)
        for name, queue in self._waiting.by_executor():
            free = places.get(name, 0)
            room = most  # for each executor anew: many runs of one must not delay the others
            while free > 0 and room > 0 and (run := queue.pop()) is not None:
                if self._may_begin(run, jobs, claimed, now):
                    begin(run, holder, now)
                    if run.origin != "schedule":
                        self._labels.begun[run.id] = run
                    claimed.runs.append(run)
                    free, room = free - 1, room - 1
            if free > 0 and queue.peek() is not None:
                claimed.more = True
        claimed.next_wall, claimed.next_steady = self._waiting.next_times()
        if self._cancel_requests:
            claimed.cancel_requests, self._cancel_requests = self._cancel_requests, []
        return claimed

    def _fire(self, firing: Firing, claimed: Claimed, now: Now) -> None:
        entry = self._entries.get(firing.schedule)
        record = None if entry is None else entry.record
        if entry is None or record is None:
            return
        claimed.schedules.append(record)
        if record.revision != firing.revision or record.paused:
            return
        before: Instant | None = record.cursor
        advance(record, firing)
        if firing.stretch is not None:
            claimed.skipped.append(entry.skip(firing.stretch, before))
        for run in firing.runs:
            # A slot has a run already if the clock was set back past it: that run stays, without a second.
            if run.slot not in entry.slots and not record.used_up:
                self._admit(run, entry, firing, before, claimed, now)
            before = run.slot
        if record.next_slot is None:
            claimed.ended.append(record)

    def _admit(
        self, run: RunRecord, entry: ScheduleEntry, firing: Firing, before: Instant | None, claimed: Claimed,
        now: Now,
    ) -> None:  # fmt: skip
        assert run.slot is not None
        decision = "run"
        if entry.live:
            decision = admit(firing.overlap, len(entry.live), entry.waiting, firing.chained)
        # A run that is admitted behind others waits for the earlier ones only (see ScheduleEntry.next_to_go).
        if decision == "skip":
            lost = Stretch(firing.schedule, run.slot, run.slot, 1, "overlap")
            claimed.skipped.append(entry.skip(lost, before))
            return
        if decision == "replace":
            self._replace(entry, claimed, now)
            decision = "wait" if entry.live else "run"
        self._runs[run.id] = run
        entry.fire(run)
        if run.tags:
            self._labels.add(run)
        park(run, "overlap") if decision == "wait" else self._waiting.until_its_turn(run)

    def _replace(self, entry: ScheduleEntry, claimed: Claimed, now: Now) -> None:
        """Request cancellation of the running runs, and end those that have not begun."""
        for other in list(entry.live.values()):
            if other.state == "running":
                self._request_cancel(other, "replaced")
            else:
                self._drop(other, "replaced", now)
                claimed.dropped.append(other)

    def _may_begin(self, run: RunRecord, jobs: Collection[str] | None, claimed: Claimed, now: Now) -> bool:
        """Whether a ready run may begin; otherwise the run is parked, or dropped."""
        if jobs is not None and run.job not in jobs:
            kind, name = "unknown", run.job
        elif run.job in self._paused_jobs:
            kind, name = "job", run.job
        elif run.origin == "schedule" and (own := self._record(run.schedule)) is not None and own.paused:
            kind, name = "schedule", own.id
        else:
            return run.rare is None or not run.permits or self._permitted(run, claimed, now)
        self._waiting.park(kind, name, run, now)  # the run gives up its turn, not its rank
        return False

    def _permitted(self, run: RunRecord, claimed: Claimed, now: Now) -> bool:
        answer = self._waiting.limiter.take(run, now.steady)
        if answer not in ("yes", "wait"):
            self._drop(run, answer, now)
            claimed.dropped.append(run)
        return answer == "yes"

    # ── recording ────────────────────────────────────────────────────────────────────────────

    async def record(self, endings: Sequence[Ending]) -> list[bool]:
        return [self.end(*ending) for ending in endings]

    def end(self, run: RunRecord, verdict: Verdict, now: Now) -> bool:
        """Do the same as ``record`` for one attempt, without an await."""
        if run.state != "running":
            return False
        if run.rare is not None:
            if verdict.state == "pending":
                verdict = heeding(verdict, run.cancel_requested)
            if run.permits:
                self._waiting.limiter.give_back(run, now.steady)
        end(run, verdict, now)
        if run.origin != "schedule":
            self._labels.begun.pop(run.id, None)
        if run.state == "pending":
            self._waiting.until_ready(run)
            self._waiting.notify()
            return True
        entry = self._ended(run, now)
        if entry is not None and run.origin == "schedule":
            verdict.paused = entry.count(run, verdict.pause_after, now.wall)
        return True

    def _drop(self, run: RunRecord, why: str, now: Now) -> None:
        self._waiting.leave(run, now)
        drop(run, why, now.wall)
        self._ended(run, now)

    def _ended(self, run: RunRecord, now: Now) -> ScheduleEntry | None:
        """Free the key and the turn of a run with an outcome, and return the entry of its schedule, if any."""
        if run.rare is not None:
            self._keys.settle(run)
        entry = None if run.schedule is None else self._entries.get(run.schedule)
        if entry is not None and run.origin == "schedule":
            entry.live.pop(run.id, None)
            if entry.live and (following := entry.next_to_go()) is not None:
                wake(following)
                self._waiting.until_ready(following)
                self._waiting.notify()
        self._history.push(run, now.wall, entry is not None and entry.record is not None)
        return entry

    async def note(self, run: RunRecord, now: Now) -> None:
        pass  # the progress is on the record already

    async def cancel(self, run_id: int, why: str, now: Now) -> Cancelled:
        run = self._runs.get(run_id)
        if run is not None and run.state == "running":
            self._request_cancel(run, why)
        if run is None or run.state != "pending":
            return Cancelled(run)
        self._drop(run, why, now)
        return Cancelled(run, ended=True)

    def _request_cancel(self, run: RunRecord, why: str) -> None:
        if run.cancel_requested is None:
            run.cancel_requested = why
            self._cancel_requests.append((run.id, why))
            self._waiting.notify()

    async def move(self, run_id: int, due: Instant, steady: bool, now: Now) -> RunRecord | None:
        run = self._runs.get(run_id)
        if run is not None and run.state == "pending":
            if run.waits_for != "overlap":
                self._waiting.leave(run, now)
            move(run, due, steady)
            if run.ready_at is not None:
                self._waiting.until_ready(run)
                self._waiting.notify()
        return run

    # ── queries ──────────────────────────────────────────────────────────────────────────────

    async def runs(self, query: RunQuery) -> list[RunRecord]:
        return await select(query, self._runs, self._entries, self._labels, self._history.letters)

    async def stretches(self, schedule: str, start: Instant, end: Instant) -> list[Stretch]:
        kept = self._entries[schedule].stretches if schedule in self._entries else ()
        return [stretch for stretch in kept if stretch.first <= end and stretch.last >= start]

    async def prune(self, now: Now, schedule: str | None = None) -> int:
        if schedule is None:
            return self._history.prune(now.wall)
        self._entry(schedule).stretches = ()
        return self._history.forget_schedule(schedule)

    def _forget(self, run: RunRecord) -> None:
        del self._runs[run.id]
        if run.rare is not None:
            self._keys.drop(run)
        self._labels.drop(run)
        if run.schedule is not None and (entry := self._entries.get(run.schedule)) is not None:
            entry.forget(run)
            if entry.blank:
                del self._entries[run.schedule]
