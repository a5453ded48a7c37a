"""Delays at every hand-over between the event loop and its threads: ``pytest -p tests.delays``.

A race shows when two things happen in one moment, which on a quiet machine is once in a thousand runs.
Here each such moment is made long: a thread sleeps some real milliseconds before and after each step,
and what it hands over to the loop, or the loop to a task, arrives some turns of the loop later. Nothing
is reordered that could not be: what one thread tells the loop stays in order.

How long each place of each test is delayed comes out of one seed, which the header and the summary
show; ``--delays-seed`` repeats it, and ``--delays-rounds`` tries more of it. Virtual time stands still meanwhile: the library holds it for as
long as a thread has something to do, and a loop that has its turns is not idle.

It patches the library from outside. A place that is not there any more is an error at the start.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator
from random import Random, randrange
from typing import Any

import pytest
from anyio.lowlevel import cancel_shielded_checkpoint

MOODS = (0.0, 0.0, 0.3, 1.0)
"""How often a place is slow: for the length of one test never, now and then, or always. A race needs one place to
be slow while others are not."""

NAPS = (0.0005, 0.002, 0.005)
"""Real seconds that a thread sleeps at a slow place."""

TURNS = (1, 3, 10)
"""Turns of the event loop by which something arrives late at a slow place,"""

WAITS = (0.001, 0.005, 0.02)
"""or real seconds, in which the loop goes on turning: long enough for a thread to do more meanwhile."""

MOST = 3.0
"""Real seconds of delays that one test gets: those with a thousand round trips shall end, too."""

Anything = Callable[..., Any]


class Delays:
    """Says how long each place is delayed: by a sequence of its own for each test and place."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.begin("")

    def begin(self, test: str) -> None:
        """Draw anew, for another test."""
        self._test = test
        self._places: dict[str, tuple[Random, float]] = {}
        self._left = MOST

    def nap(self, place: str) -> float:
        """Return how many seconds a thread sleeps at this place, this time."""
        random, mood = self._at(place)
        return self._spent(random.choice(NAPS)) if random.random() < mood else 0.0

    def lateness(self, place: str) -> tuple[int, float]:
        """Return how many turns of the loop, and real seconds, later something arrives at this place, this time."""
        random, mood = self._at(place)
        late, turns = random.random() < mood, random.random() < 0.5
        choice = random.choice(TURNS if turns else WAITS)
        return (0, 0.0) if not late else (int(choice), 0.0) if turns else (0, self._spent(choice))

    def turns(self, place: str) -> Iterator[None]:
        """Yield once for each turn of the loop by which something arrives late at this place, this time."""
        turns, seconds = self.lateness(place)
        until = time.monotonic() + seconds if seconds else 0.0
        while turns > 0 or time.monotonic() < until:
            turns -= 1
            yield

    def sleep(self, place: str) -> None:
        """Sleep in a thread, if it is to be delayed at this place this time."""
        if seconds := self.nap(place):
            time.sleep(seconds)

    def _spent(self, seconds: float) -> float:
        self._left -= seconds
        return seconds if self._left > 0 else 0.0

    def _at(self, place: str) -> tuple[Random, float]:
        found = self._places.get(place)
        if found is None:
            random = Random(f"{self.seed} {self._test} {place}")
            found = self._places[place] = random, random.choice(MOODS)
        return found


delays = Delays(0)


# ── in the loop: some turns later ────────────────────────────────────────────────────────────────


class Line:
    """Callbacks on their way into the loop: each some turns late, all in order."""

    def __init__(self, call_next: Callable[[Callable[[], object]], object]) -> None:
        self._call_next = call_next
        self._waiting: deque[tuple[Callable[[], object], Iterator[None]]] = deque()

    def put(self, callback: Callable[[], object]) -> None:
        """Call it when its turns are over, and those before it have been called. In the loop."""
        self._waiting.append((callback, delays.turns(f"to {_name(callback)}")))
        if len(self._waiting) == 1:
            self._go_on()

    def _go_on(self) -> None:
        while self._waiting:
            callback, turns = self._waiting[0]
            for _ in turns:
                self._call_next(self._go_on)
                return
            try:
                callback()
            except BaseException:
                if len(self._waiting) > 1:
                    self._call_next(self._go_on)
                raise
            finally:
                self._waiting.popleft()


async def _some_turns(place: str) -> None:
    for _ in delays.turns(place):
        await cancel_shielded_checkpoint()


def _name(callback: object) -> str:
    return str(getattr(callback, "__qualname__", type(callback).__qualname__))


class _LateFuture(asyncio.Future[Any]):
    """A future whose task goes on some turns after it was woken."""

    place = ""

    def __await__(self) -> Generator[Any, Any, Any]:
        result = yield from super().__await__()
        for _ in delays.turns(self.place):
            yield  # one turn, in which the task may still be cancelled
        return result

    __iter__ = __await__


def _late_port(original: Anything) -> Anything:
    """Have what crosses a port arrive late, and futures wake their tasks late."""

    def init(self: Any, *args: Any) -> None:
        original(self, *args)
        home = threading.get_ident()
        line = Line(self.call_next)
        soon, following, watch, future = self.call_soon, self.call_next, self.watch, self.future

        def call_soon(callback: Callable[[], object]) -> object:
            if threading.get_ident() != home:
                delays.sleep(f"before the loop is told to call {_name(callback)}")
            return soon(lambda: line.put(callback))

        def late_watch(fd: int, callback: Callable[[], object]) -> object:
            return watch(fd, _reading_late(callback))

        def late_future() -> Any:
            made = _LateFuture(loop=self._loop) if hasattr(self, "_loop") else future()
            made.place = f"what {sys._getframe(1).f_code.co_qualname} waits for"
            return made

        self.call_soon, self.call_next = call_soon, lambda callback: following(lambda: line.put(callback))
        self.watch, self.future = late_watch, late_future

    return init


def _reading_late(callback: Callable[[], object]) -> Callable[[], object]:
    """Leave what is to be read where it is for some turns: whoever watches is called again."""
    turns: Iterator[None] | None = None

    def read() -> object:
        nonlocal turns
        if turns is None:
            turns = delays.turns(f"before {_name(callback)}")
        for _ in turns:
            return None
        turns = None
        return callback()

    return read


def _late_trio_future(cls: Any) -> Any:
    class LateTrioFuture(cls):
        place = ""

        def __await__(self) -> Generator[Any, Any, Any]:
            result = yield from super().__await__()
            yield from _some_turns(self.place).__await__()
            return result

    return LateTrioFuture


def _late_backend(original: Anything) -> Anything:
    """Give a backend a line on which other threads' calls arrive late."""

    def init(self: Any) -> None:
        original(self)
        call_next = self._loop.call_soon if hasattr(self, "_loop") else self._token.run_sync_soon
        line = Line(call_next)
        threadsafe = self.call_soon_threadsafe

        def call_soon_threadsafe(call: Callable[[], object]) -> None:
            if not _in_loop():
                delays.sleep(f"before the loop is told to call {_name(call)}")
            threadsafe(lambda: line.put(call))

        self.call_soon_threadsafe = call_soon_threadsafe

    return init


def _in_loop() -> bool:
    trio = sys.modules.get("trio.lowlevel")
    return asyncio._get_running_loop() is not None or (trio is not None and trio.in_trio_run())


def _late_spawn(original: Anything) -> Anything:
    """Have a task take its first step some turns after it was spawned."""

    def spawn(self: Any, main: Coroutine[Any, Any, None], *args: Any, **kwargs: Any) -> Any:
        late = _late(main, f"the first step of {_name(main)}")
        late.__qualname__ = _name(main)
        return original(self, late, *args, **kwargs)

    return spawn


async def _late(main: Coroutine[Any, Any, None], place: str) -> None:
    try:
        await _some_turns(place)
    except asyncio.CancelledError:  # asyncio's own cancel() minds no shield: it is for the first wait of main
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
        task.cancel()
    except BaseException:
        main.close()
        raise
    await main


def _turns_after(place: str) -> Callable[[Anything], Anything]:
    def wrap(original: Anything) -> Anything:
        async def call(*args: Any, **kwargs: Any) -> Any:
            result = await original(*args, **kwargs)
            await _some_turns(place)
            return result

        return call

    return wrap


# ── in the threads: some milliseconds longer ─────────────────────────────────────────────────────


def _naps(before: str = "", after: str = "") -> Callable[[Anything], Anything]:
    def wrap(original: Anything) -> Anything:
        def call(*args: Any, **kwargs: Any) -> Any:
            if before and not _in_loop():
                delays.sleep(before)
            result = original(*args, **kwargs)
            if after and not _in_loop():
                delays.sleep(after)
            return result

        return call

    return wrap


def _answered_late(original: Anything) -> Anything:
    """Have the answer to each kind of request arrive late: a claim's, say, and no other."""

    async def submit(self: Any, kind: str, *args: Any, **kwargs: Any) -> Any:
        answer = await original(self, kind, *args, **kwargs)
        await _some_turns(f"the answer to {kind}")
        return answer

    return submit


def _serving_late(original: Anything) -> Anything:
    """Have a database's thread sleep between its work and its answer."""

    def init(self: Any, name: str, serve: Anything, *args: Any) -> None:
        original(self, name, _naps(f"{name} has taken requests", f"{name} has served")(serve), *args)

    return init


class _LateQueue:
    """A pool's queue from which a thread takes something, and is slow to say so."""

    def __init__(self, queue: Any) -> None:
        self.put = queue.put
        self._get = queue.get

    def get(self) -> Any:
        taken = self._get()
        delays.sleep("a thread has taken a call")
        return taken


def _late_queue(original: Anything) -> Anything:
    async def enter(self: Any) -> Any:
        await original(self)
        self._queue = _LateQueue(self._queue)
        return self

    return enter


# ── where ────────────────────────────────────────────────────────────────────────────────────────


def places() -> Iterator[tuple[Any, str, Callable[[Anything], Anything]]]:
    """Yield the places that are delayed: the owner, the attribute, and what is put around it."""
    from asyncsched._backends import _asyncio, _trio
    from asyncsched.executors.process.worker import WorkerProcess
    from asyncsched.executors.thread import ThreadExecutor
    from asyncsched.stores.sql.group_commit import GroupCommit, Reader
    from asyncsched.stores.sql.thread import DatabaseThread

    yield _trio, "_TrioFuture", _late_trio_future
    for port in (_asyncio._AsyncioPort, _trio._TrioPort):
        yield port, "__init__", _late_port
    for backend in (_asyncio._AsyncioBackend, _trio._TrioBackend):
        yield backend, "__init__", _late_backend
        yield backend, "spawn", _late_spawn
        yield backend, "pause", _turns_after("a pause")
    for sleeper in (_asyncio._AsyncioSleeper, _trio._TrioSleeper):
        yield sleeper, "until", _turns_after("a sleeper's end")
    yield DatabaseThread, "__init__", _serving_late
    yield DatabaseThread, "submit", _answered_late
    yield DatabaseThread, "take", _naps(before="before a request is taken")
    yield GroupCommit, "_transaction", _naps(before="before a transaction", after="after a COMMIT")
    yield Reader, "_answer", _naps(before="before a query", after="after a query")
    yield ThreadExecutor, "__aenter__", _late_queue
    yield ThreadExecutor, "_answer", _naps(before="a thread has ended its call")
    yield WorkerProcess, "tell_end", _naps(before="before a worker's end is told")
    try:
        from asyncsched.stores.postgres.notifications import Notifications
    except ImportError:
        return
    yield Notifications, "_say", _naps(before="before a notification is sent", after="after it was")
    yield Notifications, "_hear", _naps(before="a notification has come")


class Plugin:
    """Puts the delays in for a session of pytest."""

    def __init__(self) -> None:
        self._found: list[tuple[Any, str, Any]] = []

    def put_in(self) -> None:
        """Patch every place."""
        for owner, name, wrap in places():
            found = vars(owner)[name]
            self._found.append((owner, name, found))
            setattr(owner, name, wrap(found))

    def take_out(self) -> None:
        """Put back what was there."""
        while self._found:
            setattr(*self._found.pop())

    @pytest.fixture
    def delays_round(self, request: pytest.FixtureRequest) -> Any:
        """Return the number of a test's round; each draws other delays, since the test's id has it."""
        return request.param

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        rounds = metafunc.config.option.delays_rounds
        if rounds > 1:
            metafunc.fixturenames.append("delays_round")
            metafunc.parametrize("delays_round", range(rounds), indirect=True)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        delays.begin(item.nodeid)
        return (yield)

    def pytest_report_header(self) -> str:
        return f"delays: --delays-seed={delays.seed}"

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.write_line(self.pytest_report_header())

    def pytest_unconfigure(self) -> None:
        self.take_out()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that repeats a session's delays."""
    parser.addoption("--delays-seed", type=int, help="repeats the delays of a run; see its header")
    parser.addoption(
        "--delays-rounds", type=int, default=1, help="how often each test runs, delayed differently"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Draw a seed, which xdist's workers are given with the other options, and put the delays in."""
    if config.option.delays_seed is None:
        config.option.delays_seed = randrange(10**6)
    delays.seed = config.option.delays_seed
    plugin = Plugin()
    plugin.put_in()
    config.pluginmanager.register(plugin, "the delays")
