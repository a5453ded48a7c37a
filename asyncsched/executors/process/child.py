"""A worker process: it calls one function after another, until the executor closes the socket.

Descriptors 1 and 2 are a pipe that the executor turns into log lines, so a job may print, and C code may
write, freely.
"""

from __future__ import annotations

import fcntl
import io
import logging
import os
import pickle
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from asyncsched._core.context import CurrentRun, _current
from asyncsched.executors.batches import one_by_one
from asyncsched.executors.process import protocol
from asyncsched.executors.process.bootstrap import Settings, load, take_over
from asyncsched.executors.process.errors import describe
from asyncsched.executors.process.link import ProcessLink, RelayHandler
from asyncsched.executors.process.protocol import Pipe, dumps


def serve(messages: int, lifeline: int) -> None:
    """Serve the executor at the other end of the socket ``messages`` until it closes."""
    import faulthandler

    for fd in (messages, lifeline):
        os.set_inheritable(fd, False)
    end_with(lifeline)
    pipe = Pipe(socket.socket(fileno=messages))
    _obey_signals(pipe)
    faulthandler.enable()  # a segfault writes its stack to the job's log lines
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
    logging.getLogger().addHandler(RelayHandler(pipe))
    try:
        if (given := _set_up(pipe)) is not None:
            _serve(pipe, given["main"])
    except (EOFError, ConnectionError):
        return


def end_with(lifeline: int) -> None:
    """End this process and all that it has started when the other end of ``lifeline`` closes.

    It closes with the scheduler's process, however that ends. On Linux the kernel itself sends the signal to
    the process group, so that code which never lets the interpreter go is ended too.
    """
    poll = select.poll()
    poll.register(lifeline, 0)
    try:
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    except (AttributeError, OSError):  # another system
        threading.Thread(
            target=_end_after, args=(poll, None), name="asyncsched-lifeline", daemon=True
        ).start()
    else:
        _end_after(poll, 0)  # it may have closed before


def _end_after(poll: select.poll, timeout: int | None) -> None:
    if poll.poll(timeout):
        os.killpg(os.getpgrp(), signal.SIGKILL)


def _obey_signals(pipe: Pipe) -> None:
    def terminate(signum: int, frame: FrameType | None) -> None:
        # The executor closes its end before it sends the signal. A signal from elsewhere is ignored: a service
        # manager sends one to every process of the service, and the scheduler is to end the jobs in order.
        if pipe.closed():
            pipe.ended = True
            raise SystemExit(128 + signum)  # the job's "finally" blocks run, for as long as the grace lasts

    signal.signal(signal.SIGTERM, terminate)
    _part_from_forks(pipe, terminate)


def _part_from_forks(pipe: Pipe, terminate: Callable[[int, FrameType | None], None]) -> None:
    """Leave a process that a job forks neither the pipe nor the signal handler of the worker."""
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

    os.register_at_fork(before=hold_back, after_in_parent=release, after_in_child=forked)


def _set_up(pipe: Pipe) -> Settings | None:
    given: Settings = pipe.receive()
    try:
        take_over(given)
    except BaseException as error:
        if pipe.ended:
            raise
        _flush()
        pipe.send(protocol.NOT_STARTED, describe(error))
        return None
    return given


def _serve(pipe: Pipe, main: tuple[str, str] | None) -> None:
    warm = False
    while True:
        (id, job, due, attempt, key), needs_main, call = pipe.receive()
        try:
            func, args, kwargs = load(needs_main, call, main)
        except BaseException as error:
            if pipe.ended:
                raise
            kind, answer = protocol.NOT_LOADED, describe(error)
        else:
            del call
            if not warm:
                pipe.send(protocol.BEGAN)
                warm = True
            link = ProcessLink(pipe)
            kind, answer = _call(pipe, CurrentRun(id, job, due, attempt, key, link), func, args, kwargs)
            link.close()
            del func, args, kwargs, link
        _flush()
        pipe.send(kind, answer)
        del answer  # an idle worker keeps nothing alive


def _call(pipe: Pipe, run: CurrentRun, func: Any, args: Any, kwargs: Any) -> tuple[int, bytes]:
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
    if hasattr(type(value), "__await__"):
        if hasattr(value, "close"):
            value.close()
        return protocol.NOT_RETURNED, pickle.dumps((type(value).__name__, ""))
    try:
        return protocol.VALUE, dumps(value)
    except Exception as error:
        return protocol.NOT_RETURNED, pickle.dumps(
            (type(value).__qualname__, f"{type(error).__name__}: {error}")
        )


def call_each(func: Callable[..., Any], items: Sequence[bytes]) -> float:
    """Call a function with each item, a pickle, and send each answer at once: it outlives this process."""
    run = _current.get()
    pipe: Pipe = run._link._pipe  # type: ignore[attr-defined]  # in a worker process it is always a ProcessLink

    def call(item: bytes) -> None:
        kind, answer = _call(pipe, run, lambda: func(pickle.loads(item)), (), {})
        pipe.send(protocol.ITEM, bytes((kind,)) + answer)

    return one_by_one(call, items)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # the job has closed or replaced the stream, so no output of it is left
            continue
