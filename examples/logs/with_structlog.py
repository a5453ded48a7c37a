"""structlog for the app's lines and the scheduler's, each with the run that it was logged in."""

from __future__ import annotations

import logging
import sys
from typing import Any

import anyio
import structlog

from asyncsched import Scheduler
from asyncsched.executors import ProcessExecutor
from asyncsched.observers.log import RunLog, add_run

logger = structlog.get_logger("shop")

# What is done to every line: structlog's own, and those of the standard library, the scheduler's among them.
SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    add_run,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso"),
]


def use_structlog() -> None:
    """Configure structlog; a worker process does the same, and sends its lines to the scheduler's process."""
    structlog.configure(
        processors=[*SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def configure() -> None:
    use_structlog()
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*SHARED, structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(),
        ],
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


scheduler = Scheduler(
    observers=[RunLog()], executors={"process": ProcessExecutor(1, initializer=use_structlog)}
)


@scheduler.job()
async def collect(order: int) -> None:
    logger.info("collected", order=order)


@scheduler.job()
def check(order: int) -> None:
    logger.info("checked", order=order)


@scheduler.job(executor="process")
def price(order: int) -> None:
    logger.info("priced", order=order)


@scheduler.job()
async def fail(order: int) -> None:
    raise LookupError(f"there is no order {order}")


async def main() -> None:
    async with scheduler:
        for job in (collect, check, price, fail):
            await (await scheduler.schedule_once(job, 7)).wait()


if __name__ == "__main__":
    configure()
    anyio.run(main, backend=sys.argv[1] if len(sys.argv) > 1 else "asyncio")
