"""One process of a cluster on a SQLite file or a PostgreSQL URL: `worker.py FILE LOG MODE`; what it does goes into the log."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import anyio

from asyncsched import Retry, Scheduler, current_run
from asyncsched.stores.sqlite import SqliteStore

LEASE, BEAT, POLL = 1.5, 0.3, 0.05


def make_store(path: str) -> Any:
    if path.startswith("postgresql:"):
        from asyncsched.stores.postgres import PostgresStore

        return PostgresStore(path, lease=LEASE, beat=BEAT)
    return SqliteStore(path, lease=LEASE, beat=BEAT, poll=POLL)


def make(path: str, log: str) -> Scheduler:
    scheduler = Scheduler(make_store(path), stall_threshold=None, shutdown_timeout=1)
    fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def say(*words: object) -> None:
        os.write(fd, (" ".join(map(str, (os.getpid(), *words))) + "\n").encode())

    async def tick() -> None:
        run = current_run()
        assert run is not None
        say("tick", run.job, run.scheduled_for.timestamp(), run.attempt)

    for number in range(6):
        scheduler.interval(seconds=0.2, name=f"tick-{number}", overlap="allow")(_named(tick))

    @scheduler.job(retry=Retry(3, delay=0.1))
    async def patient(seconds: float) -> str:
        say("began", "patient", current_run().attempt)
        await anyio.sleep(seconds if current_run().attempt == 1 else 0)
        say("ended", "patient", current_run().attempt)
        return "done"

    @scheduler.job()
    async def once(seconds: float) -> None:
        say("began", "once", current_run().attempt)
        await anyio.sleep(seconds)
        say("ended", "once", current_run().attempt)

    scheduler.say = say  # type: ignore[attr-defined]
    return scheduler


def _named(func):  # type: ignore[no-untyped-def]
    async def again() -> None:
        await func()

    return again


async def often(lives: int, scheduler: Scheduler) -> None:
    """Open, write and close so often, from the moment on at which stdin ends."""
    say = scheduler.say  # type: ignore[attr-defined]
    say("ready")
    await anyio.to_thread.run_sync(sys.stdin.read)
    for _ in range(lives):
        async with scheduler:
            await (await scheduler.schedule_once("once", 0)).wait()
    say("left")


async def main(mode: str, scheduler: Scheduler) -> None:
    say = scheduler.say  # type: ignore[attr-defined]
    if mode.startswith("often:"):
        await often(int(mode[6:]), scheduler)
        return
    async with scheduler:
        say("ready")
        if mode == "submit-and-die":
            for _ in range(20):
                handle = await scheduler.schedule_once("once", 0, delay=0.2)
                say("accepted", handle.id)
            os.kill(os.getpid(), 9)
        if mode == "until-told":
            await anyio.to_thread.run_sync(sys.stdin.read)
        else:
            await anyio.sleep_forever()
    say("left")


if __name__ == "__main__":
    path, log, mode, *rest = sys.argv[1:]
    anyio.run(main, mode, make(path, log), backend=rest[0] if rest else "asyncio")
    assert path.startswith("postgresql:") or Path(path).exists()
