"""What a scraper reads is what the ledger says, on every store."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from asyncsched import ConfigurationError, Cron, Interval, Retry, Run, Scheduler, StoreUnavailable
from asyncsched.observers.metrics import PrometheusMetrics
from asyncsched.observers.metrics.families import COLLECTED, FAMILIES
from asyncsched.testing import VirtualClock
from tests.observers.scraping import scrape

pytestmark = pytest.mark.anyio

Make = Callable[..., Scheduler]


@pytest.fixture
def metrics() -> PrometheusMetrics:
    return PrometheusMetrics(CollectorRegistry())


async def test_what_is_scraped_is_what_the_ledger_says(
    make_scheduler: Make, metrics: PrometheusMetrics, virtual_clock: VirtualClock
) -> None:
    scheduler = make_scheduler(observers=[metrics])

    @scheduler.interval(seconds=10, retry=Retry(attempts=2, delay=1, jitter="none"))
    async def failing() -> None:
        raise ValueError("no")

    @scheduler.interval(seconds=10)
    async def slow() -> None:
        await anyio.sleep(15)

    @scheduler.job(timeout=1)
    async def hanging() -> None:
        await anyio.sleep_forever()

    async with scheduler:
        run = await scheduler.schedule_once(hanging)
        await scheduler.schedule_once(hanging, delay=1000)
        await virtual_clock.advance(95)
        found = await scrape(metrics.endpoint)
        for job in ("failing", "slow", "hanging"):
            for outcome in ("succeeded", "failed", "timed_out", "cancelled"):
                ended = await scheduler.runs(job=job, state=outcome)
                assert found.get("runs_total", job=job, outcome=outcome) == len(ended), (job, outcome)
        (schedule,) = await scheduler.schedules(job="failing")
        assert (await run.status()).state == "timed_out"
    assert found.get("consecutive_failures", job="failing") == schedule.failures == 9
    assert found.get("attempts_total", job="failing") == 18
    assert found.get("retries_total", job="failing") == 9
    assert found.get("due_total", job="slow") == 9
    assert found.get("missed_total", job="slow", reason="overlap") == 4
    assert found.get("running", job="slow") == 1
    assert found.get("slots_in_use", executor="loop") == 1
    assert found.get("run_duration_seconds_count", job="slow") == 4
    assert found.get("run_duration_seconds_sum", job="slow") == pytest.approx(60, abs=0.1)
    assert found.get("start_lateness_seconds_bucket", job="slow", le="0.1") == 5
    assert schedule.next_due is not None
    assert found.get("next_due_timestamp_seconds", job="failing") == schedule.next_due.timestamp()
    assert found.get("due_total", job="hanging") == 0


async def test_every_label_set_stands_there_before_the_first_run(
    make_scheduler: Make, metrics: PrometheusMetrics
) -> None:
    scheduler = make_scheduler(observers=[metrics])

    @scheduler.cron("0 3 * * *", timezone="Europe/Paris")
    def nightly() -> None: ...

    async with scheduler:
        found = await scrape(metrics.endpoint)
    for outcome in ("succeeded", "failed", "timed_out", "cancelled", "lost"):
        assert found.get("runs_total", job="nightly", outcome=outcome) == 0
    for reason in ("missed", "overlap", "paused"):
        assert found.get("missed_total", job="nightly", reason=reason) == 0
    for name in ("start_lateness_seconds_count", "run_duration_seconds_count", "attempts_total", "due_total",
                 "retries_total", "running", "consecutive_failures", "paused"):  # fmt: skip
        assert found.get(name, job="nightly") == 0, name
    assert found.get("last_success_timestamp_seconds", job="nightly") is None  # 0 would be 1970
    assert found.get(
        "job_info", job="nightly", schedule="at 03:00 every day, Europe/Paris", timezone="Europe/Paris",
        callable=f"{__name__}.test_every_label_set_stands_there_before_the_first_run.<locals>.nightly",
    ) == 1  # fmt: skip
    names = {name.removesuffix("_total") for name in (*FAMILIES, *COLLECTED)}
    assert names <= found.families.keys()


async def test_a_pause_is_a_gauge_and_its_slots_are_counted_when_it_ends(
    make_scheduler: Make, metrics: PrometheusMetrics, virtual_clock: VirtualClock
) -> None:
    scheduler = make_scheduler(observers=[metrics])

    @scheduler.interval(minutes=1)
    async def job() -> None: ...

    async with scheduler:
        await scheduler.pause("job", note="while the bank is away")
        await virtual_clock.advance(200)
        paused = await scrape(metrics.endpoint)
        await scheduler.resume("job")
        await virtual_clock.advance(60)
        resumed = await scrape(metrics.endpoint)
    assert paused.get("paused", job="job") == 1
    assert paused.get("next_due_timestamp_seconds", job="job") is None
    assert resumed.get("paused", job="job") == 0
    assert resumed.get("missed_total", job="job", reason="paused") == 3
    assert resumed.get("due_total", job="job") == 4


async def test_failures_in_a_row_of_one_offs_and_the_last_success_outlive_the_process(
    make_scheduler: Make, virtual_clock: VirtualClock
) -> None:
    success: Run | None = None
    for start in range(2):
        metrics = PrometheusMetrics(CollectorRegistry())
        scheduler = make_scheduler(observers=[metrics])

        @scheduler.job()
        async def send(well: bool) -> None:
            if not well:
                raise ValueError

        async with scheduler:
            durable = scheduler._running().main.store.durable
            if not start:
                for well in (False, True, False, False):
                    ended = await (await scheduler.schedule_once(send, well)).wait()
                    success = ended if well else success
                await virtual_clock.advance(5)
            if not start or durable:
                found = await scrape(metrics.endpoint)
                assert found.get("consecutive_failures", job="send") == 2
                assert success is not None and success.finished_at is not None
                told = found.get("last_success_timestamp_seconds", job="send")
                assert told == pytest.approx(success.finished_at.timestamp(), abs=1e-3)


async def test_five_thousand_schedules_are_one_label_set(
    virtual_clock: VirtualClock, metrics: PrometheusMetrics
) -> None:
    scheduler = Scheduler(observers=[metrics], clock=virtual_clock)

    @scheduler.job()
    async def remind(number: int) -> None: ...

    async with scheduler:
        for number in range(5000):
            await scheduler.add_schedule(remind, Interval(hours=1), id=f"remind-{number}", args=(number,))
        await virtual_clock.advance(3600)
        found = await scrape(metrics.endpoint)
    assert found.labels("runs_total", "job") == {"remind"}
    assert found.get("runs_total", job="remind", outcome="succeeded") == 5000
    assert len(found.samples) < 200


async def test_label_sets_by_schedule_are_bounded_as_well(virtual_clock: VirtualClock) -> None:
    metrics = PrometheusMetrics(CollectorRegistry(), by="schedule", most=10)
    scheduler = Scheduler(observers=[metrics], clock=virtual_clock)

    @scheduler.job()
    async def remind() -> None: ...

    async with scheduler:
        for number in range(50):
            await scheduler.add_schedule(remind, Interval(hours=1), id=f"remind-{number}")
        await virtual_clock.advance(3600)
        found = await scrape(metrics.endpoint)
    schedules = found.labels("runs_total", "schedule")
    assert len(schedules) <= 11 and "other" in schedules
    counted = [
        value
        for (name, labels), value in found.samples.items()
        if name == "asyncsched_runs_total" and ("outcome", "succeeded") in labels
    ]
    assert sum(counted) == 50


async def test_functions_adopted_for_each_request_do_not_grow_the_metrics(
    virtual_clock: VirtualClock,
) -> None:
    metrics = PrometheusMetrics(CollectorRegistry(), most=20)
    scheduler = Scheduler(observers=[metrics], clock=virtual_clock)
    async with scheduler:
        for number in range(100):
            run = await scheduler.schedule_once(lambda number=number: number)
            await run.wait()
        found = await scrape(metrics.endpoint)
    assert len(found.labels("attempts_total", "job")) <= 21
    assert found.get("attempts_total", job="other") == 80


async def test_two_schedulers_share_one(virtual_clock: VirtualClock, metrics: PrometheusMetrics) -> None:
    async def work() -> None: ...

    schedulers = [Scheduler(observers=[metrics], clock=virtual_clock) for _ in range(2)]
    for number, scheduler in enumerate(schedulers):
        scheduler.interval(minutes=1, name=f"work-{number}", id=f"work-{number}")(work)
    async with schedulers[0], schedulers[1]:
        await virtual_clock.advance(60)
        found = await scrape(metrics.endpoint)
    for number in range(2):
        assert found.get("runs_total", job=f"work-{number}", outcome="succeeded") == 1
        assert found.get("paused", job=f"work-{number}") == 0


def test_without_prometheus_client_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigurationError, match=r'needs prometheus-client; .*"asyncsched\[metrics\]"'):
        PrometheusMetrics()


def test_a_registry_that_has_the_names_is_refused_in_one_line_and_left_as_it_was() -> None:
    registry = CollectorRegistry()
    PrometheusMetrics(registry)
    before = len(list(registry.collect()))
    with pytest.raises(
        ConfigurationError, match="give all schedulers one PrometheusMetrics, or each a registry"
    ):
        PrometheusMetrics(registry)
    assert len(list(registry.collect())) == before


async def test_a_scheduler_that_starts_again_is_told_once(
    virtual_clock: VirtualClock, metrics: PrometheusMetrics
) -> None:
    scheduler = Scheduler(observers=[metrics], clock=virtual_clock)

    @scheduler.interval(minutes=1)
    async def job() -> None: ...

    for _ in range(3):
        async with scheduler:
            await virtual_clock.advance(60)
    async with scheduler:
        found = await scrape(metrics.endpoint)
    assert found.get("runs_total", job="job", outcome="succeeded") == 3
    assert found.get("running", job="job") == 0
    assert len(metrics.attached) == 0


async def test_a_scrape_is_answered_while_the_store_is_away(
    virtual_clock: VirtualClock, metrics: PrometheusMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = Scheduler(observers=[metrics], clock=virtual_clock)

    @scheduler.interval(minutes=1)
    async def job() -> None: ...

    async with scheduler:
        await virtual_clock.advance(60)

        async def away(ids: Any = None) -> Any:
            raise StoreUnavailable("the store gave no answer within 5 s")

        with monkeypatch.context() as patched:
            patched.setattr(scheduler._running().main.store, "schedules", away)
            found = await scrape(metrics.endpoint)
    assert found.get("runs_total", job="job", outcome="succeeded") == 1
    assert found.get("paused", job="job") == 0


async def test_only_reading_is_allowed_and_the_path_may_be_mounted(metrics: PrometheusMetrics) -> None:
    app = Starlette()
    app.add_route("/metrics", metrics.endpoint)
    app.mount("/ops", metrics.endpoint)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        assert (await client.post("/metrics")).status_code == 405
        assert (await client.head("/metrics")).text == ""
        for path in ("/metrics", "/ops/"):
            assert "asyncsched_build_info" in (await client.get(path)).text


async def test_a_faulty_label_hurts_no_run(
    virtual_clock: VirtualClock, metrics: PrometheusMetrics, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    scheduler = Scheduler(observers=[metrics], clock=virtual_clock)

    @scheduler.job()
    async def job() -> int:
        return 7

    def broken(*args: Any) -> None:
        raise OSError("no space left on device")

    async with scheduler:
        monkeypatch.setattr(metrics, "record", broken)
        with caplog.at_level(logging.ERROR):
            assert await (await scheduler.schedule_once(job)).result() == 7
    assert "failed at RunStarted; it is kept" in caplog.text


async def test_a_schedule_that_is_removed_has_no_next_due(
    make_scheduler: Make, metrics: PrometheusMetrics, virtual_clock: VirtualClock
) -> None:
    scheduler = make_scheduler(observers=[metrics])

    @scheduler.job()
    async def job() -> None: ...

    async with scheduler:
        await scheduler.add_schedule(job, Cron("0 3 * * *"), id="nightly")
        found = await scrape(metrics.endpoint)
        (schedule,) = await scheduler.schedules()
        await scheduler.remove("nightly")
        gone = await scrape(metrics.endpoint)
    assert schedule.next_due is not None
    assert found.get("next_due_timestamp_seconds", job="job") == schedule.next_due.timestamp()
    assert gone.get("next_due_timestamp_seconds", job="job") is None
