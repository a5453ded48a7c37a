"""The parent's side of one worker process: start it, exchange messages, and wait for its end."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import subprocess
import threading
from array import array
from collections.abc import Callable
from fcntl import ioctl
from termios import FIONREAD
from typing import TYPE_CHECKING

import anyio

from asyncsched._core.context import CurrentRun, tell_began
from asyncsched.executors.process.bootstrap import command
from asyncsched.executors.process.calls import WorkerDied, error_of
from asyncsched.executors.process.output import Output, relay_record
from asyncsched.executors.process.protocol import (
    ANSWER,
    ASK,
    BEGAN,
    CHUNK,
    EXTEND,
    HEADER,
    HELLO,
    LARGE_CHUNK,
    LOG,
    NOT_STARTED,
    PROGRESS,
    RUN,
)

if TYPE_CHECKING:
    from asyncsched._backends.base import Future, Port

logger = logging.getLogger("asyncsched.executors")

FAREWELL = 2.0
"""Seconds that a worker gets to end by itself after its socket was closed."""

DIED = 0
"""The kind of answer that stands for a dead worker; no worker sends it."""


class WorkerProcess:
    """One worker process. All of it happens in the event loop's thread, but for the wait for the process's end.

    ``gone`` is called when it begins to die, ``over`` when nothing of it is left.

    Attributes:
        runs: how many runs the worker was given.
        alive: whether the worker can be given another run.

    """

    def __init__(
        self,
        port: Port,
        grace: float,
        gone: Callable[[WorkerProcess], object],
        over: Callable[[WorkerProcess], object],
    ) -> None:
        self._port = port
        self._grace = grace
        self._gone = gone
        self._tell_over = over
        self._run: CurrentRun | None = None
        self._reply: Future | None = None
        self._unread = bytearray()
        self._unsent = bytearray()
        self._output = Output()
        self._waiting = array("i", [0])
        self._not_started: BaseException | None = None
        self._killed = self._reported = self._over = False
        self._waiters: list[Future] = []
        self._warm = False
        self.runs = 0
        self.alive = True

    def start(self, hello: bytes) -> None:
        """Start the process. Raises ``OSError`` if the system cannot start it."""
        parent_end, child_end = socket.socketpair()
        reading, writing = os.pipe()
        try:
            self._process = subprocess.Popen(
                command(child_end.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                pass_fds=(child_end.fileno(),),
                start_new_session=True,  # Ctrl-C reaches the parent only; a kill reaches its children
            )
        except BaseException:
            parent_end.close()
            os.close(reading)
            raise
        finally:
            child_end.close()
            os.close(writing)
        self.pid = self._process.pid
        parent_end.setblocking(False)
        os.set_blocking(reading, False)
        self._sock, self._fd, self._pipe = parent_end, parent_end.fileno(), reading
        self._port.watch(self._fd, self._receive)
        self._port.watch(reading, self._read_output)
        self._write(HELLO, hello)

    def begin(self, run: CurrentRun, body: bytes) -> Future:
        """Give the worker a run; the future's result is the kind and the body of the answer."""
        self.runs += 1
        self._run = run
        self._reply = reply = self._port.future()
        self._write(RUN, body)
        if self._warm:
            tell_began(run)
        return reply

    def stop(self) -> None:
        """Let an idle worker end by itself."""
        self._reported = True
        self._close(FAREWELL)

    def kill(self) -> None:
        """Begin to end the worker now: SIGTERM at once, SIGKILL after the grace."""
        if self.alive:
            self._killed = self._reported = True
            # The worker obeys the signal only after its socket was closed: see `terminate` in `child`.
            self._close(self._grace)
            self._signal(signal.SIGTERM)

    async def finished(self) -> None:
        """Wait until the process has ended and nothing of it is left.

        This takes no longer than the grace, so cancellation waits too: the shield stops that of anyio, and
        the loop below takes up the wait again after that of asyncio, which no shield stops.
        """
        cancelled: BaseException | None = None
        with anyio.CancelScope(shield=True):
            while not self._over:
                waiter = self._port.future()
                self._waiters.append(waiter)
                try:
                    await waiter
                except anyio.get_cancelled_exc_class() as error:
                    cancelled = error
        if cancelled is not None:
            raise cancelled

    def died(self) -> WorkerDied:
        """Return the error for the run that the worker had when it died."""
        code = self._process.returncode
        doing = f"while running job {self._run.job!r}" if self._run is not None else "while idle"
        if code is not None and code < 0:
            name = _signal_name(-code)
            hint = ", most likely because memory ran out" if name == "SIGKILL" and not self._killed else ""
            error = WorkerDied(
                f"worker process {self.pid} died: {name} {doing}{hint}", pid=self.pid, signal=name
            )
        else:
            text = f"worker process {self.pid} exited with code {code} {doing}"
            error = WorkerDied(text, pid=self.pid, exitcode=code)
        if self._output.tail:
            error.add_note("the last lines of its output:\n  " + "\n  ".join(self._output.tail))
        error.__cause__ = self._not_started
        return error

    @property
    def not_started(self) -> BaseException | None:
        """The initializer's exception, if it failed."""
        return self._not_started

    # Messages.

    def _write(self, kind: int, body: bytes) -> None:
        data = HEADER.pack(kind, len(body)) + body
        if self._unsent:
            self._unsent += data
            return
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # the worker is gone; _receive finds out
        if sent < len(data):
            self._unsent += memoryview(data)[sent:]
            self._port.drain(self._fd, self._write_on)

    def _write_on(self) -> bool:
        while self._unsent:
            try:
                sent = self._sock.send(memoryview(self._unsent)[:LARGE_CHUNK])
            except BlockingIOError:
                return False
            except OSError:
                self._unsent.clear()
                return True
            del self._unsent[:sent]
        return True

    def _receive(self) -> None:
        unread = self._unread
        try:
            data = self._sock.recv(LARGE_CHUNK if unread else CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(FAREWELL)
            return
        if not unread and len(data) >= HEADER.size:
            kind, length = HEADER.unpack_from(data)
            if len(data) == HEADER.size + length:  # one whole message, as nearly always
                self._handle(kind, data[HEADER.size :])
                return
        unread += data
        while len(unread) >= HEADER.size:
            kind, length = HEADER.unpack_from(unread)
            end = HEADER.size + length
            if len(unread) < end:
                return
            body = bytes(memoryview(unread)[HEADER.size : end])
            del unread[:end]
            self._handle(kind, body)

    def _handle(self, kind: int, body: bytes) -> None:
        if kind < NOT_STARTED:
            ioctl(self._pipe, FIONREAD, self._waiting)
            if self._waiting[0]:
                self._read_output()  # the job's output is logged before its answer is handled
            if self._output.rest:
                self._output.flush(self._run, self.pid)
            reply, self._reply, self._run = self._reply, None, None
            if reply is not None and not reply.done():
                reply.set_result((kind, body))
            return
        try:
            self._side_message(kind, body)
        except Exception:
            logger.exception("could not handle a message of worker process %d", self.pid)

    def _side_message(self, kind: int, body: bytes) -> None:
        run = self._run
        if kind == NOT_STARTED:
            self._not_started = error_of(body)
        elif kind == LOG:
            relay_record(pickle.loads(body), run, self.pid)
        elif run is None:
            return
        elif kind == BEGAN:
            self._warm = True
            tell_began(run)
        elif kind == PROGRESS:
            run._link.progress(*pickle.loads(body))
        elif kind == EXTEND:
            run._link.extend(pickle.loads(body))
        elif kind == ASK:
            self._write(ANSWER, b"1" if run._link.cancelled() else b"0")

    def _read_output(self) -> None:
        for _ in range(64):  # at most 1 MiB at a time: a job that prints without end blocks only itself
            try:
                data = os.read(self._pipe, CHUNK)
            except BlockingIOError:
                return
            if not data:
                self._port.unwatch(self._pipe)
                return
            try:
                self._output.feed(data, self._run, self.pid)
            except Exception:
                logger.exception("could not log the output of worker process %d", self.pid)
            if len(data) < CHUNK:
                return

    # The end of the process.

    def _close(self, grace: float) -> None:
        """Close the socket, and wait in a thread for the process's end; kill it after ``grace`` seconds."""
        if not self.alive:
            return
        self.alive = False
        self._port.unwatch(self._fd)
        self._sock.close()
        self._gone(self)
        # A thread, because the loop's time may be virtual and its tasks may be cancelled.
        threading.Thread(
            target=self._wait, args=(grace,), name=f"asyncsched-worker-{self.pid}", daemon=True
        ).start()

    def _wait(self, grace: float) -> None:
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait()
        if self._killed:
            self._signal_group(signal.SIGKILL)  # the child processes of the job
        try:
            self._port.call_soon(self._ended)
        except RuntimeError:
            os.close(self._pipe)  # the loop is closed, and the task that waited has ended with it

    def _ended(self) -> None:
        self._read_output()
        self._output.flush(self._run, self.pid)
        self._port.unwatch(self._pipe)
        os.close(self._pipe)
        if self._reply is None and not self._reported:
            logger.warning("%s%s", self.died(), f": {self._not_started}" if self._not_started else "")
        if self._reply is not None and not self._reply.done():
            self._reply.set_result((DIED, b""))
        self._over = True
        self._tell_over(self)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _signal(self, number: int) -> None:
        if self._process.returncode is None:
            self._signal_group(number)

    def _signal_group(self, number: int) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            pass
        except PermissionError:  # macOS: the group is a zombie
            pass


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
