"""What a benchmark is: one workload for several systems, what is measured of each, and what was promised of it.

Absolute times on a shared machine differ two- to fourfold from hour to hour. So the systems of a scenario run one
after another in each round, in an order that rotates, and what counts is the median over the rounds of *ours
divided by theirs in the same round*. `_run` runs them, `_report` makes the tables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks._peers import peer_of

ROOT = Path(__file__).parents[2]
OURS = "asyncsched"
DSN = "ASYNCSCHED_BENCHMARK_DSN"
"""Where a child finds the PostgreSQL database that was made for it."""
REDIS = "ASYNCSCHED_BENCHMARK_REDIS"
"""Where a child finds the Redis server that was started for it, as a URL."""

Metrics = dict[str, float]


class Size(NamedTuple):
    """How much one process of a scenario does."""

    n: int
    seconds: float = 0.0


@dataclass(frozen=True)
class Figure:
    """A promise: a metric of ours, alone or over that of another system, and the goal for it.

    ``over`` is ``(system, metric)``. ``goal`` and ``beyond`` are upper bounds on what is printed,
    lower ones with ``at_least``; ``row`` is the line of performance.md, ``""`` where it has none.
    """

    row: str
    what: str
    metric: str
    goal: float | None = None
    beyond: float | None = None
    over: tuple[str, str] | None = None
    system: str = OURS
    unit: str = ""
    at_least: bool = False


@dataclass(frozen=True)
class Measure:
    """One row of the table: a metric of every system that has it.

    ``ours`` is the system in our column, ``floor`` the one in the floor's, if not that of the scenario; ``of_floor`` the
    floor's metric, if it has another.
    """

    what: str
    metric: str
    unit: str = ""
    ours: str = OURS
    floor: str = ""
    of_floor: str = ""


@dataclass(frozen=True)
class Scenario:
    """One workload for several systems.

    Args:
        group: the part of the table, ``W1`` to ``W8``; by default that of the first promise's row.
        measures: the rows of the table; by default the metrics of the promises.
        floor: the system that does the least that the work can cost; by default one that a promise
            compares with and that is no peer.
        redis: whether each child gets a Redis server of its own: in ``memory``, or ``durable`` with a
            sync of its log for each write.
        postgres: whether each child gets an empty database on a server that loses nothing.
        missing: how to install what the scenario needs and is not here.
        together: run the systems of a round at the same time, because they hardly do anything.
        long: run it only when it is named.

    """

    name: str
    workload: str
    systems: Mapping[str, Callable[[Size], Metrics]]
    figures: tuple[Figure, ...]
    full: Size
    quick: Size
    smoke: Size
    rounds: int = 5
    timeout: float = 120.0
    long: bool = False
    postgres: bool = False
    missing: str | None = None
    redis: str = ""
    together: bool = False
    group: str = ""
    measures: tuple[Measure, ...] = ()
    floor: str = ""
    sizes: dict[str, Size] = field(init=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "sizes", {"full": self.full, "quick": self.quick, "smoke": self.smoke})
        put(self, "group", self.group or self._group_of_figures())
        put(self, "measures", self.measures or self._measures_of_figures())
        put(self, "floor", self.floor or self._floor_of_figures())

    def _group_of_figures(self) -> str:
        rows = [figure.row for figure in self.figures if re.match(r"\d", figure.row)]
        return f"W{rows[0][0]}" if rows else "W8"

    def _measures_of_figures(self) -> tuple[Measure, ...]:
        found: dict[tuple[str, str], Measure] = {}
        floors = {one.over[0] for one in self.figures if one.over} - {OURS}
        for one in self.figures:
            if peer_of(one.system) is None and one.system not in floors:
                floor = one.over[0] if one.over and _is_floor(one.over[0]) else ""
                row = Measure(one.what, one.metric, one.unit, one.system, floor)
                found.setdefault((one.metric, one.system), row)
        return tuple(found.values())

    def _floor_of_figures(self) -> str:
        compared = [figure.over[0] for figure in self.figures if figure.over is not None]
        return next(filter(_is_floor, compared), "")

    def often(self, system: str) -> bool:
        """Whether a system is run in every round: ours, and what a goal is set for. The others are run in the first."""
        promised = [figure for figure in self.figures if figure.goal is not None or figure.beyond is not None]
        named = {figure.system for figure in promised} | {
            figure.over[0] for figure in promised if figure.over
        }
        return system in {OURS, *named}


def _is_floor(system: str) -> bool:
    return system != OURS and peer_of(system) is None
