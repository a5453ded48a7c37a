"""The registry of the declarations in the code: jobs by name, schedules by id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from asyncsched._core.arguments.functions import check_function, name_of
from asyncsched._core.errors import ConfigurationError, UnknownJob
from asyncsched._core.jobs import Declared, Job
from asyncsched._core.text import safe_repr, shorten
from asyncsched._core.trigger import as_instants
from asyncsched._scheduler.options import check_name, jitter_of, job_of, max_runs_of
from asyncsched.abc import Carried, Executor

_ADOPTED_KEPT = 1000


class Registry:
    """Jobs and declared schedules. A name belongs to one function, an id to one schedule.

    Args:
        executors: all executors by name.
        carried: what travels with the runs of every job.
        defaults: the options of jobs that do not have their own.

    """

    def __init__(
        self,
        executors: dict[str, Executor],
        carried: Mapping[str, Carried],
        defaults: Mapping[str, Any],
    ) -> None:
        self.executors = executors
        self.carried = carried
        self.defaults = defaults
        self._pinned = Counter[str]()  # adopted jobs that schedules have
        self._functions: dict[Any, Job] = {}
        self._adopted: dict[str, int] = {}  # jobs that were not declared, with the number of their live runs
        self._unused: dict[str, None] = {}  # adopted jobs without a live run, longest first
        self._numbers: dict[str, int] = {}  # the last number of an adopted name
        self._bare: set[str] = set()  # jobs declared without options: a stacked decorator may give them
        self._aliases: dict[str, str] = {}  # the former names of jobs
        self._first: dict[str, str] = {}  # the first schedule of each job that has one
        self.jobs: dict[str, Job] = {}
        self.schedules: dict[str, Declared] = {}

    # ── jobs ─────────────────────────────────────────────────────────────────────────────────

    def find(self, func: Callable[..., Any] | str) -> Job | None:
        """Return the job of this name, former name or function."""
        if isinstance(func, str):
            return self.jobs.get(self._aliases.get(func, func))
        try:
            return self._functions.get(func)
        except TypeError:  # an unhashable callable
            return next((job for job in self.jobs.values() if job.func is func), None)

    def get(self, func: Callable[..., Any] | str) -> Job:
        """Return the job of this name or function.

        Raises:
            UnknownJob: there is none; the error lists the declared jobs.

        """
        job = self.find(func)
        if job is None:
            check_function(func, "the job") if not isinstance(func, str) else None
            known = ", ".join(sorted(self.jobs)[:8]) or "none"
            name = func if isinstance(func, str) else name_of(func)
            if not isinstance(func, str) and name in self.jobs:
                raise UnknownJob(
                    name,
                    f"the job declared here has another function ({_where(self.jobs[name].func)}) than this "
                    f"({_where(func)}), which may be another scheduler's; give that function, or the name {name!r}",
                )
            why = "declare it with @scheduler.job(), since a database keeps the names of jobs"
            raise UnknownJob(name, f"{why}; declared are: {shorten(known, 200)}")
        return job

    def declare_job(self, func: Callable[..., Any], options: Mapping[str, Any]) -> Job:
        """Return the job of ``func``: a new one, or the one that a stacked decorator made.

        Raises:
            ConfigurationError: an option is wrong, or the name belongs to another function.

        """
        known = self.find(func)
        if known is None:
            job = self._job(func, options)
            if job.name in self.jobs:
                other = self.jobs[job.name].func
                raise ConfigurationError(
                    f"there is a job {job.name!r} already ({_where(other)}); this is {_where(func)}; "
                    "give one of them another name="
                )
            self._check_aliases(job)
            self._keep(job, not options)
            return job
        if not options:
            return known
        if known.name not in self._bare:
            raise ConfigurationError(
                f"job {known.name!r}: options ({', '.join(options)}) stand on more than one of its "
                "stacked decorators; give all of them on one"
            )
        if "name" in options and options["name"] != known.name:
            raise ConfigurationError(
                f"job {known.name!r}: give name= on the decorator nearest to the function"
            )
        job = self._job(func, options)
        self._check_aliases(job)
        self._keep(job, False)
        for id, declared in self.schedules.items():
            if declared.job is known:
                self.schedules[id] = replace(declared, job=job)
        return job

    def _check_aliases(self, job: Job) -> None:
        """Refuse a name or an alias that two jobs have."""
        if (other := self._aliases.get(job.name)) is not None:
            raise ConfigurationError(
                f"{job.name!r} is an alias of job {other!r}; give one of them another name="
            )
        for alias in job.aliases:
            if alias in self.jobs or alias == job.name:
                raise ConfigurationError(f"job {job.name!r}: aliases: there is a job {alias!r} already")
            if (other := self._aliases.get(alias)) is not None:
                raise ConfigurationError(
                    f"job {job.name!r}: aliases: {alias!r} is an alias of job {other!r} already"
                )

    def _job(self, func: Callable[..., Any], options: Mapping[str, Any]) -> Job:
        job = job_of(func, {**self.defaults, **options}, self.executor)
        return replace(job, carry={**self.carried, **job.carry}) if self.carried else job

    def _keep(self, job: Job, bare: bool) -> None:
        self.jobs[job.name] = job
        self._aliases.update(dict.fromkeys(job.aliases, job.name))
        (self._bare.add if bare else self._bare.discard)(job.name)
        try:
            self._functions[job.func] = job
        except TypeError:
            pass  # an unhashable function is found by identity

    def adopt(self, func: Callable[..., Any], forget: Callable[[str], None]) -> Job:
        """Return the job of a function that was not declared, as memory allows; the job gets a free name.

        Closures and partials made for each request would fill the memory. Of the adopted jobs that
        no run needs any more, the last thousand stay, so that their dead letters can be run again.

        Args:
            func: any callable that can be a job.
            forget: called with the name of an adopted job that is dropped.

        """
        job = self.find(func)
        if job is None:
            check_function(func, "schedule_once")
            base = "lambda" if name_of(func) == "<lambda>" else name_of(func)
            name = base
            while name in self.jobs:
                self._numbers[base] = self._numbers.get(base, 1) + 1
                name = f"{base}-{self._numbers[base]}"
            job = self._job(func, {"name": name})
            self._keep(job, False)
            self._adopted[name] = 0
            self._unused[name] = None
            while len(self._unused) > _ADOPTED_KEPT:
                self._drop(next(iter(self._unused)), forget)
        return job

    def restart(self) -> None:
        """Reset the counts of live runs: those of an earlier start are gone with the store in memory."""
        self._pinned.clear()
        for name in self._adopted:
            self._adopted[name] = 0
            self._unused[name] = None

    def _drop(self, name: str, forget: Callable[[str], None]) -> None:
        del self._unused[name], self._adopted[name]
        job = self.jobs.pop(name)
        try:
            self._functions.pop(job.func, None)
        except TypeError:
            pass  # an unhashable function is not in the dictionary
        forget(name)

    def in_use(self, name: str) -> None:
        """Count a run of a job, so that the job is not dropped; a declared job never is."""
        if name in self._adopted:
            self._adopted[name] += 1
            self._unused.pop(name, None)

    def let_go(self, name: str) -> None:
        """Count a run of a job that has ended."""
        if name in self._adopted:
            self._adopted[name] = max(
                0, self._adopted[name] - 1
            )  # a run that a schedule fired was not counted
            self._leave(name)

    def pin(self, name: str) -> None:
        """Count a schedule of a job, so that the job is not dropped."""
        if name in self._adopted:
            self._pinned[name] += 1
            self._unused.pop(name, None)

    def unpin(self, name: str) -> None:
        """Count a schedule of a job that was removed."""
        if name in self._adopted:
            self._pinned[name] -= 1
            self._leave(name)

    def _leave(self, name: str) -> None:
        if not self._adopted[name] and self._pinned[name] <= 0:
            self._unused[name] = None

    def executor(self, name: object, what: str) -> Executor:
        """Return the executor of this name.

        Raises:
            ConfigurationError: there is none.

        """
        if name == "process" and name not in self.executors:
            # Made when the first job names it, because its modules import subprocess and pickle.
            from asyncsched.executors.process.executor import ProcessExecutor

            self.executors["process"] = ProcessExecutor()
        found = self.executors.get(name) if isinstance(name, str) else None
        if found is None:
            known = ", ".join(sorted({"process", *self.executors}))
            raise ConfigurationError(f"{what}: there is no executor {safe_repr(name)}; there are {known}")
        return found

    # ── schedules ────────────────────────────────────────────────────────────────────────────

    def declare_schedule(
        self, job: Job, trigger: Any, id: str | None, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None,
        jitter: float | timedelta | None, max_runs: int | None,
    ) -> Declared:  # fmt: skip
        """Bind a trigger to a job in the code.

        Raises:
            ConfigurationError: the id is taken, or missing on a stacked decorator.
            ArgumentError: the job's function does not take the arguments.

        """
        if id is None and job.name in self._first:
            raise ConfigurationError(
                f"job {job.name!r} has a trigger already (schedule {self._first[job.name]!r}); "
                "give each further trigger an id="
            )
        id = check_name(job.name if id is None else id, "id")
        if id in self.schedules:
            raise ConfigurationError(f"there is a schedule {id!r} already; give this one another id=")
        declared = Declared(
            id, job, as_instants(trigger, f"schedule {id!r}"), job.signature.bind(args, kwargs),
            jitter_of(jitter, f"schedule {id!r}"), max_runs_of(max_runs, f"schedule {id!r}"),
        )  # fmt: skip
        self.schedules[id] = declared
        self._first.setdefault(job.name, id)
        return declared


def _where(func: Callable[..., Any]) -> str:
    code = getattr(func, "__code__", None)
    place = f", {code.co_filename}:{code.co_firstlineno}" if code else ""
    return f"{getattr(func, '__module__', '?')}.{name_of(func)}{place}"
