"""When a request to a store's thread expires: after its timeout, in time that the process was running."""

from __future__ import annotations

import threading

import anyio
import pytest

from asyncsched.stores.sql.thread import DatabaseThread, Request
from asyncsched.testing import VirtualClock

pytestmark = pytest.mark.anyio


async def test_a_process_that_was_frozen_waits_for_the_answers_that_its_thread_could_not_give(
    virtual_clock: VirtualClock,
) -> None:
    taken, thawed = threading.Event(), threading.Event()

    def serve(requests: list[Request]) -> None:
        taken.set()
        thawed.wait()
        for one in requests:
            one.result = "answer"

    async def thaw() -> None:
        await anyio.to_thread.run_sync(taken.wait)
        virtual_clock.block(60)  # as SIGSTOP does, which stops the thread as well
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        thawed.set()

    thread = DatabaseThread("asyncsched-test", serve, lambda: None, 5, virtual_clock)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(thaw)
            assert await thread.submit("kind", "payload") == "answer"
    finally:
        await thread.close()
