"""The virtual clock, in whose time a day passes in milliseconds."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, Unpack

import anyio

from asyncsched._core.errors import ConfigurationError, SchedulerStateError
from asyncsched._core.instants import SECOND, Instant, to_datetime, to_instant, to_micros
from asyncsched._core.text import safe_repr
from asyncsched.testing.virtual.asyncio_loop import VirtualEventLoop
from asyncsched.testing.virtual.flow import Driver, Flow, Hold
from asyncsched.testing.virtual.outside import running_flow, settle

if TYPE_CHECKING:
    from asyncsched.testing.virtual.trio_clock import JumpingClock

T = TypeVar("T")
C = TypeVar("C")
Ts = TypeVarTuple("Ts")


class VirtualTimeError(SchedulerStateError):
    """Virtual time cannot work here; the text says why, and what to do."""


class VirtualClock:
    """Virtual time for a whole event loop: for all sleeps and timeouts, not only the scheduler's.

    Give it to a scheduler as its ``clock``, and start the asyncio or trio run with it::

        clock = VirtualClock()

        async def main() -> None:
            await anyio.sleep(3600)                      # returns at once
            assert clock.now().hour == 1

        clock.run(main)
        clock.run(main, backend="trio")

    Time stands still while anything runs, and jumps to the next timer when nothing is left to do.
    Code that never rests stops it for ever, such as a job that schedules itself again and again without
    a delay; any ``delay``, however short, lets time go on.

    Nor does it jump while work goes on outside the loop: calls through ``anyio.to_thread``,
    ``anyio.to_process`` and their asyncio and trio equivalents, child processes until their end, and
    code inside :meth:`hold`. For a child process started inside ``hold()``, only that hold counts.

    Args:
        start: the wall time at which the clock begins.
        seed: makes a history repeatable, ids and the jitter of retries included. On asyncio, timers
            that are due at the same instant run in a shuffled order, the same for the same seed.
            trio shuffles by itself, so the order at one instant is not fixed there.
        patience: how many real seconds time stands still for one thread, process or hold. After
            that it flows as real time does until the work is done, so that timeouts still come.
        io_grace: how many real seconds the loop listens to open sockets and pipes before it jumps.

    """

    def __init__(
        self,
        start: datetime = datetime(2026, 1, 1, tzinfo=UTC),
        seed: int | None = None,
        *,
        patience: float = 0.25,
        io_grace: float = 0.001,
    ) -> None:
        self._offset: int = to_instant(start, "start")
        self._seed = seed
        self.random = None if seed is None else Random(seed)
        """The source from which schedulers on this clock draw the ids of their runs; ``None`` without a seed."""
        self._flow = Flow(patience, io_grace)
        self._on_step: list[Callable[[], object]] = []

    # --- the Clock protocol

    def wall(self) -> Instant:
        """Return the wall time in microseconds since the epoch."""
        return self._offset + self._elapsed()

    def monotonic(self) -> float:
        """Return the event loop's time in seconds, which is the virtual time since the start.

        Raises:
            VirtualTimeError: no virtual run is going on, so time would stand still for ever.

        """
        refuse_freezegun()
        if self._flow.driver is None:
            raise self._misplaced()
        return self._flow.now

    def hold(self) -> AbstractContextManager[None]:
        """Return a context in which work goes on outside the loop: time does not jump over it."""
        return Hold(self._flow)

    # --- reading and moving it

    def now(self) -> datetime:
        """Return the wall time as an aware datetime in UTC."""
        return to_datetime(self.wall())

    async def advance(self, seconds: float | timedelta) -> None:
        """Sleep exactly so long; return when everything that was due until then has happened.

        Raises:
            VirtualTimeError: called outside a virtual run of this clock.

        """
        micros = to_micros(seconds, "advance")
        if micros < 0:
            raise ConfigurationError("advance must not be negative: only the wall clock goes back, by step()")
        driver = self._driver()
        # From one whole microsecond to another, so that many small advances add up without error.
        target = (self._elapsed() + micros) / SECOND
        if target > self._flow.now:
            await driver.sleep_until(target)
        await settle(self._flow)

    async def advance_to(self, moment: datetime) -> None:
        """Advance until the wall clock shows ``moment``.

        Raises:
            VirtualTimeError: called outside a virtual run of this clock.

        """
        target = to_instant(moment, "advance_to")
        if target < self.wall():
            raise ConfigurationError(
                f"advance_to {moment.isoformat()} is in the past, it is {self.now().isoformat()}; "
                "set_wall() sets the wall clock back"
            )
        await self.advance(0)
        while (left := target - self.wall()) > 0:  # again, if the clock was stepped meanwhile
            await self.advance(timedelta(microseconds=left))

    async def settle(self) -> None:
        """Wait until every task is blocked and no thread or process is at work; time stands still.

        A hold older than ``patience`` is not waited for.

        Raises:
            VirtualTimeError: called outside a virtual run of this clock.

        """
        self._driver()
        await settle(self._flow)

    def step(self, seconds: float | timedelta) -> None:
        """Step the wall clock, forward or back, as NTP or an administrator does."""
        self._move_wall(to_micros(seconds, "step"))

    def set_wall(self, moment: datetime) -> None:
        """Set the wall clock."""
        self._move_wall(to_instant(moment, "set_wall") - self.wall())

    def block(self, seconds: float | timedelta) -> None:
        """Let time pass while nothing else can run, as ``time.sleep()`` in a coroutine does.

        Raises:
            VirtualTimeError: called outside a virtual run of this clock.

        """
        micros = to_micros(seconds, "block")
        if micros < 0:
            raise ConfigurationError("block must not be negative: only the wall clock goes back, by step()")
        self._driver()
        self._flow.pass_until((self._elapsed() + micros) / SECOND)

    def suspend(self, seconds: float | timedelta) -> None:
        """Let the machine sleep: the wall clock goes on while the monotonic clock stands still."""
        micros = to_micros(seconds, "suspend")
        if micros < 0:
            raise ConfigurationError("suspend must not be negative; use step() to set the wall clock back")
        self._move_wall(micros)

    def on_step(self, call: Callable[[], object]) -> Callable[[], None]:
        """Call ``call`` whenever the wall clock is moved; return a function that ends this.

        A scheduler on this clock need not wake up every 30 s to notice a step, as it does on a real clock.
        """
        return _kept(self._on_step, call)

    def on_jump(self, call: Callable[[float], object]) -> Callable[[], None]:
        """Call ``call`` with the loop's time whenever time passes; return a function that ends this.

        A scheduler on this clock need not poll a database in a time in which nothing happens.
        """
        return _kept(self._flow.on_jump, call)

    def _move_wall(self, micros: int) -> None:
        self._offset += micros
        for call in list(self._on_step):
            call()

    # --- running in it

    def run(self, async_fn: Callable[[Unpack[Ts]], Awaitable[T]], *args: *Ts, backend: str = "asyncio") -> T:
        """Run an async function in this virtual time, as ``anyio.run`` does, and return its value."""
        return anyio.run(async_fn, *args, backend=backend, backend_options=virtual(backend, self))

    def new_event_loop(self) -> VirtualEventLoop:
        """Return a new asyncio event loop in this time: for ``asyncio.Runner(loop_factory=…)``."""
        refuse_freezegun()
        self._check()
        return VirtualEventLoop(self._flow, self._check, self._seed)

    def new_trio_clock(self) -> JumpingClock:
        """Return a clock in this time for ``trio.run(…, clock=…)``."""
        from asyncsched.testing.virtual.trio_clock import JumpingClock

        refuse_freezegun()
        self._check()  # here too: trio would report an error inside its start as a bug of trio
        return JumpingClock(self._flow, self._check)

    def _elapsed(self) -> int:
        return round(self._flow.now * SECOND)

    def _check(self) -> None:
        if self._flow.driver is not None:
            raise VirtualTimeError("this VirtualClock is in use by another event loop; make one for each")

    def _driver(self) -> Driver:
        refuse_freezegun()
        driver = self._flow.driver
        if driver is None or running_flow() is not self._flow:
            raise self._misplaced()
        return driver

    def _misplaced(self) -> VirtualTimeError:
        return VirtualTimeError(
            f"this VirtualClock moves only in an event loop that was started with it, and {_where()}. Start the "
            "run with clock.run(main), with anyio.run(main, backend_options=virtual(backend, clock)), or in "
            "pytest with an anyio_backend fixture that returns virtual_backend(name, virtual_clock)"
        )

    def __repr__(self) -> str:
        return f"<VirtualClock {self.now().isoformat()}{' held' if self._flow.held else ''}>"


def virtual(backend: str, clock: VirtualClock) -> dict[str, Any]:
    """Return the ``backend_options`` by which ``anyio.run`` runs in the clock's time."""
    if backend == "asyncio":
        return {"loop_factory": clock.new_event_loop}
    if backend == "trio":
        return {"clock": clock.new_trio_clock()}
    raise ConfigurationError(f"backend must be 'asyncio' or 'trio', not {safe_repr(backend)}")


def virtual_backend(backend: str, clock: VirtualClock) -> tuple[str, dict[str, Any]]:
    """Return the value of an ``anyio_backend`` fixture whose tests run in the clock's time."""
    return backend, virtual(backend, clock)


def refuse_freezegun() -> None:
    """Raise where freezegun is active: it freezes the monotonic clock, and sleeps never end."""
    api = sys.modules.get("freezegun.api")
    if api is not None and getattr(api, "freeze_factories", None):
        raise VirtualTimeError(
            "freezegun is active: it freezes the monotonic clock too, so sleeps and timeouts never "
            "end. Remove freeze_time and use VirtualClock(start=…), set_wall() and advance()"
        )


def _kept(calls: list[C], call: C) -> Callable[[], None]:
    calls.append(call)
    return lambda: calls.remove(call) if call in calls else None


def _where() -> str:
    flow = running_flow()
    if flow is not None:
        return "this loop belongs to another VirtualClock"
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        if "trio" in sys.modules:
            import trio

            if trio.lowlevel.in_trio_task():
                return f"this is a trio run with a {type(trio.lowlevel.current_clock()).__name__}"
        return "no event loop is running here"
    kind = f"{type(loop).__module__}.{type(loop).__qualname__}"
    if kind.startswith("uvloop"):
        return f"this is {kind}, which has no virtual time: leave uvloop out of these tests"
    return f"this is {kind}, which runs in real time"
