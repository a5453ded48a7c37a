"""Clocks that are stepped, suspended, wrong and put right, and what a whole scheduler makes of them."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncsched import AnyOf, At, Cron, Interval, Scheduler
from asyncsched._backends.clock import SystemClock, Timeline
from asyncsched._core.instants import SECOND
from asyncsched.events import ClockStepped
from asyncsched.testing import VirtualClock, history

pytestmark = pytest.mark.anyio

T0 = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(**since: float) -> datetime:
    return T0 + timedelta(**since)


class Silent:
    """A clock that, like the machine's, does not tell of its own steps: a scheduler has to look."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.wall = clock.wall
        self.monotonic = clock.monotonic

    def hold(self) -> AbstractContextManager[None]:
        return self._clock.hold()


@pytest.fixture
def clock(virtual_clock: VirtualClock) -> VirtualClock:
    virtual_clock.set_wall(T0)
    return virtual_clock


@pytest.fixture(params=["telling", "silent"])
def scheduler(request: pytest.FixtureRequest, clock: VirtualClock) -> Scheduler:
    return Scheduler(clock=clock if request.param == "telling" else Silent(clock))


class Log:
    """Remembers at which time of the loop something ran, and for which slot."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._began = clock._flow.now
        self.seconds: list[float] = []

    async def __call__(self) -> None:
        self.seconds.append(round(self._clock.monotonic() - self._began, 6))


# ── the grid ─────────────────────────────────────────────────────────────────────────────────────


async def test_ten_thousand_ticks_of_a_tenth_of_a_second_do_not_drift(clock: VirtualClock) -> None:
    scheduler = Scheduler(clock=clock)
    late: list[timedelta] = []

    @scheduler.interval(seconds=0.1, start=T0 + timedelta(seconds=0.1))
    async def tick() -> None:
        late.append(clock.now() - at(seconds=(len(late) + 1) / 10))

    async with scheduler:
        await clock.advance(1000)
    assert len(late) == 10_000
    assert set(late) == {timedelta()}


async def test_lateness_never_adds_up(clock: VirtualClock) -> None:
    scheduler = Scheduler(clock=clock)
    ticks: list[float] = []

    @scheduler.interval(seconds=1)
    async def tick() -> None:
        ticks.append((clock.now() - T0) / timedelta(seconds=1))
        clock.block(0.7)  # every run keeps the loop from everything else, less than a period

    async with scheduler:
        await clock.advance(100.5)
    assert ticks == [float(second) for second in range(1, 101)]


@pytest.mark.parametrize("early", [0.00127, 0.02])
async def test_a_sleeper_that_wakes_too_early_runs_no_slot_twice_and_none_too_soon(
    clock: VirtualClock, early: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # uvloop was seen to wake up 1.27 ms before its time.
    scheduler = Scheduler(clock=clock)
    ran: list[datetime] = []
    woken = 0

    @scheduler.cron("* * * * *")
    async def minutely() -> None:
        ran.append(clock.now())

    @scheduler.interval(seconds=60, id="steady")
    async def steady() -> None:
        ran.append(clock.now())

    async with scheduler:
        sleeper = scheduler._running().main._sleeper
        exactly = type(sleeper).until

        async def until(self: Any, deadline: float) -> None:
            nonlocal woken
            if self is sleeper and deadline - clock.monotonic() > early + 1e-6:
                woken += 1
                deadline -= early
            await exactly(self, deadline)

        monkeypatch.setattr(type(sleeper), "until", until)
        await clock.advance(300.5)
    assert woken >= 5
    assert sorted(ran) == [at(minutes=m) for m in (0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5)]


async def test_an_outage_of_a_year_is_planned_without_a_walk(clock: VirtualClock) -> None:
    scheduler = Scheduler(clock=clock)
    asked = 0

    class Counting(Interval):
        __slots__ = ()

        def next_instant(self, after: int) -> int | None:
            nonlocal asked
            asked += 1
            return super().next_instant(after)

        def anchored(self, at: int) -> Counting:
            made = Counting(seconds=1)
            made._put(self._nanos, None, None, False, at)
            return made

    scheduler.job(Counting(seconds=1), name="tick")(Log(clock))
    async with scheduler:
        await clock.advance(2.5)
        asked = 0
        clock.block(timedelta(days=365))
        await clock.advance(0)
        assert asked < 10
        assert (await history(scheduler))[2:] == [
            ("tick", at(seconds=3), f"{365 * 86400 - 1} missed"),
            ("tick", at(days=365, seconds=2), "succeeded"),
        ]


# ── steps of the wall clock ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("step", [-3600, -60, 60, 3600, 10 * 365 * 86400])
async def test_intervals_and_delays_in_memory_know_no_steps(
    scheduler: Scheduler, clock: VirtualClock, step: float
) -> None:
    tick, once = Log(clock), Log(clock)
    scheduler.job(Interval(seconds=100), name="tick")(tick)
    scheduler.job(name="once")(once)
    async with scheduler:
        await scheduler.schedule_once(once, delay=250)
        await clock.advance(150)
        clock.step(step)
        await clock.advance(200)
        clock.step(-step)
        await clock.advance(150)
    assert tick.seconds == [100, 200, 300, 400, 500]
    assert once.seconds == [250]


@pytest.mark.parametrize("back", [60, 3600, 3 * 3600 - 60])
@pytest.mark.parametrize("expression", ["*/10 * * * *", "0,10,20,30,40,50 0-23 * * *"])
async def test_set_back_cron_waits_until_its_last_slot_has_passed_again(
    scheduler: Scheduler, clock: VirtualClock, expression: str, back: int
) -> None:
    runs = Log(clock)
    scheduler.cron(expression, name="cron")(runs)
    async with scheduler:
        await clock.advance(610)  # 12:00 and 12:10 have run
        clock.step(-back)
        await clock.advance(back + 600)
        assert [one.at for one in await history(scheduler)] == [at(minutes=m) for m in (0, 10, 20)]
    assert runs.seconds == [0, 600, 1200 + back]


async def test_an_hour_ahead_what_fell_due_runs_once_within_a_nap(
    scheduler: Scheduler, clock: VirtualClock
) -> None:
    cron, moment = Log(clock), Log(clock)
    scheduler.cron("*/10 * * * *", name="cron")(cron)
    scheduler.job(At(at(minutes=30)), name="moment")(moment)
    async with scheduler:
        await clock.advance(60)
        clock.step(3600)
        await clock.advance(30)
        assert await history(scheduler) == [
            ("cron", at(minutes=0), "succeeded"),
            ("cron", at(minutes=10), "5 missed"),
            ("moment", at(minutes=30), "succeeded"),
            ("cron", at(minutes=60), "succeeded"),
        ]
        await clock.advance(540)
    assert cron.seconds[1] <= 90
    assert moment.seconds[0] <= 90
    assert cron.seconds[2:] == [600]


async def test_a_one_off_at_a_moment_follows_the_wall_clock(
    scheduler: Scheduler, clock: VirtualClock
) -> None:
    once = Log(clock)
    scheduler.job(name="once")(once)
    async with scheduler:
        await scheduler.schedule_once(once, at=at(hours=1))
        clock.step(-600)
        await clock.advance(3900)
        assert once.seconds == []
        clock.step(400)
        await clock.advance(30)
        assert len(once.seconds) == 1


async def test_ten_years_ahead_and_back_doubles_nothing_and_stops_nothing(
    scheduler: Scheduler, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    runs = Log(clock)
    scheduler.cron("0 * * * *", name="hourly")(runs)
    years = timedelta(days=3652)
    async with scheduler:
        await clock.advance(90 * 60)
        clock.step(years)
        await clock.advance(60)
        clock.step(-years)
        await clock.advance(timedelta(hours=2))
        assert await history(scheduler) == [
            ("hourly", at(hours=0), "succeeded"),
            ("hourly", at(hours=1), "succeeded"),
            ("hourly", at(hours=2), "1000+ missed"),
            ("hourly", at(hours=2), "succeeded"),
            ("hourly", at(hours=3), "succeeded"),
            ("hourly", at(hours=1) + years, "succeeded"),
        ]
    assert "the wall clock was moved by -315532800.000 s; 1 schedules were planned again" in caplog.text


async def test_a_board_that_booted_in_2035_and_is_put_right_starts_from_now(clock: VirtualClock) -> None:
    events: list[ClockStepped] = []

    def hear(event: ClockStepped) -> None:
        events.append(event)

    hear.wants = ClockStepped  # type: ignore[attr-defined]
    scheduler = Scheduler(clock=Silent(clock), observers=[hear])
    cron, yearly, both = Log(clock), Log(clock), Log(clock)
    scheduler.cron("*/5 * * * *", name="cron")(cron)
    scheduler.cron("0 0 1 1 *", name="yearly")(yearly)
    scheduler.job(AnyOf(Interval(minutes=2), At(datetime(2050, 1, 1, tzinfo=UTC))), name="both")(both)
    clock.set_wall(datetime(2035, 6, 1, 0, 1, tzinfo=UTC))
    async with scheduler:
        await clock.advance(600)
        assert (len(cron.seconds), len(both.seconds)) == (2, 5)
        clock.set_wall(T0)
        await clock.advance(610)
        assert [one.at for one in await history(scheduler, "cron")][:3] == [
            at(minutes=m) for m in (5, 10)
        ] + [datetime(2035, 6, 1, 0, 5, tzinfo=UTC)]
        assert len(both.seconds) == 5 + 4  # its grid was anchored in 2035: it has been anchored anew
        (due,) = [one.next_due for one in await scheduler.schedules(job="yearly")]
        assert due == datetime(2027, 1, 1, tzinfo=UTC)
    assert [(event.by < timedelta(days=-3000), set(event.replanned)) for event in events] == [
        (True, {"cron", "yearly", "both"})
    ]


async def test_slots_that_passed_before_a_step_was_noticed_are_written_down(clock: VirtualClock) -> None:
    scheduler = Scheduler(clock=Silent(clock))
    often = Cron("*/10 * * * * *", end=at(days=365))
    scheduler.job(AnyOf(often, Cron("0 0 1 1 *")), name="cron")(Log(clock))
    clock.step(timedelta(days=3650))  # nothing is due for long, so it looks every 30 s
    async with scheduler:
        await clock.advance(37)
        clock.set_wall(T0)
        await clock.advance(34)
        assert await history(scheduler) == [
            ("cron", at(seconds=0), "3 missed"),
            ("cron", at(seconds=30), "succeeded"),
        ]
        assert (await scheduler.explain("cron", at(seconds=10))).verdict == "missed"


async def test_a_schedule_that_has_run_nothing_yet_waits_for_no_slot_of_a_wrong_clock(
    clock: VirtualClock,
) -> None:
    scheduler = Scheduler(clock=clock)
    runs = Log(clock)
    scheduler.cron("30 12 * * *", name="lunch")(runs)
    clock.step(3600)  # started an hour ahead: at 13:00 it would next run tomorrow
    async with scheduler:
        await clock.advance(60)
        clock.step(-3600)
        await clock.advance(3600)
        assert [one.at for one in await history(scheduler)] == [at(minutes=30)]


async def test_put_back_by_four_hours_no_slot_in_the_ledger_runs_twice(
    scheduler: Scheduler, clock: VirtualClock
) -> None:
    runs = Log(clock)
    scheduler.cron("0 * * * *", name="hourly")(runs)
    async with scheduler:
        await clock.advance(6 * 3600 + 60)
        clock.step(-4 * 3600)
        await clock.advance(6 * 3600)
        assert await history(scheduler) == [("hourly", at(hours=hour), "succeeded") for hour in range(9)]
    assert len(runs.seconds) == 9


async def test_a_clock_that_is_slewed_or_stands_right_is_left_alone(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = Scheduler(clock=Silent(clock))
    runs = Log(clock)
    scheduler.cron("* * * * *", name="cron")(runs)
    caplog.set_level(logging.INFO)
    async with scheduler:
        for _ in range(9):
            await clock.advance(30)
            clock.step(0.1)
        await clock.advance(30)
    assert "the wall clock was moved" not in caplog.text
    assert len(runs.seconds) == 6


# ── suspend ──────────────────────────────────────────────────────────────────────────────────────


async def test_after_a_month_of_suspend_cron_runs_once_and_intervals_count_awake_time(
    scheduler: Scheduler, clock: VirtualClock
) -> None:
    cron, tick, moment = Log(clock), Log(clock), Log(clock)
    scheduler.cron("0 7 * * *", name="cron")(cron)
    scheduler.job(Interval(minutes=10), name="tick")(tick)
    scheduler.job(At(at(days=3)), name="moment")(moment)
    async with scheduler:
        await clock.advance(60)
        clock.suspend(timedelta(days=30))
        await clock.advance(1200)
        assert await history(scheduler, "cron", "moment") == [
            ("cron", datetime(2026, 1, 2, 7, tzinfo=UTC), "29 missed"),
            ("moment", at(days=3), "succeeded"),
            ("cron", datetime(2026, 1, 31, 7, tzinfo=UTC), "succeeded"),
        ]
    assert len(cron.seconds) == len(moment.seconds) == 1
    assert cron.seconds[0] <= 90
    assert tick.seconds == [600, 1200]


# ── one sleeper, naps ────────────────────────────────────────────────────────────────────────────


async def test_no_sleep_is_longer_than_a_nap_where_the_clock_does_not_tell(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = Scheduler(clock=Silent(clock))
    scheduler.cron("0 0 1 1 *", name="yearly")(Log(clock))
    sleeps: list[float] = []
    async with scheduler:
        sleeper = scheduler._running().main._sleeper
        exactly = type(sleeper).until

        async def until(self: Any, deadline: float) -> None:
            if self is sleeper:
                sleeps.append(deadline - clock.monotonic())
            await exactly(self, deadline)

        monkeypatch.setattr(type(sleeper), "until", until)
        await clock.advance(600)
    assert max(sleeps) == pytest.approx(30)
    assert len(sleeps) <= 25


async def test_a_wait_of_years_is_a_wait_like_any_other(clock: VirtualClock) -> None:
    scheduler = Scheduler(clock=clock)
    once = Log(clock)
    scheduler.job(name="once")(once)
    async with scheduler:
        await scheduler.schedule_once(once, delay=timedelta(days=365 * 60))
        await clock.advance(timedelta(days=365 * 60))
    assert once.seconds == [365 * 60 * 86400]


# ── jitter ───────────────────────────────────────────────────────────────────────────────────────


async def test_jitter_is_the_same_everywhere_bounded_and_never_reorders(clock: VirtualClock) -> None:
    began: list[list[timedelta]] = []
    for _ in range(2):  # two instances, or one that was restarted
        clock.set_wall(T0)
        scheduler = Scheduler(clock=clock)
        moved: list[timedelta] = []

        @scheduler.cron("* * * * *", jitter=3600, id="spread")
        async def spread(scheduler: Scheduler = scheduler, moved: list[timedelta] = moved) -> None:
            run = (await scheduler.runs(state="running"))[0]
            moved.append(clock.now() - run.scheduled_for)

        async with scheduler:
            await clock.advance_to(at(hours=2))
            runs = [run for run in await scheduler.runs(limit=1000) if run.finished]
        began.append(moved)
        assert [run.scheduled_for for run in reversed(runs)] == [at(minutes=m) for m in range(len(runs))]
        assert [run.due - run.scheduled_for for run in reversed(runs)] == moved
    assert began[0] == began[1]
    assert all(timedelta() <= one < timedelta(minutes=1) for one in began[0])
    assert len(set(began[0])) > 100


async def test_jitter_of_less_than_the_distance_is_kept_to(clock: VirtualClock) -> None:
    scheduler = Scheduler(clock=clock)
    scheduler.interval(minutes=1, jitter=timedelta(seconds=5), name="tick")(Log(clock))
    async with scheduler:
        await clock.advance(3600)
        moved = [run.due - run.scheduled_for for run in await scheduler.runs()]
    assert timedelta(seconds=2.5) < max(moved) <= timedelta(seconds=5)


# ── the clocks themselves ────────────────────────────────────────────────────────────────────────


@pytest.mark.real_time
async def test_the_machine_s_clock_speaks_microseconds_and_the_loop_s_own_time() -> None:
    # Real time: it is the machine's clock that is looked at.
    clock = SystemClock()
    assert abs(clock.wall() - datetime.now(UTC).timestamp() * SECOND) < SECOND
    assert abs(clock.monotonic() - anyio.current_time()) < 0.1
    now = Timeline(clock).now()
    assert abs(now.wall - now.steady) < SECOND
    with clock.hold():
        pass


async def test_a_board_s_cron_with_start_and_end_keeps_to_them(
    scheduler: Scheduler, clock: VirtualClock
) -> None:
    scheduler.job(Cron("*/10 * * * *", start=at(minutes=15), end=at(minutes=40)), name="cron")(Log(clock))
    scheduler.interval(minutes=10, start=at(minutes=15), end=at(minutes=40), name="tick")(Log(clock))
    async with scheduler:
        await clock.advance(3600)
        assert [(one.job, one.at) for one in await history(scheduler)] == [
            ("tick", at(minutes=15)),
            ("cron", at(minutes=20)),
            ("tick", at(minutes=25)),
            ("cron", at(minutes=30)),
            ("tick", at(minutes=35)),
            ("cron", at(minutes=40)),
        ]


# ── in a store ───────────────────────────────────────────────────────────────────────────────────


def kept(clock: VirtualClock, folder: Path, runs: dict[str, Log]) -> Scheduler:
    """Return a scheduler over one file with an interval, a cron job and a union, every 10 s."""
    scheduler = Scheduler(f"sqlite:///{folder / 'jobs.db'}", clock=clock)
    scheduler.interval(seconds=10, name="tick")(runs["tick"])
    scheduler.cron("*/10 * * * * *", name="cron")(runs["cron"])
    scheduler.job(AnyOf(Interval(seconds=10), At(datetime(2050, 1, 1, tzinfo=UTC))), name="both")(
        runs["both"]
    )
    return scheduler


@pytest.fixture
def logs(clock: VirtualClock) -> dict[str, Log]:
    return {name: Log(clock) for name in ("tick", "cron", "both")}


@pytest.mark.parametrize("step", [-100, 100])
async def test_in_a_store_a_step_shifts_at_most_by_itself_and_doubles_no_slot(
    clock: VirtualClock, tmp_path: Path, logs: dict[str, Log], step: float
) -> None:
    async with kept(clock, tmp_path, logs) as scheduler:
        await clock.advance(22)
        clock.step(step)
        await clock.advance(130)
        happened = await history(scheduler)
    assert {one.outcome.split()[-1] for one in happened} == (
        {"succeeded"} if step < 0 else {"succeeded", "missed"}
    )
    ran = [(one.job, one.at) for one in happened if one.outcome == "succeeded"]
    assert len(ran) == len(set(ran))
    for name in logs:
        assert len(logs[name].seconds) == len([one for one in ran if one[0] == name])
        assert max(two - one for one, two in pairwise(logs[name].seconds)) <= abs(step) + 10 + 5


@pytest.mark.parametrize("how", ["while it runs", "between two starts"])
async def test_in_a_store_a_board_that_booted_in_2035_is_put_right(
    clock: VirtualClock, tmp_path: Path, logs: dict[str, Log], how: str
) -> None:
    clock.set_wall(datetime(2035, 6, 1, tzinfo=UTC))
    async with kept(clock, tmp_path, logs) as scheduler:
        await clock.advance(22)
        assert {name: len(log.seconds) for name, log in logs.items()} == {"tick": 2, "cron": 3, "both": 2}
        if how == "while it runs":
            clock.set_wall(at(seconds=1))
            await clock.advance(28)  # noticed at the next beat, within 5 s
            dues = {one.id: one.next_due for one in await scheduler.schedules()}
    if how == "between two starts":
        clock.set_wall(at(seconds=1))
        async with kept(clock, tmp_path, logs) as scheduler:
            await clock.advance(28)
            dues = {one.id: one.next_due for one in await scheduler.schedules()}
    assert {name: len(log.seconds) for name, log in logs.items()} == {"tick": 4, "cron": 5, "both": 4}
    assert all(due is not None and due < at(minutes=1) for due in dues.values())
