"""Tests in virtual time: a month of schedules in a second, on asyncio and trio.

This folder may import every other, and no other imports it. Begin reading at ``virtual/flow``.

With pytest, three lines of ``conftest.py`` put every test marked ``anyio`` into virtual time, on both
backends (:mod:`asyncsched.testing.plugin` has the fixtures, and does nothing until one is used)::

    @pytest.fixture
    def anyio_backend(virtual_anyio_backend):
        return virtual_anyio_backend

Then time passes when the test says so, and nothing waits in real time::

    async def test_the_digest_goes_out_on_working_days(virtual_clock):
        scheduler = make_scheduler(clock=virtual_clock)
        virtual_clock.set_wall(datetime(2026, 1, 2, 0, 0, tzinfo=UTC))     # a Friday
        async with scheduler:
            await virtual_clock.advance(timedelta(days=4))
            assert await history(scheduler, send_digest) == [
                ("send_digest", datetime(2026, 1, 2, 7, tzinfo=UTC), "succeeded"),
                ("send_digest", datetime(2026, 1, 5, 7, tzinfo=UTC), "succeeded"),
            ]

    async def test_sign_up_sends_a_mail(virtual_clock):
        async with make_scheduler(clock=virtual_clock) as scheduler:
            await signup("ada@example.org")
            await assert_scheduled(scheduler, send_email, args=["ada@example.org"], within=10)
            await virtual_clock.advance(10)
            assert outbox == ["ada@example.org"]

The time of all code in the loop is virtual, not only the scheduler's: ``anyio.sleep``, ``move_on_after``, timeouts,
the backoff of retries. Threads and processes are waited for, never jumped over.

- :class:`VirtualClock`: ``advance``, ``advance_to``, ``settle``; ``step``, ``set_wall``, ``suspend``
  and ``block`` for clocks and machines that misbehave; ``run`` for tests without pytest.
- :func:`history`: the runs so far, with their times and outcomes.
- :func:`assert_scheduled`, :func:`assert_not_scheduled`: the runs and slots to come.
- :func:`drain`: run everything that is due now.
- :func:`inline`: ``schedule_once`` runs at once, in a host's own tests also without a lifespan.
- :func:`running`: a scheduler for async fixtures of pytest-asyncio.
- ``asyncsched.testing.client.VirtualClient``: Starlette's ``TestClient`` in virtual time, for plain tests.
- ``Scheduler(strict=True)``: arguments and results go through JSON in memory, too.

A SQLite database is polled for changes by other instances four times a second of virtual time, too
(PostgreSQL once): a virtual day on ``SqliteStore(path, poll=60)`` costs a twentieth of a day on the URL alone.

Two schedulers share a ``VirtualClock`` as two processes share the wall clock. uvloop and freezegun do
not work with it; the error says so.
"""

from asyncsched.testing.assertions import Happened as Happened
from asyncsched.testing.assertions import assert_not_scheduled as assert_not_scheduled
from asyncsched.testing.assertions import assert_scheduled as assert_scheduled
from asyncsched.testing.assertions import history as history
from asyncsched.testing.inline import drain as drain
from asyncsched.testing.inline import inline as inline
from asyncsched.testing.running import running as running
from asyncsched.testing.virtual.clock import VirtualClock as VirtualClock
from asyncsched.testing.virtual.clock import VirtualTimeError as VirtualTimeError
from asyncsched.testing.virtual.clock import virtual as virtual
from asyncsched.testing.virtual.clock import virtual_backend as virtual_backend

__all__ = [
    "Happened",
    "VirtualClock",
    "VirtualTimeError",
    "assert_not_scheduled",
    "assert_scheduled",
    "drain",
    "history",
    "inline",
    "running",
    "virtual",
    "virtual_backend",
]
