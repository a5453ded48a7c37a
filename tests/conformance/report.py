"""The page of the guide, and its picture, made of the answers and the measurements."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from tests.conformance.asking import Answers, Drift, right_of
from tests.conformance.questions import CALENDAR, CLOCK_CHANGES, Question
from tests.conformance.ways import WAYS, WORK

OPENING = """\
# The same questions of six libraries

Made by `python -m tests.conformance`, on {day}: {machine}, Python {python}. Each library is asked by its documented
calls, with its defaults, in a process of its own: {versions}.

**What counts as right** is the rule of Debian's cron, which asyncsched follows and which [time](schedules.md) tells: it
neither drops nor doubles a daily job when the clocks change. Others have decided otherwise on purpose: APScheduler, for
one, asks for day of month *and* weekday, counts weekdays from Monday = 0, and says so. So a ✕ means "not what a
crontab's line does", and the tables show what is answered instead. "Refused" is an error at the expression, which drops
nothing silently; for an expression that can never be due, an error and "never" both count as right.

| | {names} |
|---|{rule}|
| clock changes | {changes} |
| calendar | {calendar} |
"""

DRIFT = """\
## Every second, in eight ways

Each way calls a function every second that takes {work:g} ms of its thread, as work does. **In real time** they ran side by
side for {seconds:g} s (`--seconds`), each in a process of its own, on a machine with {cores} cores that did other work as
well. "Behind" is how much later than its second, counted from the first call, the
last one began; what is left out counts as a second. "Drift in an hour" is the slope through all calls, drawn out to
3,600 s, so that one late call is no drift. **A virtual day** has exact
timers and no other work, so it shows what the way itself does, call for call, over 86,400 s.

![How far each way is behind its seconds](pictures/drift.svg)

{table}

A loop that sleeps a second after each call is behind by the call's own time, at each call; so is a chain of timers, and
`repeat_every`. What counts from a fixed beginning does not drift: late calls stay late by themselves, and push none.
"""


def page(
    answers: Mapping[str, Answers], real: Mapping[str, Drift], day: Mapping[str, Drift], seconds: float
) -> str:
    """Return the page."""
    asked = {name: one for name, one in answers.items() if not one.skipped}
    right = {name: dict(right_of(one)) for name, one in asked.items()}
    opening = OPENING.format(
        day=datetime.now(UTC).date(), machine=machine(), python=platform.python_version(),
        versions=", ".join(f"{name} ({one.version})" for name, one in asked.items()),
        names=" | ".join(asked), rule="---|" * (len(asked) - 1) + "---",
        changes=" | ".join(_share(right[name], CLOCK_CHANGES) for name in asked),
        calendar=" | ".join(_share(right[name], CALENDAR) for name in asked),
    )  # fmt: skip
    left_out = [f"Not asked: {name}, which {one.skipped}.\n" for name, one in answers.items() if one.skipped]
    parts = [opening, *left_out]
    for title, questions in (("Clock changes", CLOCK_CHANGES), ("The calendar", CALENDAR)):
        parts.append(f"## {title}\n\n{_table(questions, asked, right)}\n")
        parts.append(_answers(questions, asked, right))
    parts.append(
        DRIFT.format(work=WORK * 1000, seconds=seconds, cores=os.cpu_count(), table=_drifts(real, day))
    )
    return "\n".join(parts)


def machine() -> str:
    """Return the machine in words."""
    return f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores"


def _share(right: Mapping[str, bool], questions: Iterable[Question]) -> str:
    found = [right[one.name] for one in questions]
    return f"{sum(found)} of {len(found)}"


def _table(
    questions: Iterable[Question], asked: Mapping[str, Answers], right: Mapping[str, Mapping[str, bool]]
) -> str:
    lines = [f"| question | expression | {' | '.join(asked)} |", "|---|---|" + "---|" * len(asked)]
    for one in questions:
        marks = [_mark(right[name][one.name], asked[name].given[one.name]) for name in asked]
        lines.append(f"| {one.name}: {one.why} | `{one.expression}` | {' | '.join(marks)} |")
    return "\n".join(lines)


def _mark(right: bool, given: list[str]) -> str:
    if right:
        return "✓"
    return "refused" if given and given[0].startswith("refused") else "✕"


def _answers(
    questions: Iterable[Question], asked: Mapping[str, Answers], right: Mapping[str, Mapping[str, bool]]
) -> str:
    lines = ["What was answered where it is another answer:\n"]
    for one in questions:
        others: dict[str, list[str]] = {}
        for name, answer in asked.items():
            if not right[name][one.name] and _mark(False, answer.given[one.name]) == "✕":
                others.setdefault(", ".join(map(_short, answer.given[one.name])) or "never", []).append(name)
        if others:
            expected = ", ".join(map(_short, one.right))
            said = "; ".join(f"{' and '.join(names)}: {text}" for text, names in others.items())
            lines.append(
                f"- `{one.expression}` in {one.zone}, after {_short(one.after)}: right is {expected}. {said}."
            )
    return "\n".join(lines) + "\n"


def _short(text: str) -> str:
    if not text[:1].isdigit():
        return text
    at = datetime.fromisoformat(text)
    offset = (
        ""
        if not at.utcoffset()
        else f"{at:%z}"[:3] + (f":{f'{at:%z}'[3:]}" if f"{at:%z}"[3:] != "00" else "")
    )
    return f"{at:%Y-%m-%d %H:%M}" + (f":{at:%S}" if at.second else "") + offset


def _drifts(real: Mapping[str, Drift], day: Mapping[str, Drift]) -> str:
    lines = [
        "| way | version | calls | behind | drift in an hour | gap between calls: median, most | behind after a virtual day |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in real.items():
        virtual = day[name]
        of_day = virtual.skipped or f"{virtual.behind:,.3f} s"
        if one.skipped:
            lines.append(f"| {name} | – | {one.skipped} | | | | {of_day} |")
            continue
        gaps = [(later - at) for at, later in zip(one.starts, one.starts[1:], strict=False)]
        lines.append(
            f"| {name} | {one.version} | {len(one.starts)} | {one.behind * 1000:,.0f} ms | {one.an_hour:,.2f} s | "
            f"{statistics.median(gaps) * 1000:,.1f} ms, {max(gaps) * 1000:,.1f} ms | {of_day} |"
        )
    return "\n".join(lines)


# ── the picture ──────────────────────────────────────────────────────────────────────────────

_COLOURS = ("#b0102a", "#a15c00", "#8a4b9e", "#1d5bd1", "#696d75", "#0b7285", "#5c7a00", "#187a47")
_WIDTH, _HEIGHT, _LEFT, _TOP = 860, 340, 60, 20


def picture(real: Mapping[str, Drift], seconds: float) -> str:
    """Return an SVG with a line for each way: how far it is behind, in milliseconds, over the time."""
    shown = {name: one for name, one in real.items() if len(one.starts) > 1}
    most = max(max(behind for _, behind in one.behind_at()) for one in shown.values()) * 1000 or 1
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12" '
        'role="img" aria-label="How far each way is behind its seconds, in milliseconds">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
    ]
    right, bottom = _WIDTH - 280, _HEIGHT - 40
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = bottom - share * (bottom - _TOP)
        lines.append(f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#e2e2dd"/>')
        lines.append(
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#51545b">{share * most:,.0f}</text>'
        )
    for share in (0, 0.5, 1):
        x = _LEFT + share * (right - _LEFT)
        lines.append(
            f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle" fill="#51545b">{share * seconds:g} s</text>'
        )
    lines.append(
        f'<text x="{_LEFT}" y="{bottom + 34}" fill="#51545b">milliseconds behind, over the time of the measurement</text>'
    )
    for number, (name, colour) in enumerate(zip(WAYS, _COLOURS, strict=True)):
        y = _TOP + 14 + number * 20
        note = "" if name in shown else " (not tried)"
        lines.append(f'<rect x="{right + 20}" y="{y - 9}" width="12" height="3" fill="{colour}"/>')
        lines.append(f'<text x="{right + 38}" y="{y - 3}" fill="#1a1b1e">{name}{note}</text>')
        if name in shown:
            points = " ".join(
                f"{_LEFT + at / seconds * (right - _LEFT):.1f},{bottom - max(0, behind) * 1000 / most * (bottom - _TOP):.1f}"
                for at, behind in shown[name].behind_at()
            )
            lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    return "\n".join([*lines, "</svg>\n"])
