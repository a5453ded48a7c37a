"""The interpreter's switch interval, which executors shorten while their threads are busy."""

from __future__ import annotations

import sys
import threading


class _SwitchInterval:
    """Sets the interpreter's switch interval while executors need it, and restores the former value."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: list[float] = []
        self._former = self._set = 0.0

    def enter(self, interval: float) -> None:
        with self._lock:
            if not self._wanted:
                self._former = self._set = sys.getswitchinterval()
            self._wanted.append(interval)
            self._apply(min(self._former, *self._wanted))

    def leave(self, interval: float) -> None:
        with self._lock:
            self._wanted.remove(interval)
            self._apply(min([self._former, *self._wanted]))

    def _apply(self, interval: float) -> None:
        # If other code has changed the interval meanwhile, that value stays.
        if interval != self._set and abs(sys.getswitchinterval() - self._set) < 1e-5:
            sys.setswitchinterval(interval)
            self._set = interval


switch_interval = _SwitchInterval()
