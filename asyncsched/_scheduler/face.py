"""The base of the six parts of a scheduler's face: the registry, the running parts, and queries by id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from datetime import timedelta, tzinfo
from threading import get_ident
from typing import Any, Protocol, TypeVar

from asyncsched._core.checks import check_choice, check_text
from asyncsched._core.errors import ConfigurationError, UnknownRun, UnknownSchedule
from asyncsched._core.instants import Instant, Now, to_micros, to_zone
from asyncsched._core.jobs import Job
from asyncsched._core.records import RunRecord, ScheduleRecord
from asyncsched._core.requests import Added, RunQuery
from asyncsched._core.rules.retention import DEAD_LETTER_STATES
from asyncsched._core.states import FINAL_STATES
from asyncsched._engine.environment import Environment
from asyncsched._engine.pipeline import Runnables
from asyncsched._engine.worker import Worker
from asyncsched._scheduler.control import RunControl, in_another_loop
from asyncsched._scheduler.habits import Habits
from asyncsched._scheduler.handle import RunHandle, run_number
from asyncsched._scheduler.lookup import run_of_id
from asyncsched._scheduler.once import Once, conflict, make_run
from asyncsched._scheduler.registry import Registry

T = TypeVar("T")

_STATES = ("pending", "running", *sorted(FINAL_STATES))
EVERYTHING = 1_000_000
"""The limit of a query that has none: more rows than there are."""


class Running(Protocol):
    """The running parts of a scheduler or a scope, as its face uses them."""

    @property
    def main(self) -> Worker: ...

    @property
    def environment(self) -> Environment: ...

    @property
    def jobs(self) -> Runnables: ...

    @property
    def thread(self) -> int: ...

    async def local(self) -> Worker: ...

    def from_thread(self, call: Callable[[], Awaitable[T]]) -> T: ...


class Face(Habits):
    """The base of the parts. Each part adds calls; none of them needs another.

    Args:
        registry: the jobs and declared schedules.
        timezone: the zone of cron expressions without one.

    """

    def __init__(self, registry: Registry, timezone: str | tzinfo) -> None:
        self._registry = registry
        self._timezone = to_zone(timezone)
        self._open = False
        self._controls: dict[Worker, RunControl] = {}  # each made for the first handle of its worker

    def _running(self) -> Running:
        """Return the running parts.

        Raises:
            SchedulerStateError: the scheduler is not running.

        """
        raise NotImplementedError

    def _here(self) -> Running:
        """Return the running parts for a call that is awaited in their own event loop.

        Raises:
            SchedulerStateError: the scheduler is not running, or the caller's event loop is that of another thread.

        """
        running = self._running()
        if get_ident() != running.thread:
            raise in_another_loop()
        return running

    def _job_for(self, func: Any, running: Running) -> Job:
        """Return the job of a function or name; in memory, any function becomes one."""
        job = self._registry.find(func)
        if job is None:
            if isinstance(func, str) or running.main.store.durable or not callable(func):
                return self._registry.get(func)
            job = self._registry.adopt(func, running.jobs.unlearn)
            running.jobs.learn(job)
        return job

    # ── queries by id ────────────────────────────────────────────────────────────────────────

    async def _schedule(self, id: str) -> ScheduleRecord:
        store = self._here().main.store
        if not isinstance(id, str):
            raise UnknownSchedule(str(id), "give a schedule's id")
        found = await store.schedules((id,))
        if not found:
            declared = self._registry.schedules.get(id)
            local = declared is not None and declared.job.each_instance
            hint = "it is each_instance: every instance keeps its own, out of the lists" if local else ""
            if id in self._registry.jobs and not local:
                hint = f"{id!r} is a job; for a job there are pause_job(name) and resume_job(name)"
            raise UnknownSchedule(str(id), hint)
        return found[0]

    async def _run_record(self, id: str) -> RunRecord:
        found = await run_of_id(self._here().main.store, run_number(id))
        if found is None:
            raise UnknownRun(str(id))
        return found

    async def _letters(
        self, job: str | None, schedule: str | None, tag: str | None,
        state: str | Collection[str] | None, since: float | timedelta | None, limit: int = EVERYTHING,
    ) -> list[RunRecord]:  # fmt: skip
        check_texts(job=job, schedule=schedule, tag=tag)
        states = None if state is None else states_of(state)
        if not set(states or ()) <= set(DEAD_LETTER_STATES):
            words = ", ".join(map(repr, DEAD_LETTER_STATES))
            raise ConfigurationError(f"a dead letter's state is one of {words}")
        worker = self._here().main
        horizon = None if since is None else worker.timeline.now().wall - to_micros(since, "since")
        return await worker.store.runs(RunQuery(
            job=job, schedule=schedule, tag=tag, states=states, dead_letters=True, finished_since=horizon,
            limit=limit,
        ))  # fmt: skip

    # ── runs and their handles ───────────────────────────────────────────────────────────────

    def _make_run(
        self,
        worker: Worker,
        job: Job,
        once: Once,
        now: Now,
        origin: str = "once",
        schedule: str | None = None,
    ) -> RunRecord:
        """Return a run that is to be added, everything about it checked."""
        run = make_run(once, job, worker.ids.next(now.wall), now, as_json=worker.as_json)
        run.origin, run.schedule = origin, schedule
        self._registry.in_use(job.name)
        return run

    def _control(self, worker: Worker) -> RunControl:
        control = self._controls.get(worker)
        if control is None:
            waiters = self._running().environment.waiters
            control = self._controls[worker] = RunControl(worker, waiters, self._registry)
        return control

    def _handle_of(self, worker: Worker, run: RunRecord, added: Added) -> RunHandle[Any]:
        """Return the handle of the run that the ledger has for ``run``.

        Raises:
            KeyConflict: that run has other arguments.

        """
        stands, created, conflicts = added
        if stands is not run:
            self._registry.let_go(run.job)
        if conflicts:
            raise conflict(stands)
        control = self._controls.get(worker) or self._control(worker)
        return RunHandle(control, stands.id, stands, created)


def here(record: ScheduleRecord, now: Now) -> Instant:
    """Return the present moment on the timeline of a schedule."""
    return now.steady if record.steady else now.wall


def check_texts(**given: object) -> None:
    """Refuse texts that no store can hold; the error names the argument."""
    for name, value in given.items():
        check_text(value, name)


def states_of(state: str | Collection[str]) -> tuple[str, ...]:
    """Return the states as a tuple; refuse words that are no state."""
    states = (state,) if isinstance(state, str) else tuple(state)
    for one in states:
        check_choice(one, "state", _STATES)
    return states
