"""A worker process: it calls one function after another, until the executor closes the socket.

Descriptors 1 and 2 are a pipe that the executor turns into log lines, so a job may print, and C code may
write, freely.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import pickle
import runpy
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any

from asyncsched._core.arguments.functions import returned_awaitable
from asyncsched._core.context import CurrentRun, _current
from asyncsched._core.errors import ConfigurationError, SchedulerStateError
from asyncsched._core.text import shorten
from asyncsched.executors.batches import is_awaitable, one_by_one
from asyncsched.executors.process.errors import describe, dumps
from asyncsched.executors.process.link import ERROR, ITEM, NOT_STARTED, VALUE, Pipe, ProcessLink, RelayHandler


def serve(messages: int, lifeline: int) -> None:
    """Serve the executor at the other end of the socket ``messages`` until it closes."""
    for fd in (messages, lifeline):
        os.set_inheritable(fd, False)
    end_with(lifeline)
    if sys.version_info >= (3, 14):
        # The stack of C would push the job's frames out of the last lines, which the error keeps.
        faulthandler.enable(c_stack=False)
    pipe = Pipe(socket.socket(fileno=messages))
    pipe.obey_signals()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    logging.getLogger().addHandler(RelayHandler(pipe))
    with suppress(EOFError, ConnectionError):
        _serve(pipe, pipe.receive())


def end_with(lifeline: int) -> None:
    """End this process and all that it has started when the other end of ``lifeline`` closes.

    It closes with the scheduler's process, however that ends. On Linux the kernel itself sends the signal to
    the process group, so that code which never lets the interpreter go is ended too.
    """
    import fcntl  # here, since Windows has none, and imports this module to say so

    poll = select.poll()
    poll.register(lifeline, 0)

    def end_after(timeout: int | None) -> None:
        if poll.poll(timeout):
            os.killpg(os.getpgrp(), signal.SIGKILL)

    try:
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    except (AttributeError, OSError):  # another system
        threading.Thread(target=end_after, args=(None,), name="asyncsched-lifeline", daemon=True).start()
    else:
        end_after(0)  # it may have closed before


def _serve(pipe: Pipe, given: dict[str, Any]) -> None:
    sys.argv[:] = given["argv"]
    for name, level in given["levels"].items():
        logging.getLogger(name or None).setLevel(level)
    logging.disable(given["disabled"])
    try:
        if given["initializer"] is not None:
            func, initargs = _load(given["initializer"], given["main"])
            func(*initargs)
    except BaseException as error:
        if pipe.ended:
            raise
        failed = _because(f"the initializer of process executor {given['name']!r} failed", error)
        logging.getLogger("asyncsched.executors").warning("%s", failed)
        pipe.receive()
        pipe.send(NOT_STARTED, describe(failed))
        return
    _serve_run(pipe, given["main"], first=True)
    while True:
        _serve_run(pipe, given["main"])


def _serve_run(pipe: Pipe, main: tuple[str, str] | None, *, first: bool = False) -> None:
    # What the call brings is alive in here only: an idle worker keeps nothing of it.
    (id, job, due, attempt, key), call = pipe.receive()
    link = ProcessLink(pipe)
    run = CurrentRun(id, job, due, attempt, key, link)
    try:
        func, args, kwargs = _load(call, main)
    except BaseException as error:
        if pipe.ended:
            raise
        refused = _because(f"job {run.job!r} could not be loaded in a worker process", error)
        if "__main__" not in str(refused):
            refused.args = (
                f"{refused}; its module must be importable there, and a script guards its start with "
                'if __name__ == "__main__":',
            )
        answer = ERROR, describe(refused)
    else:
        if first:
            link.began()
        answer = _call(run, pipe, func, *args, **kwargs)
    link.close()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # the job has closed or replaced the stream, so no output of it is left
            continue
    pipe.send(*answer)


def _because(what: str, error: BaseException) -> ConfigurationError:
    refused = ConfigurationError(f"{what}: {type(error).__name__}: {error}")
    refused.__cause__ = error
    return refused


def _load(call: tuple[bool, bytes], main: tuple[str, str] | None) -> Any:
    """Return what :func:`calls.pack_call` has packed."""
    needs_main, packed = call
    if needs_main and main is not None and "__mp_main__" not in sys.modules:
        # The main file is run under another name, as multiprocessing's spawn does.
        how, what = main
        if how == "module":
            content = runpy.run_module(what, run_name="__mp_main__", alter_sys=True)
        else:
            content = runpy.run_path(what, run_name="__mp_main__")
        sys.modules["__main__"] = sys.modules["__mp_main__"] = module = ModuleType("__mp_main__")
        module.__dict__.update(content)
    return pickle.loads(packed)


def refuse_in_worker() -> None:
    """Raise ``SchedulerStateError`` if this is a worker process that runs the main file."""
    if sys.modules.get("__mp_main__", main := sys.modules["__main__"]) is not main:
        raise SchedulerStateError(
            "the main file was run again in a worker process and starts a scheduler there; "
            'put the code that starts it under if __name__ == "__main__":'
        )


def _call(
    run: CurrentRun, pipe: Pipe, func: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> tuple[int, bytes]:
    token = _current.set(run)
    try:
        value = func(*args, **kwargs)
    except BaseException as error:
        if pipe.ended or pipe.forked:
            raise
        return ERROR, describe(error)
    finally:
        _current.reset(token)
    if pipe.forked:
        raise SystemExit  # this process was forked by the function, and the answer is the parent's
    if is_awaitable(value):
        return ERROR, describe(returned_awaitable(run.job, value))
    try:
        return VALUE, b"" if value is None else dumps(value)
    except Exception as error:
        what = (
            f"job {run.job!r} returned a {type(value).__qualname__} that cannot be sent back from its process"
        )
        reason = shorten(f"{type(error).__name__}: {error}", 200)
        return ERROR, describe(ConfigurationError(f"{what} ({reason}); return plain data"))


def call_each(func: Callable[..., Any], items: Sequence[bytes]) -> float:
    """Call a function with each item, a pickle, and send each answer at once: it outlives this process."""
    run = _current.get()
    pipe: Pipe = run._link.pipe  # type: ignore[attr-defined]  # in a worker process it is always a ProcessLink

    def call(item: bytes) -> None:
        kind, answer = _call(run, pipe, lambda: func(pickle.loads(item)))
        pipe.send(ITEM, bytes((kind,)) + answer)

    return one_by_one(call, items)
