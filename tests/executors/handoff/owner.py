"""A process that hands a task over and is killed: ``python -m tests.executors.handoff.owner ENGINE STORE FOLDER``."""

from __future__ import annotations

import os
import sys

import anyio

from asyncsched import Scheduler
from asyncsched.stores.sqlite import SqliteStore
from tests.executors.handoff import tasks


def parts(engine: str, where: str) -> tuple[object, object]:
    """Return the engine's executor, and its function ``work``."""
    if engine == "celery":
        from asyncsched.executors.handoff.celery import CeleryExecutor
        from tests.executors.handoff import celery_app

        return CeleryExecutor(celery_app.app), celery_app.work
    if engine == "huey":
        from asyncsched.executors.handoff.huey import HueyExecutor
        from tests.executors.handoff import huey_app

        return HueyExecutor(huey_app.app), huey_app.work
    if engine == "rq":
        import redis
        import rq

        from asyncsched.executors.handoff.rq import RQExecutor

        return RQExecutor(rq.Queue(connection=redis.Redis.from_url(where))), tasks.work
    from asyncsched.executors.handoff.dask import DaskExecutor

    return DaskExecutor(where), tasks.work


async def main() -> None:
    engine, store, where, folder = sys.argv[1:]
    executor, work = parts(engine, where)
    ledger = SqliteStore(store, poll=0.1, beat=0.2, lease=1.0)
    scheduler = Scheduler(ledger, executors={"engine": executor})  # type: ignore[dict-item]
    scheduler.job(executor="engine", name="work")(work)  # type: ignore[arg-type]
    async with scheduler:
        handle = await scheduler.schedule_once("work", folder, 3)
        print(handle.id, flush=True)
        await anyio.sleep_forever()


if __name__ == "__main__":
    if os.environ.get("BACKEND") == "trio":
        anyio.run(main, backend="trio")
    anyio.run(main)
