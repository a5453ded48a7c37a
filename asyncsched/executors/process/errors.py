"""The errors of process jobs, and how values and exceptions get from process to process."""

from __future__ import annotations

import copyreg
import io
import pickle
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

from asyncsched._core.errors import AsyncSchedError


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

    It is an instance of the exception's own class too, or of the nearest base that this process knows, and
    has the name of that class. So ``except`` and ``Retry(on=...)`` match it.

    Attributes:
        error_type: the exception's qualified name.
        message: its text.
        traceback: its formatted traceback.

    """

    def __init__(self, error_type: str, message: str, traceback: str = "") -> None:
        # Not super(): a stand-in's other base is the job's class, whose __init__ takes other arguments.
        Exception.__init__(self, error_type, message, traceback)
        self.error_type = error_type
        self.message = message
        self.traceback = traceback

    def __str__(self) -> str:
        return f"{self.error_type}: {self.message}"


class RemoteTraceback(Exception):
    """Carries the text of a traceback from a worker process, as the ``__cause__`` of the exception."""


for _error in (WorkerDied, RemoteError, RemoteTraceback):
    _error.__module__ = "asyncsched.executors.process.executor"  # the module from which users import them


def cloud() -> Any:
    """Return the module ``cloudpickle`` if it is installed."""
    with suppress(ImportError):
        return import_module("cloudpickle")
    return None


def dumps(
    value: Any, write: Callable[[Any, Any], bytes] = lambda module, value: module.dumps(value, 5)
) -> bytes:
    """Pickle ``value``; with cloudpickle where it is installed and plain pickle fails."""
    try:
        return write(pickle, value)
    except Exception:
        if (by_value := cloud()) is None:
            raise
    return write(by_value, value)


def describe(error: BaseException) -> bytes:
    """Return the error for the executor: the exception itself if it can be carried, and its text in any case."""
    # The frame of the worker's own code is left out of the traceback.
    if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
        error.with_traceback(error.__traceback__.tb_next)
    kind = type(error)
    try:
        text = str(error)
        trace = "".join(traceback.format_exception(error))
    except Exception:
        text = trace = f"{kind.__qualname__}, whose text cannot be made"
    bases = []
    try:
        whole = dumps(error, _written)
        if type(pickle.loads(whole)) is not kind:
            raise TypeError
    except BaseException:
        whole = b""
        for base in kind.__mro__[:-1]:
            with suppress(Exception):
                bases.append(pickle.dumps(base))
    return pickle.dumps((whole, bases, kind.__module__, kind.__qualname__, text, trace))


def error_of(body: bytes) -> BaseException:
    """Return a worker's exception: the original if possible, else a ``RemoteError`` with its text."""
    whole, bases, module, qualname, text, trace = pickle.loads(body)
    error: BaseException
    try:
        error = pickle.loads(whole)
    except Exception:  # none was sent, or it cannot be loaded here
        error = _stand_in(bases, module, qualname, text, trace)
    set_state(error, {"__cause__": RemoteTraceback(f'\n"""\n{trace.rstrip()}\n"""')})
    return error


def _stand_in(bases: list[bytes], module: str, qualname: str, text: str, trace: str) -> RemoteError:
    name = qualname if module == "builtins" else f"{module}.{qualname}"
    own = {"__module__": module, "__qualname__": qualname}
    for packed in bases:
        with suppress(Exception):  # the class is not known here, or takes no part in another
            kind = type(qualname.rpartition(".")[2], (RemoteError, pickle.loads(packed)), own)
            error: RemoteError = _builtin(kind).__new__(kind)
            RemoteError.__init__(error, name, text, trace)
            return error
    return RemoteError(name, text, trace)


def _written(module: Any, error: BaseException) -> bytes:
    class Pickler(module.Pickler):  # type: ignore[misc]
        def reducer_override(self, value: Any) -> Any:
            kind: Any = type(value)
            if isinstance(value, BaseException) and kind.__reduce_ex__ is object.__reduce_ex__:
                if kind.__reduce__ is _builtin(kind).__reduce__:
                    return _reduced(value)
            return NotImplemented if module is pickle else super().reducer_override(value)

    Pickler(written := io.BytesIO(), 5).dump(error)
    return written.getvalue()


def _reduced(error: BaseException) -> tuple[Any, ...]:
    # pickle calls the class, whose __init__ may take other arguments than it hands to Exception.
    kind: Any = type(error)
    _, args, *state = _builtin(kind).__reduce__(error)
    slots = {name: getattr(error, name) for name in copyreg._slotnames(kind) if hasattr(error, name)}  # type: ignore[attr-defined]
    attributes = {**(state[0] if state and state[0] else {}), **slots}
    own = kind.__setstate__ is not BaseException.__setstate__
    return make, (kind, args), attributes or None, None, None, None if own else set_state


def make(kind: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    """Make an exception without the ``__init__`` of its class, by that of the built-in class it stems from."""
    builtin: Any = _builtin(kind)
    error: BaseException = builtin.__new__(kind, *args)
    builtin.__init__(error, *args)
    return error


def set_state(error: BaseException, attributes: dict[str, Any]) -> None:
    """Set attributes of an exception, also of one whose class refuses that, as a frozen dataclass does."""
    for name, value in attributes.items():
        object.__setattr__(error, name, value)


def _builtin(kind: Any) -> Any:
    heap_type = 1 << 9  # the flag of a class that Python code has made
    while kind.__flags__ & heap_type:
        kind = kind.__base__
    return kind
