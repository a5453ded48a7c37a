"""A signal between the tasks of a parallel loop."""

from __future__ import annotations

import anyio


class Signal:
    """Wakes the tasks that wait for it; each checks again what it waits for."""

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    async def wait(self) -> None:
        """Wait for the next :meth:`set`."""
        if self._event is None:
            self._event = anyio.Event()
        await self._event.wait()

    def set(self) -> None:
        """Wake all that wait now."""
        event, self._event = self._event, None
        if event is not None:
            event.set()
