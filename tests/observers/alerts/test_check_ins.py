"""Check-ins reach a real HTTP server, on asyncio and trio; one that is down, slow or broken is noticed by no job."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import anyio
import httpx
import pytest

from asyncsched import ConfigurationError, Interval, Retry, Scheduler, current_run
from asyncsched.observers.alerts import Healthchecks, Sentry
from asyncsched.observers.alerts import sending as sending_module
from asyncsched.observers.alerts.sentry import schedule_of
from asyncsched.testing import VirtualClock
from asyncsched.triggers.codec import trigger_to_json
from tests.observers.alerts.sink import Sink, listening
from tests.waiting import soon

pytestmark = pytest.mark.anyio

UUIDS = ["f0f0f0f0-0000-4000-8000-000000000001", "f0f0f0f0-0000-4000-8000-000000000002"]


@pytest.fixture
def sink() -> Iterator[Sink]:
    with listening() as sink:
        yield sink


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tries follow at once: what is tested is that they come."""
    monkeypatch.setattr(sending_module, "PAUSES", (0.01, 0.02))


# ── healthchecks.io ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.real_time  # real sockets
async def test_a_run_pings_its_check_when_it_begins_succeeds_and_fails(sink: Sink) -> None:
    pings = Healthchecks(sink.url, jobs={"works": UUIDS[0], "breaks": UUIDS[1]})
    scheduler = Scheduler(stall_threshold=None, observers=[pings])

    @scheduler.job()
    async def works() -> None: ...

    @scheduler.job(retry=Retry(attempts=2, delay=0))
    async def breaks() -> None:
        raise ValueError("no route to the bank")

    @scheduler.job()
    async def is_not_told() -> None: ...

    async with scheduler:
        well = await scheduler.schedule_once(works)
        await scheduler.schedule_once(is_not_told)
        await soon(lambda: len(sink.received) == 2)
        ill = await scheduler.schedule_once(breaks)
        await soon(lambda: len(sink.received) == 4)
    assert sink.paths() == [
        f"/{UUIDS[0]}/start", f"/{UUIDS[0]}", f"/{UUIDS[1]}/start", f"/{UUIDS[1]}/fail",
    ]  # fmt: skip
    assert [UUID(one.query["rid"]).hex for one in sink.received] == [well.id, well.id, ill.id, ill.id]
    assert sink.received[3].body.startswith(b"ValueError: no route to the bank\n\nTraceback")


@pytest.mark.real_time
async def test_checks_by_slug_are_made_when_they_are_first_pinged(sink: Sink) -> None:
    pings = Healthchecks(f"{sink.url}/ping/", ["Nightly report"], ping_key="a/key", create=True)
    scheduler = Scheduler(stall_threshold=None, observers=[pings])

    @scheduler.job(name="Nightly report")
    async def nightly() -> None: ...

    async with scheduler:
        await scheduler.schedule_once(nightly)
        await soon(lambda: len(sink.received) == 2)
    assert sink.paths() == ["/ping/a%2Fkey/nightly-report/start", "/ping/a%2Fkey/nightly-report"]
    assert {one.query["create"] for one in sink.received} == {"1"}


@pytest.mark.real_time
async def test_a_service_that_answers_500_is_tried_again(sink: Sink, quick: None) -> None:
    sink.statuses = [500, 503]
    pings = Healthchecks(sink.url, jobs={"works": UUIDS[0]})
    scheduler = Scheduler(stall_threshold=None, observers=[pings])

    @scheduler.job()
    async def works() -> None: ...

    async with scheduler:
        await scheduler.schedule_once(works)
        await soon(lambda: len(sink.received) == 4)
    assert sink.paths() == [f"/{UUIDS[0]}/start"] * 3 + [f"/{UUIDS[0]}"]
    assert (pings.refused, pings.lost) == (0, 0)


@pytest.mark.real_time
async def test_a_service_that_refuses_is_not_asked_again_and_one_line_says_so(
    sink: Sink, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    sink.statuses = [404, 404]
    pings = Healthchecks(sink.url, jobs={"works": UUIDS[0]})
    scheduler = Scheduler(stall_threshold=None, observers=[pings])

    @scheduler.job()
    async def works() -> None: ...

    async with scheduler:
        await scheduler.schedule_once(works)
        await soon(lambda: pings.refused == 2)
    assert len(sink.received) == 2
    lines = [record.getMessage() for record in caplog.records if record.name == "asyncsched.observer"]
    assert lines == [
        f"Healthchecks did not take the check-in of {UUIDS[0]}: 404 Not Found; no job waits for it"
    ]


@pytest.mark.real_time
async def test_a_service_that_is_down_or_hangs_delays_no_job_and_no_shutdown(
    sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    down = Healthchecks(
        "http://127.0.0.1:9", jobs={"works": UUIDS[0]}
    )  # the discard port, where nobody listens
    sink.answers.clear()
    hangs = Sentry(f"http://key@127.0.0.1:{sink.server.server_port}/7")
    scheduler = Scheduler(stall_threshold=None, observers=[down, hangs])
    done = 0

    @scheduler.interval(seconds=0.05)
    async def works() -> None:
        nonlocal done
        done += 1

    began = anyio.current_time()
    async with scheduler:
        await soon(lambda: done >= 10 and sink.received)
        with caplog.at_level(logging.ERROR):
            ended = anyio.current_time()
    assert anyio.current_time() - ended < 3, "the scheduler does not wait for the service"
    assert ended - began < 40
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_the_queue_is_bounded_and_what_finds_it_full_is_counted(
    virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    gate = anyio.Event()

    class Hanging(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await gate.wait()
            return httpx.Response(200)

    names = [f"job-{number}" for number in range(600)]
    pings = Healthchecks(
        "http://hc", names, ping_key="key", client=lambda: httpx.AsyncClient(transport=Hanging())
    )
    scheduler = Scheduler(observers=[pings], clock=virtual_clock)

    async def works() -> None: ...

    for name in names:
        scheduler.job(name=name)(works if name == "job-0" else _twin())
    async with scheduler:
        for name in names:
            await (await scheduler.schedule_once(name)).wait()
        assert pings.lost == 2 * 600 - 1000 - 1  # one has left the queue, and waits for the service
        gate.set()
    assert "too slow" in caplog.text


def _twin() -> Any:
    async def works() -> None: ...

    return works


async def test_a_fast_job_is_told_once_a_minute_and_when_it_changes(virtual_clock: VirtualClock) -> None:
    told: list[tuple[float, str]] = []
    began = virtual_clock.monotonic()

    def answer(request: httpx.Request) -> httpx.Response:
        told.append((round(virtual_clock.monotonic() - began), request.url.path.rpartition("/")[2][:5]))
        return httpx.Response(200)

    def client() -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(answer))

    pings = Healthchecks("http://hc", {"fast": UUIDS[0]}, client=client)
    scheduler = Scheduler(observers=[pings], clock=virtual_clock)

    @scheduler.interval(seconds=1)
    async def fast() -> None:
        number = round(virtual_clock.monotonic() - began)
        if 100 <= number < 130:
            raise ValueError

    async with scheduler:
        await virtual_clock.advance(185)
    assert told == [
        (1, "start"), (1, "f0f0f"), (61, "start"), (61, "f0f0f"), (100, "fail"), (121, "start"), (121, "fail"),
        (130, "f0f0f"), (181, "start"), (181, "f0f0f"),
    ]  # fmt: skip


async def test_a_job_that_flaps_each_second_stays_under_the_limit_of_five_a_minute(
    virtual_clock: VirtualClock,
) -> None:
    told: list[float] = []
    last = ""

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal last
        told.append(virtual_clock.monotonic())
        last = request.url.path
        return httpx.Response(200)

    def client() -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(answer))

    pings = Healthchecks("http://hc", {"flaps": UUIDS[0]}, client=client)
    scheduler = Scheduler(observers=[pings], clock=virtual_clock)
    number = 0

    @scheduler.interval(seconds=1)
    async def flaps() -> None:
        nonlocal number
        number += 1
        if number % 2 and number < 400:
            raise ValueError

    async with scheduler:
        await virtual_clock.advance(600)
    for first in told:
        assert sum(first <= at < first + 60 for at in told) <= 5
    assert last == f"/{UUIDS[0]}", "the last state is told"


# ── Sentry ───────────────────────────────────────────────────────────────────────────────────────


def payload(body: bytes) -> dict[str, Any]:
    """Read an envelope as Sentry does: a header, and items with a header each."""
    header, rest = body.split(b"\n", 1)
    json.loads(header)
    described, rest = rest.split(b"\n", 1)
    item = json.loads(described)
    assert item["type"] == "check_in"
    found: dict[str, Any] = json.loads(rest[: item["length"]])
    return found


@pytest.mark.real_time
async def test_a_scheduled_run_checks_in_with_the_schedule_and_zone_of_its_trigger(sink: Sink) -> None:
    sentry = Sentry(
        f"http://public@127.0.0.1:{sink.server.server_port}/7",
        environment="test",
        monitor={"checkin_margin": 5},
    )
    scheduler = Scheduler(stall_threshold=None, observers=[sentry])

    @scheduler.cron("0 7 * * mon-fri", timezone="Europe/Paris", timeout=90)
    async def digest() -> None:
        if current_run().key is None and current_run().attempt == 1:
            raise ValueError

    @scheduler.job()
    async def one_off() -> None: ...

    async with scheduler:
        await scheduler.schedule_once(one_off)
        handle = await scheduler.run_now("digest")
        await soon(lambda: len(sink.received) == 2)
    begin, end = (payload(one.body) for one in sink.received)
    config = {
        "schedule": {"type": "crontab", "value": "0 7 * * mon-fri"}, "timezone": "Europe/Paris",
        "checkin_margin": 5, "max_runtime": 2,
    }  # fmt: skip
    assert begin == {
        "type": "check_in", "check_in_id": handle.id, "monitor_slug": "digest", "status": "in_progress",
        "environment": "test", "monitor_config": config,
    }  # fmt: skip
    assert end["duration"] >= 0 and end["status"] == "error"
    assert {**end, "status": "in_progress"} == {**begin, "duration": end["duration"]}
    assert {one.path for one in sink.received} == {"/api/7/envelope/"}
    assert "sentry_key=public" in sink.received[0].headers["x-sentry-auth"]
    assert sink.received[0].headers["content-type"] == "application/x-sentry-envelope"


def test_the_envelope_is_what_sentry_s_own_sdk_would_send() -> None:
    sdk = pytest.importorskip("sentry_sdk.envelope")
    from asyncsched import Run

    sentry = Sentry("https://key@o1.ingest.sentry.io/7", environment="test")
    run = Run(
        **{
            **dict.fromkeys(Run.__match_args__),
            "id": "0" * 32,
            "job": "j",
            "schedule": "j",
            "state": "running",
        }
    )
    request = sentry.begin("j", run)
    read = sdk.Envelope.deserialize(request.content)
    (item,) = read.items
    assert item.type == "check_in"
    assert json.loads(item.payload.bytes or b"")["monitor_slug"] == "j"
    assert str(request.url) == "https://o1.ingest.sentry.io/api/7/envelope/"


@pytest.mark.parametrize(
    ("interval", "value", "unit"),
    [(Interval(seconds=5), 1, "minute"), (Interval(seconds=90), 2, "minute"), (Interval(minutes=90), 90, "minute"),
     (Interval(hours=2), 2, "hour"), (Interval(days=1), 1, "day"), (Interval(weeks=2), 2, "week")],
)  # fmt: skip
def test_an_interval_becomes_whole_units(interval: Interval, value: int, unit: str) -> None:
    assert schedule_of(trigger_to_json(interval)) == {
        "schedule": {"type": "interval", "value": value, "unit": unit}
    }


# ── bad input ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Healthchecks("hc-ping.com", {}), "base_url must be a URL, not 'hc-ping.com'"),
        (
            lambda: Healthchecks("https://hc", {"a": "nightly"}),
            "job 'a' is 'nightly', which is no UUID; .* ping_key=",
        ),
        (lambda: Healthchecks("https://hc", ["a"]), "which is no UUID"),
        (lambda: Healthchecks("https://hc", "a"), "jobs must be a dict or a list"),
        (lambda: Healthchecks("https://hc", [], create=True), "needs a ping_key="),
        (lambda: Sentry("https://secret@"), "dsn must be such as https://KEY@HOST/PROJECT"),
        (lambda: Sentry(""), "there is no DSN; give dsn= or set SENTRY_DSN"),
    ],
)
def test_what_is_wrong_is_said_at_once(make: Any, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match) as refused:
        make()
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("make", [lambda: Healthchecks("https://hc", {}), lambda: Sentry("https://k@h/1")])
def test_without_httpx_the_error_names_the_extra(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(ConfigurationError, match=r'needs httpx; .*"asyncsched\[alerts\]"'):
        make()
