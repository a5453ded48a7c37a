"""Packs a call for a worker process, and unpacks its answer."""

from __future__ import annotations

import inspect
import os
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any

from asyncsched._core.arguments.functions import refuse_unless_sync, unpartial
from asyncsched._core.errors import ArgumentError, ConfigurationError
from asyncsched._core.text import shorten
from asyncsched.executors.process.errors import cloud, dumps, error_of
from asyncsched.executors.process.link import VALUE

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
    what = ""
    if "<lambda>" in name:
        what = "a lambda"
    elif "<locals>" in name:
        what = f"defined inside another function ({shorten(name, 80)})"
    elif getattr(inner, "__module__", None) == "__main__" and not main_is_a_file:
        what = "defined at a prompt"
    if what:
        raise ConfigurationError(
            f"job {job!r} is {what}, which a worker process cannot import; "
            f"move it to the top level of a module, or {INSTALL}"
        )
    # A function being decorated has no name in its module yet, so only other callables are tried out.
    if not isinstance(func, (FunctionType, BuiltinFunctionType, type)):
        try:
            pickle.dumps(func, 5)
        except Exception as error:
            raise _unsendable(job, {}, error) from error


def main_file() -> tuple[str, str] | None:
    """Return how a worker can run the main file again, as ``("module", name)`` or ``("file", path)``."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name != "__main__":
        return "module", str(spec.name)
    path = getattr(main, "__file__", None)
    return ("file", os.path.abspath(path)) if path and os.path.exists(path) else None


def pack(run: CurrentRun, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Return the message that gives a run to a worker.

    Raises:
        ArgumentError: an argument cannot be pickled; the text names it.
        ConfigurationError: the function cannot be pickled.

    """
    try:
        call = pack_call(func, args, kwargs)
    except Exception as error:
        raise _unsendable(run.job, _named(func, args, kwargs), error) from error
    return (run._id, run.job, run._due, run.attempt, run.key), call


def pack_call(*call: Any) -> tuple[bool, bytes]:
    """Return whether a worker has to run the main file to read the pickle of ``call``, and that pickle."""
    try:
        packed = pickle.dumps(call, 5)
    except Exception:
        # cloudpickle pickles functions and classes of the main file by value.
        return False, dumps(call)
    as_pickled = (b"\x8c\x08__main__", b"\x8c\x0b__mp_main__")
    return any(name in packed for name in as_pickled), packed


def pack_items(
    job: str, func: Callable[..., Any], items: Sequence[Any]
) -> tuple[list[bytes], Exception | None]:
    """Return the pickles of the items as far as they can be sent, and the error of the first that cannot."""
    packed: list[bytes] = []
    for item in items:
        try:
            packed.append(dumps(item))
        except Exception as error:
            refused = _unsendable(job, _named(func, (item,), {}), error)
            refused.__cause__ = error
            return packed, refused
    return packed, None


def _named(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    try:
        names = list(inspect.signature(func).parameters)
    except (TypeError, ValueError):
        names = []
    names += [f"number {number + 1}" for number in range(len(names), len(args))]
    return dict(zip(names, args, strict=False)) | dict(kwargs)


def _unsendable(job: str, arguments: Mapping[str, Any], error: Exception) -> Exception:
    """Return the error for a call that cannot be pickled; it names the argument that is to blame, if one is."""
    reason = shorten(f"{type(error).__name__}: {error}", 200)
    for name, value in arguments.items():
        try:
            dumps(value)
        except Exception:
            return ArgumentError(
                f"argument {name!r} of job {job!r} cannot be sent to a worker process: its "
                f"{type(value).__qualname__} cannot be pickled ({reason}); pass plain data that the job can "
                f'build it from, or use executor="thread"'
            )
    return ConfigurationError(
        f"job {job!r} cannot be sent to a worker process ({reason}); use a function at the top level of a "
        f"module, or {INSTALL}"
    )


def unpack(job: str, kind: int, body: bytes) -> Any:
    """Return the value that a worker's answer carries, or raise its error."""
    if kind != VALUE:
        raise error_of(body)
    try:
        return pickle.loads(body) if body else None
    except Exception as error:
        raise ConfigurationError(
            f"job {job!r} returned a value that cannot be read in this process "
            f"({type(error).__name__}: {error}); return plain data"
        ) from error
