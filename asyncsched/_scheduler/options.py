"""The options of jobs and schedules, checked when they are given; the errors name the job and the option."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, Literal, TypedDict

from asyncsched._core.arguments.functions import check_function, is_coroutine_function, name_of
from asyncsched._core.arguments.signature import Signature
from asyncsched._core.checks import check_choice, check_int, check_text
from asyncsched._core.errors import ConfigurationError
from asyncsched._core.instants import to_micros
from asyncsched._core.jobs import Job, RetryRule
from asyncsched._core.misfire import Misfire
from asyncsched._core.propagation import WholeContext
from asyncsched._core.states import OVERLAPS, Overlap
from asyncsched._core.text import safe_repr
from asyncsched.abc import Carried, Executor, Policy
from asyncsched.policies import Limit, RateLimit, Retry


class JobOptions(TypedDict, total=False):
    """The options of a job, the same for every decorator. A dict of this type is given as ``**options``."""

    name: str
    aliases: Iterable[str]
    executor: str
    timeout: float | timedelta | None
    retry: Retry | None
    overlap: Overlap
    misfire: Misfire
    max_running: int | Limit | None
    rate_limit: str | RateLimit | None
    priority: int
    tags: Iterable[str]
    policies: Iterable[Policy]
    pause_after: int
    each_instance: bool
    carry: Iterable[Carried] | Literal[True]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDefaults:
    """Options of all jobs of a scheduler that do not have their own: ``Scheduler(defaults=JobDefaults(timeout=60))``.

    An option that a job gives replaces the default, ``None`` and an empty list included. Functions that are
    scheduled without being declared have the defaults as well.

    Args:
        timeout, retry, overlap, misfire, max_running, rate_limit, priority, tags, policies, pause_after, carry:
            as on a job.

    Raises:
        ConfigurationError: a value is wrong.

    """

    timeout: float | timedelta | None = None
    retry: Retry | None = None
    overlap: Overlap | None = None
    misfire: Misfire | None = None
    max_running: int | Limit | None = None
    rate_limit: str | RateLimit | None = None
    priority: int | None = None
    tags: Iterable[str] | None = None
    policies: Iterable[Policy] | None = None
    pause_after: int | None = None
    carry: Iterable[Carried] | Literal[True] | None = None

    def __post_init__(self) -> None:
        given = self.given()
        _checked(given, "JobDefaults")
        _limits(given, "JobDefaults")
        if self.overlap is not None:
            check_choice(self.overlap, "JobDefaults: overlap", OVERLAPS)

    def given(self) -> dict[str, Any]:
        """Return the options that have a default."""
        return {one.name: value for one in fields(self) if (value := getattr(self, one.name)) is not None}


def job_of(
    func: Callable[..., Any], options: Mapping[str, Any], executor_named: Callable[[object, str], Executor]
) -> Job:
    """Return the job that a function and its options make.

    Raises:
        ConfigurationError: an option is wrong, or contradicts another one or the function.

    """
    check_function(func, "a job")
    name = _name(func, options)
    what = f"job {name!r}"
    where = options.get("executor", "loop" if is_coroutine_function(func) else "thread")
    executor = executor_named(where, what)
    executor.check(func, name)
    if options.get("carry") is True and executor.traits.elsewhere:
        raise ConfigurationError(
            f"{what}: carry=True takes the whole context within this process, and executor {where!r} runs the function "
            "in another; name the variables: carry=[…]"
        )
    signature = Signature(func, name)
    return Job(
        name=name,
        func=func,
        executor=where,
        aliases=_aliases(options.get("aliases", ()), what),
        overlap=_overlap(options.get("overlap", "skip"), what, executor),
        limits=_fitting(_limits(options, what), what, signature),
        each_instance=check_flag(options.get("each_instance", False), f"{what}: each_instance"),
        signature=signature,
        **_checked(options, what),
    )


def _checked(options: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return those of the given options that can be checked without the function, as the job has them."""
    return {name: check(options[name], what) for name, check in _CHECKS.items() if name in options}


def check_name(value: object, what: str) -> str:
    """Return the value if it can be a name."""
    if not isinstance(value, str) or not 0 < len(value) <= 200 or not value.isprintable():
        raise ConfigurationError(
            f"{what} must be a printable text of 1 to 200 characters, not {safe_repr(value)}"
        )
    return str.__str__(value)  # a plain str: a member of a StrEnum would be written in two ways


def jitter_of(jitter: float | timedelta | None, what: str) -> int:
    """Return the jitter in microseconds."""
    micros = 0 if jitter is None else to_micros(jitter, f"{what}: jitter")
    if micros < 0:
        raise ConfigurationError(f"{what}: jitter must not be negative, not {jitter}")
    return micros


def max_runs_of(most: object, what: str) -> int | None:
    """Return the number of runs after which a schedule ends."""
    if most is None or (isinstance(most, int) and not isinstance(most, bool) and 0 < most < 1 << 62):
        return most
    raise ConfigurationError(f"{what}: max_runs must be a whole number from 1 on, not {safe_repr(most)}")


def tags_of(tags: object, what: str) -> tuple[str, ...]:
    """Return the tags as a tuple of texts."""
    if isinstance(tags, str) or not isinstance(tags, Iterable):
        raise ConfigurationError(f"{what}: tags must be a list of texts, not {safe_repr(tags)}")
    listed = tuple(tags)
    if not all(isinstance(tag, str) for tag in listed):
        raise ConfigurationError(f"{what}: tags must be texts, not {safe_repr(listed)}")
    for tag in listed:
        check_text(tag, f"{what}: a tag")
    return listed


def check_flag(value: object, what: str) -> bool:
    """Return the value if it is ``True`` or ``False``."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{what} must be True or False, not {safe_repr(value)}")
    return value


def _name(func: Callable[..., Any], options: Mapping[str, Any]) -> str:
    called = name_of(func)
    if "name" not in options and called == "<lambda>":
        return "lambda"
    return check_name(options.get("name", called), f"job {called!r}: name")


def _aliases(value: object, what: str) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigurationError(f"{what}: aliases must be a list of texts, not {safe_repr(value)}")
    return tuple(check_name(alias, f"{what}: an alias") for alias in value)


def _timeout(value: Any, what: str) -> int | None:
    if value is None:
        return None
    micros = to_micros(value, f"{what}: timeout")
    if micros <= 0:
        raise ConfigurationError(f"{what}: timeout must be more than 0 s, not {value}")
    return micros


def _retry(value: Any, what: str) -> Any:
    if value is not None and (isinstance(value, type) or not isinstance(value, RetryRule)):
        raise ConfigurationError(f"{what}: retry must be a Retry(...), not {safe_repr(value)}")
    return value


def _overlap(value: Any, what: str, executor: Executor) -> str:
    check_choice(value, f"{what}: overlap", OVERLAPS)
    if value == "replace" and not executor.traits.cancellable:
        raise ConfigurationError(
            f'{what}: overlap="replace" cancels the running one, and a thread cannot be cancelled; '
            'use an async function, executor="process", or another overlap'
        )
    return str(value)


def _misfire(value: Any, what: str) -> Misfire:
    if not isinstance(value, Misfire):
        raise ConfigurationError(f"{what}: misfire must be a Misfire(...), not {safe_repr(value)}")
    return value


def _limits(options: Mapping[str, Any], what: str) -> list[Any]:
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
            f'{what}: rate_limit must be such as "10/s" or a RateLimit, not {safe_repr(rate)}'
        )
    if rate is not None:
        rules.append(rate)
    return rules


def _fitting(rules: list[Any], what: str, signature: Signature) -> tuple[Any, ...]:
    """Return the limits, each of which is by a parameter of the job or by none."""
    for rule in rules:
        if rule.by is not None and rule.by not in signature.signature.parameters:
            known = ", ".join(signature.signature.parameters) or "none"
            raise ConfigurationError(
                f"{what}: {type(rule).__name__}: by={safe_repr(rule.by)} is no parameter of the job; it has {known}"
            )
    return tuple(rules)


def _policies(value: Any, what: str) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigurationError(f"{what}: policies must be a list, not {safe_repr(value)}")
    policies = tuple(value)
    for policy in policies:
        if isinstance(policy, type) or not isinstance(policy, Policy):
            raise ConfigurationError(f"{what}: {safe_repr(policy)} is no policy: it has no wrap(call)")
    return policies


def _context_variables(value: Any, what: str) -> dict[str, Carried]:
    if value is True:
        return {WholeContext.name: WholeContext()}
    if value == ():
        return {}
    if isinstance(value, Carried) or not isinstance(value, Iterable):
        raise ConfigurationError(
            f"{what}: carry must be True or a list of context variables, not {safe_repr(value)}"
        )
    variables = tuple(value)
    for variable in variables:
        if isinstance(variable, type) or not isinstance(variable, Carried):
            raise ConfigurationError(f"{what}: carry takes context variables, not {safe_repr(variable)}")
    carried = {variable.name: variable for variable in variables}
    if len(carried) != len(variables):
        raise ConfigurationError(f"{what}: carry: two of its context variables have one name; rename one")
    return carried


_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "timeout": _timeout,
    "retry": _retry,
    "misfire": _misfire,
    "priority": lambda value, what: check_int(value, f"{what}: priority", -1000, 1000),
    "tags": tags_of,
    "policies": _policies,
    "pause_after": lambda value, what: check_int(value, f"{what}: pause_after", 0, 1_000_000),
    "carry": _context_variables,
}
"""The options that can be checked without the function, each with its check, which returns what the job has."""
