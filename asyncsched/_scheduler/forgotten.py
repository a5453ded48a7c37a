"""A scheduler that a server's app makes and never starts is told of: none of its schedules would fire, in silence."""

from __future__ import annotations

import logging
import sys
import threading
from types import FrameType
from typing import Protocol
from weakref import ref

from asyncsched._scheduler.registry import Registry

logger = logging.getLogger("asyncsched")

PATIENCE = 15.0
"""Seconds after which a scheduler with schedules is expected to run in a process that serves an app."""

_SERVERS = frozenset({"uvicorn", "uvicorn_worker", "gunicorn", "hypercorn", "granian"})


class Startable(Protocol):
    """A scheduler as it is watched: its declarations, and whether it was ever started."""

    _registry: Registry
    _ever: bool


def watch(scheduler: Startable) -> None:
    """Look once, after a while, whether a scheduler that a server has just imported was started."""
    if not _is_served(sys._getframe()):
        return
    timer = threading.Timer(PATIENCE, _look, (ref(scheduler), threading.main_thread().ident))
    timer.daemon = True
    timer.name = "asyncsched forgotten"
    timer.start()


def _look(made: ref[Startable], main: int | None) -> None:
    scheduler, count = made(), 0
    if scheduler is not None and not scheduler._ever:
        count = len(scheduler._registry.schedules)
    # A process that only imports the app and forks its workers, as gunicorn does with preload_app, serves nothing.
    if count and _is_served(sys._current_frames().get(main or 0), "asyncio", "trio", "granian"):
        logger.warning(
            "%r was not started, %g s after it was made, and none of its schedules (%d) fires: give it to the app, as in "
            "FastAPI(lifespan=scheduler.lifespan), or enter it in the app's own lifespan with "
            "`async with scheduler`", scheduler, PATIENCE, count,
        )  # fmt: skip


def _is_served(frame: FrameType | None, *also: str) -> bool:
    """Whether a server stands in a stack, and with it one of these modules, if any are named."""
    found = set[str]()
    while frame is not None:
        found.add(str(frame.f_globals.get("__name__", "")).partition(".")[0])
        frame = frame.f_back
    return not _SERVERS.isdisjoint(found) and (not also or not found.isdisjoint(also))
