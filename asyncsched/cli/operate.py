"""Commands that change something: each prints what it did, with ``--note`` and the author for the record."""

from __future__ import annotations

import getpass
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import anyio
import click

from asyncsched._core.errors import UnknownJob, UnknownSchedule
from asyncsched._core.models import Run
from asyncsched._scheduler.handle import RunHandle
from asyncsched.cli.faults import BAD, NOT_FOUND, OK, REFUSED, USAGE, Fault, suggestion
from asyncsched.cli.look import suggest_schedule
from asyncsched.cli.options import Moment, Span, given, style_of, targets, writes
from asyncsched.cli.output import duration, moment, plural, safe, state, write_json
from asyncsched.cli.target import Ledger, Target, run_async, say_where
from asyncsched.cli.views import error_of, result_of, run_json, took_of

T = TypeVar("T")

_LOOKS = 0.2
"""Seconds between two looks at a run that is waited for."""

by_option = click.option("--by", default="", help="The author; by default the name of the system's user.")
note_option = click.option("--note", default="", help="The reason, kept for the others.")
wait_option = click.option(
    "--wait", is_flag=True, help="Wait for the outcome, and exit with 1 unless it succeeded."
)


def author(by: str) -> str:
    """Return the author of a change: as given, else the system's user."""
    if by:
        return by
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def acting(target: Target, act: Callable[[Ledger], Awaitable[T]], *, code: bool = False) -> T:
    """Open the ledger, tell where, and do something there.

    Args:
        target: the target of the command.
        act: what to do.
        code: whether the job's options are needed, which only the code has.

    """

    async def within() -> T:
        async with target.ledger() as ledger:
            say_where(ledger.where)
            if code and not ledger.has_code:
                raise Fault(
                    REFUSED, "this makes a run, and a job's options (retry, executor, limits) stand in its code",
                    "name the code, too: --app module:scheduler",
                )  # fmt: skip
            try:
                return await act(ledger)
            except UnknownSchedule as error:
                raise await suggest_schedule(ledger, error) from None
            except UnknownJob as error:
                known = ledger.scheduler._registry.jobs
                raise Fault(NOT_FOUND, f"there is no job {error.id!r}", suggestion(error.id, known)) from None

    return run_async(within)


async def _outcome(handle: RunHandle[Any]) -> Run:
    """Look at a run until it has ended: this process is no instance that would be told."""
    while not (found := await handle.status()).finished:  # noqa: ASYNC110
        await anyio.sleep(_LOOKS)
    return found


def _told(run: Run, wait: bool) -> int:
    """Write the run that was made, or its outcome."""
    if style_of().json:
        write_json(run_json(run))
    elif not wait:
        click.echo(f"made run {run.id} of {run.job}, due {moment(run.due, style_of().utc)}")
    else:
        took = f" after {duration(took_of(run))}" if took_of(run) is not None else ""
        error = f": {safe(error_of(run))}" if error_of(run) else ""
        click.echo(f"run {run.id} of {run.job}: {state(run.state)}{took}{error}")
        if run.result is not None:
            click.echo(f"result: {safe(repr(result_of(run)))}")
    return OK if not wait or run.state == "succeeded" else BAD


@click.command("run-now")
@click.argument("id")
@wait_option
@targets()
@writes()
def run_now(target: Target, id: str, wait: bool) -> int:
    """Run a schedule now, whatever its next due time; an instance of the cluster takes the run."""

    async def act(ledger: Ledger) -> Run:
        handle = await ledger.scheduler.run_now(id)
        return await _outcome(handle) if wait else await handle.status()

    return _told(acting(target, act, code=True), wait)


@click.command()
@click.argument("job")
@click.argument("arguments", nargs=-1)
@click.option("--arg", "named", multiple=True, metavar="NAME=VALUE", help="A named argument; JSON or text.")
@click.option("--delay", type=Span(), help="Begin after this time, such as 10m.")
@click.option("--at", type=Moment(), help="Begin at this moment.")
@click.option("--key", help="While a run of this key is live, no second one is made.")
@wait_option
@targets()
@writes()
def once(
    target: Target, job: str, arguments: tuple[str, ...], named: tuple[str, ...], delay: float | None,
    at: datetime | None, key: str | None, wait: bool,
) -> int:  # fmt: skip
    """Run a job once, with arguments."""

    async def act(ledger: Ledger) -> Run:
        args, kwargs = given(arguments, named)
        scheduler: Any = ledger.scheduler
        handle = await scheduler.schedule_once(job, *args, kwargs=kwargs, delay=delay, at=at, key=key)
        return await _outcome(handle) if wait else await handle.status()

    return _told(acting(target, act, code=True), wait)


@click.command()
@click.argument("id")
@note_option
@by_option
@targets()
@writes()
def pause(target: Target, id: str, note: str, by: str) -> int:
    """Begin no more runs of a schedule, or of a job with all its schedules and one-offs."""

    async def act(ledger: Ledger) -> None:
        await ledger.scheduler.pause(id, note=note, by=author(by))

    acting(target, act)
    return _said({"paused": id, "note": note, "by": author(by)}, f"paused {id}")


@click.command()
@click.argument("id")
@targets()
@writes()
def resume(target: Target, id: str) -> int:
    """Let a paused schedule or job go on from now; what was due meanwhile is not caught up."""

    async def act(ledger: Ledger) -> None:
        await ledger.scheduler.resume(id)

    acting(target, act)
    return _said({"resumed": id}, f"resumed {id}")


def _said(as_json: dict[str, Any], text: str) -> int:
    if style_of().json:
        write_json(as_json)
    else:
        click.echo(text)
    return OK


@click.command()
@click.argument("run_ids", nargs=-1, metavar="RUN...")
@click.option("--job", help="All live runs of this job.")
@click.option("--schedule", help="All live runs of this schedule.")
@click.option("--tag", help="All live runs with this tag.")
@targets()
@writes()
def cancel(
    target: Target, run_ids: tuple[str, ...], job: str | None, schedule: str | None, tag: str | None
) -> int:
    """Cancel runs, one by one or all that match. A running one is asked to end."""
    if not run_ids and job is None and schedule is None and tag is None:
        raise Fault(USAGE, "name the runs to cancel", "asyncsched cancel RUN…, or --job, --schedule or --tag")

    async def act(ledger: Ledger) -> list[str]:
        scheduler = ledger.scheduler
        if not run_ids:
            return [str(await scheduler.cancel_many(job=job, schedule=schedule, tag=tag))]
        ended = [id for id in run_ids if (await scheduler.run(id)).finished]
        for id in run_ids if not ended else ():
            with anyio.move_on_after(1):  # a running one ends when its instance has heard of it
                await scheduler.handle(id).cancel()
        return ended

    found = acting(target, act)
    if not run_ids:
        return _said({"cancelled": int(found[0])}, f"cancelled {plural(int(found[0]), 'run')}")
    if found:
        raise Fault(REFUSED, f"{', '.join(found)} had ended already", "`asyncsched run ID` shows how")
    return _said({"cancelled": list(run_ids)}, f"asked {plural(len(run_ids), 'run')} to end")


@click.command()
@click.argument("run_ids", nargs=-1, metavar="RUN...")
@click.option("--job", help="All failed runs of this job.")
@click.option("--schedule", help="All failed runs of this schedule.")
@click.option("--since", type=Span(), help="Those that ended within this time, such as 24h.")
@click.option("--again", is_flag=True, help="Also runs that were run again before.")
@click.option("--dry-run", is_flag=True, help="Show which, and change nothing.")
@targets()
@writes()
def requeue(
    target: Target, run_ids: tuple[str, ...], job: str | None, schedule: str | None, since: float | None,
    again: bool, dry_run: bool,
) -> int:  # fmt: skip
    """Run failed runs again, one by one or all that match."""
    if not run_ids and job is None and schedule is None and since is None:
        raise Fault(
            USAGE, "name the runs to run again", "asyncsched requeue RUN…, or --job, --schedule or --since"
        )
    span = None if since is None else timedelta(seconds=since)

    async def act(ledger: Ledger) -> list[str]:
        scheduler = ledger.scheduler
        if dry_run:
            if run_ids:
                return [(await scheduler.run(id)).id for id in run_ids]
            letters = await scheduler.dead_letters(job=job, schedule=schedule, since=span, limit=100_000)
            return [run.id for run in letters]
        handles: list[RunHandle[Any]] = []
        for id in run_ids:
            handles += await scheduler.requeue(id, again=again)
        if not run_ids:
            handles += await scheduler.requeue(job=job, schedule=schedule, since=span)
        return [handle.id for handle in handles]

    found = acting(target, act, code=not dry_run)
    words = "would run again" if dry_run else "run again as"
    text = "\n".join(found) if found else "no failed runs match"
    return _said(
        {"dry_run": dry_run, "runs": found},
        f"{plural(len(found), 'run')} {words}:\n{text}" if found else text,
    )


@click.command()
@click.argument("run_id", metavar="RUN")
@note_option
@targets()
@writes()
def dismiss(target: Target, run_id: str, note: str) -> int:
    """Put a failed run aside: it leaves the list of failures and stays in the history with the note."""

    async def act(ledger: Ledger) -> None:
        await ledger.scheduler.dismiss(run_id, note)

    acting(target, act)
    return _said({"dismissed": run_id, "note": note}, f"dismissed {run_id}")


@click.command()
@click.argument("id")
@click.option("--from", "start", type=Moment(), required=True, help="The first moment.")
@click.option("--to", "end", type=Moment(), required=True, help="The last moment.")
@click.option("--all", "every", is_flag=True, help="Also due times that had a run.")
@click.option("--dry-run", is_flag=True, help="Count them, and change nothing.")
@targets()
@writes()
def backfill(target: Target, id: str, start: datetime, end: datetime, every: bool, dry_run: bool) -> int:
    """Run the due times of a stretch of the past that got no run."""

    async def act(ledger: Ledger) -> int:
        return await ledger.scheduler.backfill(id, start, end, only_missed=not every, dry_run=dry_run)

    count = acting(target, act, code=True)
    text = f"{plural(count, 'due time')} {'would be run' if dry_run else 'will be run'}"
    return _said({"dry_run": dry_run, "count": count}, text)
