"""Where pending runs wait in memory: for their time, their turn, a permit, or whoever may begin them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from asyncsched._core.instants import Instant, Now
from asyncsched._core.records import RunRecord
from asyncsched._core.rules import transitions
from asyncsched.stores.memory.limiter import Limiter
from asyncsched.stores.memory.run_queue import RunQueue, take_out


class Waiting:
    """The places in which a pending run can be; each is in one of them.

    One that waits for an earlier run of its schedule is in none: it stands in its book only.
    """

    def __init__(self) -> None:
        self.notify: Callable[[], None] = lambda: (
            None
        )  # called when something may begin earlier than was known
        self.limiter = Limiter(self._may_try)
        self._later = {False: RunQueue(), True: RunQueue()}  # by timeline: wall, steady
        self._ready: dict[str, RunQueue] = {}  # by executor
        self._parked: dict[tuple[str, str], dict[int, RunRecord]] = {}

    # ── for its time, and its turn ───────────────────────────────────────────────────────────

    def until_ready(self, run: RunRecord) -> None:
        """Let a run wait until it is ready."""
        assert run.ready_at is not None
        self._later[run.steady].push(run.ready_at, run)

    def until_its_turn(self, run: RunRecord) -> None:
        """Let a run that is ready wait for a place in its executor."""
        queue = self._ready.get(run.executor)
        if queue is None:
            queue = self._ready[run.executor] = RunQueue()
        queue.push(run.rank, run)

    def ripen(self, now: Now, most: int) -> None:
        """Let at most so many of those whose time has come wait for their turn."""
        for steady, queue in self._later.items():
            at = now.steady if steady else now.wall
            for _ in range(most):
                run = queue.pop(at)
                if run is None:
                    break
                self.until_its_turn(run)

    def next_times(self) -> tuple[Instant | None, Instant | None]:
        """Return when the earliest run is ready on the wall's and on the steady timeline."""
        return self._later[False].peek(), self._later[True].peek()

    def by_executor(self) -> Iterator[tuple[str, RunQueue]]:
        """Yield the executors for which runs are ready, with those in the order of their rank."""
        return iter(list(self._ready.items()))

    # ── for a permit ─────────────────────────────────────────────────────────────────────────

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

    # ── for whoever may begin it ─────────────────────────────────────────────────────────────

    def park(self, kind: str, name: str, run: RunRecord, now: Now) -> None:
        """Put a run aside that nobody may begin now: its ``job`` or ``schedule`` is paused, or ``unknown``."""
        transitions.park(run, "job" if kind == "unknown" else "paused")
        self._parked.setdefault((kind, name), {})[run.id] = run
        if run.permits:
            self.limiter.leave(run, now.steady)

    def release(self, kind: str, name: str) -> None:
        """Let those go on that were put aside for this reason."""
        for run in self._parked.pop((kind, name), {}).values():
            transitions.wake(run)
            self.until_its_turn(run)
        self.notify()

    def release_unknown(self) -> None:
        """Let all go on whose job was not known: whoever asks now may know it."""
        for kind, name in list(self._parked):
            if kind == "unknown":
                self.release(kind, name)

    def leave(self, run: RunRecord, now: Now) -> None:
        """Take a pending run out of wherever it waits."""
        take_out(run)
        if run.rare is None:
            return
        if run.waits_for in ("paused", "job"):
            for key in (("job", run.job), ("schedule", run.schedule or ""), ("unknown", run.job)):
                self._parked.get(key, {}).pop(run.id, None)
        if run.permits:
            self.limiter.leave(run, now.steady)
