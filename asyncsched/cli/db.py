"""``db plan``, ``db upgrade`` and ``db sql``: the tables of a store."""

from __future__ import annotations

import click

from asyncsched.cli.faults import BAD, OK, USAGE, Fault
from asyncsched.cli.options import style_of, writes
from asyncsched.cli.output import plural, write_json
from asyncsched.cli.target import run_async, say_where, shown

_store = click.option("--store", envvar="ASYNCSCHED_STORE", metavar="URL", help="The store.")


def _named(store: str | None) -> str:
    if store is None:
        raise Fault(
            USAGE, "no store was given", "--store sqlite:///jobs.db or postgresql://…, or ASYNCSCHED_STORE"
        )
    return store


@click.group()
def db() -> None:
    """The tables of a store: what they lack, the SQL for it, and bringing them up to date."""


@db.command()
@_store
@writes()
def plan(store: str | None) -> int:
    """Show the migrations that the tables lack. Exits with 1 if there are any."""
    from asyncsched.stores.migrations import plan as missing

    url = _named(store)
    steps = missing(url)
    if style_of().json:
        write_json([{"number": step.number, "name": step.name} for step in steps])
        return BAD if steps else OK
    say_where(f"store {shown(url)}")
    for step in steps:
        click.echo(step.name)
    if not steps:
        click.echo("the tables are up to date")
    return BAD if steps else OK


@db.command()
@_store
@click.option(
    "--after", type=int, help="The last migration that was applied; then the database is not asked."
)
@writes(json=False)
def sql(store: str | None, after: int | None) -> int:
    """Print the SQL that brings the tables up to date, to be executed in one transaction."""
    from asyncsched.stores.migrations import sql as text

    click.echo(text(_named(store), after), nl=False)
    return OK


@db.command()
@_store
@writes()
def upgrade(store: str | None) -> int:
    """Make the tables, or bring them up to date."""
    from asyncsched._scheduler.scheduler import Scheduler
    from asyncsched.stores.migrations import plan as missing

    url = _named(store)
    steps = missing(url)

    async def prepare() -> None:
        async with Scheduler(url, role="off"):
            pass

    if steps:
        run_async(prepare)
    if style_of().json:
        write_json([{"number": step.number, "name": step.name} for step in steps])
        return OK
    say_where(f"store {shown(url)}")
    click.echo(f"applied {plural(len(steps), 'migration')}" if steps else "the tables were up to date")
    return OK
