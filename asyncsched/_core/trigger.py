"""The two trigger protocols, and the adapter from a user's trigger to instants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from asyncsched._core.errors import TriggerError
from asyncsched._core.instants import SECOND, YEAR, Instant, to_datetime, to_instant
from asyncsched._core.text import describe_error, safe_repr, shorten

if TYPE_CHECKING:
    from asyncsched._core.instants import Instant


class UserTrigger:
    """Adapts a user's trigger to instants. A missing ``previous`` is found by halving, so no slots are walked."""

    def __init__(self, trigger: Trigger) -> None:
        self.trigger = trigger

    def next_instant(self, after: Instant) -> Instant | None:
        """Return the first instant strictly after ``after``.

        Raises:
            ConfigurationError: the trigger's answer is no aware datetime.
            TriggerError: the answer is not later than ``after``.

        """
        found = self.trigger.next(to_datetime(after))
        if found is None:
            return None
        at = to_instant(found, f"the answer of {type(self.trigger).__name__}.next")
        if at <= after:
            raise TriggerError(
                f"{type(self.trigger).__name__}.next({to_datetime(after)}) returned {shorten(str(found))}, "
                "which is not later; next must return a time strictly after the given one"
            )
        return at

    def previous_instant(self, before: Instant) -> Instant | None:
        """Return the last instant at or before ``before``, by ``next`` alone where the trigger has no ``previous``."""
        own: Callable[[datetime], datetime | None] | None = getattr(self.trigger, "previous", None)
        if own is not None:
            found = own(to_datetime(before))
            if found is None:
                return None
            at = to_instant(found, f"the answer of {type(self.trigger).__name__}.previous")
            if at > before:
                raise TriggerError(
                    f"{type(self.trigger).__name__}.previous({to_datetime(before)}) returned "
                    f"{shorten(str(found))}, which is later; previous must return a time at or before the given one"
                )
            return at
        low, back = before - SECOND, SECOND
        while (first := self.next_instant(low)) is None or first > before:
            back *= 2
            low = before - back
            if back > 40 * YEAR:
                return None
        # Invariant: the slot after `low` is at or before `before`, the one after `high` is not.
        high = before
        while high - low > 1:
            middle = (low + high) // 2
            following = self.next_instant(middle)
            if following is None or following > before:
                high = middle
            else:
                low = middle
        return self.next_instant(low)

    def describe(self) -> str:
        """Return the trigger's own description, or its ``repr`` where it has none."""
        own = getattr(self.trigger, "describe", None)
        return str(own()) if callable(own) else repr(self.trigger)

    def __repr__(self) -> str:
        return repr(self.trigger)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UserTrigger) and self.trigger == other.trigger

    def __hash__(self) -> int:
        return hash(self.trigger)


def as_instants(trigger: Any, what: str) -> InstantTrigger:
    """Return the trigger as one that computes in instants.

    Raises:
        TriggerError: it has no ``next``.

    """
    if hasattr(trigger, "next_instant") and not isinstance(trigger, type):
        computing: InstantTrigger = trigger
        return computing
    if not callable(getattr(trigger, "next", None)) or isinstance(trigger, type):
        raise TriggerError(f"{what}: {safe_repr(trigger)} is no trigger; {_instead_of(trigger)}")
    return UserTrigger(trigger)


def _instead_of(trigger: object) -> str:
    if isinstance(trigger, str):
        return "write it as Cron(...)"
    if isinstance(trigger, (int, float, timedelta)) and not isinstance(trigger, bool):
        seconds = trigger.total_seconds() if isinstance(trigger, timedelta) else trigger
        return f"write Interval(seconds={safe_repr(seconds)})"
    return "give an Interval, Cron, At, AnyOf, or an object with next(after) -> datetime | None"


@contextmanager
def asking(schedule: str) -> Iterator[None]:
    """Turn any exception of a trigger into an error that names the schedule: a user's trigger may raise anything.

    Raises:
        TriggerError: the trigger raised an exception, which is the cause.

    """
    try:
        yield
    except Exception as error:
        raise TriggerError(f"schedule {schedule!r}: its trigger failed: {describe_error(error)}") from error


@runtime_checkable
class Trigger(Protocol):
    """Says when a schedule is due. Pure and stateless: the same question has the same answer for ever."""

    def next(self, after: datetime, /) -> datetime | None:
        """Return the first due time strictly after ``after`` (aware), or ``None``."""
        ...


class InstantTrigger(Protocol):
    """A trigger that computes in instants, as all built-in triggers do; a user's trigger is wrapped into one."""

    def next_instant(self, after: Instant) -> Instant | None:
        """Return the first instant strictly after ``after``, or ``None``."""
        ...

    def previous_instant(self, before: Instant) -> Instant | None:
        """Return the last instant at or before ``before``, or ``None``."""
        ...


class TriggerCodec(NamedTuple):
    """How triggers are written down and read back: two calls that the trigger folder provides."""

    to_json: Callable[[Any], dict[str, Any]]
    """Return a trigger as JSON can carry it; raise ``TriggerError`` for one that only code can make."""
    from_json: Callable[[dict[str, Any]], Any]
    """Return the trigger that ``to_json`` wrote; raise ``TriggerError`` for anything else."""
