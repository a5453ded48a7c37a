"""The two trigger protocols, and the adapter from a user's trigger to instants."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, tzinfo
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

from asyncsched._core.errors import TriggerError
from asyncsched._core.instants import SECOND, YEAR, Instant, to_datetime, to_instant
from asyncsched._core.text import describe_error, safe_repr, shorten


@runtime_checkable
class Trigger(Protocol):
    """When. Pure and stateless: the same question has the same answer for ever."""

    def next(self, after: datetime, /) -> datetime | None:
        """Return the first due time strictly after ``after`` (aware), or ``None``."""
        ...


@runtime_checkable
class TwoWayTrigger(Trigger, Protocol):
    """A trigger that can look back, too. For one that cannot, the last due time is found by halving."""

    def previous(self, before: datetime, /) -> datetime | None:
        """Return the last due time at or before ``before`` (aware), or ``None``."""
        ...


@runtime_checkable
class DescribedTrigger(Trigger, Protocol):
    """A trigger that can say in words when it is due. One that cannot is shown by its ``repr``."""

    def describe(self) -> str:
        """Return the trigger in plain English."""
        ...


@runtime_checkable
class InstantTrigger(Protocol):
    """A trigger that speaks instants: what the engine asks, and what a user's trigger is wrapped into.

    A class that inherits from this one writes the first two; the rest has a default.
    """

    __slots__ = ()

    steady: bool = False
    """Whether a store in memory keeps it on the timeline that knows no steps of the wall clock."""
    foreign: bool = False
    """Whether it stands for a trigger that only other instances have, so that its schedule is not fired here."""

    def next_instant(self, after: Instant) -> Instant | None:
        """Return the first instant strictly after ``after``, or ``None``."""
        ...

    def previous_instant(self, before: Instant) -> Instant | None:
        """Return the last instant at or before ``before``, or ``None``."""
        ...

    def anchored(self, at: Instant) -> Self:
        """Return this trigger with its grid fixed at ``at``. By default it has no grid to fix."""
        return self

    def count(self, after: Instant, upto: Instant) -> int | None:
        """Return how many instants lie after ``after`` and at or before ``upto``, in O(1).

        ``None``, the default: only a walk from one to the next can tell.
        """
        return None

    def describe(self) -> str:
        """Return the trigger in plain English; by default its ``repr``."""
        return repr(self)

    def zones(self) -> Iterable[tzinfo]:
        """Return the zones that its own times are in; by default none."""
        return ()

    @property
    def original(self) -> Any:
        """The trigger as its user gave it; by default this one."""
        return self


class UserTrigger(InstantTrigger):
    """Adapts a user's trigger to instants. A missing ``previous`` is found by halving, so no slots are walked."""

    def __init__(self, trigger: Trigger) -> None:
        self.trigger = trigger
        self._previous = trigger.previous if isinstance(trigger, TwoWayTrigger) else None

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
        if self._previous is not None:
            found = self._previous(to_datetime(before))
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
        return (
            str(self.trigger.describe()) if isinstance(self.trigger, DescribedTrigger) else repr(self.trigger)
        )

    @property
    def original(self) -> Trigger:
        """The user's own trigger."""
        return self.trigger

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
    given: object = None if isinstance(trigger, type) else trigger
    # The check of a protocol reads all its members; for those that inherit from it, their bases tell at once.
    if InstantTrigger in type(given).__mro__ or isinstance(given, InstantTrigger):
        return given  # type: ignore[return-value]
    if isinstance(given, Trigger):
        return UserTrigger(given)
    raise TriggerError(f"{what}: {safe_repr(trigger)} is no trigger; {_instead_of(trigger)}")


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


class TriggerCodec(NamedTuple):
    """How triggers are written down and read back: two calls that the trigger folder provides."""

    to_json: Callable[[Any], dict[str, Any]]
    """Return a trigger as JSON can carry it; raise ``TriggerError`` for one that only code can make."""
    from_json: Callable[[dict[str, Any]], InstantTrigger]
    """Return the trigger that ``to_json`` wrote; raise ``TriggerError`` for anything else."""
    knows: Callable[[dict[str, Any]], bool]
    """Whether the data is of a known kind, which takes no reading of it."""
