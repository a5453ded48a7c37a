"""What the code declares: jobs by name, schedules by id, and every option checked as it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypedDict

from asyncsched._errors import ConfigurationError, UnknownJob, shorten, shown
from asyncsched._instants import to_micros
from asyncsched._jobs import Job, Signature, check_function, is_async, name_of
from asyncsched._ledger import Arguments
from asyncsched._models import OVERLAPS, Misfire, Overlap, check_choice, check_int
from asyncsched._plan import as_instants
from asyncsched.abc import Executor, InstantTrigger, Policy
from asyncsched.policies import Limit, RateLimit, Retry

_ADOPTED_KEPT = 1000


class Options(TypedDict, total=False):
    """What may be said of a job; the same for every decorator."""

    name: str
    executor: str
    timeout: float | timedelta
    retry: Retry
    overlap: Overlap
    misfire: Misfire
    max_running: int | Limit
    rate_limit: str | RateLimit
    priority: int
    tags: Iterable[str]
    policies: Iterable[Policy]
    pause_after: int
    each_instance: bool
    carry: Iterable[ContextVar[Any]]


_OPTIONS = frozenset(Options.__annotations__)


@dataclass(frozen=True, slots=True)
class Declared:
    """A schedule that stands in the code."""

    id: str
    job: Job
    trigger: InstantTrigger
    arguments: Arguments
    jitter: int


class Registry:
    """Jobs and declared schedules. A name belongs to one function, an id to one schedule."""

    def __init__(self, executors: dict[str, Executor]) -> None:
        self.executors = executors
        self._functions: dict[Any, Job] = {}
        self._adopted: dict[str, int] = {}  # nobody declared them: how many live runs they have,
        self._unused: dict[str, None] = {}  # which have none, longest first,
        self._numbers: dict[str, int] = {}  # and the last number a name was given
        self._bare: set[str] = set()  # jobs declared without options: a stacked decorator may give them
        self.jobs: dict[str, Job] = {}
        self.schedules: dict[str, Declared] = {}

    # ── jobs ─────────────────────────────────────────────────────────────────────────────────

    def find(self, func: Callable[..., Any] | str) -> Job | None:
        """Return the job of this name or function."""
        if isinstance(func, str):
            return self.jobs.get(func)
        try:
            return self._functions.get(func)
        except TypeError:  # an unhashable callable
            return next((job for job in self.jobs.values() if job.func is func), None)

    def get(self, func: Callable[..., Any] | str) -> Job:
        """Return the job of this name or function.

        Raises:
            UnknownJob: there is none; what is near is named.

        """
        job = self.find(func)
        if job is None:
            check_function(func, "the job") if not isinstance(func, str) else None
            known = ", ".join(sorted(self.jobs)[:8]) or "none"
            name = func if isinstance(func, str) else name_of(func)
            raise UnknownJob(name, f"declare it with @scheduler.job(); declared are: {shorten(known, 200)}")
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
        self._keep(job, False)
        for id, declared in self.schedules.items():
            if declared.job is known:
                self.schedules[id] = Declared(id, job, declared.trigger, declared.arguments, declared.jitter)
        return job

    def _keep(self, job: Job, bare: bool) -> None:
        self.jobs[job.name] = job
        (self._bare.add if bare else self._bare.discard)(job.name)
        try:
            self._functions[job.func] = job
        except TypeError:
            pass  # unhashable: found by identity

    def adopt(self, func: Callable[..., Any], forget: Callable[[str], None]) -> Job:
        """Return the job of a function that nobody declared, as memory allows; it gets a free name.

        Closures and partials made for each request would fill the memory: of the adopted jobs that
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
        """Hear that runs of an earlier life are gone with the memory they were kept in."""
        for name in self._adopted:
            self._adopted[name] = 0
            self._unused[name] = None

    def _drop(self, name: str, forget: Callable[[str], None]) -> None:
        del self._unused[name], self._adopted[name]
        job = self.jobs.pop(name)
        try:
            self._functions.pop(job.func, None)
        except TypeError:
            pass  # unhashable: it was never there
        forget(name)

    def in_use(self, name: str) -> None:
        """Count a run of a job, so that it is not dropped; declared ones never are."""
        if name in self._adopted:
            self._adopted[name] += 1
            self._unused.pop(name, None)

    def let_go(self, name: str) -> None:
        """Count a run of a job that has ended."""
        if name in self._adopted:
            self._adopted[name] -= 1
            if self._adopted[name] <= 0:
                self._unused[name] = None

    def _job(self, func: Callable[..., Any], options: Mapping[str, Any]) -> Job:
        check_function(func, "a job")
        name = options.get("name", name_of(func))
        if not isinstance(name, str) or not 0 < len(name) <= 200 or not name.isprintable():
            raise ConfigurationError(
                f"job {name_of(func)!r}: name must be a printable text of 1 to 200 characters, not {shown(name)}"
            )
        if name == "<lambda>" and "name" not in options:
            name = "lambda"
        what = f"job {name!r}"
        for option in options:
            if option not in _OPTIONS:
                known = ", ".join(sorted(_OPTIONS))
                raise ConfigurationError(f"{what}: there is no option {shorten(option)!r}; there are {known}")
        executor = options.get("executor", "loop" if is_async(func) else "thread")
        self.executor(executor, what).check(func, name)
        retry = options.get("retry")
        if retry is not None and (isinstance(retry, type) or not hasattr(retry, "delay_for")):
            raise ConfigurationError(f"{what}: retry must be a Retry(...), not {shown(retry)}")
        overlap = options.get("overlap", "skip")
        check_choice(overlap, f"{what}: overlap", OVERLAPS)
        if overlap == "replace" and not getattr(self.executors[executor], "cancellable", True):
            raise ConfigurationError(
                f'{what}: overlap="replace" cancels the running one, and a thread cannot be cancelled; '
                'use an async function, executor="process", or another overlap'
            )
        misfire = options.get("misfire", Misfire())
        if not isinstance(misfire, Misfire):
            raise ConfigurationError(f"{what}: misfire must be a Misfire(...), not {shown(misfire)}")
        signature = Signature(func, name)
        return Job(
            name=name,
            func=func,
            executor=executor,
            timeout=_timeout(options.get("timeout"), what),
            retry=retry,
            overlap=overlap,
            misfire=misfire,
            limits=_limits(options, what, signature),
            priority=check_int(options.get("priority", 0), f"{what}: priority", -1000, 1000),
            tags=tags_of(options.get("tags", ()), what),
            policies=_policies(options.get("policies", ()), what),
            pause_after=check_int(options.get("pause_after", 0), f"{what}: pause_after", 0, 1_000_000),
            each_instance=_flag(options.get("each_instance", False), f"{what}: each_instance"),
            carry=_carried(options.get("carry", ()), what),
            signature=signature,
        )

    def executor(self, name: object, what: str) -> Executor:
        """Return the executor of this name.

        Raises:
            ConfigurationError: there is none.

        """
        if name == "process" and name not in self.executors:
            # Made when the first job names it: it brings subprocess and pickle along.
            from asyncsched.executors.process import ProcessExecutor

            self.executors["process"] = ProcessExecutor()
        found = self.executors.get(name) if isinstance(name, str) else None
        if found is None:
            known = ", ".join(sorted({"process", *self.executors}))
            raise ConfigurationError(f"{what}: there is no executor {shown(name)}; there are {known}")
        return found

    # ── schedules ────────────────────────────────────────────────────────────────────────────

    def declare_schedule(
        self, job: Job, trigger: Any, id: str | None, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None,
        jitter: float | timedelta | None,
    ) -> Declared:  # fmt: skip
        """Bind a trigger to a job in the code.

        Raises:
            ConfigurationError: the id is taken, or missing on a stacked decorator.
            ArgumentError: the job's function does not take the arguments.

        """
        others = [one for one in self.schedules.values() if one.job.name == job.name]
        if others and id is None:
            raise ConfigurationError(
                f"job {job.name!r} has a trigger already (schedule {others[0].id!r}); "
                "give each further trigger an id="
            )
        id = check_id(job.name if id is None else id)
        if id in self.schedules:
            raise ConfigurationError(f"there is a schedule {id!r} already; give this one another id=")
        declared = Declared(
            id, job, as_instants(trigger, f"schedule {id!r}"), job.signature.bind(args, kwargs),
            jitter_of(jitter, f"schedule {id!r}"),
        )  # fmt: skip
        self.schedules[id] = declared
        return declared


def check_id(id: object) -> str:
    """Return a schedule's id if it can be one."""
    if not isinstance(id, str) or not id or len(id) > 200 or not id.isprintable():
        raise ConfigurationError(f"id must be a printable text of 1 to 200 characters, not {shown(id)}")
    return id


def jitter_of(jitter: float | timedelta | None, what: str) -> int:
    """Return the jitter in microseconds."""
    micros = 0 if jitter is None else to_micros(jitter, f"{what}: jitter")
    if micros < 0:
        raise ConfigurationError(f"{what}: jitter must not be negative, not {jitter}")
    return micros


def tags_of(tags: object, what: str) -> tuple[str, ...]:
    """Return the tags as a tuple of texts."""
    if isinstance(tags, str) or not isinstance(tags, Iterable):
        raise ConfigurationError(f"{what}: tags must be a list of texts, not {shown(tags)}")
    listed = tuple(tags)
    if not all(isinstance(tag, str) for tag in listed):
        raise ConfigurationError(f"{what}: tags must be texts, not {shown(listed)}")
    return listed


def _timeout(value: Any, what: str) -> int | None:
    if value is None:
        return None
    micros = to_micros(value, f"{what}: timeout")
    if micros <= 0:
        raise ConfigurationError(f"{what}: timeout must be more than 0 s, not {value}")
    return micros


def _limits(options: Mapping[str, Any], what: str, signature: Signature) -> tuple[Any, ...]:
    rules: list[Any] = []
    most = options.get("max_running")
    if most is not None:
        rules.append(
            most if isinstance(most, Limit) else Limit(check_int(most, f"{what}: max_running", 1, 10**6))
        )
    rate = options.get("rate_limit")
    if isinstance(rate, str):
        try:
            rate = RateLimit(rate)
        except ConfigurationError as error:
            raise ConfigurationError(f"{what}: rate_limit: {error}") from None
    if rate is not None and not isinstance(rate, RateLimit):
        raise ConfigurationError(
            f'{what}: rate_limit must be such as "10/s" or a RateLimit, not {shown(rate)}'
        )
    if rate is not None:
        rules.append(rate)
    for rule in rules:
        if rule.by is not None and rule.by not in signature.signature.parameters:
            known = ", ".join(signature.signature.parameters) or "none"
            raise ConfigurationError(
                f"{what}: {type(rule).__name__}: by={shown(rule.by)} is no parameter of it; it has {known}"
            )
    return tuple(rules)


def _policies(value: Any, what: str) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigurationError(f"{what}: policies must be a list, not {shown(value)}")
    policies = tuple(value)
    for policy in policies:
        if isinstance(policy, type) or not callable(getattr(policy, "wrap", None)):
            raise ConfigurationError(f"{what}: {shown(policy)} is no policy: it has no wrap(call)")
    return policies


def _flag(value: object, what: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{what} must be True or False, not {shown(value)}")
    return value


def _carried(value: Any, what: str) -> dict[str, ContextVar[Any]]:
    if isinstance(value, ContextVar) or not isinstance(value, Iterable):
        raise ConfigurationError(f"{what}: carry must be a list of context variables, not {shown(value)}")
    variables = tuple(value)
    for variable in variables:
        if not isinstance(variable, ContextVar):
            raise ConfigurationError(f"{what}: carry takes context variables, not {shown(variable)}")
    carried = {variable.name: variable for variable in variables}
    if len(carried) != len(variables):
        raise ConfigurationError(f"{what}: carry: two of its context variables have one name; rename one")
    return carried


def _where(func: Callable[..., Any]) -> str:
    code = getattr(func, "__code__", None)
    place = f", {code.co_filename}:{code.co_firstlineno}" if code else ""
    return f"{getattr(func, '__module__', '?')}.{name_of(func)}{place}"
