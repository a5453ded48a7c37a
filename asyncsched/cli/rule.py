"""Commands that change a schedule, or what becomes of it: pause, skip, reschedule, remove, and backfill."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from asyncsched._core.models import Schedule
from asyncsched.cli.faults import USAGE, Fault
from asyncsched.cli.operate import Said, acting, recorded, said_so
from asyncsched.cli.options import Moment, Span, style_of, targets, writes
from asyncsched.cli.output import moment, plural
from asyncsched.cli.target import Ledger, Target
from asyncsched.cli.views import schedule_json
from asyncsched.cli.when import cron_of
from asyncsched.triggers.interval import Interval

if TYPE_CHECKING:
    from asyncsched.abc import Trigger

job_option = click.option(
    "--job", help="This job, with all its schedules and one-offs, in place of one schedule."
)


Change = Callable[[Any, str], Awaitable[object]]
"""Changes the schedule, or the job, of a name."""


def _change(target: Target, id: str | None, job: str | None, schedule: Change, whole_job: Change) -> str:
    """Change a schedule, or a job with all its schedules and one-offs; return what was changed.

    Raises:
        Fault: neither was named, or both.

    """
    if (id is None) == (job is None):
        raise Fault(USAGE, "name a schedule, or a job by --job", "`asyncsched schedules` lists them")

    async def act(ledger: Ledger) -> None:
        if id is not None:
            await schedule(ledger.scheduler, id)
        elif job is not None:
            await whole_job(ledger.scheduler, job)

    acting(target, act)
    return id or f"job {job}"


@click.command()
@click.argument("id", required=False)
@job_option
@targets()
@recorded
@writes()
def pause(target: Target, id: str | None, job: str | None, said: Said) -> int:
    """Begin no more runs of a schedule, or of a job with all its schedules and one-offs."""
    subject = _change(
        target,
        id,
        job,
        lambda one, name: one.pause(name, **said),
        lambda one, name: one.pause_job(name, **said),
    )
    return said_so({"paused": id or job, **said}, f"paused {subject}")


@click.command()
@click.argument("id", required=False)
@job_option
@targets()
@recorded
@writes()
def resume(target: Target, id: str | None, job: str | None, said: Said) -> int:
    """Let a paused schedule or job go on from now; what was due meanwhile is not caught up."""
    subject = _change(
        target,
        id,
        job,
        lambda one, name: one.resume(name, **said),
        lambda one, name: one.resume_job(name, **said),
    )
    return said_so({"resumed": id or job}, f"resumed {subject}")


@click.command()
@click.argument("id")
@targets()
@recorded
@writes()
def skip(target: Target, id: str, said: Said) -> int:
    """Skip the next due time of a schedule, and only that."""

    async def act(ledger: Ledger) -> datetime:
        return await ledger.scheduler.skip_next(id, **said)

    at = acting(target, act)
    return said_so({"schedule": id, "skipped": at}, f"{id} skips {moment(at, style_of().utc)}")


@click.command()
@click.argument("id")
@click.argument("expression", required=False)
@click.option("--every", type=Span(), help="This period, such as 15m, in place of a cron expression.")
@click.option("--tz", "zone", default="UTC", show_default=True, help="The time zone of the expression.")
@targets()
@recorded
@writes()
def reschedule(
    target: Target, id: str, expression: str | None, every: float | None, zone: str, said: Said
) -> int:
    """Give a schedule another cron expression or period; it holds until the trigger in the code changes."""
    if (expression is None) == (every is None):
        raise Fault(
            USAGE, "give a cron expression, or a period by --every",
            f"asyncsched reschedule {id} '0 7 * * *' --tz Europe/Berlin, or --every 15m",
        )  # fmt: skip
    trigger: Trigger = cron_of(expression, zone) if expression is not None else Interval(seconds=every or 0)

    async def act(ledger: Ledger) -> Schedule:
        return await ledger.scheduler.reschedule(id, trigger, **said)

    found = acting(target, act, code=True)
    return said_so(
        schedule_json(found),
        f"{id} is now due {found.describe}, next {moment(found.next_due, style_of().utc)}",
    )


@click.command()
@click.argument("id")
@targets()
@recorded
@writes()
def remove(target: Target, id: str, said: Said) -> int:
    """Remove a schedule that was added at run time, or left the code; its history stays."""

    async def act(ledger: Ledger) -> None:
        await ledger.scheduler.remove(id, **said)

    acting(target, act)
    return said_so({"removed": id}, f"removed {id}")


@click.command()
@click.argument("id")
@click.option("--from", "start", type=Moment(), required=True, help="The first moment.")
@click.option("--to", "end", type=Moment(), required=True, help="The last moment.")
@click.option("--all", "every", is_flag=True, help="Also due times that had a run.")
@click.option("--dry-run", is_flag=True, help="Count them, and change nothing.")
@targets()
@recorded
@writes()
def backfill(
    target: Target, id: str, start: datetime, end: datetime, every: bool, dry_run: bool, said: Said
) -> int:
    """Run the due times of a stretch of the past that got no run."""

    async def act(ledger: Ledger) -> int:
        return await ledger.scheduler.backfill(id, start, end, not every, dry_run, **said)

    count = acting(target, act, code=True)
    text = f"{plural(count, 'due time')} {'would be run' if dry_run else 'will be run'}"
    return said_so({"dry_run": dry_run, "count": count}, text)
