"""The ``Store`` protocol of a SQL database, as requests to two threads.

To add a database beside SQLite and PostgreSQL, these are the parts to know:

* SQL: ``stores/sql/common/*.sql`` has the named queries that all databases share; ``stores/<dialect>/sql/*.sql``
  has the queries that differ between databases, with the same names and results; ``stores/<dialect>/sql/0001_*.sql``
  and the numbered files after it are the schema. ``statements.load(dialect, adapt)`` reads the queries, and its
  ``adapt`` can rewrite ``:name`` and ``?`` into the driver's placeholders; ``schema`` applies the numbered files.
* ``session.Session``: one connection in its thread. A database fills in ``connect``, ``close``, ``execute``,
  ``executemany``, ``begin``, ``rollback``, ``script``, ``judge`` (is the statement to be tried again, is the
  database unavailable, or is this item wrong), ``explain`` (the driver's error as one of asyncsched), ``array``,
  ``write_id`` and ``read_id``, ``tell_others`` (inside the transaction), and ``time`` where the database has a clock.
  ``rows`` converts between records and rows, ``bulk`` makes one statement of many rows.
* ``operations/`` (``adding``, ``cancelling``, ``claiming``, ``recording``, ``limiter``, ``instances``,
  ``schedules``, ``stretches``, ``history``, ``query``, ``reporting``): plain code over a ``Session``, the same for every database.
  An operation may be begun again after an error, so it changes nothing but the database, and it always locks rows
  in this order: instance, schedules by id, runs, limits by key.
* ``connections``, ``thread`` and ``group_commit``: two connections, their threads, and group commit. Nothing in them
  depends on a database. A request that meets another transaction's lock waits in ``locked``.
* ``transactional`` and ``drivers``: writes in a transaction of the user's, through the user's connection.
* :class:`SqlStore`: a subclass makes two sessions (``_make_session``), prepares the schema (``_prepare``, in
  the opener's thread), and polls for changes by other instances (``_poll``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence, Set

from asyncsched._backends.turns import portions
from asyncsched._core.instants import Instant, Now
from asyncsched._core.records import JobPause, RunRecord, ScheduleRecord, Stretch
from asyncsched._core.requests import (
    Added,
    Cancelled,
    Changes,
    Claim,
    Claimed,
    Closed,
    Closing,
    Ending,
    RunQuery,
    Watch,
)
from asyncsched._core.rules.retention import Bounds
from asyncsched._core.rules.transitions import end
from asyncsched.stores.sql.cluster import Cluster
from asyncsched.stores.sql.group_commit import Operation, each
from asyncsched.stores.sql.locked import DIVIDE, LEAVE_OUT
from asyncsched.stores.sql.operations import history, limiter, renaming
from asyncsched.stores.sql.operations import instances as members
from asyncsched.stores.sql.operations import query as queries
from asyncsched.stores.sql.operations import schedules as schedule_rows
from asyncsched.stores.sql.operations import stretches as stretch_rows
from asyncsched.stores.sql.operations.adding import Adding, add
from asyncsched.stores.sql.operations.cancelling import Cancelling, Moving, cancel, move
from asyncsched.stores.sql.operations.claiming import Claiming, claim
from asyncsched.stores.sql.operations.letters import ClosingLetters, close_letters
from asyncsched.stores.sql.operations.recording import Noting, Recorded, Recording, note, record
from asyncsched.stores.sql.operations.reporting import prune_reporting
from asyncsched.stores.sql.paging import read_schedules
from asyncsched.stores.sql.reporting import Reporting
from asyncsched.stores.sql.session import Session
from asyncsched.stores.sql.thread import LEAST
from asyncsched.stores.sql.transactional import ByUser

logger = logging.getLogger("asyncsched.store")

_call: Operation = each(lambda session, payload: payload(session))

_OPERATIONS: dict[str, Operation] = {
    "beat": each(members.beat),
    "call": _call,
    "add": add,
    "note": note,
    "record": record,
    "leave": _call,
    "claim": each(claim),
}


_KEYED = 4
"""How many rows a run with a key counts for: its key is queried before the insert."""


class SqlStore(ByUser, Cluster, Reporting):
    """A ledger of schedules and runs in a database.

    Args:
        namespace: the namespace of the rows; schedulers of one namespace are one cluster.
        timeout: seconds that a call waits for an answer.
        lease: seconds for which an instance's beat must stand still before another declares it dead.
        beat: seconds between two beats.
        poll: seconds between two polls for changes by other instances.
        migrate: whether to make the tables, and bring them up to date, at start; where the role may not do
            so, see :mod:`asyncsched.stores.migrations`.

    All instances of one cluster must agree on lease, beat and poll.

    """

    durable = True

    def __init__(
        self, namespace: str = "default", *, timeout: float = 5.0, lease: float = 15.0, beat: float = 5.0,
        poll: float = 0.25, migrate: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(timeout, _OPERATIONS)
        self.namespace = namespace
        self.lease = lease
        self.beat_every = beat
        self.poll_every = poll
        self.migrates = migrate
        self.bounds = Bounds()
        self.notified: Callable[[bool, Set[int] | None], None] = lambda work, runs: None
        self._confirmed = 0  # how many lost answers have been confirmed
        self._last_claim: Claim | None = None  # without its firings
        self._completing: set[int] = set()  # runs whose success may stand in the job's own transaction

    async def open(self, notify: Callable[[], None]) -> None:
        self._confirmed, self._last_claim = 0, None  # the new writer's count of lost answers begins at 0
        await super().open(notify)

    # ── a database fills this in, and the methods of ``Connected`` ───────────────────────────────

    def _poll(self, session: Session, watch: Watch, wanted: Claim | None) -> Changes | None:
        """Return the changes since the last poll, ``None`` if there are none. In the reader's thread.

        Args:
            session: the reader's connection.
            watch: the versions and runs that the instance knows of.
            wanted: the next claim, as far as the last one predicts it.

        """
        return members.poll(session, watch)

    # ── schedules ────────────────────────────────────────────────────────────────────────────

    async def schedules(self, ids: Collection[str] | None = None) -> list[ScheduleRecord]:
        return await read_schedules(self._read, ids)

    async def put_schedule(
        self, record: ScheduleRecord, revision: int, now: Now, lost: Stretch | None = None
    ) -> ScheduleRecord:
        won, stands, rest = await self._call(
            schedule_rows.put_schedule, schedule_rows.Putting(record, revision, lost)
        )
        if not won:
            return record if stands is None else stands
        record.revision = revision + 1
        if rest is not None:
            await self._wake(rest, schedule_rows.Whose(schedule=record.id))
        return record

    async def remove_schedule(self, id: str, now: Now) -> bool:
        gone, rest = await self._call(schedule_rows.remove_schedule, id)
        await self._wake(rest, schedule_rows.Whose(schedule=id))
        was_there: bool = gone
        return was_there

    async def pause_job(self, job: str, pause: JobPause | None, now: Now) -> None:
        await self._wake(await self._call(schedule_rows.pause_job, job, pause), schedule_rows.Whose(job))

    async def _wake(self, first: int | None, whose: schedule_rows.Whose) -> None:
        """Let the remaining runs of a resume go on, in portions, so that no beat waits for all of them.

        If this process ends in between, the remaining runs go on when an instance prunes.
        """
        self._notify()
        while first is not None:
            first = await self._call(schedule_rows.wake, whose, first)
            self._notify()

    async def paused_jobs(self) -> dict[str, JobPause]:
        found: dict[str, JobPause] = await self._read(schedule_rows.paused_jobs)
        return found

    # ── runs ─────────────────────────────────────────────────────────────────────────────────

    async def add(self, runs: Sequence[RunRecord], now: Now, replace: bool = False) -> list[Added]:
        if len(runs) == 1:  # nearly every call
            about = None if runs[0].rare is None or runs[0].key is None else (runs[0].job, runs[0].key)
            return await self._add(Adding(runs, now, replace), about=about)
        added: list[Added] = []
        while len(added) < len(runs):  # in portions, so that no beat waits for a large batch
            most = LEAST if self._writer is None else self._writer.most
            some, each = runs[len(added) : len(added) + most], 1
            if any(run.rare is not None and run.key is not None for run in some):
                some, each = some[: max(LEAST, most // _KEYED)], _KEYED
            added += await self._add(Adding(some, now, replace), each * len(some))
        return added

    async def close_letters(self, closings: Sequence[Closing], now: Now) -> list[Closed]:
        closed: list[Closed] = []
        for some in portions(closings, LEAST):
            closed += await self._call(close_letters, ClosingLetters(some, now))
        self._notify()
        return closed

    async def claim(self, claim: Claim, now: Now) -> Claimed:
        self._last_claim = claim._replace(firings=[])
        jobs = sorted(claim.jobs) if claim.jobs is not None else ()
        wanted = Claim(claim.holder, claim.firings, dict(claim.free), claim.most, jobs)
        claimed: Claimed = await self._write(
            "claim", Claiming(wanted, now), 4 * len(claim.firings) + 64, urgent=True, about=LEAVE_OUT
        )
        return claimed

    async def record(self, endings: Sequence[Ending]) -> list[bool]:
        answers: list[Recorded] = []
        while len(answers) < len(endings):  # in portions, so that no beat waits for many
            most = LEAST if self._writer is None else self._writer.most
            some = endings[len(answers) : len(answers) + most]
            about = some[0].run.id if len(some) == 1 else DIVIDE
            recording = Recording(some, frozenset(self._completing))
            answers += await self._write("record", recording, len(some), about=about)
        for (run, verdict, now), answer in zip(endings, answers, strict=True):
            self._completing.discard(run.id)
            if answer.held:
                end(run, answer.verdict, now)
            verdict.paused = answer.paused
        if any(answer.woken for answer in answers):
            self._notify()
        return [answer.held for answer in answers]

    async def note(self, run: RunRecord, now: Now) -> None:
        await self._write("note", Noting(run), about=run.id)

    async def cancel(self, run_id: int, why: str, now: Now) -> Cancelled:
        answer: Cancelled = await self._call(cancel, Cancelling(run_id, why, now, []), about=run_id)
        self._notify()
        return answer

    async def move(self, run_id: int, due: Instant, steady: bool, now: Now) -> RunRecord | None:
        run: RunRecord | None = await self._call(move, Moving(run_id, due, now), about=run_id)
        return run

    # ── queries ──────────────────────────────────────────────────────────────────────────────

    async def runs(self, query: RunQuery) -> list[RunRecord]:
        found: list[RunRecord] = await self._read(lambda session: queries.runs(session, query))
        return found

    async def stretches(self, schedule: str, start: Instant, end: Instant) -> list[Stretch]:
        found: list[Stretch] = await self._read(
            lambda session: stretch_rows.stretches(session, schedule, start, end)
        )
        return found

    async def prune(self, now: Now, schedule: str | None = None) -> int:
        if schedule is not None:
            return await self._forget(schedule, now.wall)
        horizons, ids, strays = await self._read(
            lambda session: history.survey(session, self.bounds, now.wall)
        )
        total = 0
        after: Instant | None = schedule_rows.FIRST
        while after is not None:
            gone, after = await self._call(history.prune, horizons, after)
            total += gone
        for some in portions(ids, stretch_rows.SCHEDULES_AT_ONCE):
            await self._call(stretch_rows.prune_stretches, some)
        await self._call(limiter.sweep_limits, now.wall)
        await self._call(prune_reporting, now.wall)
        for job in strays:
            await self._wake(schedule_rows.FIRST, schedule_rows.Whose(job))
        return total

    # ── the cluster ──────────────────────────────────────────────────────────────────────────

    async def time(self) -> Instant:
        """Return the store's time: the host's wall clock, or the virtual clock's."""
        return self.clock.wall()

    async def poll(self, watch: Watch) -> Changes | None:
        wanted = last = self._last_claim
        # Jobs may have been registered since then, and executors may have capacity again.
        if last is not None:
            wanted = last._replace(free=dict.fromkeys(last.free, 1), most=1, jobs=tuple(last.jobs or ()))
        try:
            changes: Changes | None = await self._read(
                lambda session: self._poll(session, watch, wanted), "poll"
            )
        except members.NoLedger:
            logger.warning(
                "the row of namespace %r in asyncsched_ledger was deleted; it is inserted again",
                self.namespace,
            )
            await self._call(members.found)
            return None
        return changes

    async def job_names(self) -> list[str]:
        found: list[str] = await self._read(lambda session: [name for (name,) in session.all("job_names")])
        return found

    async def rename_job(self, old: str, new: str, schedule: bool = False) -> tuple[list[str], int]:
        ids: list[str] = await self._call(renaming.rename_schedules, old, new, schedule)
        while schedule and new in ids and await self._call(renaming.rename_past_runs, old, new):
            pass
        total, some = 0, 1
        while some:  # in portions, so that no beat waits for all of them
            some = await self._call(renaming.rename_runs, old, new)
            total += some
        if total:
            self._notify()
        return ids, total

    @property
    def lost_answers(self) -> int:
        if self._writer is None or self._group is None:
            return 0
        return self._writer.lost_answers + self._group.lost_answers

    @property
    def unconfirmed(self) -> bool:
        return self.lost_answers > self._confirmed

    def confirm(self, lost_answers: int) -> None:
        self._confirmed = lost_answers
