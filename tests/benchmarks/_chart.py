"""Line charts as SVG that are read on a light and on a dark ground: they bring both, and the reader's choice decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10

Points = Sequence[Sequence[float]]

_WIDTH, _HEIGHT = 760, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 560, 40, 262
_COLOURS = (("#1f5fbf", "#7fb2ff"), ("#b0102a", "#ff8f9f"), ("#1b7a3d", "#6fd694"), ("#8a5a00", "#f0bf5f"))
_FEW = 20
"""Points of a line that are marked one by one, if there are no more."""
_STYLE = """\
.ground{fill:#ffffff}.grid{stroke:#dddddd}.said{fill:#51545b}.title{fill:#1a1b1e}
@media (prefers-color-scheme: dark){.ground{fill:#16181d}.grid{stroke:#3a3d45}.said{fill:#b4b8c2}.title{fill:#f1f2f4}}
"""


def chart(title: str, along: str, unit: str, lines: Mapping[str, Points], logarithmic: bool = False) -> str:
    """Return a chart of points ``(x, y)``; the y axis begins at 0, so that flat looks flat.

    Args:
        along: what the x axis is.
        unit: what the y axis counts.
        logarithmic: the x axis is.

    """
    xs = [x for points in lines.values() for x, _ in points]
    top = _nice(max(y for points in lines.values() for _, y in points))
    low, high = (log10(min(xs)), log10(max(xs))) if logarithmic else (0.0, max(xs))

    def across(x: float) -> float:
        return _LEFT + ((log10(x) if logarithmic else x) - low) / ((high - low) or 1) * (_RIGHT - _LEFT)

    def up(y: float) -> float:
        return _BOTTOM - y / top * (_BOTTOM - _TOP)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        f'font-size="12" role="img" aria-label="{escape(title)}">',
        f"<style>{_STYLE}{_colours(len(lines))}</style>",
        f'<rect class="ground" width="{_WIDTH}" height="{_HEIGHT}"/>',
        f'<text class="title" x="{_LEFT}" y="20" font-size="14">{escape(title)}</text>',
    ]
    for i in range(5):
        y = top * i / 4
        parts.append(f'<path class="grid" d="M{_LEFT} {up(y):.1f}H{_RIGHT}"/>')
        parts.append(
            f'<text class="said" x="{_LEFT - 6}" y="{up(y) + 4:.1f}" text-anchor="end">{_said(y)}</text>'
        )
    for x in _marks(low, high, logarithmic):
        parts.append(f'<text class="said" x="{across(x):.1f}" y="280" text-anchor="middle">{_said(x)}</text>')
    parts.append(f'<text class="said" x="{_LEFT}" y="302">{escape(along)}; {escape(unit)} upwards</text>')
    for number, (name, points) in enumerate(lines.items()):
        y = 52 + number * 20
        parts.append(f'<rect class="line{number} fill" x="{_RIGHT + 20}" y="{y - 6}" width="12" height="3"/>')
        parts.append(f'<text class="title" x="{_RIGHT + 38}" y="{y}">{escape(name)}</text>')
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
        parts.append(f'<polyline class="line{number} drawn" points="{path}"/>')
        if len(points) < _FEW:
            parts += [
                f'<circle class="line{number} fill" cx="{across(x):.1f}" cy="{up(y):.1f}" r="3"/>'
                for x, y in points
            ]
    return "\n".join([*parts, "</svg>\n"])


def _colours(count: int) -> str:
    light = "".join(f".line{i}{{color:{_COLOURS[i][0]}}}" for i in range(count))
    dark = "".join(f".line{i}{{color:{_COLOURS[i][1]}}}" for i in range(count))
    shapes = ".fill{fill:currentColor}.drawn{fill:none;stroke:currentColor;stroke-width:2}\n"
    return f"{light}\n@media (prefers-color-scheme: dark){{{dark}}}\n{shapes}"


def _nice(value: float) -> float:
    """Return the next number above that four lines divide well."""
    step = 10 ** floor(log10(value / 4)) if value > 0 else 1.0
    return next(step * one for one in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if step * one * 4 >= value) * 4


def _said(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.3g}"


def _marks(low: float, high: float, logarithmic: bool) -> list[float]:
    if logarithmic:
        return [10.0**power for power in range(ceil(low), floor(high) + 1)]
    return [low + (high - low) * i / 4 for i in range(5)]
