"""Executors, which run functions: in the event loop, in threads, in processes; and the errors of ``Scheduler.map``.

This folder may import ``_core``, ``abc`` and ``_backends``. Begin reading at ``loop``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncsched._core.parallel import ItemFailed as ItemFailed
    from asyncsched._core.parallel import MapFailed as MapFailed
    from asyncsched.executors.loop import LoopExecutor as LoopExecutor
    from asyncsched.executors.process.executor import ProcessExecutor as ProcessExecutor
    from asyncsched.executors.thread import ThreadExecutor as ThreadExecutor

__all__ = ("ItemFailed", "LoopExecutor", "MapFailed", "ProcessExecutor", "ThreadExecutor")

_MODULES = {
    "ItemFailed": "asyncsched._core.parallel",
    "LoopExecutor": "asyncsched.executors.loop",
    "MapFailed": "asyncsched._core.parallel",
    "ProcessExecutor": "asyncsched.executors.process.executor",
    "ThreadExecutor": "asyncsched.executors.thread",
}


def __getattr__(name: str) -> Any:
    # Each is imported where it is used: a worker process imports this folder too, and needs none of them.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
