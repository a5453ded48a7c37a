"""The scheduler's side of one worker process: start it, give it runs, log its output, and see to its end."""

from __future__ import annotations

import logging
import os
import pickle
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any
from weakref import WeakSet, ref

import anyio

from asyncsched._backends.base import Future, Port
from asyncsched._core.context import CurrentRun, tell_began
from asyncsched.executors.process import link
from asyncsched.executors.process.errors import WorkerDied

logger = logging.getLogger("asyncsched.executors")
job_logger = logging.getLogger("asyncsched.job")

FAREWELL = 2.0
"""Seconds that a worker without a run gets to end by itself."""

CHUNK = 65_536
"""Bytes read at once: all that a pipe holds. Much larger buffers cost more than all the rest of a call."""

_LINE = re.compile(rb"[^\n]{0,8192}\n|[^\n]{8192}")
"""A line of output; one that is longer is cut."""

_BOOT = "import sys; sys.path[:] = {!r}; from asyncsched.executors.process.child import serve; serve({}, {})"

_lifelines: WeakSet[socket.socket] = WeakSet()
"""This process's ends of the sockets whose closing kills a worker and all that it has started."""

if hasattr(os, "register_at_fork"):  # a process forked from this one must not keep the workers alive
    os.register_at_fork(after_in_child=lambda: list(map(socket.socket.close, _lifelines)))


class WorkerProcess:
    """One worker process. All of it happens in the event loop's thread, but for the wait for the process's end.

    It is started with the ``settings`` that ``child`` reads first, or ``OSError`` is raised; ``ended`` is called
    when nothing is left of it.

    Attributes:
        alive: whether the worker can be given another run.
        runs: how many runs the worker was given.

    """

    def __init__(
        self, port: Port, grace: float, settings: dict[str, Any], ended: Callable[[WorkerProcess], object]
    ) -> None:
        self._port, self._grace, self._on_end = port, grace, ended
        self._run: CurrentRun | None = None
        self._on_item: Callable[[int, bytes], object] | None = None
        self._reply: Future | None = None
        self._unread, self._unsent = bytearray(), bytearray()
        self._line, self._tail = b"", deque[str](maxlen=20)
        self.runs = 0
        self.alive = True
        self._expected = False
        self._over = anyio.Event()
        self._process, self._socket, self._lifeline, self._output = _spawn()
        self.pid = self._process.pid
        port.watch(self._socket.fileno(), self._receive)
        port.watch(self._output.fileno(), self._read_output)
        self._unread_output = select.poll()
        self._unread_output.register(self._output, select.POLLIN)
        # A thread, because the loop's time may be virtual and its tasks may be cancelled. The end of the socket
        # tells of the process's end only if nothing else has it open.
        name = f"asyncsched-worker-{self.pid}"
        threading.Thread(target=_wait, args=(self._process, ref(self)), name=name, daemon=True).start()
        self._send(settings)

    async def call(
        self, run: CurrentRun, message: Any, on_item: Callable[[int, bytes], object] | None = None
    ) -> tuple[int, bytes]:
        """Give the worker a run, and return the kind and the body of its answer; if cancelled, end the worker.

        ``on_item`` is called with the kind and the body of each answer that comes before, in a batch.

        Raises:
            WorkerDied: the process ended before it answered.

        """
        self._run, self._on_item = run, on_item
        self._reply = reply = self._port.future()
        self.runs += 1
        try:
            if self.runs > 1:  # the first run begins when the worker has started and loaded the function
                tell_began(run)
            self._send(message)
            answer: tuple[int, bytes] | WorkerDied = await reply
        except BaseException as stop:
            if self._reply is reply:  # and the function has not just returned
                self.end()
                if not isinstance(
                    stop, GeneratorExit
                ):  # the loop is torn down: nothing can be awaited any more
                    await self.finished()
            raise
        if isinstance(answer, WorkerDied):
            raise answer
        return answer

    def end(self) -> None:
        """Begin to end the worker: an idle one ends by itself, another by SIGTERM, and later by SIGKILL."""
        if self.alive:
            self._expected = True
            # The worker obeys the signal only after its socket was closed: see `terminate` in `link`.
            self._close(FAREWELL if self._run is None else self._grace)
            if self._run is not None:
                self._signal(signal.SIGTERM)

    async def finished(self) -> BaseException | None:
        """Wait until nothing is left of the process; return the cancellation that came meanwhile, if one did.

        This takes no longer than the grace, so cancellation waits: the shield stops that of anyio, and the loop
        takes up the wait again after that of asyncio, which no shield stops.
        """
        cancelled = None
        with anyio.CancelScope(shield=True):
            while not self._over.is_set():
                try:
                    await self._over.wait()
                except anyio.get_cancelled_exc_class() as error:
                    cancelled = error
        return cancelled

    # Messages.

    def _send(self, message: Any) -> None:
        """Send a message, now or as soon as the worker reads; one for a dead worker is dropped."""
        self._unsent += pickle.dumps(message, 5)
        if not self._write():
            self._port.drain(self._socket.fileno(), self._write)

    def _write(self) -> bool:
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            return False
        except OSError:
            self._unsent.clear()  # the worker is gone, as its process will tell
        return True

    def _receive(self) -> bool:
        """Handle the messages that have come; return whether there may be more."""
        try:
            data = self._socket.recv(CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._close(FAREWELL)
            return False
        unread = self._unread
        unread += data
        while len(unread) >= link.HEADER.size:
            kind, length = link.HEADER.unpack_from(unread)
            end = link.HEADER.size + length
            if len(unread) < end:
                break
            body = bytes(memoryview(unread)[link.HEADER.size : end])
            del unread[:end]
            try:
                self._handle(kind, body)
            except Exception:
                logger.exception("could not handle a message of worker process %d", self.pid)
        return True

    def _handle(self, kind: int, body: bytes) -> None:
        if kind == link.LOG:
            record = logging.makeLogRecord(self._extra() | pickle.loads(body))
            target = logging.getLogger(record.name)
            if target.isEnabledFor(record.levelno):
                target.handle(record)
        elif kind == link.LINK and self._run is not None:
            name, *args = pickle.loads(body)
            getattr(self._run._link, name)(*args)
        elif kind == link.ITEM and self._on_item is not None:
            self._on_item(body[0], body[1:])
        elif self._reply is not None:
            if self._unread_output.poll(0) or self._line:
                self._read_output(last=True)  # the job's output is logged before its answer is handled
            self._answer((kind, body))

    def _answer(self, answer: tuple[int, bytes] | WorkerDied) -> None:
        reply, self._reply, self._run, self._on_item = self._reply, None, None, None
        if reply is not None and not reply.done():
            reply.set_result(answer)

    # Output.

    def _read_output(self, *, last: bool = False) -> None:
        """Log the lines that have come; with ``last``, also one that has no end."""
        data = self._output.read(CHUNK)  # None if nothing has come
        if data == b"":
            self._port.unwatch(self._output.fileno())
        if not data and not (last and self._line):
            return
        unread, end = self._line + (data or b"\n"), 0
        if last and not unread.endswith(b"\n"):
            unread += b"\n"
        for line in _LINE.finditer(unread):
            end = line.end()
            self._log(line[0].rstrip(b"\r\n").decode(errors="backslashreplace"))
        self._line = unread[end:]

    def _log(self, text: str) -> None:
        self._tail.append(text)
        try:
            if job_logger.isEnabledFor(logging.INFO) and job_logger.hasHandlers():
                job_logger.info("%s", text, extra=self._extra())
            elif job_logger.level == logging.NOTSET:
                # Logging is neither set up to show the line nor told to drop it: a print stays a print.
                print(text, flush=True)
        except Exception:
            logger.exception("could not log the output of worker process %d", self.pid)

    def _extra(self) -> dict[str, Any]:
        run = self._run
        known = (run.job, run.id, run.attempt) if run is not None else (None, None, None)
        return dict(zip(("job", "run_id", "attempt"), known, strict=True), worker=self.pid)

    # The end of the process.

    def _close(self, grace: float) -> None:
        """Give the worker no more runs, and kill it unless it ends within ``grace`` seconds."""
        if not self.alive:
            return
        self.alive = False
        self._port.unwatch(self._socket.fileno())
        with suppress(OSError):
            # The worker is to read an end even where a process forked from this one has the socket open as well.
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._kill_later = threading.Timer(grace, self._signal, [signal.SIGKILL])
        self._kill_later.daemon = True
        self._kill_later.start()

    def tell_end(self) -> None:
        """Hear, in another thread, that the process has ended, and tell the loop."""
        try:
            self._port.call_soon(self._ended)
        except RuntimeError:
            self._output.close()  # the loop is closed, and the task that waited has ended with it

    def _ended(self) -> None:
        while self.alive and self._receive():  # an answer that was sent counts
            pass
        self._close(0)
        self._kill_later.cancel()
        self._read_output(last=True)
        self._port.unwatch(self._output.fileno())
        self._output.close()
        self._lifeline.close()
        died = self._died()
        if self._reply is None and not self._expected:
            logger.warning("%s", died)
        self._answer(died)
        self._over.set()
        self._on_end(self)

    def _died(self) -> WorkerDied:
        """Return the error for the run that the worker had when it died."""
        code, process = self._process.returncode, f"worker process {self.pid}"
        doing = f"while running job {self._run.job!r}" if self._run is not None else "while idle"
        if code < 0:
            name = next((one.name for one in signal.Signals if one == -code), f"signal {-code}")
            hint = ", most likely because memory ran out" if name == "SIGKILL" and not self._expected else ""
            error = WorkerDied(f"{process} died: {name} {doing}{hint}", pid=self.pid, signal=name)
        else:
            error = WorkerDied(f"{process} exited with code {code} {doing}", pid=self.pid, exitcode=code)
        if self._tail:
            error.add_note("the last lines of its output:\n  " + "\n  ".join(self._tail))
        return error

    def _signal(self, number: int) -> None:
        if self._process.returncode is None:
            _kill_group(self.pid, number)


def _spawn() -> tuple[subprocess.Popen[bytes], socket.socket, socket.socket, Any]:
    """Start a process; return it, and this side of its messages, its lifeline and its output."""
    messages, theirs = socket.socketpair()
    lifeline, end = socket.socketpair()
    boot = _BOOT.format([entry or os.getcwd() for entry in sys.path], theirs.fileno(), end.fileno())
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    with theirs, end, ExitStack() as ours:
        ours.enter_context(messages)
        ours.enter_context(lifeline)
        process = subprocess.Popen(
            # A segfault writes its stack to the job's log lines.
            [sys.executable, *flags, "-X", "faulthandler", "-c", boot],
            bufsize=0,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(theirs.fileno(), end.fileno()),
            start_new_session=True,  # Ctrl-C reaches this process only; a kill reaches the worker's children
        )
        ours.pop_all()
    messages.setblocking(False)
    os.set_blocking(process.stdout.fileno(), False)  # type: ignore[union-attr]
    _lifelines.add(lifeline)
    return process, messages, lifeline, process.stdout


def _wait(process: subprocess.Popen[bytes], worker: ref[WorkerProcess]) -> None:
    """Wait for a worker's end. Nothing else keeps a worker whose loop has ended without closing it."""
    process.wait()
    _kill_group(process.pid, signal.SIGKILL)  # the child processes of its jobs
    if (known := worker()) is not None:
        known.tell_end()
    elif process.stdout is not None:
        process.stdout.close()


def _kill_group(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # the latter on macOS, for a group of zombies
        os.killpg(pid, number)
