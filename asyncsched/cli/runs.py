"""Commands about runs: ``runs``, ``run``, ``failures``."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import click

from asyncsched._core.models import Run
from asyncsched.cli.faults import BAD, OK, USAGE, Fault
from asyncsched.cli.options import Moment, Span, style_of, targets, writes
from asyncsched.cli.output import (
    Column,
    bold,
    duration,
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
from asyncsched.cli.target import Target, run_async, say_where
from asyncsched.cli.views import error_of, result_of, run_json, took_of

_STATES = ["pending", "running", "succeeded", "failed", "timed_out", "cancelled", "lost"]


@click.command()
@click.option("--job", help="Only runs of this job.")
@click.option("--schedule", help="Only runs of this schedule.")
@click.option(
    "--state", "states", multiple=True, type=click.Choice(_STATES), help="Only these; repeat for several."
)
@click.option("--tag", help="Only runs with this tag.")
@click.option("--key", help="Only the runs of this key.")
@click.option("--since", type=Moment(), help="Only runs due from this moment on, such as -2h.")
@click.option("--until", type=Moment(), help="Only runs due up to this moment.")
@click.option(
    "-n", "--limit", type=click.IntRange(1, 100_000), default=30, show_default=True, help="The most runs."
)
@click.option("--before", metavar="RUN", help="Only runs after this one in the list, to page on.")
@targets()
@writes()
def runs(
    target: Target, job: str | None, schedule: str | None, states: tuple[str, ...], tag: str | None,
    key: str | None, since: datetime | None, until: datetime | None, limit: int, before: str | None,
) -> int:  # fmt: skip
    """Show the runs, newest due first."""

    async def ask() -> tuple[list[Run], str]:
        async with target.ledger() as ledger:
            found = await ledger.scheduler.runs(
                job=job, schedule=schedule, state=states or None, tag=tag, key=key, start=since, end=until,
                limit=limit, before=before,
            )  # fmt: skip
            return found, ledger.where

    found, where = run_async(ask)
    if style_of().json:
        write_json([run_json(run) for run in found])
        return OK
    say_where(where)
    if not found:
        click.echo("no runs")
        return OK
    _write_runs(found)
    if len(found) == limit:
        click.echo(f"the newest {limit}; go on with --before {found[-1].id}, or more with --limit", err=True)
    return OK


_NARROW = 120
"""The columns of a terminal below which a due time is told as a distance, so that more beside it is shown."""


def _write_runs(found: list[Run]) -> None:
    utc, width, now = style_of().utc, terminal_width(), present()

    def due_of(run: Run) -> str:
        return moment(run.due, utc) if width is None or width >= _NARROW else relative(run.due, now)

    write_table(
        [Column("state"), Column("run", 1), Column("job", cut=True), Column("due", 2), Column("late", 5, right=True),
         Column("took", 3, right=True), Column("attempt", 6, right=True), Column("origin", 7),
         Column("error", 4, cut=True)],
        [_cells(run, due_of(run)) for run in found],
    )  # fmt: skip


def _cells(run: Run, due: str) -> list[str]:
    return [
        state(run.state), run.id, run.job, due, duration(run.late), duration(took_of(run)),
        f"{run.attempt}/{run.max_attempts}", run.origin, safe(error_of(run)),
    ]  # fmt: skip


@click.command()
@click.argument("target_or_run", metavar="APP|RUN")
@click.argument("job", required=False)
@click.argument("arguments", nargs=-1)
@click.option(
    "--arg", "named", multiple=True, metavar="NAME=VALUE", help="An argument of the job; JSON or text."
)
@click.option("--timeout", type=Span(), help="The longest that the run may take, such as 10m.")
@click.option("--backend", type=click.Choice(["asyncio", "trio"]), default="asyncio", show_default=True)
@targets()
@writes()
def run(
    target: Target, target_or_run: str, job: str | None, arguments: tuple[str, ...], named: tuple[str, ...],
    timeout: float | None, backend: str,
) -> int:  # fmt: skip
    """Run one job of an app once: `run module:scheduler JOB`; or show one run: `run ID`.

    With APP JOB it starts the executors, runs the job's function with its retries and timeout, prints the result, and
    exits with 0 or 1: for cron, systemd timers and Kubernetes CronJobs. Nothing else of the app is started, and no
    other schedule fires.
    """
    if job is not None:
        from asyncsched.cli.worker import run_once

        return run_once(target_or_run, job, arguments, named, timeout, backend)
    if ":" in target_or_run:
        raise Fault(USAGE, "run: name the job, too", f"asyncsched run {target_or_run} JOB")

    async def ask() -> tuple[Run, str]:
        async with target.ledger() as ledger:
            return await ledger.scheduler.run(target_or_run), ledger.where

    found, where = run_async(ask)
    if style_of().json:
        write_json(run_json(found))
        return OK
    say_where(where)
    _show(found)
    return OK


def _show(run: Run) -> None:
    utc = style_of().utc
    click.echo(f"{bold(run.job)}  {state(run.state)}" + (f"  {safe(error_of(run))}" if error_of(run) else ""))
    given = [repr(one) for one in run_json(run)["args"]]
    given += [f"{name}={value!r}" for name, value in run_json(run)["kwargs"].items()]
    lines = [
        ("run", run.id), ("schedule", run.schedule or "–"), ("origin", run.origin),
        ("due", moment(run.scheduled_for, utc)),
        ("began", moment(run.started_at, utc) + (f", {duration(run.late)} late" if run.late is not None else "")),
        ("ended", moment(run.finished_at, utc) + f", after {duration(took_of(run))}"),
        ("attempt", f"{run.attempt} of {run.max_attempts}"), ("executor", run.executor),
        ("instance", run.instance or "–"), ("key", run.key or ""), ("tags", ", ".join(run.tags)),
        ("with", ", ".join(given)), ("result", "" if run.result is None else repr(result_of(run))),
    ]  # fmt: skip
    if run.progress is not None:
        total = "" if run.progress.total is None else f" of {run.progress.total:g}"
        lines.append(("progress", f"{run.progress.done:g}{total} {run.progress.message}"))
    for name, value in lines:
        if value:
            click.echo(f"  {name:<9} {safe(value)}")
    for one in run.attempts[-5:]:
        error = f"  {one.error_type}: {one.message}" if one.error_type else ""
        click.echo(f"  attempt {one.number}  {moment(one.started_at, utc)}  {state(one.state)}{safe(error)}")
    if run.traceback:
        click.echo(safe(run.traceback.rstrip()))


@click.command()
@click.option("--job", help="Only those of this job.")
@click.option("--schedule", help="Only those of this schedule.")
@click.option("--since", type=Span(), help="Only those that ended within this time, such as 24h.")
@click.option(
    "-n", "--limit", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="The most runs."
)
@targets()
@writes()
def failures(target: Target, job: str | None, schedule: str | None, since: float | None, limit: int) -> int:
    """Show the runs that failed for good, by job and error. Exits with 1 if there are any."""

    async def ask() -> tuple[list[Run], str]:
        async with target.ledger() as ledger:
            span = None if since is None else timedelta(seconds=since)
            found = await ledger.scheduler.dead_letters(job=job, schedule=schedule, since=span, limit=limit)
            return found, ledger.where

    found, where = run_async(ask)
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in found:
        groups.setdefault((run.job, run.error_type or run.why or run.state), []).append(run)
    order = sorted(groups.items(), key=lambda item: -len(item[1]))
    if style_of().json:
        write_json([
            {"job": name, "error_type": error, "count": len(members), "states": Counter(one.state for one in members),
             "first": members[-1].due, "last": members[0].due, "message": members[0].message,
             "runs": [one.id for one in members]}
            for (name, error), members in order
        ])  # fmt: skip
        return BAD if found else OK
    say_where(where)
    if not found:
        click.echo("no failures")
        return OK
    now = present()
    write_table(
        [Column("runs", right=True), Column("job", cut=True), Column("error", cut=True), Column("last", 1),
         Column("message", 2, cut=True), Column("newest run", 3)],
        [[str(len(members)), name, error, relative(members[0].finished_at, now),
          safe(" ".join(members[0].message.split())), members[0].id] for (name, error), members in order],
    )  # fmt: skip
    click.echo(
        f"{plural(len(found), 'run')}; `asyncsched requeue --job {order[0][0][0]}` runs those of {order[0][0][0]} again",
        err=True,
    )
    return BAD
