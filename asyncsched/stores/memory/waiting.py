"""Pending runs in memory: each waits for its time, its turn, a permit, or an instance that may begin it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator

from asyncsched._core.instants import Instant, Now
from asyncsched._core.records import RunRecord
from asyncsched._core.requests import Claim
from asyncsched._core.rules import transitions
from asyncsched.stores.memory.limiter import Limiter
from asyncsched.stores.memory.run_queue import RunQueue, take_out


class Waiting:
    """The queues of pending runs; each run is in one of them.

    A run that waits for an earlier run of its schedule is in none of them: the schedule's entry has it.
    """

    def __init__(self) -> None:
        # Called when a run may begin earlier than the last answer said.
        self.notify: Callable[[], None] = lambda: None
        self.limiter = Limiter(self._may_try)
        self._later = {False: RunQueue(), True: RunQueue()}  # by timeline: wall, steady
        self._ready: defaultdict[str, RunQueue] = defaultdict(RunQueue)  # by executor
        self._parked: dict[tuple[str, str], dict[int, RunRecord]] = {}

    # ── runs that wait for their time or turn ────────────────────────────────────────────────

    def until_ready(self, run: RunRecord) -> None:
        """Let a run wait until it is ready."""
        assert run.ready_at is not None
        self._later[run.steady].push(run.ready_at, run)

    def until_its_turn(self, run: RunRecord) -> None:
        """Let a run that is ready wait for free capacity of its executor."""
        self._ready[run.executor].push(run.rank, run)

    def ripen(self, now: Now, claim: Claim) -> None:
        """Let the runs whose time has come, or whose job is claimed again, wait for their turn."""
        if self._parked and claim.jobs is not None:
            self.release_unknown(claim.jobs)
        for steady, queue in self._later.items():
            at = now.steady if steady else now.wall
            for _ in range(claim.most):
                run = queue.pop(at)
                if run is None:
                    break
                self.until_its_turn(run)

    def next_times(self) -> tuple[Instant | None, Instant | None]:
        """Return the instants at which the earliest run is ready, on the wall and on the steady timeline."""
        return self._later[False].peek(), self._later[True].peek()

    def by_executor(self) -> Iterator[tuple[str, RunQueue]]:
        """Yield each executor that has ready runs, with these runs in order of rank."""
        return iter(list(self._ready.items()))

    # ── runs that wait for a permit ──────────────────────────────────────────────────────────

    def _may_try(self, run: RunRecord, at: Instant | None) -> None:
        """Let a run that waited for a limit try again, now or at a steady instant."""
        if at is None:
            if run.ready_at is None:
                run.ready_at = run.due
            self.until_its_turn(run)
        else:
            run.ready_at = at
            self._later[True].push(at, run)
        self.notify()

    # ── runs that no instance may begin now ──────────────────────────────────────────────────

    def park(self, kind: str, name: str, run: RunRecord, now: Now) -> None:
        """Park a run that may not begin: its ``job`` or ``schedule`` is paused, or its job ``unknown``."""
        transitions.park(run, "job" if kind == "unknown" else "paused")
        self._parked.setdefault((kind, name), {})[run.id] = run
        if run.permits:
            self.limiter.leave(run, now.steady)

    def release(self, kind: str, name: str) -> None:
        """Let the runs that were parked for this reason go on."""
        for run in self._parked.pop((kind, name), {}).values():
            transitions.wake(run)
            self.until_its_turn(run)
        self.notify()

    def release_unknown(self, jobs: Collection[str] | None = None) -> None:
        """Let the runs of these jobs, or of all, go on that no claim asked for: the next one may do so."""
        for kind, name in list(self._parked):
            if kind == "unknown" and (jobs is None or name in jobs):
                self.release(kind, name)

    def leave(self, run: RunRecord, now: Now) -> None:
        """Take a pending run out of the queue in which it waits."""
        take_out(run)
        if run.rare is None:
            return
        if run.waits_for in ("paused", "job"):
            for key in (("job", run.job), ("schedule", run.schedule or ""), ("unknown", run.job)):
                self._parked.get(key, {}).pop(run.id, None)
        if run.permits:
            self.limiter.leave(run, now.steady)
