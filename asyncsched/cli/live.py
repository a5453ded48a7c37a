"""``top`` and ``tail``: the store, looked at again and again until Ctrl-C."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio
import click

from asyncsched._core.errors import StoreError
from asyncsched._core.models import Run
from asyncsched.cli.faults import OK, UNREACHABLE, Fault
from asyncsched.cli.options import Span, style_of, targets, writes
from asyncsched.cli.output import (
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
    write_json_line,
)
from asyncsched.cli.target import Ledger, Target, run_async, say_where
from asyncsched.cli.views import Row, counts, error_of, rows_of, run_json, took_of

if TYPE_CHECKING:
    from rich.console import RenderableType

_RECENT = 500
_WIDE = 120

every_option = click.option("--every", type=Span(), default=1.0, show_default="1s", help="How often to look.")
times_option = click.option("--times", type=click.IntRange(1), help="How many looks; without end by default.")


def _looking(
    target: Target, every: float, times: int | None, look: Callable[[Ledger], Awaitable[None]]
) -> int:
    """Open the ledger and look again and again; a store that is away is told, and looked for again."""

    async def within() -> None:
        async with target.ledger() as ledger:
            say_where(ledger.where)
            looks = 0
            while True:
                try:
                    await look(ledger)
                except StoreError as error:
                    click.echo(dim(f"the store does not answer: {error}"), err=True)
                except Fault as error:
                    if error.code != UNREACHABLE or not looks:
                        raise
                    click.echo(dim(error.message), err=True)
                looks += 1
                if times is not None and looks >= times:
                    return
                await anyio.sleep(every)

    try:
        run_async(within)
    except KeyboardInterrupt:
        return OK
    return OK


@click.command()
@click.option("--job", help="Only runs of this job.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, _RECENT),
    default=10,
    show_default=True,
    help="Earlier lines first.",
)
@every_option
@times_option
@targets()
@writes()
def tail(target: Target, job: str | None, lines: int, every: float, times: int | None) -> int:
    """Write one line for each run that is made, begins, waits again or ends, until Ctrl-C; with --json one object."""
    known: dict[str, tuple[str, int]] = {}
    first = True

    async def look(ledger: Ledger) -> None:
        nonlocal first
        found = await ledger.scheduler.runs(job=job, limit=_RECENT)
        changed = [run for run in reversed(found) if known.get(run.id) != (run.state, run.attempt)]
        known.clear()
        known.update({run.id: (run.state, run.attempt) for run in found})
        for run in changed[max(0, len(changed) - lines) :] if first else changed:
            _line(run)
        first = False

    return _looking(target, every, times, look)


def _line(run: Run) -> None:
    if style_of().json:
        write_json_line(run_json(run, brief=True))
        return
    at, width = moment(run.finished_at or run.started_at or run.due, style_of().utc), terminal_width()
    took = f"  after {duration(took_of(run))}" if run.finished else ""
    error = f"  {safe(error_of(run))}" if error_of(run) and run.state != "succeeded" else ""
    if width is None or width >= _WIDE:
        click.echo(f"{at}  {state(run.state)}  {run.job}{took}{error}  {dim(run.id)}")
    else:  # one line for each, without the date and the run's id
        click.echo(f"{at[11:19]}  {state(run.state)}  {fit(f'{run.job}{took}{error}', width - 24)}")


@click.command()
@every_option
@times_option
@targets()
@writes(json=False)
def top(target: Target, every: float, times: int | None) -> int:
    """Show the overview, live, with the progress of what runs; Ctrl-C ends it."""
    from rich.console import Console
    from rich.live import Live

    console = Console(no_color=style_of().color == "never" or None)
    with Live(console=console, auto_refresh=False, screen=console.is_terminal and times is None) as screen:

        async def look(ledger: Ledger) -> None:
            rows = await rows_of(ledger.scheduler)
            instances = await ledger.scheduler.instances()
            screen.update(_overview(rows, len(instances), console.height), refresh=True)

        return _looking(target, every, times, look)


def _overview(rows: list[Row], instances: int, height: int) -> RenderableType:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    now, found = present(), counts(rows)
    head = f"{now.astimezone():%H:%M:%S}  {plural(len(rows), 'schedule')}, {plural(instances, 'instance')}"
    head += "".join(f" · {count} {word.replace('_', ' ')}" for word, count in found.items() if count)
    table = Table(box=None, expand=True, pad_edge=False)
    for title in ("state", "schedule", "next", "last", "progress"):
        table.add_column(title, no_wrap=True, overflow="ellipsis", ratio=2 if title == "schedule" else None)
    for row in rows[: max(1, height - 3)]:
        last = row.last[0] if row.last else None
        ran = "–" if last is None else f"{relative(last.finished_at, now)}, {duration(took_of(last))}"
        live = next((run for run in row.live if run.progress is not None), None)
        bar: RenderableType = ""
        if live is not None and live.progress is not None:
            bar = ProgressBar(live.progress.total, live.progress.done, width=16)
        cells = Text.from_ansi(state(row.state)), row.schedule.id, relative(row.schedule.next_due, now), ran
        table.add_row(*cells, bar)
    return Group(Text(head, style="bold"), table)
