"""The ledger in memory: the default, with every promise but surviving the process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from asyncsched._clock import Now
from asyncsched._instants import MINUTE, Instant
from asyncsched._ledger import (
    Added,
    Claim,
    Claimed,
    Firing,
    JobPause,
    PastAttempt,
    RunQuery,
    RunRecord,
    ScheduleRecord,
    Stretch,
    Verdict,
)
from asyncsched._plan import admit
from asyncsched.stores._book import Book
from asyncsched.stores._history import Bounds, History
from asyncsched.stores._limiter import Limiter
from asyncsched.stores._queue import RunQueue, take_out

ATTEMPTS_KEPT = 200
_new = tuple.__new__


class MemoryStore:
    """Keeps runs and schedules as Python objects; arguments by reference.

    It lives in one event loop, where nothing else runs between two awaits: every method is one
    transaction because none of them awaits.
    """

    durable = False

    def __init__(self, bounds: Bounds | None = None) -> None:
        self._runs: dict[int, RunRecord] = {}
        self._books: dict[str, Book] = {}  # of each schedule
        self._ready: dict[str, RunQueue] = {}
        self._later = {False: RunQueue(), True: RunQueue()}  # by timeline: wall, steady
        self._keys: dict[tuple[str, str], RunRecord] = {}
        self._paused_jobs: dict[str, JobPause] = {}
        self._parked: dict[tuple[str, str], dict[int, RunRecord]] = {}
        self._limiter = Limiter(self._may_try)
        self._history = History(bounds or Bounds(), self._forget)
        self._hint: Callable[[], None] = lambda: None
        self._asked: list[tuple[int, str]] = []

    async def open(self, hint: Callable[[], None]) -> None:
        self._hint = hint
        for kind, name in list(self._parked):
            if kind == "unknown":  # whoever opens it now may know the job
                self._release_parked((kind, name))

    async def close(self) -> None:
        self._hint = lambda: None

    # ── schedules ────────────────────────────────────────────────────────────────────────────

    async def schedules(self, ids: Collection[str] | None = None) -> list[ScheduleRecord]:
        books = self._books.values() if ids is None else [self._books[id] for id in ids if id in self._books]
        return [book.record for book in books if book.record is not None]

    async def put_schedule(self, record: ScheduleRecord, revision: int, now: Now) -> ScheduleRecord:
        return self.put(record, revision)

    def put(self, record: ScheduleRecord, revision: int) -> ScheduleRecord:
        """Do what ``put_schedule`` does, for who cannot await."""
        stands = self._record(record.id)
        if (0 if stands is None else stands.revision) != revision:
            assert stands is not None or revision
            return stands if stands is not None else record
        record.revision = revision + 1
        self._book(record.id).record = record
        return record

    def _book(self, schedule: str) -> Book:
        book = self._books.get(schedule)
        if book is None:
            book = self._books[schedule] = Book()
        return book

    def _record(self, schedule: str | None) -> ScheduleRecord | None:
        book = self._books.get(schedule) if schedule is not None else None
        return None if book is None else book.record

    async def remove_schedule(self, id: str, now: Now) -> bool:
        # Nobody can ask any more what became of its slots: only its runs stay, until they are pruned.
        book = self._book(id)
        known, book.record = book.record is not None, None
        book.stretches.clear()
        self._history.drop_schedule(id)
        if book.blank:
            del self._books[id]
        self._release_parked(("schedule", id))
        return known

    async def release(self, schedule: str, lost: Stretch | None, now: Now) -> None:
        if lost is not None:
            self._book(schedule).skip(lost)
        self._release_parked(("schedule", schedule))

    async def pause_job(self, job: str, pause: JobPause | None, now: Now) -> None:
        if pause is not None:
            self._paused_jobs[job] = pause
        else:
            self._paused_jobs.pop(job, None)
            self._release_parked(("job", job))

    async def paused_jobs(self) -> dict[str, JobPause]:
        return dict(self._paused_jobs)

    def _release_parked(self, key: tuple[str, str]) -> None:
        for run in self._parked.pop(key, {}).values():
            run.waits_for, run.ready_at = None, run.due
            self._make_ready(run)
        self._hint()

    # ── runs come in ─────────────────────────────────────────────────────────────────────────

    async def add(self, runs: Sequence[RunRecord], now: Now, replace: bool = False) -> list[Added]:
        return [self._add(run, now, replace) for run in runs]

    def _add(self, run: RunRecord, now: Now, replace: bool) -> Added:
        if run.rare is not None and (holder := self._holder(run, now)) is not None:
            return self._found(holder, run, replace, now)
        self._insert(run)
        if run.due <= (now.steady if run.steady else now.wall):
            self._make_ready(run)  # "now" is the usual time; it need not pass through both queues
        else:
            self._enqueue(run)
        return _new(Added, (run, True, False))  # twice as quick as a named tuple's own constructor

    def _holder(self, run: RunRecord, now: Now) -> RunRecord | None:
        """Return the run that has the key of ``run``, and drop one whose time with it is over."""
        if run.key is None:
            return None
        holder = self._keys.get((run.job, run.key))
        if holder is None or holder.live:
            return holder
        if holder.finished_at is not None and now.wall < holder.finished_at + holder.key_ttl:
            return holder
        del self._keys[run.job, run.key]
        return None

    def _found(self, holder: RunRecord, run: RunRecord, replace: bool, now: Now) -> Added:
        if replace and holder.state == "pending":
            self._unqueue(holder, now)
            holder.arguments = run.arguments
            holder.permits = run.permits
            holder.priority = run.priority
            holder.key_ttl = run.key_ttl
            self._move(holder, run.due, run.steady)
            return Added(holder, False)
        return Added(holder, False, conflict=not _same(holder.arguments, run.arguments))

    def _insert(self, run: RunRecord) -> None:
        self._runs[run.id] = run
        if run.rare is not None and run.key is not None:
            self._keys[run.job, run.key] = run
        if run.origin == "schedule" and run.schedule is not None and run.slot is not None:
            book = self._book(run.schedule)
            book.live[run.id] = book.slots[run.slot] = run

    def _enqueue(self, run: RunRecord) -> None:
        assert run.ready_at is not None
        self._later[run.steady].push(run.ready_at, run)

    def _make_ready(self, run: RunRecord) -> None:
        queue = self._ready.get(run.executor)
        if queue is None:
            queue = self._ready[run.executor] = RunQueue()
        queue.push(run.rank, run)

    def _may_try(self, run: RunRecord, at: Instant | None) -> None:
        """Let a run that waited for a limit try again, now or at a steady instant."""
        if at is None:
            if run.ready_at is None:
                run.ready_at = run.due
            self._make_ready(run)
        else:
            run.ready_at = at
            self._later[True].push(at, run)
        self._hint()

    # ── the claim ────────────────────────────────────────────────────────────────────────────

    async def claim(self, claim: Claim, now: Now) -> Claimed:
        claimed = Claimed()
        for firing in claim.firings:
            self._fire(firing, claimed, now)
        self._ripen(now, claim.most)
        for name, queue in list(self._ready.items()):
            free = claim.free.get(name, 0)
            room = claim.most  # each executor's own: a flood for one must not keep the others waiting
            while free > 0 and room > 0 and (run := queue.pop()) is not None:
                if self._begin(run, claim, claimed, now):
                    free -= 1
                    room -= 1
            if free > 0 and queue.peek() is not None:
                claimed.more = True
        claimed.next_wall = self._later[False].peek()
        claimed.next_steady = self._later[True].peek()
        if self._asked:
            claimed.asked, self._asked = self._asked, []
        return claimed

    def _ripen(self, now: Now, most: int) -> None:
        """Move what has become ready from the queues by time to those by rank."""
        for steady, queue in self._later.items():
            at = now.steady if steady else now.wall
            for _ in range(most):
                run = queue.pop(at)
                if run is None:
                    break
                self._make_ready(run)

    def _fire(self, firing: Firing, claimed: Claimed, now: Now) -> None:
        book = self._books.get(firing.schedule)
        record = None if book is None else book.record
        if book is None or record is None:
            return
        claimed.schedules.append(record)
        if record.revision != firing.revision or record.paused:
            return
        before = record.cursor
        record.revision += 1
        record.cursor = firing.cursor
        record.next_slot = firing.next_slot
        record.next_due = firing.next_due
        if firing.stretch is not None:
            claimed.skipped.append(book.skip(firing.stretch, before))
        for run in firing.runs:
            assert run.slot is not None
            # The clock was put back past it where there is one: its record stands, it is not run twice.
            if run.slot not in book.slots:
                self._admit(run, book, firing, before, claimed, now)
            before = run.slot

    def _admit(
        self, run: RunRecord, book: Book, firing: Firing, before: Instant, claimed: Claimed, now: Now
    ) -> None:
        assert run.slot is not None
        decision = "run"
        if book.live:
            decision = admit(firing.overlap, len(book.live), book.waiting, firing.chained)
        # What is admitted behind others waits for those before it only (see Book.next_to_go).
        if decision == "skip":
            lost = Stretch(firing.schedule, run.slot, run.slot, 1, "overlap")
            claimed.skipped.append(book.skip(lost, before))
            return
        if decision == "replace":
            self._replace(book, claimed, now)
            decision = "wait" if book.live else "run"
        self._runs[run.id] = book.live[run.id] = book.slots[run.slot] = run
        if decision == "wait":
            run.waits_for, run.ready_at = "overlap", None
        else:
            self._make_ready(run)

    def _replace(self, book: Book, claimed: Claimed, now: Now) -> None:
        """Ask the running ones to end, and end those that have not begun."""
        for other in list(book.live.values()):
            if other.state == "running":
                self._ask(other, "replaced")
            else:
                self._finish(other, Verdict("cancelled", "replaced"), now)
                claimed.dropped.append(other)

    def _begin(self, run: RunRecord, claim: Claim, claimed: Claimed, now: Now) -> bool:
        if claim.jobs is not None and run.job not in claim.jobs:
            return self._park(("unknown", run.job), run, now)
        if run.job in self._paused_jobs:
            return self._park(("job", run.job), run, now)
        if run.schedule is not None and run.origin == "schedule":
            record = self._record(run.schedule)
            if record is not None and record.paused:
                return self._park(("schedule", run.schedule), run, now)
        if run.rare is not None and run.permits and not self._permitted(run, claimed, now):
            return False
        run.state = "running"
        run.holder = claim.holder
        run.attempt += 1
        run.started_at = now.wall
        if run.late is None:
            run.late = (now.steady if run.steady else now.wall) - run.due
        claimed.runs.append(run)
        return True

    def _park(self, key: tuple[str, str], run: RunRecord, now: Now) -> bool:
        """Put a run aside that nobody may begin now, without giving up its turn."""
        run.waits_for, run.ready_at = "job" if key[0] == "unknown" else "paused", None
        self._parked.setdefault(key, {})[run.id] = run
        if run.permits:
            self._limiter.leave(run, now.steady)
        return False

    def _permitted(self, run: RunRecord, claimed: Claimed, now: Now) -> bool:
        answer = self._limiter.take(run, now.steady)
        if answer == "drop":
            self._finish(run, Verdict("cancelled", "rate_limited"), now)
            claimed.dropped.append(run)
        return answer == "yes"

    # ── runs go out ──────────────────────────────────────────────────────────────────────────

    async def record(self, run: RunRecord, verdict: Verdict, now: Now) -> bool:
        if run.state != "running":
            return False
        if run.rare is not None or verdict.state != "succeeded":
            if run.attempts is not None or verdict.state != "succeeded":
                self._keep_attempt(run, verdict, now)
            if run.permits:
                self._limiter.give_back(run, now.steady)
        if verdict.state != "pending":
            self._finish(run, verdict, now)
        elif run.asked is not None:
            # A cancel that was asked while the attempt failed by itself: nothing may begin again.
            # `run` then says what became of it, not the verdict: whoever recorded looks there.
            self._finish(run, Verdict("cancelled", run.asked, error=verdict.error), now)
        else:
            self._wait_again(run, verdict)
        return True

    def _keep_attempt(self, run: RunRecord, verdict: Verdict, now: Now) -> None:
        assert run.started_at is not None
        past = PastAttempt(run.attempt, run.started_at, now.wall, verdict.attempt, verdict.why, verdict.error)
        kept = run.attempts = [*(run.attempts or ()), past]
        if len(kept) > ATTEMPTS_KEPT:  # one that snoozes for ever: its first attempt and its newest stay
            del kept[1]

    def _wait_again(self, run: RunRecord, verdict: Verdict) -> None:
        run.state = "pending"
        run.holder = 0
        run.asked = None
        run.error = verdict.error
        run.why = verdict.why
        if not verdict.spent:
            run.attempt -= 1
        assert verdict.ready_at is not None
        run.ready_at = verdict.ready_at
        run.steady = True  # a delay: a step of the wall clock does not exist for it
        run.rank = run.ready_at - run.priority * MINUTE
        self._enqueue(run)
        self._hint()

    def _finish(self, run: RunRecord, verdict: Verdict, now: Now) -> None:
        if run.state == "pending":
            self._unqueue(run, now)
        run.ready_at = None
        run.state = verdict.state
        run.why = verdict.why
        run.result = verdict.result
        run.finished_at = now.wall
        if run.rare is not None or verdict.error is not None:
            run.waits_for = None
            run.error = verdict.error
            if run.key is not None and not (run.state == "succeeded" and run.key_ttl):
                self._drop_key(run)
        book = None
        if run.schedule is not None:
            book = self._books.get(run.schedule)
            if book is not None and run.origin == "schedule":
                self._settle(run, book, verdict, now)
        self._history.push(run, now.wall, book is not None and book.record is not None)

    def _settle(self, run: RunRecord, book: Book, verdict: Verdict, now: Now) -> None:
        """Let the next run of the schedule go on, and count failures in a row."""
        book.live.pop(run.id, None)
        if book.live and (following := book.next_to_go()) is not None:
            following.waits_for = None
            following.ready_at = following.due
            self._enqueue(following)
            self._hint()
        book.count(run, verdict, now.wall)

    def _drop_key(self, run: RunRecord) -> None:
        assert run.key is not None
        if self._keys.get((run.job, run.key)) is run:
            del self._keys[run.job, run.key]

    async def note(self, run: RunRecord, now: Now) -> None:
        pass  # the progress stands on the record already

    async def cancel(self, run_id: int, why: str, now: Now) -> RunRecord | None:
        run = self._runs.get(run_id)
        if run is not None and run.state == "running":
            self._ask(run, why)
        elif run is not None and run.state == "pending":
            self._finish(run, Verdict("cancelled", why), now)
        return run

    def _ask(self, run: RunRecord, why: str) -> None:
        if run.asked is None:
            run.asked = why
            self._asked.append((run.id, why))
            self._hint()

    async def move(self, run_id: int, due: Instant, steady: bool, now: Now) -> RunRecord | None:
        run = self._runs.get(run_id)
        if run is not None and run.state == "pending":
            if run.waits_for == "overlap":  # it still waits for the run before it
                run.due, run.steady = due, steady
                run.rank = due - run.priority * MINUTE
            else:
                self._unqueue(run, now)
                self._move(run, due, steady)
        return run

    def _move(self, run: RunRecord, due: Instant, steady: bool) -> None:
        run.waits_for = None
        run.due = run.ready_at = due
        run.steady = steady
        run.rank = due - run.priority * MINUTE
        self._enqueue(run)
        self._hint()

    def _unqueue(self, run: RunRecord, now: Now) -> None:
        """Take a pending run out of wherever it waits."""
        take_out(run)
        if run.waits_for in ("paused", "job"):
            for key in (("job", run.job), ("schedule", run.schedule or ""), ("unknown", run.job)):
                self._parked.get(key, {}).pop(run.id, None)
        if run.permits:
            self._limiter.leave(run, now.steady)

    # ── looking ──────────────────────────────────────────────────────────────────────────────

    async def run(self, run_id: int) -> RunRecord | None:
        return self._runs.get(run_id)

    async def slot(self, schedule: str, slot: Instant) -> RunRecord | None:
        book = self._books.get(schedule)
        return None if book is None else book.slots.get(slot)

    async def runs(self, query: RunQuery) -> list[RunRecord]:
        found = [run for run in self._runs.values() if _matches(run, query)]
        found.sort(key=lambda run: (run.due, run.id), reverse=True)
        return found[: query.limit]

    async def stretches(self, schedule: str, start: Instant, end: Instant) -> list[Stretch]:
        kept = self._books[schedule].stretches if schedule in self._books else ()
        return [stretch for stretch in kept if stretch.first <= end and stretch.last >= start]

    async def prune(self, now: Now) -> int:
        return self._history.prune(now.wall)

    def _forget(self, run: RunRecord) -> None:
        del self._runs[run.id]
        if run.rare is not None and run.key is not None:
            self._drop_key(run)
        if run.schedule is not None and run.slot is not None:
            book = self._books.get(run.schedule)
            if book is not None and book.slots.get(run.slot) is run:
                del book.slots[run.slot]
                if book.blank:
                    del self._books[run.schedule]


def _same(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # arrays and the like refuse to be compared: then they are not the same
        return False


def _matches(run: RunRecord, query: RunQuery) -> bool:
    return (
        (query.job is None or run.job == query.job)
        and (query.schedule is None or run.schedule == query.schedule)
        and (query.states is None or run.state in query.states)
        and (query.origin is None or run.origin == query.origin)
        and (query.key is None or run.key == query.key)
        and (query.tag is None or query.tag in run.tags)
        and (query.slot is None or run.slot == query.slot)
        and (query.start is None or run.due >= query.start)
        and (query.end is None or run.due <= query.end)
        and (query.before is None or (run.due, run.id) < query.before)
    )
