"""The page: the facts put into ``page.html``, every one of them escaped."""

import time
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from examples.uptime.chart import colour_of

TEMPLATE = Template(Path(__file__).with_name("page.html").read_text("utf-8"))


def render_page(
    monitors: list[dict[str, Any]],
    chart: str | None,
    mails: list[dict[str, Any]],
    workers: list[dict[str, Any]],
    news: list[dict[str, Any]],
) -> str:
    """Return the page as HTML."""
    down = sum(bool(one["error"]) for one in monitors)
    return TEMPLATE.substitute(
        summary=f"{down} of {len(monitors)} down" if down else f"{len(monitors)} up" if monitors else "",
        tone="bad" if down else "good",
        monitors="".join(map(_monitor, monitors)) or "<p class=none>Nothing is watched yet.</p>",
        chart=chart or "<p class=none>The first chart is being drawn…</p>",
        workers="".join(map(_worker, workers)) or "<p class=none>Starting…</p>",
        news="".join(map(_news, news)) or "<p class=none>Press a button, and see what happens.</p>",
        mails="".join(map(_mail, mails[:8])) or "<p class=none>No mail yet: subscribe above.</p>",
    )


def _monitor(one: dict[str, Any]) -> str:
    if one["at"] is None:
        tone, words, latency = "wait", "waiting for its first check", ""
    else:
        tone = "bad" if one["error"] else "good"
        share = 100 * one["good"] / one["checks"]
        words = f"{one['error'] or 'up'} · {share:.4g} % of {one['checks']} checks"
        latency = "–" if one["error"] else f"{one['ms']:.0f} ms"
    age = "" if one["at"] is None else f" · {max(0, time.time() - one['at']):.0f} s ago"
    return (
        f'<div class="monitor"><span class="dot {tone}"></span><div class="what">'
        f'<a href="{escape(one["url"])}">{escape(one["url"])}</a>'
        f"<small>{escape(words)} · every {one['every']:g} s{age}</small></div>"
        f'<b><i class="swatch" style="background:{colour_of(one["id"])}"></i>{latency}</b><button class="quiet" data-remove="{one["id"]}" '
        f'title="watch it no longer" aria-label="remove {escape(one["url"])}">×</button></div>'
    )


def _worker(one: dict[str, Any]) -> str:
    silent = one["silent"] > 2
    words = (
        f"no heartbeat for {one['silent']:.0f} s" if silent else ", ".join(one["runs"]) or "waits for work"
    )
    kind = "main" if "audit" in str(one["runs"]) and not silent else ""
    tone = "bad" if silent else "busy" if one["runs"] else "good"
    return (
        f'<div class="monitor"><span class="dot {tone}"></span><div class="what">'
        f"<span>process {one['process']}</span><small>{escape(words)}</small></div>"
        f'<button class="{kind}" data-act="/kill?process={one["process"]}">kill -9 this worker</button></div>'
    )


def _news(one: dict[str, Any]) -> str:
    return f"<p class=news><small>{time.time() - one['at']:.0f} s ago</small> {escape(one['text'])}</p>"


def _mail(mail: dict[str, str]) -> str:
    return (
        f"<details><summary>{escape(mail['subject'])} <small>to {escape(mail['to'])}</small></summary>"
        f"<pre>{escape(mail['text'])}</pre></details>"
    )
