"""The interpreter's own interrupt, told apart from a ``KeyboardInterrupt`` that some code raised.

Ctrl-C ends the program. A job that raises ``KeyboardInterrupt``, or whose process got the signal, has only failed.
"""

from __future__ import annotations

import inspect
import opcode
import signal
from types import CodeType, TracebackType

from asyncsched._core.arguments.functions import unpartial

_RAISES = frozenset({opcode.opmap["RAISE_VARARGS"], opcode.opmap["RERAISE"]})


def interrupt_in(error: BaseException) -> KeyboardInterrupt | None:
    """Return the interpreter's own interrupt that an exception is or holds, if there is one."""
    if isinstance(error, KeyboardInterrupt):
        return error if _is_own(error.__traceback__) else None
    if isinstance(error, BaseExceptionGroup) and not isinstance(error, Exception):
        return next(filter(None, map(interrupt_in, error.exceptions)), None)
    return None


def _is_own(traceback: TracebackType | None) -> bool:
    """Return whether the innermost frame raised nothing by a statement of its own, or is the signal's handler."""
    if traceback is None:
        return False
    handler = _handler()
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    code = traceback.tb_frame.f_code
    return code is handler or code.co_code[traceback.tb_lasti] not in _RAISES


def _handler() -> CodeType | None:
    """Return the code of the handler of SIGINT: ``None`` for Python's own, which has no frame."""
    handler = unpartial(signal.getsignal(signal.SIGINT))  # type: ignore[arg-type]
    return getattr(inspect.unwrap(getattr(handler, "__func__", handler)), "__code__", None)
