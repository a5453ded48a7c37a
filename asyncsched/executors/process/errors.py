"""The errors of process jobs, and how values and exceptions get from process to process."""

from __future__ import annotations

import copyreg
import io
import pickle
import traceback
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


def dumps(value: Any) -> bytes:
    """Pickle ``value``; with cloudpickle where it is installed and plain pickle fails."""
    try:
        return pickle.dumps(value, 5)
    except Exception:
        if (by_value := cloud()) is None:
            raise
        written: bytes = by_value.dumps(value, 5)
        return written


def describe(error: BaseException) -> bytes:
    """Return the error for the executor: the exception itself if it can be carried, and its text in any case."""
    # The frame of the worker's own code is left out of the traceback.
    if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
        error.with_traceback(error.__traceback__.tb_next)
    kind = type(error)
    try:
        text, trace = str(error), "".join(traceback.format_exception(error))
    except Exception:
        text = trace = f"{kind.__qualname__}, whose text cannot be made"
    bases = []
    try:
        whole = _written(error)
        if type(pickle.loads(whole)) is not kind:
            raise TypeError
    except BaseException:  # whatever the methods of its class raise
        whole = b""
        for base in kind.__mro__[:-1]:
            with suppress(Exception):
                bases.append(pickle.dumps(base))
    return pickle.dumps((whole, bases, kind.__module__, kind.__qualname__, text, trace))


def error_of(body: bytes) -> BaseException:
    """Return a worker's exception: the original if possible, else a ``RemoteError`` with its text."""
    whole, *description = pickle.loads(body)
    try:
        error: BaseException = pickle.loads(whole)
    except Exception:  # none was sent, or it cannot be loaded here
        error = _stand_in(*description)
    _set(error, {"__cause__": RemoteTraceback(f'\n"""\n{description[-1].rstrip()}\n"""')})
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


def _written(error: BaseException) -> bytes:
    """Pickle an exception, and those that it holds, so that they are made without the ``__init__`` of their class.

    pickle would call it with what the class hands to ``Exception``, which may be something else than it takes.
    """
    base: Any = (cloud() or pickle).Pickler

    class Pickler(base):  # type: ignore[misc]
        def reducer_override(self, value: Any) -> Any:
            kind: Any = type(value)
            if isinstance(value, BaseException) and kind.__reduce_ex__ is object.__reduce_ex__:
                builtin = _builtin(kind)
                if kind.__reduce__ is builtin.__reduce__:
                    _, args, *state = builtin.__reduce__(value)
                    names = copyreg._slotnames(kind)  # type: ignore[attr-defined]
                    slots = {name: getattr(value, name) for name in names if hasattr(value, name)}
                    return _make, (kind, args), dict(*state) | slots, None, None, _set
            return NotImplemented if base is pickle.Pickler else super().reducer_override(value)

    Pickler(written := io.BytesIO(), 5).dump(error)
    return written.getvalue()


def _make(kind: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    builtin = _builtin(kind)
    error: BaseException = builtin.__new__(kind, *args)
    builtin.__init__(error, *args)
    return error


def _set(error: BaseException, attributes: dict[str, Any]) -> None:
    for name, value in attributes.items():
        object.__setattr__(error, name, value)  # also where the class refuses it, as a frozen dataclass does


def _builtin(kind: Any) -> Any:
    """Return the built-in class that a class of exceptions stems from."""
    heap_type = 1 << 9  # the flag of a class that Python code has made
    while kind.__flags__ & heap_type:
        kind = kind.__base__
    return kind
