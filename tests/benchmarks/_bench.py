"""What a benchmark is, and how it is run: every system in a fresh process, by turns, medians of ratios.

Absolute times on a shared machine differ two- to fourfold from hour to hour. So the systems of a
scenario run one after another in each round, in an order that rotates, and what counts is the median
over the rounds of *ours divided by theirs in the same round*.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version
from os import cpu_count, getloadavg
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.benchmarks import _peers

ROOT = Path(__file__).parents[2]
OURS = "asyncsched"
DSN = "ASYNCSCHED_BENCHMARK_DSN"
"""Where a child finds the database that was made for it."""

Metrics = dict[str, float]


class Size(NamedTuple):
    """How much one process of a scenario does."""

    n: int
    seconds: float = 0.0


@dataclass(frozen=True)
class Figure:
    """One line of the table: a metric of ours, alone or over that of another system.

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
class Scenario:
    """One workload for several systems."""

    name: str
    workload: str
    systems: Mapping[str, Callable[[Size], Metrics]]
    figures: tuple[Figure, ...]
    full: Size
    quick: Size
    smoke: Size
    rounds: int = 5
    timeout: float = 300.0
    long: bool = False  # only when it is named
    postgres: bool = False  # each child gets an empty database on a server that loses nothing
    missing: str | None = None  # how to install what the scenario needs and is not here
    sizes: dict[str, Size] = field(init=False)

    def __post_init__(self) -> None:
        sizes = {"full": self.full, "quick": self.quick, "smoke": self.smoke}
        object.__setattr__(self, "sizes", sizes)


Rounds = list[dict[str, Metrics]]
"""What the systems measured, round by round."""


def run(scenario: Scenario, mode: str, rounds: int) -> Rounds:
    """Run every system that is here in a process of its own, by turns, ``rounds`` times."""
    for name in scenario.systems:
        if _peers.interpreter(name) is None:
            print(f"{name} is not installed: {_peers.HOW}")
    names = [name for name in scenario.systems if _peers.interpreter(name) is not None]
    done = []
    with _databases(scenario) as database:
        for number in range(rounds):
            turn = number % len(names)
            order = names[turn:] + names[:turn]
            one = {}
            for name in order:
                with database() as environment:
                    one[name] = _in_child(scenario, name, mode, environment)
            done.append(one)
            print(".", end="", file=sys.stderr, flush=True)
    return done


@contextmanager
def _databases(scenario: Scenario) -> Iterator[Callable[[], AbstractContextManager[dict[str, str]]]]:
    """Yield what makes a database for one child, and drops it: nothing to be done without a server."""
    if not scenario.postgres:
        yield lambda: nullcontext({})
        return
    from tests.postgres import open_server

    server = open_server(fsync="on", full_page_writes="on", shared_buffers="256MB", max_wal_size="4GB")

    @contextmanager
    def database() -> Iterator[dict[str, str]]:
        name = server.create_database()
        try:
            yield {DSN: server.dsn(name)}
        finally:
            server.drop_database(name)

    try:
        said = (f"{name} {server.run(f'show {name}')[0][0]}" for name in _PROMISES)
        print(f"PostgreSQL for everyone: {', '.join(said)}")
        yield database
    finally:
        server.close()


_PROMISES = ("server_version", "fsync", "synchronous_commit")


def _in_child(scenario: Scenario, system: str, mode: str, environment: Mapping[str, str]) -> Metrics:
    python = _peers.interpreter(system) or sys.executable
    command = [python, "-m", "tests.benchmarks.child", scenario.name, system, mode]
    child = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True,
        timeout=scenario.timeout,
    )  # fmt: skip
    if child.returncode:
        raise RuntimeError(f"{scenario.name}: {system} failed:\n{child.stderr[-2000:]}")
    metrics: Metrics = json.loads(child.stdout.splitlines()[-1])
    return metrics


class Line(NamedTuple):
    """A figure as it came out."""

    figure: Figure
    ours: float
    theirs: float | None
    value: float  # the ratio, or ours where nothing is divided
    spread: tuple[float, float]  # least and greatest over the rounds


def evaluate(scenario: Scenario, rounds: Rounds) -> list[Line]:
    """Return the figures of a scenario from what its rounds measured, without those of absent peers."""
    lines = []
    for figure in scenario.figures:
        if figure.over is not None and any(figure.over[0] not in one for one in rounds):
            continue
        ours = [one[figure.system][figure.metric] for one in rounds]
        if figure.over is None:
            lines.append(Line(figure, median(ours), None, median(ours), (min(ours), max(ours))))
            continue
        system, metric = figure.over
        theirs = [one[system][metric] for one in rounds]
        ratios = [mine / other if other else float("inf") for mine, other in zip(ours, theirs, strict=True)]
        lines.append(Line(figure, median(ours), median(theirs), median(ratios), (min(ratios), max(ratios))))
    return lines


def verdict(line: Line) -> str:
    """Return ``beyond``, ``goal``, ``missed``, or ``""`` where nothing was promised."""
    figure = line.figure
    sign = -1 if figure.at_least else 1
    for name, bound in (("beyond", figure.beyond), ("goal", figure.goal)):
        if bound is not None and line.value * sign <= bound * sign:
            return name
    return "" if figure.goal is None else "missed"


def gross_losses(lines: list[Line], factor: float) -> list[Line]:
    """Return the figures that miss their goals by more than a factor: what a busy machine cannot explain."""
    lost = []
    for line in lines:
        goal, at_least = line.figure.goal, line.figure.at_least
        if goal is not None and (line.value * factor < goal if at_least else line.value > goal * factor):
            lost.append(line)
    return lost


def runtime() -> str:
    """Describe where this was measured."""
    peers = ", ".join(f"{name} {version(name)}" for name in ("anyio", "apscheduler", "trio"))
    load = " ".join(f"{one:.1f}" for one in getloadavg())
    return (
        f"{cpu_count()} CPUs ({platform.machine()}), {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, {peers}; load {load}"
    )


HEADINGS = ("row", "figure", "ours", "theirs", "ratio", "spread", "goal", "beyond", "reached")


def table(lines: list[Line]) -> str:
    """Return the figures as a table in Markdown."""
    rows = [HEADINGS, *(_cells(line) for line in lines)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    text = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
            for row in rows]  # fmt: skip
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)


def _cells(line: Line) -> tuple[str, ...]:
    figure = line.figure
    bound = "≥" if figure.at_least else "≤"
    unit = f" {figure.unit}" if figure.unit else ""
    ratio = f"{line.value:.3g} ×" if figure.over else ""
    return (
        figure.row,
        figure.what,
        f"{_number(line.ours)}{unit}",
        f"{_number(line.theirs)}{unit}" if line.theirs is not None else "",
        ratio,
        f"{_number(line.spread[0])}–{_number(line.spread[1])}",
        f"{bound} {figure.goal:g}" if figure.goal is not None else "",
        f"{bound} {figure.beyond:g}" if figure.beyond is not None else "",
        verdict(line),
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= value < float("inf") else f"{value:.3g}"
