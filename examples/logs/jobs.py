"""Jobs that log: a coroutine, a plain function in a thread, and one in a process."""

from __future__ import annotations

import logging

logger = logging.getLogger("shop")


async def collect(order: int) -> None:
    logger.info("collected", extra={"order": order})


def check(order: int) -> None:
    logger.info("checked", extra={"order": order})


def price(order: int) -> None:
    logger.info("priced", extra={"order": order})


async def fail(order: int) -> None:
    raise LookupError(f"there is no order {order}")
