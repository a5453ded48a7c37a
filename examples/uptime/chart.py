"""The latency chart, drawn by plain Python in a worker process: it reads the database and returns SVG."""

import sqlite3
import time
from html import escape

WIDTH, HEIGHT = 720, 240
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 14, 32
SPAN = 300.0  # seconds shown
COLOURS = ("#2f6fde", "#d9662b", "#1f9d6b", "#a04bc4", "#c99a16", "#2aa5b8")
STYLE = (
    "svg.chart{--ink:#5b6472;--rule:#e3e7ec;--bad:#d43c3c}"
    "@media(prefers-color-scheme:dark){svg.chart{--ink:#98a3b3;--rule:#2b323c;--bad:#ff6b6b}}"
    "svg.chart text{font:11px system-ui,sans-serif;fill:var(--ink)}"
    "@media(max-width:560px){svg.chart text{font-size:22px}}"
)


def colour_of(monitor: int) -> str:
    """Return the colour of a monitor's line."""
    return COLOURS[(monitor - 1) % len(COLOURS)]


def draw_chart(path: str) -> str:
    """Return the last minutes of every monitor as one SVG."""
    now = time.time()
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        rows = connection.execute(
            "select monitor, at, ms, error from checked join monitor on monitor.id = monitor "
            "where at > ? order by monitor, at", (now - SPAN,)
        ).fetchall()  # fmt: skip
    connection.close()
    lines: dict[int, list[tuple[float, float, str | None]]] = {}
    for monitor, at, ms, error in rows:
        lines.setdefault(monitor, []).append((at, ms, error))
    return _svg(lines, now)


def _svg(lines: dict[int, list[tuple[float, float, str | None]]], now: float) -> str:
    top = _ceiling(max((ms for points in lines.values() for _, ms, error in points if not error), default=0))

    def x(at: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (1 - (now - at) / SPAN)

    def y(ms: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - min(ms, top) / top)

    parts = [
        f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Latency of the last {SPAN / 60:.0f} minutes"><style>{STYLE}</style>'
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        at = y(share * top)
        parts.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="var(--rule)"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{at + 4:.1f}" text-anchor="end">{share * top:.4g}</text>')
    for minutes in range(round(SPAN / 60) + 1):
        label = f"−{minutes} min" if minutes else "now"
        anchor = "end" if minutes == 0 else "middle"
        at = x(now - 60 * minutes)
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{label}</text>')
    parts.append(f'<text x="{LEFT + 6}" y="{TOP + 12}">ms</text>')
    for monitor, points in lines.items():
        good = " ".join(f"{x(at):.1f},{y(ms):.1f}" for at, ms, error in points if not error)
        parts.append(
            f'<polyline points="{good}" fill="none" stroke="{colour_of(monitor)}" stroke-width="1.7" '
            f'stroke-linejoin="round"/>'
        )
        parts += [
            f'<circle cx="{x(at):.1f}" cy="{y(0):.1f}" r="3" fill="var(--bad)"><title>{escape(error)}</title></circle>'
            for at, _, error in points
            if error
        ]
    return "".join([*parts, "</svg>"])


def _ceiling(highest: float) -> float:
    """Return the next round number above, so that the scale does not twitch."""
    step = 10.0
    while step < highest:
        step *= 2 if str(step)[0] in "15" else 2.5
    return step
