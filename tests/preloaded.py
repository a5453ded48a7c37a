"""Python processes that begin with the packages imported which nearly every one of them needs.

A new Python spends a fifth of a second on imports before it does anything, and the tests start hundreds. Here one
process for each process of pytest has imported them; for each command it forks, and the fork is to its command what a
new Python would be: environment, folder, arguments, standard streams, signals and exit code are its own. What a
command imports, and how a Python starts, is tested with new ones.
"""

from __future__ import annotations

import array
import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[1]

IMPORTED = (
    "anyio._backends._asyncio", "anyio._backends._trio", "asyncsched._core.arguments.codec", "asyncsched.asgi",
    "asyncsched.cli.main", "asyncsched.dashboard", "asyncsched.executors.process", "asyncsched.stores.postgres",
    "asyncsched.stores.sqlite", "asyncsched.testing", "croniter", "fastapi", "httpx", "jinja2", "psycopg", "psycopg_c",
    "psycopg_binary", "rich.console", "rich.table", "trio", "uvicorn.config", "uvicorn.main",
    "uvicorn.protocols.http.h11_impl", "uvicorn.protocols.http.httptools_impl", "uvicorn.server",
)  # fmt: skip
"""Imported before the first command, as far as they are installed."""

PIPE = subprocess.PIPE
TimeoutExpired = subprocess.TimeoutExpired

_LENGTH = struct.Struct("I")
_STATUS = struct.Struct("i")


class Popen(subprocess.Popen[Any]):
    """A :class:`subprocess.Popen` of ``[sys.executable, …]`` with ``-m``, ``-c`` or the path of a program."""

    def _execute_child(self, args: Sequence[str], *others: Any) -> None:  # type: ignore[override]
        (executable, preexec_fn, _, pass_fds, cwd, env, _, _, shell, stdin, to_child, from_child, stdout, from_errors,
         stderr, *_, start_new_session, _) = others  # fmt: skip
        assert not (executable or preexec_fn or pass_fds or shell), "a new Python is needed for that"
        assert args[0] == sys.executable, args
        asked = json.dumps({
            "arguments": [os.fspath(one) for one in args[1:]], "cwd": os.fspath(cwd or os.getcwd()),
            "env": dict(os.environ if env is None else env), "session": start_new_session,
        }).encode()  # fmt: skip
        self._status, status = os.pipe()
        given = [given if given != -1 else own for own, given in enumerate((stdin, stdout, stderr))]
        try:
            with _connection() as connection:
                streams = array.array("i", [*given, status])
                connection.sendmsg(
                    [_LENGTH.pack(len(asked))], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)]
                )
                connection.sendall(asked)
            self._child_created = True
            os.close(status)
            self.pid = _STATUS.unpack(os.read(self._status, _STATUS.size))[0]
        finally:
            devnull = getattr(self, "_devnull", None)
            for pipe, other_end in ((stdin, to_child), (stdout, from_child), (stderr, from_errors)):
                if pipe != -1 and other_end != -1 and pipe != devnull:
                    os.close(pipe)
            if devnull is not None:
                os.close(devnull)

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:  # type: ignore[override]
        if self.returncode is None and self._waitpid_lock.acquire(False):  # type: ignore[attr-defined]
            try:  # unless another thread waits for it just now
                self._try_wait(os.WNOHANG)
            finally:
                self._waitpid_lock.release()  # type: ignore[attr-defined]
        return self.returncode

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if self.returncode is not None:
            return self.pid, self.returncode
        if wait_flags & os.WNOHANG and not select.select([self._status], [], [], 0)[0]:
            return 0, 0
        told = os.read(self._status, _STATUS.size)
        os.close(self._status)
        status = _STATUS.unpack(told)[0] if told else signal.SIGKILL
        self.returncode = os.waitstatus_to_exitcode(status)
        return self.pid, status


def run(args: Sequence[str], **options: Any) -> subprocess.CompletedProcess[Any]:
    """Do as :func:`subprocess.run` with ``capture_output=True`` does."""
    options.pop("capture_output", None)
    timeout = options.pop("timeout", None)
    with Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(args, process.returncode, out, err)


@functools.cache
def _address() -> str:
    """Start the process that has the packages, and return its address."""
    address = os.path.join(tempfile.mkdtemp(prefix="aspy", dir="/tmp"), "socket")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    keeper = subprocess.Popen(
        [sys.executable, "-m", "tests.preloaded", str(listener.fileno())], pass_fds=[listener.fileno()], cwd=ROOT,
        stdin=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    listener.close()
    atexit.register(keeper.communicate)  # it ends when its input does
    return address


def _connection() -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(_address())
    return connection


# ── in the process that has the packages ─────────────────────────────────────────────────────────


def _serve(listener: socket.socket) -> None:
    """Fork for each command, until the input ends."""
    for name in IMPORTED:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    sys.path[:] = [one for one in sys.path if one not in ("", str(ROOT))]
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while listener in select.select([listener, 0], [], [])[0]:
        connection, _ = listener.accept()
        if not os.fork():
            listener.close()
            _begin(connection)
        connection.close()
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue


def _begin(connection: socket.socket) -> None:
    """Fork once more, into the command and into what waits for its end; return in the command alone."""
    told, streams, *_ = socket.recv_fds(connection, _LENGTH.size, 4)
    with connection, connection.makefile("rb") as file:
        asked = json.loads(file.read(_LENGTH.unpack(told)[0]))
    *streams, status = streams
    pid = os.fork()
    if pid:
        _wait(pid, status, streams)
    os.close(status)
    if asked["session"]:
        os.setsid()
    for own, stream in enumerate(streams):
        os.dup2(stream, own)
    for stream in streams:
        if stream > 2:
            os.close(stream)
    raise _Command(asked)


def _wait(pid: int, status: int, streams: Sequence[int]) -> NoReturn:
    for stream in (0, 1, *streams):
        os.close(stream)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    os.write(status, _STATUS.pack(pid))
    _, how = os.waitpid(pid, 0)
    os.write(status, _STATUS.pack(how))
    os._exit(0)


class _Command(BaseException):
    """Leaves all that the fork has of the process that it came from, and says what it is to do."""

    def __init__(self, asked: dict[str, Any]) -> None:
        super().__init__(asked)
        self.asked = asked


def _become(asked: dict[str, Any]) -> None:
    """Take the environment, the folder and the streams of a command, and do it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    time.tzset()
    if os.environ.get("PYTHONWARNINGS") == "error":
        warnings.simplefilter("error")
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115 - until the end
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stdout.reconfigure(write_through=unbuffered)  # type: ignore[attr-defined]
    sys.stderr = sys.__stderr__ = open(2, "w", 1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    kind, *words = asked["arguments"]
    path = [one for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one]
    if kind == "-m":
        name, *words = words
        sys.argv = [name, *words]
        sys.path[:0] = [os.getcwd(), *path]
        runpy._run_module_as_main(name)  # type: ignore[attr-defined]
    elif kind == "-c":
        code, *words = words
        sys.argv = ["-c", *words]
        sys.path[:0] = ["", *path]
        exec(compile(code, "<string>", "exec"), sys.modules["__main__"].__dict__)
    else:
        sys.argv = [kind, *words]
        sys.path[:0] = [str(Path(kind).resolve().parent), *path]
        runpy.run_path(kind, run_name="__main__")


def main() -> None:
    """Serve on the socket whose number is the argument."""
    listener = socket.socket(fileno=int(sys.argv[1]))
    folder = os.path.dirname(listener.getsockname())
    try:
        _serve(listener)
    except _Command as command:
        asked = command.asked
    else:
        shutil.rmtree(folder)
        return
    code: object = None
    try:
        _become(asked)
    except SystemExit as end:
        code = end.code
    if code is None or isinstance(code, int):
        _end(code or 0)
    raise SystemExit(code)


def _end(code: int) -> None:
    """End as Python does, but leave its modules to the system, which removes them a hundred times faster."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with suppress(OSError):  # Python says so itself
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
