"""The trigger that is due once, at a given moment."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from asyncsched._core.instants import Instant, to_datetime, to_instant
from asyncsched.triggers.base import BaseTrigger, immutable
from asyncsched.triggers.codec import kept_as


@kept_as("at")
@immutable
class At(BaseTrigger):
    """Due once, at an aware datetime.

    Raises:
        ConfigurationError: the datetime is naive.

    """

    instant: Instant

    def __init__(self, when: datetime) -> None:
        object.__setattr__(self, "instant", to_instant(when, "At: when"))

    def next_instant(self, after: Instant) -> Instant | None:
        """Return the moment if it lies after ``after``."""
        return self.instant if self.instant > after else None

    def previous_instant(self, before: Instant) -> Instant | None:
        """Return the moment if it lies at or before ``before``."""
        return self.instant if self.instant <= before else None

    def describe(self) -> str:
        """Return the trigger in plain English."""
        return f"once at {to_datetime(self.instant).isoformat(' ')}"

    def to_json(self) -> dict[str, Any]:
        """Return the trigger as data for :meth:`from_json`."""
        return {"at": self.instant}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> At:
        """Return the trigger that ``to_json`` wrote."""
        return cls(to_datetime(data["at"]))

    def __repr__(self) -> str:
        return f"At({to_datetime(self.instant).isoformat(' ')})"
