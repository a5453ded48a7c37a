"""Packs a call for a worker process, and unpacks its answer."""

from __future__ import annotations

import inspect
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any, NoReturn

from asyncsched._core.arguments.functions import refuse_unless_sync, unpartial
from asyncsched._core.errors import ArgumentError, ConfigurationError
from asyncsched._core.text import shorten
from asyncsched.abc import Answer
from asyncsched.executors.process.errors import error_of
from asyncsched.executors.process.protocol import ERROR, NOT_RETURNED, VALUE, cloud, dumps

if TYPE_CHECKING:
    from asyncsched._core.context import CurrentRun

INSTALL = "pip install 'asyncsched[process]'"


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
            raise _unsendable(job, str(error)) from error


def _unsendable(job: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"job {job!r} cannot be sent to a worker process ({reason}); use a function at the top level of a "
        f"module, or {INSTALL}"
    )


def pack(run: CurrentRun, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Return the message that gives a run to a worker.

    Raises:
        ArgumentError: an argument cannot be pickled; the text names it.
        ConfigurationError: the function cannot be pickled.

    """
    try:
        needs_main, call = pack_call(func, args, kwargs)
    except Exception as error:
        _raise_unsendable(run.job, func, args, kwargs, error)
    return (run._id, run.job, run._due, run.attempt, run.key), needs_main, call


def pack_call(*call: Any) -> tuple[bool, bytes]:
    """Return whether a worker has to run the main file to read the pickle of ``call``, and that pickle."""
    try:
        packed = pickle.dumps(call, 5)
    except Exception:
        # cloudpickle pickles functions and classes of the main file by value.
        return False, dumps(call)
    return _MAIN in packed or _MP_MAIN in packed, packed


def pack_items(
    job: str, func: Callable[..., Any], items: Sequence[Any]
) -> tuple[list[bytes], Exception | None]:
    """Return the pickles of the items as far as they can be sent, and the error of the first that cannot."""
    packed: list[bytes] = []
    for item in items:
        try:
            packed.append(dumps(item))
        except Exception as error:
            try:
                _raise_unsendable(job, func, (item,), {}, error)
            except Exception as told:
                return packed, told
    return packed, None


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
    raise _unsendable(job, reason) from error


def answer_of(job: str, kind: int, body: bytes) -> Answer:
    """Return the value or the error that an answer carries."""
    try:
        return Answer(unpack(job, kind, body))
    except BaseException as error:  # whatever the function has raised
        return Answer(error=error)


def unpack(job: str, kind: int, body: bytes) -> Any:
    """Return the value that a worker's answer carries, or raise its error."""
    if kind == VALUE:
        return _value(job, body) if body else None
    if kind == ERROR:
        raise error_of(body)
    if kind == NOT_RETURNED:
        _raise_not_returned(job, *pickle.loads(body))
    reason = error_of(body)
    raise ConfigurationError(
        f"job {job!r} could not be loaded in a worker process: {type(reason).__name__}: {reason}; its module "
        f'must be importable there, and a script guards its start with if __name__ == "__main__":'
    ) from reason


def _value(job: str, body: bytes) -> Any:
    try:
        return pickle.loads(body)
    except Exception as error:
        raise ConfigurationError(
            f"job {job!r} returned a value that cannot be read in this process "
            f"({type(error).__name__}: {error}); return plain data"
        ) from error


def _raise_not_returned(job: str, name: str, reason: str) -> NoReturn:
    if not reason:
        raise ConfigurationError(
            f"job {job!r} returned an awaitable {name}, which is never awaited there; "
            f'declare it "async def" and let it run in executor="loop"'
        )
    raise ConfigurationError(
        f"job {job!r} returned a {name} that cannot be sent back from its process "
        f"({shorten(reason, 200)}); return plain data"
    )
