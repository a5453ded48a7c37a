"""The keys that are pressed in a terminal, one by one, without Enter and without being shown."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import anyio
from anyio.abc import ObjectSendStream
from anyio.streams.memory import MemoryObjectReceiveStream

_POLL = 0.05
"""Seconds between two looks at the keyboard where it cannot be waited for: on Windows."""

NAMES = {
    "\r": "enter", "\n": "enter", "\x1b": "esc", "\x7f": "backspace", "\b": "backspace",
    "\x1b[A": "k", "\x1b[B": "j", "\x1bOA": "k", "\x1bOB": "j", "\xe0H": "k", "\xe0P": "j",
}  # fmt: skip
"""The names of keys that send more than their letter; the arrows are those that move as ``j`` and ``k`` do."""


@asynccontextmanager
async def pressed_keys() -> AsyncIterator[MemoryObjectReceiveStream[str] | None]:
    """Yield a stream of the keys that are pressed, which ends with the terminal; ``None`` where stdin is no terminal.

    The terminal is as it was before when the block ends, however it ends.
    """
    if not sys.stdin.isatty():
        yield None
        return
    send, receive = anyio.create_memory_object_stream[str](100)
    with _one_by_one() as read, receive:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_relay, read, send)
            yield receive
            tasks.cancel_scope.cancel()


async def _relay(read: Callable[[], str], send: ObjectSendStream[str]) -> None:
    async with send:
        while True:
            if sys.platform == "win32":
                await anyio.sleep(_POLL)
                text = read()
            else:
                await anyio.wait_readable(sys.stdin)
                text = read()
                if not text:  # the terminal is gone
                    return
            for key in keys_of(text):
                await send.send(key)


def keys_of(text: str) -> Iterator[str]:
    """Yield the keys of what a terminal sent at once."""
    while text:
        size = next((size for size in (3, 2) if text[:size] in NAMES), 1)
        if (
            text.startswith("\x1b[") and size == 1
        ):  # a key of no use here, such as F5: its whole sequence is left out
            size = next(
                (at + 1 for at, one in enumerate(text[2:], 2) if one.isalpha() or one == "~"), len(text)
            )
        else:
            yield NAMES.get(text[:size], text[:size])
        text = text[size:]


def _waiting(keyboard: int) -> str:
    """Return what has been typed; ``""`` where the terminal is gone."""
    try:
        return os.read(keyboard, 1024).decode(errors="replace")
    except OSError:
        return ""


@contextmanager
def _one_by_one() -> Iterator[Callable[[], str]]:
    """Have the terminal hand over each key at once, and yield the function that reads those that wait."""
    if sys.platform == "win32":
        import msvcrt

        def waiting() -> str:
            found = ""
            while msvcrt.kbhit():
                found += msvcrt.getwch()
            return found

        yield waiting
        return
    import termios
    import tty

    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    tty.setcbreak(keyboard)
    try:
        yield lambda: _waiting(keyboard)
    finally:
        with suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
