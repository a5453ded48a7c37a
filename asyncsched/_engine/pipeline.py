"""A job made ready to run: its policies around its executor, put together once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, cast

from asyncsched._core.arguments.copies import copied
from asyncsched._core.context import CurrentRun
from asyncsched._core.errors import ArgumentError, ConfigurationError
from asyncsched._core.jobs import Job, arguments_of
from asyncsched._core.propagation import propagating
from asyncsched._core.records import Given, RunRecord
from asyncsched._core.rules.outcome import UnfitArguments
from asyncsched._engine.capacity import Capacity
from asyncsched._engine.environment import Environment
from asyncsched.abc import Call, Executor, Opening, Provider

Overrides = Mapping[Any, Callable[..., Any]]


def make_runnable(job: Job, executor: Executor, environment: Environment) -> Runnable:
    """Return the job with its policies around its executor; the first policy is the outermost.

    Args:
        job: the job.
        executor: where its function runs.
        environment: has the factories that are called in place of others for provided parameters, and the
            places of the executors.

    Raises:
        ConfigurationError: a policy's ``wrap`` raises, or returns no callable.

    """
    call: Call = _innermost(job, executor)
    if job.signature.provided:
        call = Providing(job.signature.provided, environment.settings.overrides).wrap(call)
    for policy in reversed(job.policies):
        try:
            call = policy.wrap(call)
        except Exception as error:
            raise ConfigurationError(
                f"job {job.name!r}: policy {policy!r} raised at wrap: {error!r}"
            ) from error
        if not callable(cast("object", call)):
            raise ConfigurationError(
                f"job {job.name!r}: policy {policy!r} returned {call!r} from wrap(call); return an async callable"
            )
    return Runnable(job, call, executor, environment.capacity)


def _innermost(job: Job, executor: Executor) -> Call:
    """Return the call inside all policies: the executor with the run's arguments."""
    elsewhere = executor.traits.elsewhere
    send = propagating(job) if job.carry and elsewhere else None
    # A partial, as it is two objects for the garbage collector, and a function in here would be seven.
    return partial(_call, executor, job.func, send, _as_given if elsewhere else copied)


def _call(
    executor: Executor, func: Callable[..., Any], send: Callable[[], Callable[..., Any]] | None,
    own: Callable[[Any], Any], current: CurrentRun,
) -> Any:  # fmt: skip
    attempt: Any = current._link
    args, kwargs = attempt.arguments or own(attempt.run.arguments)
    if attempt.provided is not None:
        kwargs = {**kwargs, **attempt.provided}
    return executor.run(current, func if send is None else send(), args, kwargs)


def _as_given(given: Given) -> Given:
    return given  # another process gets a copy in any case


class Runnables(dict[str, "Runnable"]):
    """The jobs that a worker can run, by name.

    Args:
        executors: all executors by name.
        environment: its watcher is told which code belongs to which job.
        durable: whether arguments are kept as JSON, so that a type that JSON cannot carry is refused at once.

    """

    def __init__(self, executors: Mapping[str, Executor], environment: Environment, durable: bool) -> None:
        super().__init__()
        self._executors = executors
        self._watcher = environment.watcher
        self._environment = environment
        self._durable = durable

    def learn(self, job: Job) -> None:
        """Make a job ready to run: its policies around its executor."""
        known = self.get(job.name)
        if known is not None and known.job is job:
            return
        self[job.name] = runnable = make_runnable(job, self._executors[job.executor], self._environment)
        if runnable.in_loop:
            self._watcher.register(job.func, job.name)
        if self._durable and not job.each_instance:
            job.signature.prepare()

    def unlearn(self, name: str) -> None:
        """Remove a job that the code does not declare and no run needs."""
        self.pop(name, None)


class Runnable:
    """A job made ready to run: the call through its policies to its executor, built once."""

    __slots__ = ("announces", "call", "capacity", "executor", "in_loop", "job")

    def __init__(self, job: Job, call: Call, executor: Executor, capacity: Capacity) -> None:
        self.capacity = capacity
        self.job = job
        self.call = call
        self.executor = executor
        self.in_loop = executor.traits.in_loop
        self.announces = executor.traits.announces

    def read(self, run: RunRecord) -> Given:
        """Return the arguments of a run that are kept as JSON.

        Raises:
            UnfitArguments: they do not fit the function.

        """
        try:
            return arguments_of(run, self.job)
        except ArgumentError as error:
            raise UnfitArguments from error


class Providing:
    """The policy that fills a job's provided parameters around each attempt."""

    def __init__(self, parameters: Mapping[str, Provider], overrides: Overrides) -> None:
        self._parameters = tuple(parameters.items())
        self._overrides = overrides
        self._needs: dict[Any, dict[str, Provider]] = {}

    def wrap(self, call: Call) -> Call:
        """Return a call that opens the parameters, and closes them after ``call``."""

        async def provided(run: CurrentRun) -> Any:
            attempt: Any = run._link
            async with AsyncExitStack() as stack:
                opening = Opening(stack, self._overrides, self._needs)
                attempt.provided = {name: await item.enter(opening) for name, item in self._parameters}
                return await call(run)

        return provided
