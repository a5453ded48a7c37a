"""The process executor: CPU work, in worker processes that can be killed for real.

This folder may import ``_core``, ``abc`` and ``_backends``; worker processes load ``child`` and little else.
Begin reading at ``executor``.

``anyio.open_process`` has no part in it. An idle worker's messages, output and death have to be noticed too, so each of
its streams would need a task outside of every run; and the closing of a pipe, unlike the shutdown of a socket, tells a
worker nothing where the app has forked a process that has the pipe open as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncsched.executors.process.errors import RemoteError as RemoteError
    from asyncsched.executors.process.errors import WorkerDied as WorkerDied
    from asyncsched.executors.process.executor import ProcessExecutor as ProcessExecutor

__all__ = ("ProcessExecutor", "RemoteError", "WorkerDied")


def __getattr__(name: str) -> Any:
    # A worker process imports this folder too, and needs only a few of its modules.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from asyncsched.executors.process import executor

    return getattr(executor, name)
