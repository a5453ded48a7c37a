"""What the instances of a cluster know of one another: their rows, and what each wants to hear."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from asyncsched._instants import Instant
from asyncsched._ledger import ScheduleRecord


class Fenced(Exception):
    """The instance has been declared dead: what it runs is no longer its own."""


class InstanceRecord(NamedTuple):
    """One running scheduler, as the others see it.

    ``seat`` numbers the instances in the order of their start: the newest has the word about what
    the code declares. ``beat`` counts up while it lives.
    """

    incarnation: int
    host: str
    pid: int
    version: str
    role: str
    jobs: frozenset[str]
    schedules: frozenset[str]
    seat: int = 0
    started_at: Instant = 0
    beat: int = 0
    beat_at: Instant = 0


class Watch(NamedTuple):
    """What an instance wants to hear: changes since the numbers it saw last, and of some runs."""

    holder: int
    signal: Any
    version: int
    runs: Collection[int] = ()
    fully: bool = False  # whether or not anything has changed


@dataclass(slots=True, eq=False)
class Seen:
    """What it hears.

    ``signal`` differs from the last one when there may be something to claim. ``ids`` are all
    schedules there are, given only when some have gone; ``runs`` are tokens that change with a run.
    """

    signal: Any
    version: int
    beats: list[tuple[int, int]]
    schedules: list[ScheduleRecord] = field(default_factory=list)
    ids: set[str] | None = None
    asked: list[tuple[int, str]] = field(default_factory=list)
    runs: dict[int, Any] = field(default_factory=dict)
