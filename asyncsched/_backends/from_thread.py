"""Makes ``anyio.from_thread`` and ``trio.from_thread`` work inside the executors' threads.

anyio and trio find the way back to the event loop in a thread-local variable, which their worker
threads fill in. An executor's thread fills it in here in the same way. Where a version of anyio or trio
keeps it elsewhere, a job has to pass ``token=`` itself, as in any other thread, and nothing else changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.lowlevel

if TYPE_CHECKING:
    import trio


class Bridge:
    """The way back to the event loop for one worker thread. Made in the loop, used by the thread."""

    def __init__(self, token: anyio.lowlevel.EventLoopToken) -> None:
        self._token = token
        self._asyncio = isinstance(token.native_token, asyncio.AbstractEventLoop)
        # check_cancelled() reads this scope. It is never entered, so it is a flag and cancels nothing.
        self._scope = anyio.CancelScope() if self._asyncio else None
        self._register: list[Callable[[], Any] | None] = [None]

    def cancel(self, raise_cancel: Callable[[], Any] | None) -> None:
        """Let ``check_cancelled()`` raise in the thread from now on."""
        if self._scope is not None:
            self._scope.cancel()
        self._register[0] = raise_cancel

    def enter(self) -> None:
        """Tell anyio and trio, in the thread itself, which loop the thread belongs to."""
        try:
            self._enter_anyio()
            if not self._asyncio:
                self._enter_trio()
        except (ImportError, AttributeError):  # pragma: no cover: depends on the versions of anyio and trio
            return

    def _enter_anyio(self) -> None:
        from anyio._core._eventloop import threadlocals

        threadlocals.current_token = self._token
        if self._scope is not None:
            threadlocals.current_cancel_scope = self._scope

    def _enter_trio(self) -> None:
        from trio._threads import PARENT_TASK_DATA

        PARENT_TASK_DATA.token = cast("trio.lowlevel.TrioToken", self._token.native_token)
        # True: calls become system tasks. The run's task is parked and cannot serve them.
        PARENT_TASK_DATA.abandon_on_cancel = True
        PARENT_TASK_DATA.cancel_register = self._register
        PARENT_TASK_DATA.task_register = [None]
