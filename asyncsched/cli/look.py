"""Commands that show how it stands: ``status``, ``schedules``, ``schedule``, ``jobs`` and ``instances``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from asyncsched._core.errors import UnknownSchedule
from asyncsched._core.models import Schedule
from asyncsched._scheduler.scheduler import Scheduler
from asyncsched.cli.faults import BAD, NOT_FOUND, OK, Fault, suggestion
from asyncsched.cli.options import style_of, targets, writes
from asyncsched.cli.output import (
    Column,
    bold,
    dim,
    duration,
    fit,
    moment,
    plural,
    present,
    relative,
    safe,
    state,
    terminal_width,
    write_json,
    write_table,
)
from asyncsched.cli.slots import Slot
from asyncsched.cli.target import Ledger, Target, run_async, say_where
from asyncsched.cli.views import Row, counts, instance_json, rows_of, run_json, schedule_json, took_of

_NEEDS = ("failing", "late", "orphaned")


@click.command()
@targets()
@writes()
def status(target: Target) -> int:
    """How it stands, what is wrong, and what is next. Exits with 1 if a schedule fails or is late."""

    async def ask() -> tuple[list[Row], list[Any], str]:
        async with target.ledger() as ledger:
            return await rows_of(ledger.scheduler), await ledger.scheduler.instances(), ledger.where

    rows, instances, where = run_async(ask)
    found, bad = counts(rows), any(row.state in ("failing", "late") for row in rows)
    now = present()
    coming = min((row.schedule for row in rows if row.schedule.next_due and not row.schedule.paused),
                 key=lambda one: one.next_due or now, default=None)  # fmt: skip
    if style_of().json:
        write_json({
            "ok": not bad, "verdict": _verdict(found, len(rows)), "counts": found,
            "instances": [instance_json(one) for one in instances], "target": where,
            "next": None if coming is None else {"schedule": coming.id, "due": coming.next_due},
            "attention": [
                {"schedule": row.schedule.id, "state": row.state, "why": row.why}
                for row in rows if row.state in _NEEDS
            ],
        })  # fmt: skip
        return BAD if bad else OK
    say_where(where)
    click.echo(bold(_verdict(found, len(rows))))
    needing = [row for row in rows if row.state in _NEEDS]
    if needing:
        write_table(
            [Column("schedule", cut=True), Column("state"), Column("why", keep=0, cut=True)],
            [[row.schedule.id, state(row.state), safe(row.why)] for row in needing[:8]],
        )
        if len(needing) > 8:
            click.echo(f"and {len(needing) - 8} more")
    click.echo(_summary(found, len(rows), len(instances), coming, now))
    if not instances:
        click.echo(dim("no instance is running: nothing fires until one is"))
    return BAD if bad else OK


def _verdict(found: dict[str, int], total: int) -> str:
    if not total:
        return "○ nothing is scheduled"
    parts = [f"{found[word]} {word}" for word in ("failing", "late") if found[word]]
    if parts:
        sign = "✕" if found["failing"] else "▲"
        return f"{sign} {plural(sum(found[word] for word in ('failing', 'late')), 'schedule')}: {', '.join(parts)}"
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


@click.command()
@click.option("--state", "wanted", help="Only those in this state, such as failing or paused.")
@click.option("--job", help="Only those of this job.")
@targets()
@writes()
def schedules(target: Target, wanted: str | None, job: str | None) -> int:
    """Show the schedules with their states; with --app alone, those that the code declares."""
    if target.app is not None and not target.has_ledger:
        return _declared(target, job)

    async def ask() -> tuple[list[Row], str]:
        async with target.ledger() as ledger:
            return await rows_of(ledger.scheduler), ledger.where

    rows, where = run_async(ask)
    rows = [row for row in rows if wanted in (None, row.state) and job in (None, row.schedule.job)]
    if style_of().json:
        write_json([schedule_json(row.schedule, row) for row in rows])
        return OK
    say_where(where)
    if not rows:
        click.echo("no schedules")
        return OK
    now = present()
    write_table(
        [Column("state"), Column("schedule", cut=True), Column("job", 6, cut=True), Column("when", 1, cut=True),
         Column("next", 2), Column("last", 3), Column("p95", 4, right=True), Column("note", 5, cut=True)],
        [_cells(row, now) for row in rows],
    )  # fmt: skip
    return OK


def _cells(row: Row, now: datetime) -> list[str]:
    schedule, last = row.schedule, row.last[0] if row.last else None
    ran = "–" if last is None else f"{relative(last.finished_at, now)}, {duration(took_of(last))}"
    return [
        state(row.state), schedule.id, schedule.job, schedule.describe, relative(schedule.next_due, now), ran,
        duration(row.p95), safe(row.why),
    ]  # fmt: skip


def _declared(target: Target, job: str | None) -> int:
    """Show what the code declares."""
    code = target.code()
    found = [one for one in code._registry.schedules.values() if job in (None, one.job.name)]
    if style_of().json:
        write_json([
            {"id": one.id, "job": one.job.name, "trigger": repr(one.trigger.original), "describe": one.trigger.describe(),
             "executor": one.job.executor, "overlap": one.job.overlap}
            for one in found
        ])  # fmt: skip
        return OK
    _say_code(target, code)
    if not found:
        click.echo("no schedules")
        return OK
    write_table(
        [
            Column("schedule", cut=True),
            Column("job", 3, cut=True),
            Column("when", 0, cut=True),
            Column("executor", 2),
        ],
        [[one.id, one.job.name, one.trigger.describe(), one.job.executor] for one in found],
    )
    return OK


def _say_code(target: Target, code: Scheduler) -> None:
    registry = code._registry
    say_where(
        f"from code, not running: {target.app} ({plural(len(registry.jobs), 'job')}, "
        f"{plural(len(registry.schedules), 'schedule')})"
    )


@click.command()
@click.argument("id")
@targets()
@writes()
def schedule(target: Target, id: str) -> int:
    """Show one schedule: its trigger, arguments, last runs and next due times."""

    async def ask() -> tuple[Row, list[Slot], str]:
        async with target.ledger() as ledger:
            row = known_row(id, await rows_of(ledger.scheduler))
            coming = [] if row.schedule.paused else await ledger.upcoming(row.schedule, 5)
            return row, coming, ledger.where

    row, coming, where = run_async(ask)
    found = row.schedule
    if style_of().json:
        write_json(schedule_json(found, row) | {
            "upcoming": [at for at, _ in coming], "runs": [run_json(run, brief=True) for run in (*row.live, *row.last)],
        })  # fmt: skip
        return OK
    say_where(where)
    utc = style_of().utc
    head = f"{bold(found.id)}  {state(row.state)}" + (f"  {safe(row.why)}" if row.why else "")
    click.echo(fit(head, terminal_width() or 10_000))
    click.echo(f"  job       {found.job}")
    click.echo(f"  when      {found.describe}")
    if found.args or found.kwargs:
        shown = schedule_json(found)
        given = [repr(one) for one in shown["args"]] + [
            f"{key}={one!r}" for key, one in shown["kwargs"].items()
        ]
        if given:
            click.echo(f"  with      {safe(', '.join(given))}")
    for at, note in coming:
        click.echo(f"  next      {moment(at, utc)}" + (f"  ! {note}" if note else ""))
    shown_runs = (*row.live, *row.last[:10])
    if shown_runs:
        write_table(
            [Column("due"), Column("state"), Column("took", 2, right=True), Column("run", 1)],
            [
                [moment(run.scheduled_for, utc), state(run.state), duration(took_of(run)), run.id]
                for run in shown_runs
            ],
        )
    return OK


def known_row(id: str, rows: list[Row]) -> Row:
    """Return the row of a schedule.

    Raises:
        Fault: there is none; near misses are suggested.

    """
    for row in rows:
        if row.schedule.id == id:
            return row
    raise Fault(NOT_FOUND, f"there is no schedule {id!r}", suggestion(id, [row.schedule.id for row in rows]))


async def suggest_schedule(ledger: Ledger, error: UnknownSchedule) -> Fault:
    """Return an unknown schedule as a fault that suggests near misses."""
    found = await ledger.scheduler.schedules()
    of_job = [one.id for one in found if one.job == error.id]
    hint = suggestion(error.id, [one.id for one in found])
    if of_job:
        hint = f"it is a job, whose schedules are: {', '.join(of_job[:8])}"
    return Fault(NOT_FOUND, f"there is no schedule {error.id!r}", hint)


@click.command()
@targets()
@writes()
def jobs(target: Target) -> int:
    """Show the jobs: of the code with --app, else those that the store's schedules and instances name."""
    if target.app is not None and target.url is None:
        code = target.code()
        if not style_of().json:
            _say_code(target, code)
        return _write_jobs([
            {"name": one.name, "executor": one.executor, "overlap": one.overlap, "priority": one.priority,
             "attempts": one.attempts, "tags": one.tags, "each_instance": one.each_instance,
             "timeout_seconds": None if one.timeout is None else one.timeout / 1e6,
             "function": f"{one.func.__module__}.{getattr(one.func, '__qualname__', one.name)}"}
            for one in sorted(code._registry.jobs.values(), key=lambda one: one.name)
        ])  # fmt: skip

    async def ask() -> tuple[dict[str, int] | list[dict[str, Any]], str]:
        async with target.ledger() as ledger:
            if not isinstance(ledger.scheduler, Scheduler):
                return await ledger.scheduler.jobs(), ledger.where
            names: dict[str, int] = {}
            for one in await ledger.scheduler.schedules():
                names[one.job] = names.get(one.job, 0) + 1
            for instance in await ledger.scheduler.instances():
                for name in instance.jobs:
                    names.setdefault(name, 0)
            return names, ledger.where

    names, where = run_async(ask)
    if isinstance(names, list):
        if not style_of().json:
            say_where(where)
        return _write_jobs(names)
    if style_of().json:
        write_json([{"name": name, "schedules": count} for name, count in sorted(names.items())])
        return OK
    say_where(where)
    if not names:
        click.echo("no jobs")
        return OK
    write_table(
        [Column("job", cut=True), Column("schedules", right=True)],
        [[name, str(count)] for name, count in sorted(names.items())],
    )
    return OK


def _write_jobs(known: list[dict[str, Any]]) -> int:
    """Write jobs with their options."""
    if style_of().json:
        write_json(known)
    elif not known:
        click.echo("no jobs")
    else:
        write_table(
            [Column("job", cut=True), Column("executor", 2), Column("timeout", 1, right=True),
             Column("attempts", 3, right=True), Column("overlap", 4)],
            [[one["name"], one["executor"], duration(one["timeout_seconds"]), str(one["attempts"]), one["overlap"]]
             for one in known],
        )  # fmt: skip
    return OK


@click.command()
@targets()
@writes()
def instances(target: Target) -> int:
    """Show the processes of the cluster, with their last heartbeat."""

    async def ask() -> tuple[list[Any], str]:
        async with target.ledger() as ledger:
            return await ledger.scheduler.instances(), ledger.where

    found, where = run_async(ask)
    if style_of().json:
        write_json([instance_json(one) for one in found])
        return OK
    say_where(where)
    if not found:
        click.echo("no instance is running")
        return OK
    now = present()
    write_table(
        [Column("instance"), Column("host", 1, cut=True), Column("pid", 2, right=True), Column("role", 3),
         Column("version", 6), Column("jobs", 5, right=True), Column("started", 4), Column("last beat", 1)],
        [[one.id, one.host, str(one.pid), one.role, one.version, str(len(one.jobs)),
          relative(one.started_at, now), relative(one.beat_at, now)] for one in found],
    )  # fmt: skip
    return OK
