"""``status``: how it stands, what is wrong, and what is next."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

import click

from asyncsched._core.models import Schedule
from asyncsched.cli.faults import BAD, OK
from asyncsched.cli.options import style_of, targets, writes
from asyncsched.cli.output import (
    Column,
    bold,
    dim,
    fit,
    plural,
    present,
    relative,
    safe,
    state,
    terminal_width,
    write_json,
    write_table,
)
from asyncsched.cli.target import Target, run_async, say_where
from asyncsched.cli.views import (
    Row,
    counts,
    failed_of,
    instance_json,
    rows_of,
)

_NEEDS = ("failing", "late", "orphaned")


@click.command()
@targets()
@writes()
def status(target: Target) -> int:
    """How it stands, what is wrong, and what is next. Exits with 1 if a schedule fails or is late."""

    async def ask() -> tuple[list[Row], list[Any], Counter[str], str]:
        async with target.ledger() as ledger:
            rows, failed = await rows_of(ledger.scheduler), await failed_of(ledger.scheduler)
            return rows, await ledger.scheduler.instances(), failed, ledger.where

    rows, instances, failed, where = run_async(ask)
    found, bad = counts(rows), bool(failed) or any(row.state in ("failing", "late") for row in rows)
    now = present()
    coming = min((row.schedule for row in rows if row.schedule.next_due and not row.schedule.paused),
                 key=lambda one: one.next_due or now, default=None)  # fmt: skip
    if style_of().json:
        write_json({
            "ok": not bad, "verdict": _verdict(found, len(rows), failed), "counts": found, "failed_runs": failed,
            "instances": [instance_json(one) for one in instances], "target": where,
            "next": None if coming is None else {"schedule": coming.id, "due": coming.next_due},
            "attention": [
                {"schedule": row.schedule.id, "state": row.state, "why": row.why}
                for row in rows if row.state in _NEEDS
            ],
        })  # fmt: skip
        return BAD if bad else OK
    say_where(where)
    click.echo(bold(_verdict(found, len(rows), failed)))
    needing = [row for row in rows if row.state in _NEEDS]
    if needing:
        write_table(
            [Column("schedule", cut=True), Column("state"), Column("why", keep=0, cut=True)],
            [[row.schedule.id, state(row.state), safe(row.why)] for row in needing[:8]],
        )
        if len(needing) > 8:
            click.echo(f"and {len(needing) - 8} more")
    for job, count in failed.most_common(8):
        text = f"{state('failed')}  {plural(count, 'run')} of {job}: `asyncsched failures --job {job}`"
        click.echo(fit(text, terminal_width() or 10_000))
    click.echo(_summary(found, len(rows), len(instances), coming, now))
    if not instances:
        click.echo(dim("no instance is running: nothing fires until one is"))
    return BAD if bad else OK


def _verdict(found: dict[str, int], total: int, failed: Counter[str]) -> str:
    parts = [f"{found[word]} {word}" for word in ("failing", "late") if found[word]]
    if parts:
        count = plural(sum(found[word] for word in ("failing", "late")), "schedule")
        parts = [f"{count}: {', '.join(parts)}"]
    if failed:
        parts.append(f"{plural(failed.total(), 'run')} failed within a day")
    if parts:
        return f"{'✕' if found['failing'] or failed else '▲'} {'; '.join(parts)}"
    if not total:
        return "○ nothing is scheduled"
    if found["paused"] == total:
        return "❚❚ everything is paused"
    return f"✓ {plural(total - found['paused'] - found['orphaned'], 'schedule')} on time"


def _summary(
    found: dict[str, int], total: int, instances: int, coming: Schedule | None, now: datetime
) -> str:
    well = found["on_time"] + found["running"] + found["ended"]
    parts = [f"{well} of {total} well"]
    parts += [f"{found[word]} {word}" for word in ("running", "retrying", "paused") if found[word]]
    parts.append(plural(instances, "instance"))
    if coming is not None:
        parts.append(f"next: {coming.id} {relative(coming.next_due, now)}")
    return " · ".join(parts)
