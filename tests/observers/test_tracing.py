"""Spans, read back from an in-memory exporter, on every store, on asyncio and trio."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from asyncsched import ConfigurationError, Retry, RunFailed, Scheduler, Snooze, current_run
from asyncsched.executors.handoff import HandoffExecutor
from asyncsched.observers.tracing import Tracing, _api, trace_id
from asyncsched.testing import VirtualClock
from tests.executors.handoff.elsewhere import Elsewhere
from tests.observers.traced import present
from tests.waiting import soon

pytestmark = pytest.mark.anyio

Make = Callable[..., Scheduler]


class Traces:
    """A provider, and the spans that it has exported."""

    def __init__(self, rate: float = 1.0) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(rate)), shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("app")

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span


@pytest.fixture
def traces(request: pytest.FixtureRequest) -> Iterator[Traces]:
    """A provider that exports all, or the given part; the SDK waits for a thread when one is made."""
    traces = Traces(getattr(request, "param", 1.0))
    yield traces
    traces.provider.shutdown()


@pytest.fixture
def elsewhere() -> Iterator[Traces]:
    """The provider of another instance."""
    traces = Traces()
    yield traces
    traces.provider.shutdown()


def ids(span: Any) -> tuple[int, int]:
    found = span.get_span_context() if hasattr(span, "get_span_context") else span
    return found.trace_id, found.span_id


async def test_a_run_is_a_span_and_its_attempts_are_children(
    make_scheduler: Make, traces: Traces, virtual_clock: VirtualClock
) -> None:
    scheduler = make_scheduler(observers=[Tracing(traces.provider)])

    @scheduler.cron("0 3 * * *", timezone="Europe/Paris", retry=Retry(attempts=2, delay=60, jitter="none"))
    async def nightly() -> None:
        with traces.tracer.start_as_current_span("query"):
            await anyio.sleep(2)
        if current_run().attempt == 1:
            raise ConnectionError("no route")

    async with scheduler:
        await virtual_clock.advance(24 * 3600)
        (ended,) = await scheduler.runs()
    run = traces.one("run nightly")
    first, second = traces.named("attempt nightly")
    assert ids(run)[0] == ids(first)[0] == ids(second)[0] == int(trace_id(ended.id), 16)
    assert run.parent is None and not run.links
    assert first.parent is not None and second.parent is not None
    assert ids(first.parent) == ids(second.parent) == ids(run)
    for query, attempt in zip(traces.named("query"), (first, second), strict=True):
        assert query.parent is not None
        assert ids(query.parent) == ids(attempt)
    assert run.attributes == {
        "asyncsched.job.name": "nightly",
        "asyncsched.run.id": ended.id,
        "asyncsched.schedule.id": "nightly",
        "asyncsched.trigger": "schedule",
        "asyncsched.due_time": ended.scheduled_for.isoformat(),
        "asyncsched.lateness_seconds": ended.late.total_seconds() if ended.late else 0,
        "asyncsched.outcome": "succeeded",
        "asyncsched.attempt": 2,
        "code.function.name": f"{__name__}.test_a_run_is_a_span_and_its_attempts_are_children.<locals>.nightly",
        "faas.trigger": "timer",
        "faas.cron": "0 3 * * *",
    }
    assert run.status.status_code == trace.StatusCode.UNSET
    assert first.attributes is not None and second.attributes is not None
    assert first.attributes["error.type"] == "ConnectionError"
    assert (first.attributes["asyncsched.attempt"], second.attributes["asyncsched.attempt"]) == (1, 2)
    assert second.attributes["asyncsched.trigger"] == "retry"
    assert first.status.status_code == trace.StatusCode.ERROR
    (told,) = first.events
    assert told.name == "exception" and told.attributes is not None
    assert told.attributes["exception.message"] == "no route"
    assert "Traceback" in str(told.attributes["exception.stacktrace"])
    assert run.start_time == first.start_time and run.end_time == second.end_time
    assert run.start_time is not None and run.end_time is not None
    assert (run.end_time - run.start_time) / 1e9 == pytest.approx(64, abs=0.5)


async def test_a_run_is_linked_to_the_request_that_scheduled_it_and_has_its_baggage(
    make_scheduler: Make, traces: Traces
) -> None:
    scheduler = make_scheduler(observers=[Tracing(traces.provider)])
    seen: list[list[str]] = []

    @scheduler.job(retry=Retry(attempts=2, delay=1))
    async def send() -> None:
        seen.append(present())
        if current_run().attempt == 1:
            raise ValueError

    @scheduler.cron("0 3 * * *")
    async def nightly() -> None: ...

    async with scheduler:
        with traces.tracer.start_as_current_span("POST /signup"):
            token = context.attach(baggage.set_baggage("tenant", "blue"))
            handle = await scheduler.schedule_once(send, delay=5)
            by_hand = await scheduler.run_now("nightly")
            context.detach(token)
        await handle.result()
        await by_hand.result()
    request = traces.one("POST /signup")
    for name, trigger in (("run send", "api"), ("run nightly", "manual")):
        run = traces.one(name)
        assert run.attributes is not None
        assert run.attributes["asyncsched.trigger"] == trigger
        assert [ids(link.context) for link in run.links] == [ids(request)]
        assert run.parent is None, "a run has a trace of its own"
        assert ids(run)[0] != ids(request)[0]
    attempts = traces.named("attempt send")
    assert [tuple(one) for one in seen] == [
        (f"{ids(span)[0]:032x}", f"{ids(span)[1]:016x}", "blue") for span in attempts
    ]


@pytest.mark.parametrize("executor", ["thread", "process"])
async def test_the_attempt_is_the_current_span_in_threads_and_processes(
    make_scheduler: Make, traces: Traces, executor: str
) -> None:
    scheduler = make_scheduler(observers=[Tracing(traces.provider)])
    job = scheduler.job(executor=executor)(present)
    async with scheduler:
        with traces.tracer.start_as_current_span("request"):
            token = context.attach(baggage.set_baggage("tenant", "blue"))
            handle = await scheduler.schedule_once(job)
            context.detach(token)
        there = await handle.result()
    attempt = traces.one("attempt present")
    assert there == [f"{ids(attempt)[0]:032x}", f"{ids(attempt)[1]:016x}", "blue"]


@pytest.mark.real_time  # the hand-off's thread is in the real world
@pytest.mark.blocking_ok
async def test_a_task_is_handed_over_within_the_span_of_its_attempt(traces: Traces) -> None:
    engine, seen = Elsewhere(), []
    engine.at_submit = lambda: seen.append(present())
    scheduler = Scheduler(
        observers=[Tracing(traces.provider)], executors={"elsewhere": HandoffExecutor(engine)}
    )
    job = scheduler.job(executor="elsewhere")(divide)
    async with scheduler:
        handle = await scheduler.schedule_once(job, 6, 4)
        await soon(lambda: engine.submitted)
        engine.end()
        assert await handle.result() == 1.5
    attempt = traces.one("attempt divide")
    assert [one[:2] for one in seen] == [[f"{ids(attempt)[0]:032x}", f"{ids(attempt)[1]:016x}"]]


def divide(a: int, b: int) -> float:
    return a / b


async def test_attempts_on_two_instances_are_one_trace(
    tmp_path: Any, virtual_clock: VirtualClock, traces: Traces, elsewhere: Traces
) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    both = [traces, elsewhere]
    instances = [
        Scheduler(url, clock=virtual_clock, observers=[Tracing(one.provider)], shutdown_timeout=0)
        for one in both
    ]

    async def send() -> int:
        if current_run().attempt == 1:
            raise ValueError
        return 7

    for instance in instances:
        instance.job(retry=Retry(attempts=2, delay=600, jitter="none"))(send)
    async with instances[0]:
        with both[0].tracer.start_as_current_span("request"):
            handle = await instances[0].schedule_once(send)
        await virtual_clock.advance(5)
    async with instances[1]:
        assert await instances[1].handle(handle.id).result() == 7
    first, second = both[0].one("attempt send"), both[1].one("attempt send")
    run, request = both[1].one("run send"), both[0].one("request")
    assert both[0].named("run send") == []
    assert first.parent is not None and second.parent is not None
    assert ids(first.parent) == ids(second.parent) == ids(run)
    assert [ids(link.context) for link in run.links] == [ids(request)]


@pytest.mark.parametrize(("traces", "rate"), [(0.0, 0.0), (0.5, 0.5)], indirect=["traces"])
async def test_the_sampler_of_the_app_decides_for_each_run_as_a_whole(
    virtual_clock: VirtualClock, traces: Traces, rate: float
) -> None:
    scheduler = Scheduler(clock=virtual_clock, observers=[Tracing(traces.provider)])

    @scheduler.job(retry=Retry(attempts=3, delay=1))
    async def send() -> None:
        if current_run().attempt < 3:
            raise ValueError

    async with scheduler:
        for _ in range(60):
            await (await scheduler.schedule_once(send)).result()
    runs, attempts = traces.named("run send"), traces.named("attempt send")
    assert len(attempts) == 3 * len(runs)
    assert {ids(span)[0] for span in attempts} == {ids(span)[0] for span in runs}
    assert (len(runs) == 0) if rate == 0 else 5 < len(runs) < 55


async def test_what_ends_badly_is_an_error_and_a_cancel_and_a_snooze_are_none(
    make_scheduler: Make, traces: Traces, virtual_clock: VirtualClock
) -> None:
    scheduler = make_scheduler(observers=[Tracing(traces.provider)])

    @scheduler.job(timeout=5)
    async def hangs() -> None:
        await anyio.sleep_forever()

    @scheduler.job()
    async def fails() -> None:
        raise LookupError("none")

    @scheduler.job()
    async def is_cancelled() -> None:
        await anyio.sleep_forever()

    snoozed = False

    @scheduler.job()
    async def snoozes() -> None:
        nonlocal snoozed
        if not snoozed:
            snoozed = True
            raise Snooze(delay=5)

    async with scheduler:
        handles = [await scheduler.schedule_once(job) for job in (hangs, fails, is_cancelled, snoozes)]
        await virtual_clock.advance(1)
        await handles[2].cancel()
        pending = await scheduler.schedule_once(fails, delay=600)
        await pending.cancel()
        await virtual_clock.advance(20)
        with pytest.raises(RunFailed):
            await handles[1].result()
    found = {
        (span.name, span.attributes["asyncsched.outcome"], span.attributes.get("error.type"),
         span.status.status_code.name)
        for span in traces.exporter.get_finished_spans() if span.attributes
    }  # fmt: skip
    assert found == {
        ("run hangs", "timed_out", "TimeoutError", "ERROR"), ("attempt hangs", "timed_out", "TimeoutError", "ERROR"),
        ("run fails", "failed", "LookupError", "ERROR"), ("attempt fails", "failed", "LookupError", "ERROR"),
        ("run fails", "cancelled", None, "UNSET"),
        ("run is_cancelled", "cancelled", None, "UNSET"), ("attempt is_cancelled", "cancelled", None, "UNSET"),
        ("attempt snoozes", "snoozed", None, "UNSET"), ("attempt snoozes", "succeeded", None, "UNSET"),
        ("run snoozes", "succeeded", None, "UNSET"),
    }  # fmt: skip


async def test_a_span_of_the_app_s_own_start_is_no_parent_of_any_run(
    virtual_clock: VirtualClock, traces: Traces
) -> None:
    scheduler = Scheduler(clock=virtual_clock, observers=[Tracing(traces.provider)])

    @scheduler.interval(seconds=10)
    async def tick() -> None: ...

    with traces.tracer.start_as_current_span("startup"):
        async with scheduler:
            await virtual_clock.advance(10)
    run = traces.one("run tick")
    assert run.parent is None and not run.links


async def test_the_conventions_for_messaging_are_there_for_those_who_ask(
    virtual_clock: VirtualClock, traces: Traces
) -> None:
    scheduler = Scheduler(clock=virtual_clock, observers=[Tracing(traces.provider, semconv="messaging")])

    @scheduler.job()
    async def send() -> None: ...

    async with scheduler:
        handle = await scheduler.schedule_once(send)
        await handle.result()
    run = traces.one("process send")
    assert run.kind == trace.SpanKind.CONSUMER and run.attributes is not None
    assert run.attributes["messaging.destination.name"] == "send"
    assert run.attributes["messaging.message.id"] == handle.id


async def test_without_a_provider_nothing_is_made_and_nothing_breaks(make_scheduler: Make) -> None:
    scheduler = make_scheduler(observers=[Tracing()])

    @scheduler.job(retry=Retry(attempts=2, delay=1))
    async def job() -> list[str]:
        if current_run().attempt == 1:
            raise ValueError
        return present()

    async with scheduler:
        there = await (await scheduler.schedule_once(job)).result()
    assert there[:2] == ["0" * 32, "0" * 16], "there is no span"


def test_without_the_api_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    _api.cache_clear()
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    with pytest.raises(ConfigurationError, match=r'needs opentelemetry-api; .*"asyncsched\[tracing\]"'):
        Tracing()
