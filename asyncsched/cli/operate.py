"""Commands that change something: each prints what it did, with ``--note`` and the author for the record."""

from __future__ import annotations

import getpass
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

import anyio
import click

from asyncsched._core.errors import UnknownJob, UnknownSchedule
from asyncsched._core.models import Run
from asyncsched._scheduler.audit import via
from asyncsched._scheduler.handle import RunHandle
from asyncsched.cli.faults import BAD, NOT_FOUND, OK, REFUSED, USAGE, Fault, suggestion
from asyncsched.cli.look import suggest_schedule
from asyncsched.cli.options import Moment, Span, given, style_of, targets, writes
from asyncsched.cli.output import duration, moment, plural, safe, state, write_json
from asyncsched.cli.target import Ledger, Target, run_async, say_where
from asyncsched.cli.views import error_of, result_of, run_json, took_of

if TYPE_CHECKING:
    from asyncsched.cli.remote import RemoteHandle

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Said(TypedDict):
    """The note and the author of a change, as the keyword arguments of a call."""

    note: str
    by: str


_LOOKS = 0.2
"""Seconds between two looks at a run that is waited for."""

wait_option = click.option(
    "--wait", is_flag=True, help="Wait for the outcome, and exit with 1 unless it succeeded."
)


def recorded(command: F) -> F:
    """Give a command ``--note`` and ``--by``, gathered as the keyword arguments of a call in its argument ``said``."""

    def with_record(*args: Any, note: str, by: str, **rest: Any) -> Any:
        target = rest["target"]
        if by and target.url is not None:
            raise Fault(
                USAGE, "--by and --url exclude each other", "the author is the one that the page knows you by"
            )
        return command(*args, said={"note": note, "by": "" if target.url else author(by)}, **rest)

    with_record.__name__, with_record.__doc__ = command.__name__, command.__doc__
    with_record.__dict__.update(command.__dict__)
    note = click.option("--note", default="", help="The reason, for the record of what people did.")
    by = click.option("--by", default="", help="The author; by default the name of the system's user.")
    return cast("F", by(note(with_record)))


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
                    REFUSED, "this needs a job's options (retry, executor, limits), which stand in its code",
                    "name the code, too, by --app module:scheduler, or a running app by --url",
                )  # fmt: skip
            try:
                with via("cli"):
                    return await act(ledger)
            except UnknownSchedule as error:
                raise await suggest_schedule(ledger, error) from None
            except UnknownJob as error:
                known = await ledger.job_names()
                raise Fault(NOT_FOUND, f"there is no job {error.id!r}", suggestion(error.id, known)) from None

    return run_async(within)


async def _outcome(handle: RunHandle[Any] | RemoteHandle) -> Run:
    """Look at a run until it has ended: this process is no instance that would be told."""
    while not (found := await handle.status()).finished:  # noqa: ASYNC110
        await anyio.sleep(_LOOKS)
    return found


def _told(run: Run, wait: bool, created: bool = True) -> int:
    """Write the run that was made, or that has the key already; or its outcome."""
    if style_of().json:
        write_json(run_json(run) | {"created": created})
    elif not wait:
        made = "made run" if created else "the key has a run already:"
        click.echo(f"{made} {run.id} of {run.job}, due {moment(run.due, style_of().utc)}")
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
@recorded
@writes()
def run_now(target: Target, id: str, wait: bool, said: Said) -> int:
    """Run a schedule now, whatever its next due time; an instance of the cluster takes the run."""

    async def act(ledger: Ledger) -> Run:
        handle = await ledger.scheduler.run_now(id, **said)
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

    async def act(ledger: Ledger) -> tuple[Run, bool]:
        args, kwargs = given(arguments, named)
        scheduler: Any = ledger.scheduler
        handle = await scheduler.schedule_once(job, *args, kwargs=kwargs, delay=delay, at=at, key=key)
        return await _outcome(handle) if wait else await handle.status(), handle.created

    run, created = acting(target, act, code=True)
    return _told(run, wait, created)


@click.command()
@click.argument("run_ids", nargs=-1, metavar="RUN...")
@click.option("--job", help="All live runs of this job.")
@click.option("--schedule", help="All live runs of this schedule.")
@click.option("--tag", help="All live runs with this tag.")
@click.option("--key", help="The live run of this key; with --job, of this job only.")
@targets()
@recorded
@writes()
def cancel(
    target: Target, run_ids: tuple[str, ...], job: str | None, schedule: str | None, tag: str | None, key: str | None,
    said: Said,
) -> int:  # fmt: skip
    """Cancel runs, one by one or all that match. A running one is asked to end."""
    if not run_ids and all(one is None for one in (job, schedule, tag, key)):
        raise Fault(
            USAGE, "name the runs to cancel", "asyncsched cancel RUN…, or --job, --schedule, --tag or --key"
        )

    async def act(ledger: Ledger) -> list[str]:
        scheduler = ledger.scheduler
        if not run_ids:
            return [str(await scheduler.cancel_many(job=job, schedule=schedule, tag=tag, key=key, **said))]
        ended = [id for id in run_ids if (await scheduler.run(id)).finished]
        for id in run_ids if not ended else ():
            await scheduler.cancel(id, **said)
        return ended

    found = acting(target, act)
    if not run_ids:
        return said_so({"cancelled": int(found[0])}, f"cancelled {plural(int(found[0]), 'run')}")
    if found:
        raise Fault(REFUSED, f"{', '.join(found)} had ended already", "`asyncsched run ID` shows how")
    return said_so({"cancelled": list(run_ids)}, f"asked {plural(len(run_ids), 'run')} to end")


@click.command()
@click.argument("run_ids", nargs=-1, metavar="RUN...")
@click.option("--job", help="All failed runs of this job.")
@click.option("--schedule", help="All failed runs of this schedule.")
@click.option("--since", type=Span(), help="Those that ended within this time, such as 24h.")
@click.option("--again", is_flag=True, help="Also runs that were run again before.")
@click.option("--dry-run", is_flag=True, help="Show which, and change nothing.")
@targets()
@recorded
@writes()
def requeue(
    target: Target, run_ids: tuple[str, ...], job: str | None, schedule: str | None, since: float | None,
    again: bool, dry_run: bool, said: Said,
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
        handles: list[RunHandle[Any] | RemoteHandle] = []
        for id in run_ids:
            handles += await scheduler.requeue(id, again=again, **said)
        if not run_ids:
            handles += await scheduler.requeue(job=job, schedule=schedule, since=span, **said)
        return [handle.id for handle in handles]

    found = acting(target, act, code=not dry_run)
    words = "would run again" if dry_run else "run again as"
    text = "\n".join(found) if found else "no failed runs match"
    return said_so(
        {"dry_run": dry_run, "runs": found},
        f"{plural(len(found), 'run')} {words}:\n{text}" if found else text,
    )


@click.command()
@click.argument("run_id", metavar="RUN")
@targets()
@recorded
@writes()
def dismiss(target: Target, run_id: str, said: Said) -> int:
    """Put a failed run aside: it leaves the list of failures and stays in the history with the note."""

    async def act(ledger: Ledger) -> None:
        await ledger.scheduler.dismiss(run_id, **said)

    acting(target, act)
    return said_so({"dismissed": run_id, "note": said["note"]}, f"dismissed {run_id}")


def said_so(as_json: dict[str, Any], text: str) -> int:
    """Write what was done."""
    if style_of().json:
        write_json(as_json)
    else:
        click.echo(text)
    return OK
