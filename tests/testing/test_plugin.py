"""The pytest plugin lets tests marked ``anyio`` run in virtual time, beside other plugins."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

import pytest

pytest_plugins = ["pytester"]

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    installed = any(entry.name == "asyncsched" for entry in entry_points(group="pytest11"))
    ours = [] if installed else ["-p", "asyncsched.testing.plugin"]

    def run(*arguments: str, others: tuple[str, ...] = ("-p", "no:asyncio")) -> pytest.RunResult:
        plain = ("-p", "no:cacheprovider", "-p", "no:schemathesis")  # its import warns on Python 3.14
        return pytester.runpytest(*ours, *plain, *others, *arguments)

    return run


CONFTEST = """
import pytest

@pytest.fixture
def anyio_backend(virtual_anyio_backend):
    return virtual_anyio_backend
"""


def test_three_lines_of_conftest_put_every_async_test_into_virtual_time(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(
        """
        import anyio, pytest
        from datetime import datetime, timezone

        pytestmark = pytest.mark.anyio

        @pytest.fixture
        async def since(virtual_clock):
            await virtual_clock.advance(3600)
            yield virtual_clock.now()
            await anyio.sleep(3600)

        async def test_a_day_in_virtual_time(virtual_clock, since):
            assert since == datetime(2026, 1, 1, 1, tzinfo=timezone.utc)
            await anyio.sleep(86400)
            assert virtual_clock.now() == datetime(2026, 1, 2, 1, tzinfo=timezone.utc)

        async def test_every_test_has_a_fresh_clock(virtual_clock):
            assert virtual_clock.now() == datetime(2026, 1, 1, tzinfo=timezone.utc)

        async def test_without_naming_the_clock():
            await anyio.sleep(86400)
        """
    )
    result = run("-v")
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(["*[[]asyncio]*", "*[[]trio]*"])


def test_a_module_can_choose_its_backend_and_its_clock(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(
        """
        import anyio, pytest
        from datetime import datetime, timezone
        from asyncsched.testing import VirtualClock, virtual_backend

        @pytest.fixture
        def virtual_clock():
            return VirtualClock(datetime(2030, 1, 1, tzinfo=timezone.utc), seed=3)

        @pytest.fixture(params=["trio"])
        def anyio_backend(request, virtual_clock):
            return virtual_backend(request.param, virtual_clock)

        @pytest.mark.anyio
        async def test_it(virtual_clock):
            await virtual_clock.advance(60)
            assert virtual_clock.now() == datetime(2030, 1, 1, 0, 1, tzinfo=timezone.utc)
        """
    )
    run().assert_outcomes(passed=1)


def test_a_wider_scope_shares_one_clock_and_one_loop(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(
        """
        import anyio, pytest
        from asyncsched.testing import VirtualClock, virtual_backend

        @pytest.fixture(scope="module")
        def clock():
            return VirtualClock()

        @pytest.fixture(scope="module", params=["asyncio", "trio"])
        def anyio_backend(request, clock):
            return virtual_backend(request.param, clock)

        @pytest.fixture(scope="module")
        async def server(clock):
            ticks = []
            async def tick():
                while True:
                    await anyio.sleep(1)
                    ticks.append(clock.monotonic())
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(tick)
                yield ticks
                tasks.cancel_scope.cancel()

        @pytest.mark.anyio
        @pytest.mark.parametrize("n", range(3))
        async def test_it(server, clock, n):
            before = len(server)
            await clock.advance(10)
            assert len(server) == before + 10
        """
    )
    run().assert_outcomes(passed=6)


def test_without_the_backend_fixture_the_clock_says_what_is_missing(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.anyio
        async def test_it(virtual_clock):
            await virtual_clock.advance(60)
        """
    )
    result = run()
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*VirtualTimeError*anyio_backend fixture*"])


def test_a_suite_that_uses_no_fixture_of_ours_is_left_alone(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(
        """
        import anyio, pytest, time

        @pytest.mark.anyio
        async def test_it():
            began = time.monotonic()
            await anyio.sleep(0.02)
            assert time.monotonic() - began >= 0.02
        """
    )
    run().assert_outcomes(passed=2)


def test_it_works_beside_pytest_asyncio(pytester: pytest.Pytester, run: Run) -> None:
    pytest.importorskip("pytest_asyncio")
    pytester.makeini("[pytest]\nasyncio_mode = strict\n")
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(
        """
        import asyncio, pytest, time

        @pytest.mark.asyncio
        async def test_of_pytest_asyncio_stays_real():
            began = time.monotonic()
            await asyncio.sleep(0.02)
            assert time.monotonic() - began >= 0.02

        @pytest.mark.anyio
        async def test_of_anyio_is_virtual(virtual_clock):
            await virtual_clock.advance(86400)

        def test_plain(virtual_clock):
            virtual_clock.run(asyncio.sleep, 86400)
            assert virtual_clock.now().day == 2
        """
    )
    run("-W", "ignore", others=()).assert_outcomes(passed=4)


SCOPE = "asyncio_default_fixture_loop_scope = function\n"

LOOP = """
from asyncsched.testing.plugin import virtual_loop

def pytest_asyncio_loop_factories(config, item):
    return {"virtual": virtual_loop}
"""

APP = """
import pytest, pytest_asyncio
from datetime import datetime, timedelta, timezone
from asyncsched import Scheduler
from asyncsched.testing import running

scheduler = Scheduler("sqlite:////nowhere/at/all.db")
ran = []

@scheduler.interval(hours=1)
async def tick():
    ran.append(1)
"""

TESTS = """
@FIXTURE
async def jobs(virtual_clock):
    with scheduler.override(store=None, clock=virtual_clock):
        async with running(scheduler):
            yield scheduler

@FIXTURE
async def earlier():  # made before the clock
    return 7

MARK
@pytest.mark.parametrize("n", range(2))
async def test_a_day_passes(earlier, jobs, virtual_clock, n):
    ran.clear()
    await virtual_clock.advance(timedelta(days=1))
    assert len(ran) == 24 and earlier == 7
    assert virtual_clock.now() == datetime(2026, 1, 2, tzinfo=timezone.utc)

MARK
async def test_without_naming_the_clock():
    import asyncio
    await asyncio.sleep(86400)
"""


@pytest.mark.blocking_ok  # the inner tests import on their way
@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_tests_of_pytest_asyncio_run_in_virtual_time(pytester: pytest.Pytester, run: Run, mode: str) -> None:
    pytest.importorskip("pytest_asyncio", minversion="1.5")
    marks = ("pytest_asyncio.fixture", "pytest.mark.asyncio") if mode == "strict" else ("pytest.fixture", "")
    pytester.makeini(f"[pytest]\nasyncio_mode = {mode}\n{SCOPE}")
    pytester.makeconftest(LOOP)
    tests = TESTS.replace("FIXTURE", marks[0]).replace("MARK", f"@{marks[1]}" if marks[1] else "")
    pytester.makepyfile(APP + tests)
    run("-W", "error", others=()).assert_outcomes(passed=3)


@pytest.mark.blocking_ok  # the inner tests import on their way
@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_both_kinds_of_tests_stand_beside_each_other(pytester: pytest.Pytester, run: Run, mode: str) -> None:
    pytest.importorskip("pytest_asyncio", minversion="1.5")
    pytester.makeini(f"[pytest]\nasyncio_mode = {mode}\n{SCOPE}")
    pytester.makeconftest(LOOP + CONFTEST)
    marks = ("pytest_asyncio.fixture", "@pytest.mark.asyncio") if mode == "strict" else ("pytest.fixture", "")
    tests = TESTS.replace("FIXTURE", marks[0]).replace("MARK", marks[1])
    pytester.makepyfile(test_one=APP + tests)
    if mode == "strict":  # in auto mode pytest-asyncio takes every async test
        pytester.makepyfile(
            test_two="""
            import anyio, pytest

            @pytest.mark.anyio
            async def test_of_anyio(virtual_clock):
                await virtual_clock.advance(86400)
                await anyio.sleep(86400)
            """
        )
    run(others=()).assert_outcomes(passed=5 if mode == "strict" else 3)


@pytest.mark.blocking_ok  # the inner tests import on their way
def test_a_start_that_fails_fails_the_fixture(pytester: pytest.Pytester, run: Run) -> None:
    pytest.importorskip("pytest_asyncio", minversion="1.5")
    pytester.makeini(f"[pytest]\nasyncio_mode = auto\n{SCOPE}")
    pytester.makepyfile(
        """
        import pytest
        from asyncsched import ConfigurationError, Scheduler
        from asyncsched.testing import running

        async def test_it():
            with pytest.raises(ConfigurationError, match="the scheme 'mysql' is not known"):
                async with running(Scheduler(lambda: "mysql://host/db")):
                    pass
            async with running(Scheduler()) as scheduler:
                assert await (await scheduler.schedule_once(lambda: 7)).result() == 7
        """
    )
    run(others=()).assert_outcomes(passed=1)
