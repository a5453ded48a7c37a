"""The frames of an event loop's thread, as another thread sees them: whether the loop waits, and the user's code."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from types import FrameType

import anyio.lowlevel


def frames_of(frame: FrameType | None, base: FrameType | None) -> Iterator[FrameType]:
    """Yield the frames from the innermost one out to ``base``."""
    while frame is not None and frame is not base:
        yield frame
        frame = frame.f_back


def waits(frame: FrameType | None, base: FrameType | None) -> bool:
    """Return whether a loop with this innermost frame waits in its selector."""
    if frame is None or frame is base:
        return True
    inner = frame
    while frame is not None:
        name = frame.f_code.co_name
        if name == "_run_once":  # asyncio: no handle runs above it
            return inner.f_code.co_name != "_run_once"
        if name == "unrolled_run":  # trio: the frame above it is a task's, or the I/O manager's
            return inner.f_code.co_name == "get_events"
        if name == "_run" and "self" in frame.f_code.co_varnames:
            return False
        inner = frame
        frame = frame.f_back
    return False


def lines_of(frames: list[FrameType]) -> Iterator[tuple[FrameType, int]]:
    """Yield the user's frames, outermost first: those inside the loop's frames that are not of this package."""
    within = list(takewhile(lambda frame: not _of_loop(frame), frames))
    for frame in reversed([frame for frame in within if not _of_package(frame)] or within):
        yield frame, frame.f_lineno


def base_frame(frame: FrameType | None, token: anyio.lowlevel.EventLoopToken) -> FrameType | None:
    """Return the frame that is innermost while uvloop waits, because uvloop itself has no Python frames."""
    if not type(token.native_token).__module__.startswith("uvloop"):
        return None
    ran = 0x80 | 0x20 | 0x200 | 0x100  # coroutines and generators, async and iterable ones too
    while frame is not None and frame.f_code.co_flags & ran:
        frame = frame.f_back
    return frame


def _of_loop(frame: FrameType) -> bool:
    """Whether the frame belongs to the event loop itself."""
    loop = str(frame.f_globals.get("__name__")).partition(".")[0] in ("asyncio", "trio")
    return loop and frame.f_code.co_name in ("_run_once", "_run", "unrolled_run")


def _of_package(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] == "asyncsched"
