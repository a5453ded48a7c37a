"""``tail``, and what it shares with ``top``: the ledger, looked at again and again until Ctrl-C."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import click
from anyio.streams.memory import MemoryObjectReceiveStream

from asyncsched._core.errors import StoreError
from asyncsched._core.models import Run
from asyncsched.cli.faults import OK, UNREACHABLE, Fault
from asyncsched.cli.options import Span, style_of, targets, writes
from asyncsched.cli.output import (
    dim,
    duration,
    fit,
    moment,
    safe,
    state,
    terminal_width,
    write_json_line,
)
from asyncsched.cli.target import Ledger, Target, run_async, say_where
from asyncsched.cli.views import error_of, run_json, took_of

_RECENT = 500
_WIDE = 120

every_option = click.option("--every", type=Span(), default=1.0, show_default="1s", help="How often to look.")
times_option = click.option("--times", type=click.IntRange(1), help="How many looks; without end by default.")


Keys = MemoryObjectReceiveStream[str] | None


@asynccontextmanager
async def no_keys() -> AsyncIterator[Keys]:
    """Yield no keys."""
    yield None


def looking(
    target: Target, times: int | None, look: Callable[[Ledger], Awaitable[None]],
    wait: Callable[[Ledger, Keys], Awaitable[bool]], tell: Callable[[str], None],
    keys: Callable[[], AbstractAsyncContextManager[Keys]] = no_keys,
) -> int:  # fmt: skip
    """Open the ledger and look again and again; a store that is away is told, and looked for again.

    Args:
        target: the target of the command.
        times: how many looks; ``None`` without end.
        look: one look.
        wait: waits between two looks, and returns whether it is over.
        tell: tells that the store does not answer.
        keys: where the keys come from.

    """

    async def within() -> None:
        async with target.ledger() as ledger, keys() as pressed:
            say_where(ledger.where)
            looks = 0
            while True:
                try:
                    await look(ledger)
                except StoreError as error:
                    tell(f"the store does not answer: {error}")
                except Fault as error:
                    if error.code != UNREACHABLE or not looks:
                        raise
                    tell(error.message)
                looks += 1
                if looks == times or await wait(ledger, pressed):
                    return

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

    async def wait(ledger: Ledger, keys: Keys) -> bool:
        await anyio.sleep(every)
        return False

    return looking(target, times, look, wait, lambda words: click.echo(dim(words), err=True))


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
