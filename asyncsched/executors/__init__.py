"""Executors, which run functions: in the event loop, in threads, in processes; and the errors of ``Scheduler.map``.

This folder may import ``_core``, ``abc`` and ``_backends``. Begin reading at ``loop``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncsched._core.parallel import ItemFailed as ItemFailed
from asyncsched._core.parallel import MapFailed as MapFailed
from asyncsched.executors.loop import LoopExecutor as LoopExecutor
from asyncsched.executors.thread import ThreadExecutor as ThreadExecutor

if TYPE_CHECKING:
    from asyncsched.executors.process.executor import ProcessExecutor as ProcessExecutor

__all__ = ("ItemFailed", "LoopExecutor", "MapFailed", "ProcessExecutor", "ThreadExecutor")


def __getattr__(name: str) -> Any:
    # The process executor imports subprocess, socket and pickle, so it is imported only where it is used.
    if name == "ProcessExecutor":
        from asyncsched.executors.process.executor import ProcessExecutor

        return ProcessExecutor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
