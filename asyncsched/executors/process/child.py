"""A worker process: it calls one function after another, until the executor closes the socket.

Descriptors 1 and 2 are a pipe that the executor turns into log lines, so a job may print, and C code may
write, freely.
"""

from __future__ import annotations

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
from types import FrameType, ModuleType
from typing import Any

from asyncsched._core.arguments.functions import returned_awaitable
from asyncsched._core.context import CurrentRun, _current
from asyncsched._core.text import shorten
from asyncsched.executors.batches import is_awaitable, one_by_one
from asyncsched.executors.process import link as protocol
from asyncsched.executors.process.errors import describe, dumps
from asyncsched.executors.process.link import Pipe, ProcessLink, RelayHandler

loading_main = False
"""Whether the main file of the scheduler's process is being run again in this one."""


def serve(messages: int, lifeline: int) -> None:
    """Serve the executor at the other end of the socket ``messages`` until it closes."""
    for fd in (messages, lifeline):
        os.set_inheritable(fd, False)
    end_with(lifeline)
    pipe = Pipe(socket.socket(fileno=messages))
    _obey_signals(pipe)
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


def _obey_signals(pipe: Pipe) -> None:
    """Obey the executor's SIGTERM; leave a process that a job forks neither the pipe nor this handler."""

    def terminate(signum: int, frame: FrameType | None) -> None:
        # The executor closes its end before it sends the signal. A signal from elsewhere is ignored: a service
        # manager sends one to every process of the service, and the scheduler is to end the jobs in order.
        if pipe.closed():
            pipe.ended = True
            raise SystemExit(128 + signum)  # the job's "finally" blocks run, for as long as the grace lasts

    masks = threading.local()

    def hold_back() -> None:
        # A signal that comes before the new process has its own handler is not to be lost.
        masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def release() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.before)

    def forked() -> None:
        pipe.leave()
        if signal.getsignal(signal.SIGTERM) is terminate:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        release()

    signal.signal(signal.SIGTERM, terminate)
    os.register_at_fork(before=hold_back, after_in_parent=release, after_in_child=forked)


def _serve(pipe: Pipe, given: dict[str, Any]) -> None:
    refusal = _take_over(pipe, given)
    warm = False
    while True:
        (id, job, due, attempt, key), call = pipe.receive()
        if refusal is not None:
            pipe.send(protocol.NOT_STARTED, refusal)
            return
        try:
            func, args, kwargs = _load(call, given["main"])
        except BaseException as error:
            if pipe.ended:
                raise
            what = f"job {job!r} could not be loaded in a worker process: {type(error).__name__}: {error}"
            remedy = 'its module must be importable there, and a script guards its start with if __name__ == "__main__":'
            kind, answer = _refused(what if "__main__" in what else f"{what}; {remedy}", error)
        else:
            del call
            if not warm:
                pipe.send(protocol.BEGAN)
                warm = True
            link = ProcessLink(pipe)
            kind, answer = _call(CurrentRun(id, job, due, attempt, key, link), pipe, func, *args, **kwargs)
            link.close()
            del func, args, kwargs, link
        _flush()
        pipe.send(kind, answer)
        del answer  # an idle worker keeps nothing alive


def _take_over(pipe: Pipe, given: dict[str, Any]) -> bytes | None:
    """Take over what the executor has sent, and call its initializer; return why that failed, if it did."""
    sys.argv[:] = given["argv"]
    for name, level in given["levels"].items():
        logging.getLogger(name or None).setLevel(level)
    logging.disable(given["disabled"])
    try:
        if given["initializer"] is not None:
            initializer, initargs = _load(given["initializer"], given["main"])
            initializer(*initargs)
    except BaseException as error:
        if pipe.ended:
            raise
        what = f"the initializer of process executor {given['name']!r} failed"
        text = f"{what}: {type(error).__name__}: {error}"
        logging.getLogger("asyncsched.executors").warning(text)
        return _refused(text, error)[1]
    return None


def _refused(text: str, reason: BaseException | None = None) -> tuple[int, bytes]:
    return protocol.REFUSED, pickle.dumps((text, reason and describe(reason)))


def _load(call: tuple[bool, bytes], main: tuple[str, str] | None) -> Any:
    """Return what :func:`calls.pack_call` has packed."""
    needs_main, packed = call
    if needs_main and main is not None and "__mp_main__" not in sys.modules:
        _load_main(*main)
    return pickle.loads(packed)


def _load_main(how: str, what: str) -> None:
    """Run the main file under the name ``__mp_main__``, as multiprocessing's spawn does."""
    global loading_main
    loading_main = True
    try:
        if how == "module":
            content = runpy.run_module(what, run_name="__mp_main__", alter_sys=True)
        else:
            content = runpy.run_path(what, run_name="__mp_main__")
    finally:
        loading_main = False
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module = ModuleType("__mp_main__")
    module.__dict__.update(content)


def _call(
    run: CurrentRun, pipe: Pipe, func: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> tuple[int, bytes]:
    token = _current.set(run)
    try:
        value = func(*args, **kwargs)
    except BaseException as error:
        if pipe.ended or pipe.forked:
            raise
        return protocol.ERROR, describe(error)
    finally:
        _current.reset(token)
    if pipe.forked:
        raise SystemExit  # this process was forked by the function, and the answer is the parent's
    if value is None:
        return protocol.VALUE, b""
    if is_awaitable(value):
        return _refused(str(returned_awaitable(run.job, value)))
    try:
        return protocol.VALUE, dumps(value)
    except Exception as error:
        reason = shorten(f"{type(error).__name__}: {error}", 200)
        what = f"job {run.job!r} returned a {type(value).__qualname__}"
        return _refused(f"{what} that cannot be sent back from its process ({reason}); return plain data")


def call_each(func: Callable[..., Any], items: Sequence[bytes]) -> float:
    """Call a function with each item, a pickle, and send each answer at once: it outlives this process."""
    run = _current.get()
    pipe: Pipe = run._link.pipe  # type: ignore[attr-defined]  # in a worker process it is always a ProcessLink

    def call(item: bytes) -> None:
        kind, answer = _call(run, pipe, lambda: func(pickle.loads(item)))
        pipe.send(protocol.ITEM, bytes((kind,)) + answer)

    return one_by_one(call, items)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # the job has closed or replaced the stream, so no output of it is left
            continue
