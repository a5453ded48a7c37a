"""A store of one's own: the smallest that keeps every promise, written with ``asyncsched.abc`` alone.

It keeps its records in two dictionaries and looks through all of them at every claim. So nothing has to be
woken, put into a queue or counted: whether a pending run may begin is asked anew each time. The store in
memory that comes with the library answers the same questions without looking at every run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from asyncsched.abc import (
    FAILURES,
    Added,
    Cancelled,
    Claim,
    Claimed,
    Closed,
    Closing,
    Ending,
    Firing,
    Instant,
    JobPause,
    Now,
    Permit,
    RunQuery,
    RunRecord,
    ScheduleRecord,
    Store,
    Stretch,
    Verdict,
    admit,
    ending,
    gcra,
    heeding,
    lengthened,
    letters,
    retention,
    transitions,
)

MINUTE = 60_000_000


class SmallStore(Store):
    """Keeps schedules and runs for as long as the object lives."""

    durable = False

    def __init__(self) -> None:
        self._schedules: dict[str, ScheduleRecord] = {}
        self._runs: dict[int, RunRecord] = {}
        self._stretches: dict[str, list[Stretch]] = {}
        self._paused_jobs: dict[str, JobPause] = {}
        self._rates: dict[str, Instant] = {}  # of each rate's permit, the theoretical arrival time
        self._cancel_requests: list[tuple[int, str]] = []
        self._prune_at = 1000
        self._notify: Callable[[], None] = lambda: None

    async def open(self, notify: Callable[[], None]) -> None:
        self._notify = notify

    async def close(self) -> None:
        self._notify = lambda: None

    # ── schedules ────────────────────────────────────────────────────────────────────────────

    async def schedules(self, ids: Collection[str] | None = None) -> list[ScheduleRecord]:
        return [record for id, record in self._schedules.items() if ids is None or id in ids]

    async def put_schedule(
        self, record: ScheduleRecord, revision: int, now: Now, lost: Stretch | None = None
    ) -> ScheduleRecord:
        stands = self._schedules.get(record.id)
        if stands is not None and stands.revision != revision:
            return stands
        record.revision = revision + 1
        self._schedules[record.id] = record
        if lost is not None:
            self._skip(lost, None)
        self._notify()
        return record

    async def remove_schedule(self, id: str, now: Now) -> bool:
        self._stretches.pop(id, None)
        return self._schedules.pop(id, None) is not None

    async def pause_job(self, job: str, pause: JobPause | None, now: Now) -> None:
        if pause is not None:
            self._paused_jobs[job] = pause
        else:
            self._paused_jobs.pop(job, None)
            self._notify()

    async def paused_jobs(self) -> dict[str, JobPause]:
        return dict(self._paused_jobs)

    # ── runs come in ─────────────────────────────────────────────────────────────────────────

    async def add(self, runs: Sequence[RunRecord], now: Now, replace: bool = False) -> list[Added]:
        return [self._add(run, now, replace) for run in runs]

    def _add(self, run: RunRecord, now: Now, replace: bool) -> Added:
        holder = self._key_holder(run, now)
        if holder is None or transitions.pass_key(holder, run):
            self._runs[run.id] = run
            return Added(run, created=True)
        if not (replace and holder.state == "pending"):
            return Added(holder, created=False, conflict=holder.arguments != run.arguments)
        transitions.take_over(holder, run)
        self._notify()
        return Added(holder, created=False)

    async def close_letters(self, closings: Sequence[Closing], now: Now) -> list[Closed]:
        return [self._close(one, now) for one in closings]

    def _close(self, closing: Closing, now: Now) -> Closed:
        letter, run = self._runs.get(closing.letter), closing.run
        if letter is None:
            return Closed(None)
        if not letters.may_close(letter, closing):
            stands = self._runs.get(letter.requeued_as or 0)
            differs = stands is not None and run is not None and stands.arguments != run.arguments
            return Closed(letter, stands, conflict=differs)
        if run is None:
            letters.dismiss(letter, closing.note)
            return Closed(letter)
        added = self._add(run, now, False)
        if not added.conflict:
            letters.requeue(letter, added.run.id)
        return Closed(letter, *added)

    def _key_holder(self, run: RunRecord, now: Now) -> RunRecord | None:
        """Return the run that holds the key of ``run``: a live one, or for a while one that succeeded."""
        same = (one for one in self._runs.values() if run.key and (one.job, one.key) == (run.job, run.key))
        return next(
            (
                one
                for one in same
                if transitions.keeps_key(one) and transitions.answers_for_key(one, now.wall)
            ),
            None,
        )

    # ── the claim ────────────────────────────────────────────────────────────────────────────

    async def claim(self, claim: Claim, now: Now) -> Claimed:
        claimed = Claimed()
        for firing in claim.firings:
            self._fire(firing, claimed, now)
        self._begin_ready(claim, claimed, now)
        for run in self._pending():
            at = ready_at(run)
            if not run.steady and at > now.wall:
                claimed.next_wall = at if claimed.next_wall is None else min(at, claimed.next_wall)
            elif run.steady and at > now.steady:
                claimed.next_steady = at if claimed.next_steady is None else min(at, claimed.next_steady)
        for at in self._turns(now):
            claimed.next_steady = at if claimed.next_steady is None else min(at, claimed.next_steady)
        claimed.cancel_requests, self._cancel_requests = self._cancel_requests, []
        return claimed

    def _begin_ready(self, claim: Claim, claimed: Claimed, now: Now) -> None:
        """Begin what is ready, in the order of rank, as far as there is room."""
        free = dict(claim.free)
        for run in sorted(self._pending(), key=lambda run: (run.rank, run.id)):
            if ready_at(run) > (now.steady if run.steady else now.wall) or free.get(run.executor, 0) <= 0:
                continue
            if len(claimed.runs) == claim.most:
                claimed.more = True
                return
            if self._hindrance(run, claim) is None and self._permitted(run, claimed, now):
                transitions.begin(run, claim.holder, now)
                free[run.executor] -= 1
                claimed.runs.append(run)

    def _pending(self) -> Iterator[RunRecord]:
        return (run for run in self._runs.values() if run.state == "pending")

    def _own(self, schedule: str) -> Iterator[RunRecord]:
        """Yield the runs of a schedule's own slots."""
        runs = self._runs.values()
        return (run for run in runs if run.schedule == schedule and run.origin == "schedule")

    def _hindrance(self, run: RunRecord, claim: Claim) -> str | None:
        """Return, and write down, what a ready run waits for that is no limit."""
        schedule = self._schedules.get(run.schedule or "") if run.origin == "schedule" else None
        if run.waits_for == "overlap" and self._is_behind(run):
            return "overlap"
        if claim.jobs is not None and run.job not in claim.jobs:
            transitions.park(run, "job")
        elif run.job in self._paused_jobs or (schedule is not None and schedule.paused):
            transitions.park(run, "paused")
        else:
            transitions.wake(run)
        return run.waits_for

    def _is_behind(self, run: RunRecord) -> bool:
        """Whether a run that waits for the earlier ones of its schedule still has one before it."""
        others = (one for one in self._own(run.schedule or "") if one.live)
        return any((one.due, one.id) < (run.due, run.id) for one in others)

    def _permitted(self, run: RunRecord, claimed: Claimed, now: Now) -> bool:
        """Take all permits of a run or none; one that is over a dropping rate ends here."""
        shut = next((permit for permit in run.permits if not self._is_open(permit, now)), None)
        if shut is None:
            for permit in run.permits:
                if permit.interval:
                    theoretical = self._rates.get(permit.key, 0)
                    self._rates[permit.key] = gcra(theoretical, permit, now.steady)[1]
        elif shut.drop and run.started_at is None:
            transitions.drop(run, "rate_limited", now.wall)
            claimed.dropped.append(run)
        else:
            transitions.park(run, shut.key)
        return shut is None

    def _is_open(self, permit: Permit, now: Now) -> bool:
        if permit.interval:
            return gcra(self._rates.get(permit.key, 0), permit, now.steady)[0] <= now.steady
        running = (run for run in self._runs.values() if run.state == "running")
        return sum(any(held.key == permit.key for held in run.permits) for run in running) < permit.most

    def _turns(self, now: Now) -> Iterator[Instant]:
        """Yield when rates let the next of those begin that wait for one."""
        for run in self._pending():
            for permit in run.permits:
                if permit.interval and permit.key == run.waits_for:
                    yield gcra(self._rates[permit.key], permit, now.steady)[0]

    # ── schedules move on ────────────────────────────────────────────────────────────────────

    def _fire(self, firing: Firing, claimed: Claimed, now: Now) -> None:
        record = self._schedules.get(firing.schedule)
        if record is None:
            return
        claimed.schedules.append(record)
        if record.revision != firing.revision or record.paused:
            return
        before = record.cursor
        transitions.advance(record, firing)
        if firing.stretch is not None:
            claimed.skipped.append(self._skip(firing.stretch, before))
        for run in firing.runs:
            assert run.slot is not None
            if all(one.slot != run.slot for one in self._own(record.id)) and not record.used_up:
                self._admit(run, firing, before, claimed, now)
            before = run.slot
        if record.next_slot is None:
            claimed.ended.append(record)

    def _admit(self, run: RunRecord, firing: Firing, before: Instant, claimed: Claimed, now: Now) -> None:
        live = [one for one in self._own(firing.schedule) if one.live]
        waiting = sum(one.waits_for == "overlap" for one in live)
        decision = admit(firing.overlap, len(live), waiting, firing.chained)
        if decision == "skip":
            assert run.slot is not None
            lost = Stretch(firing.schedule, run.slot, run.slot, 1, "overlap")
            claimed.skipped.append(self._skip(lost, before))
            return
        if decision == "replace":
            for one in live:
                if one.state == "running":
                    self._ask_to_end(one, "replaced")
                else:
                    transitions.drop(one, "replaced", now.wall)
                    claimed.dropped.append(one)
        if decision != "run":
            transitions.park(run, "overlap")
        self._runs[run.id] = run
        ending.count_run(self._schedules[firing.schedule], run)

    def _skip(self, lost: Stretch, before: Instant | None) -> Stretch:
        """Write slots down that get no run; those that follow the newest ones are one stretch with them."""
        kept = self._stretches.setdefault(lost.schedule, [])
        newest = kept[-1] if kept else None
        stretch = lengthened(newest, lost, before)
        if newest is not None and stretch.first == newest.first:
            kept.pop()
        kept.append(stretch)
        del kept[: -retention.STRETCHES_KEPT]
        return lost

    # ── runs go out ──────────────────────────────────────────────────────────────────────────

    async def record(self, endings: Sequence[Ending]) -> list[bool]:
        held = [self._end(*ending) for ending in endings]
        self._notify()  # what waited for one of them may begin now
        if len(self._runs) > self._prune_at:  # nobody else prunes a store that is not shared
            await self.prune(endings[-1].now)
            self._prune_at = 2 * len(self._runs) + 1000
        return held

    def _end(self, run: RunRecord, verdict: Verdict, now: Now) -> bool:
        if run.state != "running":
            return False
        verdict = heeding(verdict, run.cancel_requested)
        transitions.end(run, verdict, now)
        if run.origin == "schedule" and (record := self._schedules.get(run.schedule or "")) is not None:
            self._count_failures(record, run, verdict, now)
        return True

    def _count_failures(self, record: ScheduleRecord, run: RunRecord, verdict: Verdict, now: Now) -> None:
        if run.state == "succeeded":
            record.failures = 0
        elif run.state in FAILURES:
            record.failures += 1
            if transitions.pause_after_failures(record, verdict.pause_after, now.wall):
                verdict.paused = record

    async def note(self, run: RunRecord, now: Now) -> None:
        """Do nothing: the progress stands on the record already."""

    async def cancel(self, run_id: int, why: str, now: Now) -> Cancelled:
        run = self._runs.get(run_id)
        pending = run is not None and run.state == "pending"
        if run is not None and run.state == "running":
            self._ask_to_end(run, why)
        elif run is not None and pending:
            transitions.drop(run, why, now.wall)
        self._notify()
        return Cancelled(run, ended=pending)

    def _ask_to_end(self, run: RunRecord, why: str) -> None:
        if run.cancel_requested is None:
            run.cancel_requested = why
            self._cancel_requests.append((run.id, why))

    async def move(self, run_id: int, due: Instant, steady: bool, now: Now) -> RunRecord | None:
        run = self._runs.get(run_id)
        if run is not None and run.state == "pending":
            transitions.move(run, due, steady)
            self._notify()
        return run

    # ── looking ──────────────────────────────────────────────────────────────────────────────

    async def runs(self, query: RunQuery) -> list[RunRecord]:
        return query.select(self._runs.values())

    async def stretches(self, schedule: str, start: Instant, end: Instant) -> list[Stretch]:
        kept = self._stretches.get(schedule, ())
        return [stretch for stretch in kept if stretch.first <= end and stretch.last >= start]

    # ── the history ──────────────────────────────────────────────────────────────────────────

    async def prune(self, now: Now, schedule: str | None = None) -> int:
        ended = [run for run in self._runs.values() if not run.live]
        if schedule is not None:
            self._stretches.pop(schedule, None)
            mine = [run.id for run in ended if run.schedule == schedule and run.key is None]
            for id in mine:
                del self._runs[id]
            return len(mine)
        ended.sort(key=lambda run: (run.finished_at or 0, run.id))
        kept = self._kept_for_schedules(ended)
        newest = {run.id for run in ended[-retention.Bounds().count :]}
        gone = [
            run for run in ended if run.id not in kept and not (run.id in newest and is_young(run, now.wall))
        ]
        for run in gone:
            del self._runs[run.id]
        return len(gone)

    def _kept_for_schedules(self, ended: Sequence[RunRecord]) -> set[int]:
        """Return the last 20 runs and the last failure of each schedule."""
        kept: set[int] = set()
        for id in self._schedules:
            own = [run for run in ended if run.schedule == id]
            failed = [run for run in own if run.state in FAILURES]
            kept.update(run.id for run in (*own[-retention.KEPT_PER_SCHEDULE :], *failed[-1:]))
        return kept


def ready_at(run: RunRecord) -> Instant:
    """Return when a pending run is or was ready, whatever it waits for: a point of priority is a minute of rank."""
    return run.rank + run.priority * MINUTE


def is_young(run: RunRecord, now: Instant) -> bool:
    """Whether the history keeps a run by its age, or because it answers for its key."""
    age = retention.DEAD_LETTERS if retention.is_dead_letter(run) else retention.Bounds().age
    return now - (run.finished_at or 0) <= age or (
        transitions.keeps_key(run) and transitions.answers_for_key(run, now)
    )
