"""Lines of JSON by python-json-logger, each with the run that it was logged in."""

from __future__ import annotations

import logging
import sys

import anyio
from pythonjsonlogger.json import JsonFormatter

from asyncsched import RunIdFilter, Scheduler
from asyncsched.observers.log import RunLog
from examples.logs import jobs


def configure() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    handler.addFilter(RunIdFilter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


scheduler = Scheduler(observers=[RunLog()])
scheduler.job()(jobs.collect)
scheduler.job()(jobs.check)
scheduler.job(executor="process")(jobs.price)
scheduler.job()(jobs.fail)


async def main() -> None:
    async with scheduler:
        for name in ("collect", "check", "price", "fail"):
            await (await scheduler.schedule_once(name, 7)).wait()


if __name__ == "__main__":
    configure()
    anyio.run(main, backend=sys.argv[1] if len(sys.argv) > 1 else "asyncio")
