"""What came out: the table of all systems, the promises, and both as plain values that can be kept as JSON.

The guide's page is made from the kept values alone, so that it is the script's form whatever the scenarios become.
"""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from os import cpu_count
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from asyncsched._core.version import VERSION
from tests.benchmarks import _peers
from tests.benchmarks._bench import OURS, Figure, Measure, Scenario
from tests.benchmarks._run import Result, Rounds


class Line(NamedTuple):
    """A promise as it came out."""

    figure: Figure
    ours: float
    theirs: float | None
    value: float  # the ratio, or ours where nothing is divided
    spread: tuple[float, float]  # least and greatest over the rounds
    rounds: int


def evaluate(scenario: Scenario, rounds: Rounds) -> list[Line]:
    """Return the promises of a scenario from what its rounds measured, without those of absent systems."""
    lines = []
    for figure in scenario.figures:
        system, metric = figure.over or (figure.system, figure.metric)
        both = [one for one in rounds if figure.system in one and system in one]
        if not both:
            continue
        ours = [one[figure.system][figure.metric] for one in both]
        if figure.over is None:
            lines.append(Line(figure, median(ours), None, median(ours), (min(ours), max(ours)), len(both)))
            continue
        theirs = [one[system][metric] for one in both]
        ratios = [mine / other if other else float("inf") for mine, other in zip(ours, theirs, strict=True)]
        spread = min(ratios), max(ratios)
        lines.append(Line(figure, median(ours), median(theirs), median(ratios), spread, len(both)))
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


Report = dict[str, Any]
"""All that came out, as plain values: ``machine``, ``versions``, ``servers`` and ``scenarios`` by their names."""


def report(results: Iterable[Result], servers: Mapping[str, str]) -> Report:
    """Return results as plain values."""
    results = list(results)
    named = [name for result in results for one in result.rounds for name in one]
    return {
        "machine": machine(),
        "versions": {"asyncsched": VERSION, **_versions(), **_peers.versions(named)},
        "servers": dict(servers),
        "scenarios": {result.scenario.name: _plain(result) for result in results},
    }


def _plain(result: Result) -> dict[str, Any]:
    scenario, rounds = result.scenario, result.rounds
    return {
        "group": scenario.group,
        "workload": scenario.workload,
        "mode": result.mode,
        "at": result.at,
        "load": round(result.load, 1),
        "rounds": len(rounds),
        "rows": [_row(scenario, measure, rounds) for measure in scenario.measures],
        "promises": [cells(line) for line in evaluate(scenario, rounds)],
        "seconds": round(result.seconds, 1),
        "missing": {name: why for name, why in result.missing.items() if not any(name in one for one in rounds)},
        "measured": rounds,
    }  # fmt: skip


def _row(scenario: Scenario, measure: Measure, rounds: Rounds) -> dict[str, Any]:
    """Return a row of the table: the median of each system that has the metric."""

    def of(system: str, metric: str = measure.metric) -> float | None:
        values = [one[system][metric] for one in rounds if metric in one.get(system, {})]
        return median(values) if values else None

    # Beside another system of ours the peers stand for what they do, which is told once.
    beside = measure.ours == OURS or all(one.ours != OURS for one in scenario.measures)
    peers = {name: of(name) for name in scenario.systems if beside and _peers.peer_of(name)}
    floor = measure.floor or scenario.floor
    return {
        "what": measure.what,
        "unit": measure.unit,
        "ours": of(measure.ours),
        "floor": of(floor, measure.of_floor or measure.metric) if floor else None,
        "floor_is": floor,
        "peers": {name: value for name, value in peers.items() if value is not None},
    }


def machine() -> str:
    """Describe the machine."""
    model = ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    named = f"{cpu_count()} CPUs ({', '.join(filter(None, (model, platform.machine())))})"
    return f"{named}, {platform.system()} {platform.release()}"


def _versions() -> dict[str, str]:
    found = {name: f"{name} {version(name)}" for name in ("anyio", "trio")}
    return {
        "Python": f"Python {platform.python_version()}",
        "SQLite": f"SQLite {sqlite3.sqlite_version}",
        **found,
    }


# ── the two tables ───────────────────────────────────────────────────────────────────────────────

TABLE = ("", "what", "asyncsched", "floor", "peers")
PROMISES = ("row", "figure", "ours", "theirs", "ratio", "spread", "rounds", "goal", "beyond", "reached")


def table(scenarios: Mapping[str, Any]) -> str:
    """Return the medians of all systems, W1 to W8, as a table in Markdown."""
    rows = []
    for name, one in sorted(scenarios.items(), key=lambda item: item[1]["group"]):
        absent = {system: "–" for system in one["missing"] if _peers.peer_of(system)}
        for row in one["rows"]:
            unit = f" {row['unit']}" if row["unit"] else ""
            peers = {system: number(value) for system, value in row["peers"].items()} | absent
            floor = "" if row["floor"] is None else f"{row['floor_is']} {number(row['floor'])}"
            ours = "–" if row["ours"] is None else f"**{number(row['ours'])}**"
            said = " · ".join(f"{system} {value}" for system, value in peers.items())
            rows.append((one["group"], f"`{name}` {row['what']},{unit}".rstrip(","), ours, floor, said))
    return _markdown(TABLE, rows)


def promises(scenarios: Mapping[str, Any]) -> str:
    """Return the promises and whether they were reached, as a table in Markdown."""
    ordered = sorted(scenarios.values(), key=lambda one: one["group"])
    return _markdown(PROMISES, [tuple(cells) for one in ordered for cells in one["promises"]])


def heading(found: Report) -> str:
    """Return where this was measured, when, and with what, a line for each."""
    scenarios = list(found["scenarios"].values())
    times, loads = sorted(one["at"] for one in scenarios), [one["load"] for one in scenarios]
    short = sum(one["mode"] != "full" for one in scenarios)
    peers = [name for system, name in found["versions"].items() if system not in ("asyncsched", *_versions())]
    own = [name for system, name in found["versions"].items() if system in _versions()]
    lines = [
        f"**Machine:** {found['machine']}; load {min(loads):g} to {max(loads):g} when each began.",
        f"**When:** {times[0]}{f' to {times[-1]}' if times[-1] != times[0] else ''}"
        + (f"; {short} of {len(scenarios)} workloads in the short form." if short else "."),
        f"**With:** asyncsched {found['versions']['asyncsched']}, {', '.join(own)}"
        + "".join(f", {name} {said}" for name, said in found["servers"].items())
        + ".",
        f"**Beside:** {', '.join(peers) or 'nobody'}.",
    ]
    missing: dict[str, list[str]] = {}
    for name, one in found["scenarios"].items():
        for system, why in one["missing"].items():
            missing.setdefault(f"{system} {why}", []).append(name)
    lines += [f"**Not measured:** {why} ({', '.join(names)})." for why, names in missing.items()]
    return "\n\n".join(lines)


def merged(old: Report, new: Report) -> Report:
    """Return what is known after a run of some scenarios: theirs new, the others as they were."""
    if old.get("machine") != new["machine"]:
        return new
    parts = {part: {**old[part], **new[part]} for part in ("versions", "servers", "scenarios")}
    return {"machine": new["machine"], **parts}


def number(value: float) -> str:
    """Return a value with three digits that count; ``∞`` where nothing ran."""
    if value == float("inf"):
        return "∞"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def cells(line: Line) -> list[str]:
    """Return the row of a promise, as text."""
    figure = line.figure
    bound = "≥" if figure.at_least else "≤"
    unit = f" {figure.unit}" if figure.unit else ""
    return [
        figure.row,
        figure.what,
        f"{number(line.ours)}{unit}",
        f"{number(line.theirs)}{unit}" if line.theirs is not None else "",
        f"{line.value:.3g} ×" if figure.over else "",
        f"{number(line.spread[0])}–{number(line.spread[1])}",
        str(line.rounds),
        f"{bound} {figure.goal:g}" if figure.goal is not None else "",
        f"{bound} {figure.beyond:g}" if figure.beyond is not None else "",
        verdict(line),
    ]


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    found = [headings, *rows]
    widths = [max(len(row[i]) for row in found) for i in range(len(headings))]
    text = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
            for row in found]  # fmt: skip
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)
