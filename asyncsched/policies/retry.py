"""Retries: the rule that decides whether a failed attempt is followed by another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import Annotated, Literal, get_args

from asyncsched._core.checks import check_choice, check_int
from asyncsched._core.delays import clamped
from asyncsched._core.errors import ConfigurationError, Discard, Snooze, TryAgain
from asyncsched._core.instants import YEAR, to_micros
from asyncsched._core.rules.outcome import leaves
from asyncsched._core.shown import AnyValue, SerializerOf
from asyncsched._core.text import safe_repr

Backoff = Literal["constant", "linear", "exponential"]
Jitter = Literal["full", "none"]
On = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]


@dataclass(frozen=True, slots=True)
class Retry:
    """Begin again after a failure or a timeout. While it waits, the run is a pending row without a holder.

    Args:
        attempts: the most attempts in all, the first included.
        backoff: how the delay grows with the attempt: ``constant``, ``linear`` or ``exponential``
            (doubling).
        delay: seconds or ``timedelta`` before the second attempt.
        max_delay: the longest delay; one hour by default.
        max_elapsed: no attempt begins later than this after the first began; ``None``: no bound.
        jitter: ``full`` draws the delay between nothing and its full length, so that runs that
            failed together do not come back together (AWS, "Exponential Backoff and Jitter").
        on: the exceptions that are worth another attempt, or a function that decides. A timeout
            comes as ``TimeoutError``; ``TryAgain`` is always worth one. An exception group is worth
            one if each exception in it is; the longest of their delays counts.

    """

    __pydantic_serializer__ = SerializerOf()

    attempts: int
    backoff: Backoff = "exponential"
    delay: Annotated[float | timedelta, AnyValue()] = 1
    max_delay: Annotated[float | timedelta, AnyValue()] = 3600
    max_elapsed: Annotated[float | timedelta | None, AnyValue()] = None
    jitter: Jitter = "full"
    on: Annotated[On, AnyValue()] = Exception

    def __post_init__(self) -> None:
        check_int(self.attempts, "Retry: attempts", 1, 1_000_000)
        check_choice(self.backoff, "Retry: backoff", get_args(Backoff))
        check_choice(self.jitter, "Retry: jitter", get_args(Jitter))
        for name in ("delay", "max_delay", "max_elapsed"):
            value = getattr(self, name)
            if value is not None and to_micros(value, f"Retry: {name}") < 0:
                raise ConfigurationError(f"Retry: {name} must not be negative, not {value}")
        if not _is_choice(self.on):
            raise ConfigurationError(
                "Retry: on must be an exception type, a tuple of them, or a function that "
                f"takes the exception, not {safe_repr(self.on)}"
            )

    def delay_for(self, run_id: int, attempt: int, error: BaseException, elapsed: int) -> int | None:
        """Return how long to wait before the attempt after ``attempt``, or ``None`` for no more.

        Args:
            run_id: the run, from which the jitter is drawn.
            attempt: the attempt that failed, from 1.
            error: the exception that the attempt ended with.
            elapsed: microseconds since the first attempt began.

        """
        if attempt >= self.attempts or not self._worth(error):
            return None
        delay = max(self._delay_after(one, run_id, attempt) for one in leaves(error))
        if self.max_elapsed is not None and elapsed + delay > to_micros(self.max_elapsed, "max_elapsed"):
            return None
        return delay

    def _worth(self, error: BaseException) -> bool:
        if isinstance(error, BaseExceptionGroup):
            return self._names_group(error) or all(map(self._worth, error.exceptions))
        if isinstance(error, (TryAgain, Snooze)):  # the job itself asks for another attempt
            return True
        if isinstance(error, Discard):  # inside a group: the job itself asks for none
            return False
        if isinstance(self.on, (tuple, type)):
            return isinstance(error, self.on)
        return bool(self.on(error))

    def _names_group(self, error: BaseException) -> bool:
        """Whether ``on`` has the kind of the group itself, and not only what every exception is."""
        kinds = self.on if isinstance(self.on, tuple) else (self.on,)
        return any(
            isinstance(kind, type) and issubclass(kind, BaseExceptionGroup) and isinstance(error, kind)
            for kind in kinds
        )

    def _delay_after(self, error: BaseException, run_id: int, attempt: int) -> int:
        asked = clamped(error.delay) if isinstance(error, (TryAgain, Snooze)) else None
        return self._delay(run_id, attempt) if asked is None else asked

    def _delay(self, run_id: int, attempt: int) -> int:
        base = to_micros(self.delay, "delay")
        factor = {"constant": 1, "linear": attempt, "exponential": 1 << min(attempt - 1, 62)}[self.backoff]
        delay = min(base * factor, to_micros(self.max_delay, "max_delay"), 100 * YEAR)
        if self.jitter == "none":
            return delay
        digest = blake2b(f"{run_id}\0{attempt}".encode(), digest_size=8).digest()
        return int.from_bytes(digest) % (delay + 1)


def _is_choice(on: object) -> bool:
    if isinstance(on, tuple):
        return bool(on) and all(_is_kind(kind) for kind in on)
    return _is_kind(on) if isinstance(on, type) else callable(on)


def _is_kind(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseException)
