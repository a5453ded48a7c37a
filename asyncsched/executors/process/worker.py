"""The scheduler's side of one worker process: start it, give it runs, and see to its end."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import termios
import threading
from array import array
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakSet, ref

import anyio

from asyncsched._core.context import CurrentRun, tell_began
from asyncsched.executors.process import protocol
from asyncsched.executors.process.bootstrap import Settings
from asyncsched.executors.process.errors import WorkerDied, error_of
from asyncsched.executors.process.output import Output
from asyncsched.executors.process.protocol import CHUNK, DIED, NOT_STARTED, WorkerSocket

if TYPE_CHECKING:
    from asyncsched._backends.base import Future, Port

logger = logging.getLogger("asyncsched.executors")

FAREWELL = 2.0
"""Seconds that a worker gets to end by itself after its socket was closed."""

_BOOT = (
    "import sys; sys.path[:] = {path!r}; "
    "from asyncsched.executors.process.child import serve; serve({messages}, {lifeline})"
)

_lifelines: WeakSet[socket.socket] = WeakSet()
"""This process's ends of the sockets whose closing kills a worker and all that it has started."""


def _close_lifelines() -> None:
    for lifeline in _lifelines:
        lifeline.close()


if hasattr(os, "register_at_fork"):  # a process forked from this one must not keep the workers alive
    os.register_at_fork(after_in_child=_close_lifelines)


class WorkerProcess:
    """One worker process. All of it happens in the event loop's thread, but for the wait for the process's end.

    Args:
        port: the event loop.
        grace: the seconds between SIGTERM and SIGKILL.
        gone: called when the worker can be given no more runs.
        forget: called when its process has ended.

    Raises:
        OSError: the system cannot start it.

    Attributes:
        alive: whether the worker can be given another run.
        over: whether its process has ended, and nothing of it is left.
        runs: how many runs the worker was given.
        not_started: the initializer's exception, if it failed.

    """

    def __init__(
        self,
        port: Port,
        grace: float,
        gone: Callable[[WorkerProcess], object],
        forget: Callable[[WorkerProcess], object],
    ) -> None:
        self._port = port
        self._grace = grace
        self._gone = gone
        self._forget = forget
        self._run: CurrentRun | None = None
        self._reply: Future | None = None
        self._on_item: Callable[[int, bytes], object] | None = None
        self._warm = self._killed = self._expected = False
        self._waiters: list[Future] = []
        self._kill_later: threading.Timer | None = None
        self.not_started: BaseException | None = None
        self.runs = 0
        self.alive = True
        self.over = False
        self._process, messages, self._lifeline, self._pipe = _spawn()
        self.pid = self._process.pid
        self._output, self._unread_output = Output(self.pid), array("i", [0])
        self._socket = WorkerSocket(port, messages, self._receive)
        os.set_blocking(self._pipe.fileno(), False)
        port.watch(self._pipe.fileno(), self._read_output)
        # A thread, because the loop's time may be virtual and its tasks may be cancelled. The end of the socket
        # tells of the process's end only if nothing else has it open.
        name = f"asyncsched-worker-{self.pid}"
        threading.Thread(target=_wait, args=(self._process, ref(self)), name=name, daemon=True).start()

    def set_up(self, settings: Settings) -> None:
        """Send the first message, which every worker needs."""
        self._socket.send(settings)

    def begin(
        self, run: CurrentRun, message: Any, on_item: Callable[[int, bytes], object] | None = None
    ) -> Future:
        """Give the worker a run; the future's result is the kind and the body of the answer.

        ``on_item`` is called with the kind and the body of each answer that comes before, in a batch.
        """
        self.runs += 1
        self._on_item = on_item
        self._run = run
        self._reply = reply = self._port.future()
        self._socket.send(message)
        if self._warm:
            tell_began(run)
        return reply

    def stop(self) -> None:
        """Let an idle worker end by itself."""
        self._expected = True
        self._close(FAREWELL)

    def kill(self) -> None:
        """Begin to end the worker now: SIGTERM at once, SIGKILL after the grace."""
        if self.alive:
            self._killed = self._expected = True
            # The worker obeys the signal only after its socket was closed: see `terminate` in `child`.
            self._close(self._grace)
            self._signal(signal.SIGTERM)

    async def finished(self) -> BaseException | None:
        """Wait until nothing is left of the process; return the cancellation that came meanwhile, if one did.

        This takes no longer than the grace, so cancellation waits: the shield stops that of anyio, and the loop
        takes up the wait again after that of asyncio, which no shield stops.
        """
        cancelled = None
        with anyio.CancelScope(shield=True):
            while not self.over:
                waiter = self._port.future()
                self._waiters.append(waiter)
                try:
                    await waiter
                except anyio.get_cancelled_exc_class() as error:
                    cancelled = error
        return cancelled

    def died(self) -> WorkerDied:
        """Return the error for the run that the worker had when it died."""
        code = self._process.returncode
        doing = f"while running job {self._run.job!r}" if self._run is not None else "while idle"
        if code is not None and code < 0:
            name = _signal_name(-code)
            hint = ", most likely because memory ran out" if name == "SIGKILL" and not self._killed else ""
            text = f"worker process {self.pid} died: {name} {doing}{hint}"
            error = WorkerDied(text, pid=self.pid, signal=name)
        else:
            text = f"worker process {self.pid} exited with code {code} {doing}"
            error = WorkerDied(text, pid=self.pid, exitcode=code)
        if self._output.tail:
            error.add_note("the last lines of its output:\n  " + "\n  ".join(self._output.tail))
        error.__cause__ = self.not_started
        return error

    # Messages.

    def _receive(self) -> bool:
        """Handle the messages that have come; return whether there may be more."""
        got = False
        try:
            for kind, body in self._socket.messages():
                got = True
                if kind <= DIED:
                    self._answer(kind, body)
                else:
                    self._side_message(kind, body)
        except EOFError:
            self._close(FAREWELL)
            return False
        return got

    def _answer(self, kind: int, body: bytes) -> None:
        fcntl.ioctl(self._pipe, termios.FIONREAD, self._unread_output)
        if self._unread_output[0]:
            self._read_output()  # the job's output is logged before its answer is handled
        if self._output.rest:
            self._output.flush(self._run)
        reply, self._reply, self._run, self._on_item = self._reply, None, None, None
        if reply is not None and not reply.done():
            reply.set_result((kind, body))

    def _side_message(self, kind: int, body: bytes) -> None:
        run = self._run
        try:
            if kind == NOT_STARTED:
                self.not_started = error_of(body)
            elif kind == protocol.LOG:
                self._output.relay(pickle.loads(body), run)
            elif run is None:
                return
            elif kind == protocol.ITEM:
                if self._on_item is not None:
                    self._on_item(body[0], body[1:])
            elif kind == protocol.BEGAN:
                self._warm = True
                tell_began(run)
            elif kind == protocol.PROGRESS:
                run._link.progress(*pickle.loads(body))
            elif kind == protocol.EXTEND:
                run._link.extend(pickle.loads(body))
            elif kind == protocol.ASK:
                self._socket.send(run._link.cancelled())
        except Exception:
            logger.exception("could not handle a message of worker process %d", self.pid)

    def _read_output(self) -> None:
        for _ in range(16):  # at most 1 MiB at a time: a job that prints without end blocks only itself
            try:
                data = os.read(self._pipe.fileno(), CHUNK)
            except BlockingIOError:
                return
            if not data:
                self._port.unwatch(self._pipe.fileno())
                return
            try:
                self._output.feed(data, self._run)
            except Exception:
                logger.exception("could not log the output of worker process %d", self.pid)
            if len(data) < CHUNK:
                return

    # The end of the process.

    def _close(self, grace: float) -> None:
        """Give the worker no more runs, and kill it unless it ends within ``grace`` seconds."""
        if not self.alive:
            return
        self.alive = False
        self._socket.close()
        self._gone(self)
        self._kill_later = threading.Timer(grace, self._signal, [signal.SIGKILL])
        self._kill_later.daemon = True
        self._kill_later.start()

    def tell_end(self) -> None:
        """Hear, in another thread, that the process has ended, and tell the loop."""
        try:
            self._port.call_soon(self._ended)
        except RuntimeError:
            self._pipe.close()  # the loop is closed, and the task that waited has ended with it

    def _ended(self) -> None:
        while self.alive and self._receive():  # an answer that was sent counts
            pass
        self._close(0)
        if self._kill_later is not None:
            self._kill_later.cancel()
        self._read_output()
        self._output.flush(self._run)
        self._port.unwatch(self._pipe.fileno())
        self._pipe.close()
        self._lifeline.close()
        if self._reply is None and not self._expected:
            logger.warning("%s%s", self.died(), f": {self.not_started}" if self.not_started else "")
        if self._reply is not None and not self._reply.done():
            self._reply.set_result((DIED, b""))
        self.over = True
        self._forget(self)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _signal(self, number: int) -> None:
        if self._process.returncode is None:
            _signal_group(self.pid, number)


def _spawn() -> tuple[subprocess.Popen[bytes], socket.socket, socket.socket, io.FileIO]:
    """Start a process; return it, and this side of its messages, its lifeline and its output."""
    with ExitStack() as ours, ExitStack() as theirs:
        messages, fd = socket.socketpair()
        lifeline, end = socket.socketpair()
        reading, writing = map(io.FileIO, os.pipe(), "rw")
        for one in (messages, lifeline, reading):
            ours.callback(one.close)
        for one in (fd, end, writing):
            theirs.callback(one.close)
        process = subprocess.Popen(
            _command(fd.fileno(), end.fileno()),
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            pass_fds=(fd.fileno(), end.fileno()),
            start_new_session=True,  # Ctrl-C reaches this process only; a kill reaches the worker's children
        )
        ours.pop_all()
    _lifelines.add(lifeline)
    return process, messages, lifeline, reading


def _wait(process: subprocess.Popen[bytes], worker: ref[WorkerProcess]) -> None:
    """Wait for a worker's end. Nothing else keeps a worker whose loop has ended without closing it."""
    process.wait()
    _signal_group(process.pid, signal.SIGKILL)  # the child processes of its jobs
    if (known := worker()) is not None:
        known.tell_end()


def _signal_group(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # the latter on macOS, for a group of zombies
        os.killpg(pid, number)


def _command(messages: int, lifeline: int) -> list[str]:
    path = [entry or os.getcwd() for entry in sys.path]
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    boot = _BOOT.format(path=path, messages=messages, lifeline=lifeline)
    return [sys.executable, *flags, "-c", boot]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
