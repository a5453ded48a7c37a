"""Packs a call for a worker process, and unpacks its answer."""

from __future__ import annotations

import inspect
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any, NoReturn

from asyncsched._core.arguments.functions import refuse_unless_sync, unpartial
from asyncsched._core.errors import ArgumentError, AsyncSchedError, ConfigurationError
from asyncsched._core.text import shorten
from asyncsched.executors.process.protocol import ERROR, NOT_LOADED, NOT_RETURNED, VALUE, cloud, dumps

if TYPE_CHECKING:
    from asyncsched._core.context import CurrentRun

INSTALL = "pip install 'asyncsched[process]'"


class WorkerDied(AsyncSchedError):
    """The worker process ended in the middle of a run. Other runs are not affected.

    Attributes:
        pid: the process id of the worker.
        signal: the signal that ended it, such as ``"SIGSEGV"``, or ``None``.
        exitcode: the code it exited with, or ``None``.

    """

    def __init__(
        self, message: str, *, pid: int = 0, signal: str | None = None, exitcode: int | None = None
    ) -> None:
        super().__init__(message)
        self.pid = pid
        self.signal = signal
        self.exitcode = exitcode


class RemoteError(AsyncSchedError):
    """Stands in for an exception of a job that cannot be carried from process to process.

    Attributes:
        error_type: the exception's qualified name.
        message: its text.
        traceback: its formatted traceback.

    """

    def __init__(self, error_type: str, message: str, traceback: str = "") -> None:
        super().__init__(error_type, message, traceback)
        self.error_type = error_type
        self.message = message
        self.traceback = traceback

    def __str__(self) -> str:
        return f"{self.error_type}: {self.message}"


class RemoteTraceback(Exception):
    """Carries the text of a traceback from a worker process, as the ``__cause__`` of the exception."""

    def __init__(self, text: str) -> None:
        super().__init__(text)

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0].rstrip()}\n"""'


for _error in (WorkerDied, RemoteError, RemoteTraceback):
    _error.__module__ = "asyncsched.executors.process.executor"  # the module from which users import them


def check(func: Callable[..., Any], job: str, main_is_a_file: bool) -> None:
    """Raise ``ConfigurationError`` if no worker process could call ``func``."""
    if sys.platform == "win32":
        raise ConfigurationError(f'job {job!r}: process executors need a POSIX system; use executor="thread"')
    refuse_unless_sync(func, job, "process")
    if cloud() is not None:
        return
    inner = unpartial(func)
    name = getattr(inner, "__qualname__", "")
    if "<lambda>" in name or "<locals>" in name:
        what = "a lambda" if "<lambda>" in name else f"defined inside another function ({shorten(name, 80)})"
        raise ConfigurationError(
            f"job {job!r} is {what}, which a worker process cannot import; "
            f"move it to the top level of a module, or {INSTALL}"
        )
    if getattr(inner, "__module__", None) == "__main__" and not main_is_a_file:
        raise ConfigurationError(
            f"job {job!r} is defined at a prompt, which a worker process cannot import; "
            f"put it into a file, or {INSTALL}"
        )
    # A function being decorated has no name in its module yet, so only other callables are tried out.
    if not isinstance(func, (FunctionType, BuiltinFunctionType, type)):
        try:
            pickle.dumps(func, 5)
        except Exception as error:
            raise ConfigurationError(
                f"job {job!r} cannot be sent to a worker process ({error}); use a function at the top level "
                f"of a module, or {INSTALL}"
            ) from error


def pack(run: CurrentRun, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
    """Return the body of a ``RUN`` message.

    Raises:
        ArgumentError: an argument cannot be pickled; the text names it.
        ConfigurationError: the function cannot be pickled.

    """
    try:
        needs_main, call = pack_call(func, args, kwargs)
    except Exception as error:
        _raise_unsendable(run.job, func, args, kwargs, error)
    return pickle.dumps(((run._id, run.job, run._due, run.attempt, run.key), needs_main, call), 5)


def pack_call(*call: Any) -> tuple[bool, bytes]:
    """Return the pickle of ``call``, and whether a worker has to run the main file to read it."""
    try:
        packed = pickle.dumps(call, 5)
    except Exception:
        # cloudpickle pickles functions and classes of the main file by value.
        return False, dumps(call)
    return _MAIN in packed or _MP_MAIN in packed, packed


_MAIN = b"\x8c\x08__main__"  # how a pickle names a module
_MP_MAIN = b"\x8c\x0b__mp_main__"


def _raise_unsendable(
    job: str, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], error: Exception
) -> NoReturn:
    reason = shorten(f"{type(error).__name__}: {error}", 200)
    try:
        names = list(inspect.signature(func).parameters)
    except (TypeError, ValueError):
        names = []
    named = [(names[i] if i < len(names) else f"number {i + 1}", value) for i, value in enumerate(args)]
    for name, value in [*named, *kwargs.items()]:
        try:
            dumps(value)
        except Exception:
            raise ArgumentError(
                f"argument {name!r} of job {job!r} cannot be sent to a worker process: its "
                f"{type(value).__qualname__} cannot be pickled ({reason}); pass plain data that the job can "
                f'build it from, or use executor="thread"'
            ) from error
    raise ConfigurationError(
        f"job {job!r} cannot be sent to a worker process ({reason}); use a function at the top level of a "
        f"module, or {INSTALL}"
    ) from error


def unpack(job: str, kind: int, body: bytes) -> Any:
    """Return the value that a worker's message carries, or raise its error."""
    if kind == VALUE:
        if not body:
            return None
        try:
            return pickle.loads(body)
        except Exception as error:
            raise ConfigurationError(
                f"job {job!r} returned a value that cannot be read in this process "
                f"({type(error).__name__}: {error}); return plain data"
            ) from error
    if kind == ERROR:
        raise error_of(body)
    if kind == NOT_RETURNED:
        name, reason = pickle.loads(body)
        if not reason:
            raise ConfigurationError(
                f"job {job!r} returned an awaitable {name}, which is never awaited there; "
                f'declare it "async def" and let it run in executor="loop"'
            )
        raise ConfigurationError(
            f"job {job!r} returned a {name} that cannot be sent back from its process "
            f"({shorten(reason, 200)}); return plain data"
        )
    assert kind == NOT_LOADED
    reason = error_of(body)
    raise ConfigurationError(
        f"job {job!r} could not be loaded in a worker process: {type(reason).__name__}: {reason}; its module "
        f'must be importable there, and a script guards its start with if __name__ == "__main__":'
    ) from reason


def error_of(body: bytes) -> BaseException:
    """Return a worker's exception: the original if possible, else a ``RemoteError`` with its text."""
    whole, name, text, trace = pickle.loads(body)
    raised: BaseException
    try:
        raised, args = pickle.loads(whole)
        if raised.args != args:
            raised.args = args
    except Exception:  # no pickle was sent, or it cannot be loaded here
        raised = RemoteError(name, text, trace)
    raised.__cause__ = RemoteTraceback(trace)
    return raised
