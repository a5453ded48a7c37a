"""Commands that show how it stands: ``schedules``, ``schedule``, ``jobs`` and ``instances``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from asyncsched._core.errors import UnknownSchedule
from asyncsched._scheduler.scheduler import Scheduler
from asyncsched.cli.faults import NOT_FOUND, OK, Fault, suggestion
from asyncsched.cli.options import style_of, targets, writes
from asyncsched.cli.output import (
    Column,
    bold,
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
from asyncsched.cli.story import Step, story_of
from asyncsched.cli.target import Ledger, Target, run_async, say_where
from asyncsched.cli.views import (
    Row,
    instance_json,
    rows_of,
    run_json,
    schedule_json,
    took_of,
)


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

    async def ask() -> tuple[Row, list[Slot], list[Step], str]:
        async with target.ledger() as ledger:
            row = known_row(id, await rows_of(ledger.scheduler))
            coming = [] if row.schedule.paused else await ledger.upcoming(row.schedule, 5)
            story = await story_of(ledger, id, (*row.live, *row.last[:10]))
            return row, coming, story, ledger.where

    row, coming, story, where = run_async(ask)
    found = row.schedule
    if style_of().json:
        write_json(schedule_json(found, row) | {
            "upcoming": [at for at, _ in coming], "runs": [run_json(run, brief=True) for run in (*row.live, *row.last)],
            "without_a_run": [{"last": one.at, "reason": one.state, "text": one.why} for one in story if one.run is None],
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
    if story:
        write_table(
            [Column("due"), Column("state"), Column("took", 2, right=True), Column("why", 1, cut=True), Column("run", 3)],
            [[one.due, state(one.state), one.took, safe(one.why), one.run or "–"] for one in story[:12]],
        )  # fmt: skip
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
    if not of_job and error.id in {one.job for one in await ledger.scheduler.runs(job=error.id, limit=1)}:
        hint = f"it is a job without a schedule: `asyncsched runs --job {error.id}` shows its runs"
    elif of_job:
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
