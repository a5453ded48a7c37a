"""The child's side of a process executor: one run after another, until the parent has gone.

``python -m asyncsched.executors.process.child FD``, with a socket as descriptor ``FD``. Descriptors 1
and 2 are a pipe that the parent turns into log lines, so a job may print, and C code may write, freely.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import io
import logging
import os
import pickle
import signal
import socket
import sys
import threading
import traceback
from types import FrameType, ModuleType
from typing import Any

from asyncsched._core.context import CurrentRun, _current
from asyncsched.executors.process.link import ForwardHandler, ProcessLink
from asyncsched.executors.process.protocol import (
    BEGAN,
    ERROR,
    NOT_LOADED,
    NOT_RETURNED,
    NOT_STARTED,
    VALUE,
    Pipe,
    dumps,
)

Main = tuple[str, str] | None
"""The parent's main file, as ``("file", path)`` or ``("module", name)``."""

loading_main = False
"""Whether the parent's main file is being run again in this process."""


def describe(error: BaseException) -> bytes:
    """Return the error for the parent: the exception itself if it can be pickled, and its text in any case."""
    # The frame of this module is left out of the traceback.
    if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
        error.__traceback__ = error.__traceback__.tb_next
    whole: bytes | None = None
    try:
        # The arguments again, because an __init__ that composes the text would lose them.
        whole = dumps((error, error.args))
        if type(pickle.loads(whole)[0]) is not type(error):
            whole = None
    except BaseException:
        whole = None
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        text = str(error)
        trace = "".join(traceback.format_exception(error))
    except Exception:
        text = trace = f"{name}, whose text cannot be made"
    return pickle.dumps((whole, name, text, trace))


def load_main(main: Main) -> None:
    """Run the parent's main file under the name ``__mp_main__``, as multiprocessing's spawn does."""
    global loading_main
    if main is None or "__mp_main__" in sys.modules:
        return
    how, what = main
    loader: Any = importlib.machinery.SourceFileLoader("__mp_main__", what)
    module = ModuleType("__mp_main__")
    module.__file__ = what
    if how == "module":
        spec = importlib.util.find_spec(what)
        if spec is None:
            raise ModuleNotFoundError(f"no module named {what!r}")
        loader, module.__file__, module.__package__ = spec.loader, spec.origin, spec.parent
    code = loader.get_code(what if how == "module" else "__mp_main__")
    worker = sys.modules["__main__"]
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module
    loading_main = True
    try:
        exec(code, module.__dict__)
    except BaseException:
        sys.modules["__main__"] = worker
        del sys.modules["__mp_main__"]
        raise
    finally:
        loading_main = False


def _serve(pipe: Pipe, main: Main) -> None:
    cold = True
    while True:
        _, body = pipe.receive()
        (id, job, due, attempt, key), needs_main, call = pickle.loads(body)
        try:
            if needs_main:
                load_main(main)
            func, args, kwargs = pickle.loads(call)
        except BaseException as error:
            if pipe.ended:
                raise
            kind, answer = NOT_LOADED, describe(error)
        else:
            del body, call
            if cold:
                pipe.send(BEGAN, b"")
                cold = False
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
        if pipe.ended:
            raise
        return ERROR, describe(error)
    finally:
        _current.reset(token)
    if value is None:
        return VALUE, b""
    if hasattr(type(value), "__await__"):
        if hasattr(value, "close"):
            value.close()
        return NOT_RETURNED, pickle.dumps((type(value).__name__, ""))
    try:
        return VALUE, dumps(value)
    except Exception as error:
        return NOT_RETURNED, pickle.dumps((type(value).__qualname__, f"{type(error).__name__}: {error}"))


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # the job has closed or replaced the stream, so no output of it is left
            continue


def _die_with_parent(parent: int, sock: socket.socket) -> None:
    """End this process when the parent ends: in the middle of a job too, and at ``kill -9``."""
    if sys.platform == "linux":
        try:
            import ctypes

            if ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0) == 0:  # 1 is PR_SET_PDEATHSIG
                if os.getppid() != parent:
                    os._exit(1)
                return
        except (ImportError, OSError, AttributeError):
            pass
    threading.Thread(target=_watch_parent, args=(sock,), name="asyncsched-parent", daemon=True).start()


def _watch_parent(sock: socket.socket) -> None:
    import select

    poll = select.poll()
    poll.register(sock, 0)  # hang-ups and errors only
    poll.poll()
    os._exit(1)


def _set_up(pipe: Pipe, sock: socket.socket) -> Main:
    hello: dict[str, Any] = pickle.loads(pipe.receive()[1])
    _die_with_parent(hello["parent"], sock)
    sys.argv[:] = hello["argv"]
    for name, level in hello["levels"].items():
        logging.getLogger(name or None).setLevel(level)
    logging.disable(hello["disabled"])
    logging.getLogger().addHandler(ForwardHandler(pipe))
    main: Main = hello["main"]
    if hello["initializer"] is not None:
        needs_main, call = hello["initializer"]
        if needs_main:
            load_main(main)
        initializer, initargs = pickle.loads(call)
        initializer(*initargs)
    return main


def serve(fd: int) -> None:
    """Serve the parent at the other end of the socket ``fd`` until it closes."""
    import faulthandler

    os.set_inheritable(fd, False)  # a subprocess of a job must not keep the socket open
    sock = socket.socket(fileno=fd)
    pipe = Pipe(sock)

    def terminate(signum: int, frame: FrameType | None) -> None:
        # The parent closes its end before it sends the signal. A signal from elsewhere is ignored: a service
        # manager sends one to every process of the service, and the parent is to end the jobs in order.
        if pipe.closed():
            pipe.ended = True
            raise SystemExit(128 + signum)  # the job's "finally" blocks run, for as long as the grace lasts

    signal.signal(signal.SIGTERM, terminate)
    faulthandler.enable()  # a segfault writes its stack to the job's log lines
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
    try:
        main = _set_up(pipe, sock)
    except (EOFError, ConnectionError):
        return
    except BaseException as error:
        if not pipe.ended:
            _flush()
            pipe.send(NOT_STARTED, describe(error))
        return
    try:
        _serve(pipe, main)
    except (EOFError, ConnectionError):
        return


if __name__ == "__main__":
    # Imported by its name, so that later imports of this module find the same state, not a copy.
    from asyncsched.executors.process import child

    child.serve(int(sys.argv[1]))
