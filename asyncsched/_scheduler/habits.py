"""What other schedulers call things, and what to write here: for errors, and for what ``asyncsched import`` reports."""

from __future__ import annotations

from inspect import getattr_static
from typing import Any

OPTIONS = {
    "max_instances": 'for 1 leave it out: overlap="skip" is the default; for 3 write overlap="allow", '
    'max_running=Limit(3, full="skip")',
    "misfire_grace_time": "write misfire=Misfire(grace=60)",
    "coalesce": 'for True leave it out; for False write misfire=Misfire(catch_up="all")',
    "timezone": "an interval has no zone; Cron(…, timezone=…) and Every(…, timezone=…) have one",
    "start": "give it to the trigger: Cron(…, start=…)",
    "end": "give it to the trigger: Cron(…, end=…)",
    "next_run_time": "write immediate=True for an interval that begins at once; for another trigger await "
    "scheduler.run_now(id) where the app starts",
    "replace_existing": "leave it out: what the code declares takes the place of what the store has",
    "jobstore": "a scheduler has one store: Scheduler(url)",
    "max_retries": "write retry=Retry(attempts=4) for 3 retries",
    "retries": "write retry=Retry(attempts=4) for 3 retries",
}
"""What to write in place of an option of another scheduler, and of one that belongs to another call."""

SYNONYMS = {"tz": "timezone", "zone": "timezone", "start_date": "start", "end_date": "end"}
"""Other names of what some calls here have."""

CALLS = {
    "add_job": "write @scheduler.interval(…) or @scheduler.cron(…) on the function; while the app runs, "
    "await scheduler.add_schedule(f, trigger, id=…), and await scheduler.schedule_once(f, at=…) for a date",
    "scheduled_job": 'write @scheduler.interval(minutes=5) or @scheduler.cron("0 7 * * mon-fri")',
    "start": "the lifespan starts it: FastAPI(lifespan=scheduler.lifespan), or `async with scheduler:`, or "
    "anyio.run(scheduler.run_forever)",
    "shutdown": "the end of the lifespan, or of `async with scheduler:`, shuts it down; scheduler.stop() ends run_forever()",
    "pause": "write await scheduler.pause(id) for one schedule, and await scheduler.pause_many(tag=…) for several; "
    "scheduler.drain() begins no more runs until the next start",
    "resume": "write await scheduler.resume(id) for one schedule, and await scheduler.resume_many(tag=…) for several",
    "remove_job": "write await scheduler.remove(id) for a schedule, and await scheduler.cancel_many(key=…) for a run that waits",
    "pause_job": "write await scheduler.pause(id) for one schedule; pause_job(name) here pauses a job with all its schedules",
    "resume_job": "write await scheduler.resume(id) for one schedule; resume_job(name) here is for a whole job",
    "reschedule_job": "write await scheduler.reschedule(id, trigger)",
    "modify_job": "write await scheduler.reschedule(id, trigger) for other times, and await scheduler.add_schedule(f, "
    "trigger, id=id, replace=True) for other arguments; options such as max_instances belong to the job's decorator",
    "get_job": "write await scheduler.schedule(id), which raises UnknownSchedule where get_job returned None",
    "get_jobs": "write await scheduler.schedules(), and await scheduler.runs(state=\"pending\") for one-offs that wait",
    "print_jobs": "write await scheduler.schedules(); `asyncsched schedules` lists them in a terminal",
    "remove_all_jobs": "write await scheduler.remove(id) for each of await scheduler.schedules() that no code declares, and "
    "await scheduler.cancel_many(job=…) for one-offs",
    "add_listener": "write @scheduler.on_failure on a function that hears of failures, or Scheduler(observers=[f]) with "
    "f.wants, a class of asyncsched.events",
    "remove_listener": "an observer stays as long as its scheduler",
    "add_jobstore": "a scheduler has one store: Scheduler(\"sqlite:///jobs.db\"), or the URL of PostgreSQL",
    "remove_jobstore": "a scheduler has one store: Scheduler(url)",
    "add_executor": "write Scheduler(executors={name: …})",
    "remove_executor": "write Scheduler(executors={name: …})",
    "configure": "write the arguments of Scheduler(…), or Scheduler.from_env()",
    "running": "write scheduler.ready()",
    "wakeup": "leave it out: a scheduler wakes by itself for every change",
    "export_jobs": "the database holds the schedules, and `asyncsched schedules --json` writes them",
    "import_jobs": "`asyncsched import apscheduler` makes code of jobs",
}  # fmt: skip
"""What to write in place of a call of APScheduler's scheduler; some of the names have another meaning here."""


class _Habit:
    """A name that is not there: reading it is the usual error, with what to write here.

    A ``__getattr__`` would do the same, and make each attribute of a scheduler slow to read: a tenth of
    ``schedule_once``, which reads a dozen.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        missing = f"{owner.__name__!r} object has no attribute {self._name!r}"
        raise AttributeError(f"{missing}: {CALLS[self._name]}")


class Habits:
    """Answers a name that another scheduler has and this one has not with what to write here."""

    def __dir__(self) -> list[str]:
        names = super().__dir__()
        return [name for name in names if not isinstance(getattr_static(self, name, None), _Habit)]


for _name in CALLS:
    setattr(
        Habits, _name, _Habit(_name)
    )  # a type checker does not see it, and refuses the name as any that is missing
