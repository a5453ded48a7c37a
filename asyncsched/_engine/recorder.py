"""The verdicts on attempts go into the ledger, those of one turn of the loop together.

An attempt's task ends with its verdict. The verdict waits here for as long as the store is away, and no handle
and no observer hears of it before it is recorded.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import anyio

from asyncsched._core.errors import StoreUnavailable
from asyncsched._core.jobs import Job
from asyncsched._core.records import RunRecord
from asyncsched._core.requests import Ending, Verdict
from asyncsched._core.rules.outcome import error_info
from asyncsched.abc import ImmediateStore

if TYPE_CHECKING:
    from asyncsched._backends.base import Main
    from asyncsched._core.instants import Now
    from asyncsched._engine.environment import Environment
    from asyncsched.abc import Store

logger = logging.getLogger("asyncsched.job")

_new = tuple.__new__

Ended = tuple[Ending, Job]

AT_ONCE = 256
"""The most endings in one request to the store, so that its answer takes the loop less than 1 ms."""

SLICE = 64
"""The most recorded endings that are passed on in one turn of the loop."""


class Recorder:
    """Records the ends of attempts, and tries each until the store accepts or refuses it, or until the last call.

    Args:
        store: the ledger.
        environment: the scheduler's shared parts.
        recorded: called with an ending and its job when the ending is in the ledger, or never will be; the last
            argument says whether this instance held the run, so that it was recorded.

    """

    def __init__(
        self,
        store: Store,
        environment: Environment,
        recorded: Callable[[RunRecord, Verdict, Now, Job, bool], None],
    ) -> None:
        self._store = store
        # A store in memory answers at once, without a task and without a list.
        self._end = store.end if isinstance(store, ImmediateStore) else None
        self._backend = environment.backend
        self._context = environment.context
        self._recorded = recorded
        self.unrecorded: dict[int, RunRecord] = {}  # ended, and not yet in a durable store
        self._gathered: list[Ended] = []  # the endings of this turn of the loop
        self._last_call = anyio.Event()

    def last_call(self) -> None:
        """Try once more to record the endings that the store has not accepted, and then no more."""
        self._last_call.set()

    # ── gathering ────────────────────────────────────────────────────────────────────────────

    def take(self, run: RunRecord, verdict: Verdict, now: Now, job: Job) -> None:
        """Record an ending together with the others of this turn of the loop."""
        if self._end is None:
            self._gather(run, verdict, now, job)
            return
        try:
            held = self._end(run, verdict, now)
        except Exception as refused:
            self._spawn(self._not_taken(((Ending(run, verdict, now), job),), refused))
        else:
            self._recorded(run, verdict, now, job, held)

    def _gather(self, run: RunRecord, verdict: Verdict, now: Now, job: Job) -> None:
        self.unrecorded[run.id] = run
        self._gathered.append((_new(Ending, (run, verdict, now)), job))
        if len(self._gathered) == 1:
            self._spawn(self.record_gathered())

    async def record_gathered(self) -> None:
        """Record the endings so far. A separate task calls this, or an attempt's task that must not end before."""
        gathered, self._gathered = self._gathered, []
        for first in range(AT_ONCE, len(gathered), AT_ONCE):
            self._spawn(self._record(gathered[first : first + AT_ONCE]))
        if gathered:
            await self._record(gathered[:AT_ONCE])

    def _spawn(self, main: Main) -> None:
        self._backend.spawn(main, self._context.copy(), apart=True)

    # ── recording ────────────────────────────────────────────────────────────────────────────

    async def _record(self, ended: Sequence[Ended]) -> None:
        try:
            held = await self._answer([ending for ending, _ in ended])
        except Exception as error:
            await self._not_taken(ended, error)
            return
        left = deque(zip(ended, held, strict=True))
        try:
            while left:
                for _ in range(min(SLICE, len(left))):
                    self._tell(*left.popleft())
                if left:
                    await self._backend.pause()
        finally:  # the loop ends, or an observer ends the program: the other endings are passed on all the same
            while left:
                self._tell(*left.popleft())

    async def _answer(self, endings: Sequence[Ending]) -> list[bool]:
        """Return the store's answer, however long the store is away: the runs are over, and only their outcome waits.

        Raises:
            StoreUnavailable: the store was still away at the last call.

        """
        pause, cut_off = 0.1, False
        while True:
            try:
                try:
                    return await self._store.record(endings)
                except StoreUnavailable:
                    if cut_off or self._last_call.is_set():
                        raise
                with anyio.move_on_after(pause):
                    await self._last_call.wait()
                pause = min(2 * pause, 5.0)
            except anyio.get_cancelled_exc_class():
                if cut_off or self._last_call.is_set():
                    raise
                cut_off = True  # asyncio's loop ends and waits for this task, so there is one more try

    async def _not_taken(self, ended: Sequence[Ended], error: Exception) -> None:
        """Give up endings that the store refuses, or has not accepted until the last call."""
        if isinstance(error, StoreUnavailable):
            for ending, job in ended:
                _say(ending, error)
                self._recorded(
                    *ending, job, False
                )  # it stays in ``unrecorded``: leave() must not release the run
        elif len(ended) > 1:
            for one in ended:  # each alone, which shows the one that is refused
                self._spawn(self._record((one,)))
        else:
            await self._fail_instead(*ended[0], error)

    async def _fail_instead(self, ending: Ending, job: Job, refused: Exception) -> None:
        """Record as failed a run whose outcome the store refused, for a text that its encoding lacks, say."""
        _say(ending, refused)
        verdict = Verdict("failed", "result", error=error_info(refused), pause_after=job.pause_after)
        ending = ending._replace(verdict=verdict)
        try:
            (held,) = await self._answer((ending,))
        except StoreUnavailable as error:
            await self._not_taken(((ending, job),), error)
        except Exception as error:
            _say(ending, error)
            self._tell((ending, job), False)
        else:
            self._tell((ending, job), held)

    def _tell(self, ended: Ended, held: bool) -> None:
        ending, job = ended
        if (
            self.unrecorded.get(ending.run.id) is ending.run
        ):  # otherwise the run's next attempt has ended, too
            del self.unrecorded[ending.run.id]
        self._recorded(*ending, job, held)


def _say(ending: Ending, error: Exception) -> None:
    run, verdict, _ = ending
    logger.error(
        "run %032x of job %r ended as %s, and the store did not take it: %s",
        run.id, run.job, verdict.state, error, exc_info=not isinstance(error, StoreUnavailable),
        extra={"run_id": f"{run.id:032x}", "job": run.job},
    )  # fmt: skip
