"""Every option of a wrong type or range is refused where it is written, naming job and option."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from asyncsched import (
    ArgumentError,
    ConfigurationError,
    Interval,
    Limit,
    Misfire,
    Provide,
    RateLimit,
    Retry,
    Scheduler,
    UnknownJob,
)
from asyncsched.executors import LoopExecutor
from asyncsched.stores.memory import MemoryStore
from asyncsched.testing import VirtualClock


async def job(account: str = "", number: int = 0) -> None: ...


def plain() -> None: ...


class Wrapping:
    def wrap(self, call: object) -> object:
        return call


one, another = ContextVar[int]("same"), ContextVar[int]("same")


@pytest.mark.parametrize(
    "options, text",
    [
        ({"nmae": "x"}, r"@scheduler.job has no argument 'nmae'; did you mean name=\?"),
        ({"queue": "slow"}, "@scheduler.job has no argument 'queue'; it has aliases, args, carry, .*timeout"),
        ({"name": ""}, "job 'job': name must be a printable text"),
        ({"name": 7}, "job 'job': name"),
        ({"name": "x" * 201}, "job 'job': name"),
        ({"name": "a\nb"}, "job 'job': name"),
        ({"executor": "gpu"}, "job 'job': there is no executor 'gpu'; there are loop, process, thread"),
        ({"executor": 7}, "job 'job': there is no executor 7"),
        ({"executor": None}, "job 'job': there is no executor None"),
        ({"executor": "thread"}, "job 'job'"),
        ({"timeout": 0}, "job 'job': timeout must be more than 0"),
        ({"timeout": -1}, "job 'job': timeout"),
        ({"timeout": math.nan}, "job 'job': timeout must be finite"),
        ({"timeout": math.inf}, "job 'job': timeout must be finite"),
        ({"timeout": True}, "job 'job': timeout must be a number"),
        ({"timeout": "5"}, "job 'job': timeout must be a number"),
        ({"timeout": timedelta.max}, "job 'job': timeout is longer than 100 years"),
        ({"retry": 3}, r"job 'job': retry must be a Retry\(...\), not 3"),
        ({"retry": True}, "job 'job': retry"),
        ({"retry": Retry}, "job 'job': retry"),
        ({"overlap": "wait"}, "job 'job': overlap must be one of 'skip'"),
        ({"overlap": None}, "job 'job': overlap"),
        ({"overlap": ["skip"]}, "job 'job': overlap"),
        ({"misfire": "latest"}, "job 'job': misfire must be a Misfire"),
        ({"max_running": 0}, "job 'job': max_running must be a whole number from 1"),
        ({"max_running": True}, "job 'job': max_running"),
        ({"max_running": 1.5}, "job 'job': max_running"),
        ({"max_running": "3"}, "job 'job': max_running"),
        (
            {"max_running": Limit(3, by="nobody")},
            "job 'job': Limit: by='nobody' is no parameter.*account, number",
        ),
        ({"rate_limit": 10}, "job 'job': rate_limit must be such as"),
        ({"rate_limit": "fast"}, "job 'job': rate_limit: RateLimit"),
        ({"rate_limit": "0/s"}, "job 'job': rate_limit"),
        ({"rate_limit": RateLimit("1/s", by="nobody")}, "job 'job': RateLimit: by='nobody'"),
        ({"priority": 1.5}, "job 'job': priority must be a whole number from -1000 to 1000"),
        ({"priority": 5000}, "job 'job': priority"),
        ({"priority": True}, "job 'job': priority"),
        ({"tags": "urgent"}, "job 'job': tags must be a list of texts"),
        ({"tags": [1]}, "job 'job': tags must be texts"),
        ({"tags": 5}, "job 'job': tags"),
        ({"policies": 5}, "job 'job': policies must be a list"),
        ({"policies": "log"}, "job 'job': policies must be a list"),
        ({"policies": [Wrapping]}, "job 'job': .*is no policy"),
        ({"policies": [object()]}, "job 'job': .*is no policy: it has no wrap"),
        ({"pause_after": -1}, "job 'job': pause_after"),
        ({"pause_after": "3"}, "job 'job': pause_after"),
        ({"each_instance": 1}, "job 'job': each_instance must be True or False"),
        ({"carry": one}, "job 'job': carry must be True or a list of context variables"),
        ({"carry": 5}, "job 'job': carry must be True or a list"),
        ({"carry": ["user"]}, "job 'job': carry takes context variables, not 'user'"),
        ({"carry": [one, another]}, "job 'job': carry: two of its context variables have one name"),
    ],
)
def test_an_option_that_is_wrong_is_refused_at_decoration(options: dict[str, Any], text: str) -> None:
    scheduler = Scheduler()
    with pytest.raises(ConfigurationError, match=text):
        scheduler.job(**options)(job)
    scheduler.job()(job)  # and nothing of it is left behind


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: Retry(0), "Retry: attempts"),
        (lambda: Retry(True), "Retry: attempts"),
        (lambda: Retry(2.5), "Retry: attempts"),
        (lambda: Retry(2, backoff="fibonacci"), "Retry: backoff must be one of"),
        (lambda: Retry(2, jitter="half"), "Retry: jitter must be one of"),
        (lambda: Retry(2, delay=-1), "Retry: delay must not be negative"),
        (lambda: Retry(2, delay=math.nan), "Retry: delay must be finite"),
        (lambda: Retry(2, delay="1"), "Retry: delay must be a number"),
        (lambda: Retry(2, max_delay=-1), "Retry: max_delay"),
        (lambda: Retry(2, max_elapsed=True), "Retry: max_elapsed"),
        (lambda: Retry(2, on=()), "Retry: on must be an exception type"),
        (lambda: Retry(2, on="ValueError"), "Retry: on"),
        (lambda: Retry(2, on=int), "Retry: on"),
        (lambda: Retry(2, on=(ValueError, lambda error: True)), "Retry: on"),
        (lambda: Misfire("newest"), "Misfire: catch_up must be one of"),
        (lambda: Misfire(grace=-1), "Misfire: grace must not be negative"),
        (lambda: Misfire(grace=math.inf), "Misfire: grace must be finite"),
        (lambda: Misfire(limit=0), "Misfire: limit"),
        (lambda: Limit(0), "Limit: most must be a whole number from 1"),
        (lambda: Limit(True), "Limit: most"),
        (lambda: Limit(1, by=""), "Limit: by must name an argument"),
        (lambda: Limit(1, by=5), "Limit: by"),
        (lambda: RateLimit(""), "RateLimit: the rate is"),
        (lambda: RateLimit("10"), "RateLimit: the rate is"),
        (lambda: RateLimit("10/fortnight"), "RateLimit: the rate is"),
        (lambda: RateLimit("1/0s"), "RateLimit: the rate is"),
        (lambda: RateLimit("-1/s"), "RateLimit: the rate is"),
        (lambda: RateLimit("9999999/s"), "RateLimit: .* more than one per microsecond"),
        (lambda: RateLimit(10), "RateLimit: the rate is"),
        (lambda: RateLimit("1/s", by="a b"), "RateLimit: by"),
        (lambda: RateLimit("1/s", drop="yes"), "RateLimit: drop"),
        (lambda: Provide(7), "Provide: 7 is not callable"),
    ],
)
def test_a_value_that_is_wrong_is_refused_where_it_is_made(make: Callable[[], object], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        make()


def test_errors_never_echo_more_than_forty_characters_of_what_was_given() -> None:
    hostile = "x" * 10_000
    for make in (
        lambda: RateLimit(hostile), lambda: Limit(1, by=hostile + " "), lambda: Scheduler().job(name=hostile)(job),
        lambda: Scheduler().job(overlap=hostile)(job), lambda: Scheduler().job(executor=hostile)(job),
    ):  # fmt: skip
        with pytest.raises(ConfigurationError) as caught:
            make()
        assert "x" * 41 not in str(caught.value)


def counting() -> Iterator[int]:
    yield 1


async def streaming() -> AsyncIterator[int]:
    yield 1


class Thing:
    async def method(self) -> None: ...

    @classmethod
    async def of_the_class(cls) -> None: ...

    @staticmethod
    async def of_nobody() -> None: ...


@pytest.mark.parametrize(
    "func, text",
    [
        (counting, "'counting' is a generator function"),
        (functools.partial(counting), "'counting' is a generator function"),
        (streaming, "'streaming' is a generator function"),
        (Thing, "'Thing' is a class, and calling it would only make an object"),
        (functools.partial(Thing), "'Thing' is a class"),
        (Thing.method, r"'method' is a method without its object; .*scheduler.job\(\)\(thing.method\)"),
        (Thing.__dict__["of_the_class"], "is not a function"),
        (property(plain), "is not a function"),
        ("job", "'job' is not a function"),
        (None, "None is not a function"),
    ],
)
def test_what_cannot_be_a_job_is_refused_with_what_to_do_instead(func: Any, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        Scheduler().job()(func)


@pytest.mark.parametrize(
    "func",
    [
        Thing().method,
        functools.partial(Thing.method, Thing()),
        Thing.of_the_class,
        Thing.of_nobody,
        lambda self=None: self,
    ],
)
def test_methods_with_their_object_partials_and_lambdas_can_be_jobs(func: Any) -> None:
    assert Scheduler().job(name="it")(func) is func


INTERVAL = r"write @scheduler.interval\(seconds=30\)"
CRON = r'write @scheduler.cron\("0 7 \* \* \*", timezone=…\)'


@pytest.mark.parametrize(
    "write, text",
    [
        (lambda s: s.interval(job), INTERVAL + " with its parentheses"),
        (lambda s: s.interval(30), INTERVAL + ", not 30"),
        (lambda s: s.interval(second=30), "no argument 'second'; did you mean seconds=?"),
        (lambda s: s.cron(job), CRON + " with its parentheses"),
        (lambda s: s.cron(7), CRON + ", not 7"),
        (lambda s: s.cron("@daily", "Europe/Paris"), CRON + ", not 'Europe/Paris'"),
        (lambda s: s.cron("@daily", time_zone="UTC"), "no argument 'time_zone'; did you mean timezone=?"),
        (lambda s: s.job(job), r"write @scheduler.job\(\) with its parentheses"),
        (lambda s: s.job("0 7 * * *")(job), r"is no trigger; write it as Cron"),
        (lambda s: s.job(30)(job), r"30 is no trigger; write Interval\(seconds=30\)"),
        (lambda s: s.job(timedelta(minutes=1))(job), r"is no trigger; write Interval\(seconds=60.0\)"),
        (lambda s: s.job(Interval)(job), "is no trigger; give an Interval, Cron"),
        (lambda s: Interval(30), r"Interval: write Interval\(seconds=30\), not Interval\(30\)"),
    ],
)
def test_a_decorator_written_wrong_says_how_it_is_written(write: Any, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        write(Scheduler())


def test_a_coroutine_object_is_refused_and_closed() -> None:
    with pytest.raises(ConfigurationError, match="coroutine object; pass the function itself"):
        Scheduler().job()(job())  # type: ignore[arg-type,type-var]


def test_two_jobs_of_one_name_are_refused_and_both_places_named() -> None:
    scheduler = Scheduler()
    scheduler.job(name="mail")(job)
    with pytest.raises(ConfigurationError, match=r"a job 'mail' already \(.*job.*\); this is .*plain"):
        scheduler.job(name="mail")(plain)


def test_stacked_decorators_need_an_id_from_the_second_on() -> None:
    scheduler = Scheduler()
    scheduler.interval(seconds=5)(job)
    with pytest.raises(ConfigurationError, match=r"job 'job' has a trigger already \(schedule 'job'\)"):
        scheduler.interval(seconds=7)(job)
    scheduler.interval(seconds=7, id="other")(job)
    with pytest.raises(ConfigurationError, match="a schedule 'other' already"):
        scheduler.interval(seconds=9, id="other")(job)


def test_stacked_decorators_give_options_on_one_of_them_only() -> None:
    scheduler = Scheduler()
    scheduler.interval(seconds=5, timeout=3)(job)
    with pytest.raises(ConfigurationError, match=r"job 'job': options \(timeout\) stand on more than one"):
        scheduler.interval(seconds=7, id="other", timeout=4)(job)


@pytest.mark.parametrize("id", ["", "a\tb", "x" * 201, 5])
def test_an_id_that_is_none_is_refused(id: Any) -> None:
    with pytest.raises(ConfigurationError, match="id must be a printable text of 1 to 200 characters"):
        Scheduler().interval(seconds=5, id=id)(job)


@pytest.mark.parametrize("jitter", [-1, math.nan, True, "1"])
def test_a_jitter_that_is_none_is_refused(jitter: Any) -> None:
    with pytest.raises(ConfigurationError, match="schedule 'job': jitter"):
        Scheduler().interval(seconds=5, jitter=jitter)(job)


def test_arguments_that_do_not_fit_are_refused_at_decoration() -> None:
    with pytest.raises(TypeError, match=r"job 'job' does not take these arguments.*signature is job"):
        Scheduler().interval(seconds=5, args=("a", 1, "too many"))(job)


def test_arguments_without_a_trigger_are_refused() -> None:
    with pytest.raises(
        ConfigurationError, match="job 'job': id, args, kwargs, jitter and max_runs belong to a trigger"
    ):
        Scheduler().job(id="x")(job)
    with pytest.raises(ConfigurationError, match="parentheses"):
        Scheduler().job(job)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options, text",
    [
        ({"namespace": ""}, "namespace must be a printable text of 1 to 200 characters, not ''"),
        ({"namespace": 5}, "namespace must be a printable text of 1 to 200 characters, not 5"),
        ({"namespace": "x" * 201}, "namespace must be a printable text of 1 to 200 characters, not 'xxx"),
        ({"namespace": "a\0"}, r"namespace must be a printable text of 1 to 200 characters, not 'a\\x00'"),
        ({"role": "boss"}, "role must be one of 'both', 'submit', 'run', 'off', not 'boss'"),
        ({"shutdown_timeout": -1}, "shutdown_timeout must not be negative, not -1"),
        ({"shutdown_timeout": math.inf}, "shutdown_timeout must be finite"),
        ({"shutdown_timeout": "x"}, "shutdown_timeout must be a number of seconds or a timedelta, not 'x'"),
        ({"store_timeout": 0}, "store_timeout must be more than 0 s, not 0"),
        ({"store_timeout": True}, "store_timeout must be a number of seconds or a timedelta, not True"),
        ({"stall_threshold": 0}, "stall_threshold must be more than 0 s, not 0"),
        ({"executors": [1]}, r"executors must be a dict such as {'thread': ThreadExecutor\(8\)}, not \[1\]"),
        ({"executors": 0}, "executors must be a dict such as .*, not 0"),
        ({"executors": {1: LoopExecutor()}}, "executors: a name must be a printable text .*, not 1"),
        ({"executors": {"x": 5}}, "executors: 'x' must be an executor such as ThreadExecutor.*, not 5"),
        ({"executors": {"x": LoopExecutor}}, "executors: 'x' must be an executor such as .*, not <class"),
        ({"timezone": "Mars/Olympus"}, "timezone 'Mars/Olympus' is not known"),
        ({"timezone": 5}, "timezone must be an IANA name, a ZoneInfo or a datetime.timezone, not 5"),
        ({"store": 5}, "store must be None, a URL as text or a Store, not of type int"),
        ({"store": "jobs.db"}, "'jobs.db' is no URL; for a file, write 'sqlite:///jobs.db'"),
        ({"store": MemoryStore}, "store must be None, a URL as text or a Store, not of type type"),
        ({"strict": "no"}, "strict must be True or False, not 'no'"),
        ({"strict": None}, "strict must be True or False, not None"),
        ({"observers": print}, "observers must be a list of callables, not <built-in function print>"),
        ({"observers": "mail"}, "observers must be a list of callables, not 'mail'"),
        ({"observers": [7]}, "observers must be callables that take an event, not 7"),
        ({"clock": time}, r"clock must be a Clock, such as VirtualClock\(\), not <module 'time'"),
        ({"clock": VirtualClock}, r"clock must be a Clock, such as VirtualClock\(\), not <class"),
    ],
)
def test_a_scheduler_is_not_made_of_wrong_arguments(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        Scheduler(**options)


def test_a_name_is_kept_as_plain_text() -> None:
    class Names(StrEnum):
        MAIL = "mail"

    scheduler = Scheduler()
    scheduler.interval(seconds=1, name=Names.MAIL, id=Names.MAIL)(job)
    (declared,) = scheduler._registry.schedules.values()
    assert [type(text) for text in (declared.id, declared.job.name)] == [str, str]
    assert declared.id == declared.job.name == "mail"


@pytest.mark.anyio
async def test_jobs_are_declared_before_the_start(virtual_clock: Any) -> None:
    scheduler = Scheduler(clock=virtual_clock)
    async with scheduler:
        with pytest.raises(RuntimeError, match=r"before the scheduler is started.*add_schedule"):
            scheduler.job()(job)


@pytest.mark.anyio
async def test_bad_schedules_at_run_time_name_what_is_wrong_and_hurt_nothing(virtual_clock: Any) -> None:
    scheduler = Scheduler(clock=virtual_clock)
    scheduler.job()(job)
    ticks: list[int] = []
    scheduler.interval(seconds=1, name="tick")(lambda: ticks.append(1))
    async with scheduler:
        for trigger, text in (
            ("daily", "schedule 's': 'daily' is no trigger"),
            (Interval, "schedule 's': .*is no trigger"),
            (Interval(seconds=5, end=datetime(2020, 1, 1, tzinfo=virtual_clock.now().tzinfo)), "never fires"),
        ):
            with pytest.raises(ConfigurationError, match=text):
                await scheduler.add_schedule(job, trigger, id="s")  # type: ignore[arg-type]
        with pytest.raises(LookupError, match="no job 'nobody'"):
            await scheduler.add_schedule("nobody", Interval(seconds=5))
        with pytest.raises(TypeError, match="job 'job' does not take"):
            await scheduler.add_schedule(job, Interval(seconds=5), id="s", kwargs={"nobody": 1})
        await virtual_clock.advance(2.5)
        assert len(ticks) == 2
        assert [schedule.id for schedule in await scheduler.schedules()] == ["tick"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "options, text",
    [
        ({"kwargs": [1]}, r"job 'job': kwargs must be a dict, not \[1\]"),
        ({"to": "ada"}, r"schedule_once has no argument 'to'.* kwargs=\{'to': ...\}"),
    ],
)
async def test_misplaced_arguments_of_a_one_off_are_refused_with_their_place(
    options: dict[str, Any], text: str, virtual_clock: Any
) -> None:
    scheduler = Scheduler(clock=virtual_clock)
    scheduler.job()(job)
    async with scheduler:
        with pytest.raises(ArgumentError, match=text):
            await scheduler.schedule_once(job, **options)


def test_a_text_is_no_list_of_arguments() -> None:
    with pytest.raises(ArgumentError, match="job 'job': args must be a tuple or a list, not 'ada'"):
        Scheduler().interval(seconds=1, args="ada")(job)  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_a_function_of_another_scheduler_is_told_from_the_one_of_its_name(
    virtual_clock: Any, tmp_path: Path
) -> None:
    def declared_by(scheduler: Scheduler) -> Callable[..., Any]:
        @scheduler.job()
        async def tick() -> None: ...

        return tick

    scheduler = Scheduler(f"sqlite:///{tmp_path / 'jobs.db'}", clock=virtual_clock)
    declared_by(scheduler)
    async with scheduler:
        with pytest.raises(
            UnknownJob, match=r"no job 'tick'; the job declared here has another function \(tests"
        ):
            await scheduler.add_schedule(declared_by(Scheduler()), Interval(seconds=5))
        with pytest.raises(UnknownJob, match="declared are: tick"):
            await scheduler.add_schedule("tock", Interval(seconds=5))
