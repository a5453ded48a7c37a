"""Settings of a whole scheduler: defaults of its jobs, what is kept, the environment, and others in their place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import anyio
import pytest

from asyncsched import (
    ConfigurationError,
    Interval,
    JobDefaults,
    JobOptions,
    Misfire,
    Provide,
    Retention,
    Retry,
    Scheduler,
    SchedulerStateError,
    UnknownJob,
    current_run,
)
from asyncsched.stores.postgres import PostgresStore
from asyncsched.stores.sqlite import SqliteStore
from asyncsched.testing import VirtualClock
from tests.each_store import POSTGRES, SQLITE, sqlite_file

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", SQLITE, POSTGRES])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    alone = {"poll": 600, "beat": 30, "lease": 90, "timeout": 20}
    if request.param == "postgres":
        return PostgresStore(request.getfixturevalue("shared_dsn"), **alone)
    return SqliteStore(sqlite_file(tmp_path), **alone) if request.param == "sqlite" else None


# ── defaults of jobs ─────────────────────────────────────────────────────────────────────────────


async def test_a_job_has_the_defaults_that_it_does_not_replace(
    store: Any, virtual_clock: VirtualClock
) -> None:
    defaults = JobDefaults(timeout=5, retry=Retry(attempts=2, delay=0), tags=["app"], priority=3)
    scheduler = Scheduler(store, clock=virtual_clock, defaults=defaults)

    @scheduler.job()
    async def slow() -> None:
        await anyio.sleep(60)

    @scheduler.job(timeout=None, retry=None, tags=["own"])
    async def patient() -> None:
        await anyio.sleep(60)
        raise ValueError("no second attempt")

    @scheduler.interval(hours=1)
    async def fails() -> None:
        raise ValueError

    async with scheduler:
        late = await (await scheduler.schedule_once(slow)).wait()
        assert (late.state, late.attempt, late.tags, late.priority) == ("timed_out", 2, ("app",), 3)
        run = await (await scheduler.schedule_once(patient)).wait()
        assert (run.state, run.attempt, run.tags, run.message) == ("failed", 1, ("own",), "no second attempt")
        await virtual_clock.advance(3600)
        assert (await scheduler.runs(job="fails"))[0].attempt == 2


async def test_functions_that_are_not_declared_and_scopes_have_the_defaults_too(
    virtual_clock: VirtualClock,
) -> None:
    scheduler = Scheduler(clock=virtual_clock, defaults=JobDefaults(timeout=5))

    async def slow() -> None:
        await anyio.sleep(60)

    async with scheduler, scheduler.scope() as scope:
        assert (await (await scheduler.schedule_once(slow)).wait()).state == "timed_out"
        assert (await (await scope.schedule_once(lambda: slow())).wait()).state == "failed"
        assert (await (await scope.schedule_once(slow)).wait()).state == "timed_out"


@pytest.mark.parametrize(
    "options, text",
    [
        ({"timeout": 0}, "JobDefaults: timeout must be more than 0 s"),
        ({"retry": 3}, r"JobDefaults: retry must be a Retry\(...\), not 3"),
        ({"overlap": "queue"}, "JobDefaults: overlap"),
        ({"misfire": "latest"}, "JobDefaults: misfire"),
        ({"max_running": 0}, "JobDefaults: max_running"),
        ({"rate_limit": 10}, "JobDefaults: rate_limit"),
        ({"priority": 5000}, "JobDefaults: priority"),
        ({"tags": "app"}, "JobDefaults: tags must be a list of texts"),
        ({"policies": [1]}, "JobDefaults: 1 is no policy"),
        ({"pause_after": -1}, "JobDefaults: pause_after"),
    ],
)
def test_a_wrong_default_is_refused_where_it_is_given(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        JobDefaults(**options)


@pytest.mark.parametrize("name, value", [("defaults", {"timeout": 5}), ("retention", 7)])
def test_another_kind_of_value_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} must be a "):
        Scheduler(**{name: value})


async def test_shared_options_are_a_typed_dict(virtual_clock: VirtualClock) -> None:
    options: JobOptions = {"timeout": 5, "misfire": Misfire("all"), "tags": ["mail"]}
    scheduler = Scheduler(clock=virtual_clock)

    @scheduler.job(**options)
    async def one() -> None: ...

    @scheduler.interval(minutes=1, **options)
    async def two() -> None: ...

    async with scheduler:
        assert (await (await scheduler.schedule_once(one)).wait()).tags == ("mail",)
        assert (await scheduler.schedule("two")).tags == ("mail",)


# ── what is kept ─────────────────────────────────────────────────────────────────────────────────


async def test_the_history_keeps_what_retention_says(store: Any, virtual_clock: VirtualClock) -> None:
    kept = Retention(age=timedelta(hours=1), per_schedule=2, dead_letters=timedelta(hours=3))
    scheduler = Scheduler(store, clock=virtual_clock, retention=kept)

    @scheduler.interval(minutes=10)
    async def often() -> None: ...

    @scheduler.job()
    async def once() -> None: ...

    @scheduler.job()
    async def broken() -> None:
        raise ValueError

    async with scheduler:
        await (await scheduler.schedule_once(once)).wait()
        await (await scheduler.schedule_once(broken)).wait()
        await virtual_clock.advance(timedelta(minutes=95))
        assert len(await scheduler.runs(job="often")) <= 7
        assert await scheduler.runs(job="once") == []
        assert len(await scheduler.dead_letters()) == 1
        await scheduler.pause("often")
        await virtual_clock.advance(timedelta(hours=4))
        await (await scheduler.schedule_once(once)).wait()
        await virtual_clock.advance(timedelta(minutes=10))
        assert len(await scheduler.runs(job="often")) == 2
        if scheduler._running().main.store.durable:  # memory sweeps when there are many
            assert await scheduler.dead_letters() == []


def test_a_retention_that_is_wrong_or_of_no_use_is_refused(tmp_path: Path) -> None:
    for options in ({"age": -1}, {"runs": 1.5}, {"dead_letters": "7"}, {"per_schedule": True}):
        with pytest.raises(ConfigurationError, match=f"Retention: {next(iter(options))}"):
            Retention(**options)  # type: ignore[arg-type]
    store = SqliteStore(tmp_path / "jobs.db")
    Scheduler(store, retention=Retention(age=60))
    assert store.bounds.age == 60_000_000


# ── schedules of any function ────────────────────────────────────────────────────────────────────


async def test_in_memory_any_function_can_have_a_schedule(virtual_clock: VirtualClock) -> None:
    ran: list[str] = []

    async def ping(name: str) -> None:
        ran.append(name)

    async with Scheduler(clock=virtual_clock) as scheduler:
        for name in ("a", "b"):
            await scheduler.add_schedule(ping, Interval(seconds=60), id=name, args=(name,))
        await scheduler.add_schedule(lambda: ran.append("c"), Interval(seconds=60))
        await virtual_clock.advance(61)
        assert sorted(ran) == ["a", "b", "c"]
        for _ in range(1100):  # functions for one call only do not drive it out
            await (await scheduler.schedule_once(lambda: None)).wait()
        await virtual_clock.advance(60)
        assert sorted(ran) == ["a", "a", "b", "b", "c", "c"]
        assert (await scheduler.explain("a", (await scheduler.schedule("a")).next_due)).verdict == "future"  # type: ignore[arg-type]


async def test_the_function_of_a_removed_schedule_is_forgotten(virtual_clock: VirtualClock) -> None:
    async with Scheduler(clock=virtual_clock) as scheduler:
        for number in range(1100):
            await scheduler.add_schedule(lambda: None, Interval(seconds=60), id=str(number))
            await scheduler.remove(str(number))
        assert len(scheduler._registry.jobs) <= 1001


async def test_with_a_database_a_schedule_needs_a_declared_job(
    tmp_path: Path, virtual_clock: VirtualClock
) -> None:
    async with Scheduler(f"sqlite:///{tmp_path / 'jobs.db'}", clock=virtual_clock) as scheduler:
        with pytest.raises(UnknownJob, match=r"declare it with @scheduler.job\(\)"):
            await scheduler.add_schedule(lambda: None, Interval(seconds=60))


async def test_schedules_are_listed_by_job_tag_and_pause_page_by_page(
    store: Any, virtual_clock: VirtualClock
) -> None:
    scheduler = Scheduler(store, clock=virtual_clock)

    @scheduler.job(tags=["mail"])
    async def mail() -> None: ...

    @scheduler.job()
    async def check() -> None: ...

    async def ids(**query: Any) -> list[str]:
        return [one.id for one in await scheduler.schedules(**query)]

    async with scheduler:
        for number in range(4):
            await scheduler.add_schedule(
                mail if number % 2 else check, Interval(hours=1), id=f"s{number}", paused=number > 1
            )
        assert await ids(tag="mail") == await ids(job="mail") == ["s1", "s3"]
        assert await ids(paused=True, tag="mail") == ["s3"]
        assert await ids(limit=2) == ["s0", "s1"]
        assert await ids(limit=2, after="s1") == ["s2", "s3"]
        assert await ids(after="s3") == await ids(tag="none") == []
        with pytest.raises(ConfigurationError, match="limit"):
            await scheduler.schedules(limit=0)


# ── the environment, and a store that is chosen at the start ─────────────────────────────────────


async def test_the_environment_has_the_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, virtual_clock: VirtualClock
) -> None:
    monkeypatch.setenv("ASYNCSCHED_NAMESPACE", "shop")
    monkeypatch.setenv("ASYNCSCHED_TIMEZONE", "Europe/Paris")
    scheduler = Scheduler.from_env(clock=virtual_clock)

    @scheduler.cron("0 7 * * *")
    async def digest() -> None: ...

    async with scheduler:
        assert not scheduler._running().main.store.durable
        assert (await scheduler.schedule("digest")).next_due == datetime(2026, 1, 1, 6, tzinfo=UTC)
    monkeypatch.setenv("ASYNCSCHED_STORE", f"sqlite:///{tmp_path / 'jobs.db'}")
    async with scheduler:
        await scheduler.schedules()
    assert await anyio.Path(tmp_path / "jobs.db").exists()
    assert scheduler.namespace == "shop"
    assert Scheduler.from_env({}, namespace="mail").namespace == "mail"


async def test_a_faulty_environment_is_named() -> None:
    with pytest.raises(
        ConfigurationError, match="ASYNCSCHED_STORE_TIMEOUT must be a number of seconds, not 'soon'"
    ):
        Scheduler.from_env({"ASYNCSCHED_STORE_TIMEOUT": "soon"})
    with pytest.raises(ConfigurationError, match="namespace"):
        Scheduler.from_env({"ASYNCSCHED_NAMESPACE": "a\nb"})
    with pytest.raises(ConfigurationError, match="the scheme 'mysql' is not known"):
        async with Scheduler.from_env({"ASYNCSCHED_STORE": "mysql://host/db"}):
            pass


async def test_a_store_may_be_chosen_at_the_start(tmp_path: Path, virtual_clock: VirtualClock) -> None:
    chosen: list[Any] = [f"sqlite:///{tmp_path / 'jobs.db'}", None, "memory://"]
    scheduler = Scheduler(lambda: chosen.pop(0), clock=virtual_clock)
    durable = []
    for _ in range(3):
        async with scheduler:
            durable.append(scheduler._running().main.store.durable)
    assert durable == [True, False, False]


async def test_memory_has_a_url(virtual_clock: VirtualClock) -> None:
    async with Scheduler("memory://", clock=virtual_clock) as scheduler:
        assert await (await scheduler.schedule_once(lambda: 7)).result() == 7


# ── tests of an app whose scheduler is in a module ───────────────────────────────────────────────


class Mailer:
    def __init__(self) -> None:
        self.sent: list[str] = []


def get_mailer() -> Mailer:
    raise AssertionError("the real mailer")


app = Scheduler("sqlite:////nowhere/at/all.db")


@app.interval(hours=1)
async def remind(mailer: Annotated[Mailer, Provide(get_mailer)]) -> None:
    mailer.sent.append("remind")


async def test_a_scheduler_of_a_module_is_tested_in_virtual_time(virtual_clock: VirtualClock) -> None:
    for _ in range(2):
        fake = Mailer()
        with app.override(store=None, clock=virtual_clock, providers={get_mailer: lambda fake=fake: fake}):
            async with app:
                await virtual_clock.advance(timedelta(hours=3))
        assert fake.sent == ["remind"] * 3
    assert app.overrides == {}


async def test_an_override_chooses_the_role_and_ends_with_its_block(
    virtual_clock: VirtualClock, tmp_path: Path
) -> None:
    before = vars(app._choices).copy()
    with app.override(store=f"sqlite:///{tmp_path / 'jobs.db'}", clock=virtual_clock, role="off"):
        with app.override(role="submit"):
            async with app:
                assert app._running().environment.settings.role == "submit"  # type: ignore[attr-defined]
        async with app:
            with pytest.raises(
                SchedulerStateError, match=r"override\(\) was called while the scheduler runs"
            ):
                with app.override(store=None):
                    pass
    assert vars(app._choices) == before


@pytest.mark.parametrize(
    "given, text",
    [({"store": 7}, "store must be"), ({"clock": 7}, "clock must be"), ({"role": "boss"}, "role must be")],
)
def test_an_override_that_is_wrong_is_refused_and_changes_nothing(given: dict[str, Any], text: str) -> None:
    before = vars(app._choices).copy()
    with pytest.raises(ConfigurationError, match=text), app.override(providers={get_mailer: Mailer}, **given):
        pass
    assert vars(app._choices) == before and app.overrides == {}


# ── outside a job ────────────────────────────────────────────────────────────────────────────────


async def test_outside_a_job_there_may_be_no_current_run(virtual_clock: VirtualClock) -> None:
    def key() -> str | None:
        run = current_run(None)
        return None if run is None else run.key

    assert key() is None
    async with Scheduler(clock=virtual_clock) as scheduler:
        assert await (await scheduler.schedule_once(key, key="k")).result() == "k"
    with pytest.raises(SchedulerStateError, match=r"or write current_run\(None\)"):
        current_run()
