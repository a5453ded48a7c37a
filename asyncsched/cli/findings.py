"""Findings: what ``check`` and ``doctor`` found, how bad it is, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import click

from asyncsched.cli.faults import BAD, OK
from asyncsched.cli.options import style_of
from asyncsched.cli.output import plural, safe, write_json

Level = Literal["bad", "warning", "fine"]
_SIGNS = {"bad": ("✕", "red"), "warning": ("▲", "yellow"), "fine": ("✓", "green")}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: ``about`` names the schedule, job or file."""

    level: Level
    about: str
    text: str
    remedy: str = ""


def write_findings(found: Sequence[Finding], strict: bool) -> int:
    """Write findings, the worst first, and return the exit code."""
    order = sorted(found, key=lambda one: list(_SIGNS).index(one.level))
    bad = any(one.level == "bad" or (strict and one.level == "warning") for one in found)
    if style_of().json:
        write_json({
            "ok": not bad,
            "findings": [
                {"level": one.level, "about": one.about, "text": one.text, "remedy": one.remedy} for one in order
            ],
        })  # fmt: skip
        return BAD if bad else OK
    for one in order:
        sign, colour = _SIGNS[one.level]
        about = f"{one.about}: " if one.about else ""
        click.echo(click.style(f"{sign} ", fg=colour) + safe(f"{about}{one.text}"))
        if one.remedy:
            click.echo(f"    {one.remedy}")
    wrong, warned = (sum(one.level == level for one in found) for level in ("bad", "warning"))
    click.echo(
        f"{plural(wrong, 'fault')}, {plural(warned, 'warning')}" if wrong or warned else "all is well",
        err=True,
    )
    return BAD if bad else OK
