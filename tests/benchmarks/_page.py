"""The guide's page of figures, made from what was kept: ``python -m tests.benchmarks._page`` makes it anew."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import fill
from typing import Any

from tests.benchmarks import _why, growth
from tests.benchmarks._report import Report, heading, number, promises, table
from tests.docs.pages import GUIDE

PAGE = GUIDE / "speed.md"
KEPT = Path(__file__).parent / "kept" / "table.json"

OPENING = """\
# How fast it is

Made by `python -m tests.benchmarks --guide`; `python -m tests.benchmarks` alone runs the same and prints it. Each
system runs in a fresh process, by turns with the others, round after round, set up as its own documentation advises;
what it needs is installed into an environment of its own. Absolute times differ two- to fourfold between machines and
hours. What counts is CPU time, and the ratio of two systems in one round.

{heading}

## All workloads

Medians. "Floor" is the least that the work can cost: a heap and a bare task, the driver alone, the standard library's
pool. A dash is a peer that was not measured. A peer for which no goal is set is measured in the first round. Of the
queues over Redis, saq and docket are here; arq, which is of the same kind as saq, is not.

{table}

{workloads}

## Goals

"Ratio" is the median over the rounds of ours divided by theirs *in the same round*, "spread" its least and greatest. The
goals were set before the code was written; what misses one says so.

{promises}

## Where the time goes

What misses its goal, and what costs more than one would expect, each with its profile.

{why}

{firing}{growth}"""

GROWTH = """
## How costs grow

Made by `python -m tests.benchmarks.growth`, which draws these plots, on {dates}: {machines}.
All in virtual time, so that no slot is late; CPU time, bytes and counts, in which other work on the machine hardly shows.
Every run is in the history.
{plots}"""

PLOTS = {
    "pending": """\
10 intervals fire 500 times a second in memory (100 on SQLite with its file in memory, and on PostgreSQL without fsync)
while one-offs wait that are due hours later. Flat is right: what waits behind costs nothing. SQLite's machine takes as
many steps for a firing at 100,000 as at 10 (900), and reads 1.7 pages of the file in place of 1.2. What is added is the
log, 91 kB in place of 79: in a small file what a firing writes shares its pages, in a large one the entries of pending
and of ended runs lie apart. PostgreSQL's cost is that of the client and all processes of its server; it is measured up
to 100,000, and beside much other work: a fifth up or down is noise there.""",
    "schedules": """\
The same number of firings a second, of more and more schedules, each of which is due less often. One firing at a time,
so each carries a whole turn of the event loop, and on SQLite and PostgreSQL its transactions. PostgreSQL is measured up
to 10,000.""",
    "history": """\
10 jobs each minute, for eight days of virtual time: the file with its write-ahead log, and the runs in it. The history
keeps seven days and at most 100,000 runs; then the file is as large as it gets.""",
    "memory": """\
50 jobs every 100 ms, for an hour of virtual time: the memory that the process holds. It grows until the history has its
100,000 runs, and once more by exactly 10 MiB, which is the table of a dict that Python enlarges; then it is flat.""",
}


def page(found: Report, measured: growth.Kept) -> str:
    """Return the page of the tables and the growth that was measured."""
    scenarios = found["scenarios"]
    return OPENING.format(
        heading=heading(found), table=table(scenarios), workloads=_workloads(scenarios),
        promises=promises(scenarios), why="\n\n".join(fill(f"**{row}.** {text}", 118) for row, text in _why.ROWS.items()),
        firing=_why.FIRING, growth=_growth(measured),
    )  # fmt: skip


def _growth(measured: growth.Kept) -> str:
    if not measured:
        return ""
    dates, machines = (sorted({one[what] for one in measured.values()}) for what in ("at", "machine"))
    parts = []
    for part, one in measured.items():
        title, along, unit = growth.TITLES[part]
        found = "".join(f"\n- {name}: {_course(points)}" for name, points in one["lines"].items())
        parts.append(
            f"\n![{title}](pictures/growth-{part}.svg)\n\n{PLOTS[part]} In {unit} at {along}:\n{found}\n"
        )
    return GROWTH.format(dates=", ".join(dates), machines="; ".join(machines), plots="".join(parts))


def _course(points: growth.Points) -> str:
    """Return the values of a line, or of a long one those of its quarters."""
    last = len(points) - 1
    said = points if len(points) < 10 else [points[last * quarter // 4] for quarter in range(5)]
    return ", ".join(f"{number(y)} at {number(x)}" for x, y in said)


def _workloads(scenarios: dict[str, Any]) -> str:
    ordered = sorted(scenarios.items(), key=lambda item: item[1]["group"])
    lines = [f"| {one['group']} | `{name}` | {one['workload']} | {one['rounds']} |" for name, one in ordered]
    return "\n".join(["| | name | workload | rounds |", "|---|---|---|---|", *lines])


def kept() -> Report:
    """Return what was kept of earlier runs."""
    found: Report = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
    return found


def keep(found: Report) -> None:
    """Keep what was measured, without each round, and write the page."""
    for one in found["scenarios"].values():
        one.pop("measured", None)
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    write()


def write() -> None:
    """Write the page and its plots of what was kept."""
    measured = growth.kept()
    PAGE.write_text(page(kept(), measured), "utf-8")
    for name, drawn in growth.pictures(measured).items():
        (GUIDE / "pictures" / name).write_text(drawn, "utf-8")


if __name__ == "__main__":
    write()
