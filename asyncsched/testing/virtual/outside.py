"""Watches the start of threads and processes in a virtual run, so that time waits for them.

The functions that start them are patched while a virtual run is active, and restored afterwards. In
loops that are not virtual the patched functions behave as before.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio.to_process
from anyio._core._eventloop import get_async_backend  # patching here also reaches run_sync imported by name

from asyncsched.testing.virtual.flow import Flow, Hold, current_hold

Anything = Callable[..., Any]

_lock = threading.Lock()
_active: Counter[str] = Counter()
_originals: dict[str, list[tuple[Any, str, Any]]] = {}


def running_flow() -> Flow | None:
    """Return the flow of virtual time that the calling task lives in, or ``None``."""
    if "trio" in sys.modules:
        import trio

        if trio.lowlevel.in_trio_task():
            return getattr(trio.lowlevel.current_clock(), "flow", None)
    try:
        return getattr(asyncio.get_running_loop(), "flow", None)
    except RuntimeError:
        return None


def is_pool_worker(command: object) -> bool:
    """Return whether a command is anyio's pool worker, which outlives the calls made to it."""
    return isinstance(command, (tuple, list)) and "anyio.to_process" in command


@contextmanager
def watched(backend: str) -> Iterator[None]:
    """Watch a backend's threads and processes in this block."""
    begin_watching(backend)
    try:
        yield
    finally:
        end_watching(backend)


def begin_watching(backend: str) -> None:
    """Patch the functions that start threads and processes, once for all virtual runs on a backend."""
    with _lock:
        _active[backend] += 1
        if _active[backend] > 1:
            return
        saved = _originals[backend] = []
        for owner, name, wrap in _seams(backend):
            # The entry in the class, not the bound method, must be restored.
            saved.append((owner, name, vars(owner)[name]))
            wrapped = wrap(getattr(owner, name))
            setattr(owner, name, staticmethod(wrapped) if isinstance(owner, type) else wrapped)


def end_watching(backend: str) -> None:
    """Restore the functions that :func:`begin_watching` patched."""
    with _lock:
        _active[backend] -= 1
        if not _active[backend]:
            for owner, name, original in reversed(_originals.pop(backend)):
                setattr(owner, name, original)


def _seams(backend: str) -> Iterator[tuple[Any, str, Callable[[Anything], Anything]]]:
    engine = get_async_backend(backend)
    yield engine, "run_sync_in_worker_thread", _held
    yield anyio.to_process, "run_sync", _held
    if backend == "asyncio":
        yield engine, "run_async_from_thread", _calling_back
        yield engine, "wait_all_tasks_blocked", _settling
    else:
        import trio

        yield trio.to_thread, "run_sync", _held
        yield trio.from_thread, "run", _calling_back
        yield trio, "run_process", _held
        yield trio.lowlevel, "open_process", _followed


def _held(original: Anything) -> Anything:
    """Hold for as long as the call takes."""

    async def call(*args: Any, **kwargs: Any) -> Any:
        flow = running_flow()
        if flow is None:
            return await original(*args, **kwargs)
        with Hold(flow):
            return await original(*args, **kwargs)

    return call


def _followed(original: Anything) -> Anything:
    """Hold until the process that the call returns has ended."""

    async def call(*args: Any, **kwargs: Any) -> Any:
        process = await original(*args, **kwargs)
        flow = running_flow()
        if flow is not None and current_hold() is None and not is_pool_worker(process.args):
            flow.watch(lambda: process.returncode)
        return process

    return call


def _calling_back(original: Anything) -> Anything:
    """Let time go on while a worker thread waits for a call into the loop."""

    def call(func: Anything, *args: Any, **kwargs: Any) -> Any:
        hold = current_hold()
        if hold is None:
            return original(func, *args, **kwargs)

        async def released(*func_args: Any) -> Any:
            with hold.released():
                return await func(*func_args)

        return original(released, *args, **kwargs)

    return call


def _settling(original: Anything) -> Anything:
    """Wait for idle tasks through the flow instead of by short sleeps, which would move time."""

    async def call() -> None:
        flow = running_flow()
        await (original() if flow is None else settle(flow))

    return call


async def settle(flow: Flow) -> None:
    """Wait until nothing is ready at this instant, and there is no hold younger than ``patience``."""
    settled = anyio.Event()
    flow.settlers.append(settled.set)
    await settled.wait()
