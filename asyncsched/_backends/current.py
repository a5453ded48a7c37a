"""The backend of the event loop that the calling task runs in."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import anyio.lowlevel

from asyncsched._backends._asyncio import _AsyncioBackend, _AsyncioPort
from asyncsched._backends._trio import _TrioBackend, _TrioPort
from asyncsched._backends.base import Backend, Port


def current_backend() -> Backend:
    """Return the backend of the running event loop."""
    return _AsyncioBackend() if _trio() is None else _TrioBackend()


def current_task_id() -> int:
    """Return a number that identifies the calling task while it lives."""
    trio = _trio()
    return id(asyncio.current_task() if trio is None else trio.current_task())


def _trio() -> Any:
    """Return ``trio.lowlevel`` if the caller is a trio task. Another thread may be importing trio just now."""
    trio = sys.modules.get("trio.lowlevel")
    in_trio_task = getattr(trio, "in_trio_task", None)
    return trio if in_trio_task is not None and in_trio_task() else None


def current_port() -> Port:
    """Return the port of the event loop that the calling task runs in."""
    token = anyio.lowlevel.current_token()
    if isinstance(token.native_token, asyncio.AbstractEventLoop):
        return _AsyncioPort(token, token.native_token)
    return _TrioPort(token)
