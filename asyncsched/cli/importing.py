"""``import``: code made of a crontab, of APScheduler 3, of Celery beat or of ``repeat_every``, with a report."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import click

from asyncsched.cli.faults import BAD, NOT_FOUND, OK, Fault
from asyncsched.cli.imports.found import Imported, written
from asyncsched.cli.options import style_of, writes
from asyncsched.cli.output import plural, write_json

_out = click.option(
    "-o", "--output", type=click.Path(dir_okay=False), help="The file to write; stdout by default."
)
_keep = click.option("--store", metavar="URL", help="The store of the new scheduler; memory by default.")
_zone = click.option(
    "--tz", "zone", default=None, help="The time zone of the old scheduler; this host's by default."
)


@click.group("import")
def import_() -> None:
    """Make asyncsched code of another scheduler's files, and report every difference in meaning.

    The code goes to stdout or to --output, the report to stderr. What cannot be carried over is named in both, and the
    exit code is 1. Nothing of the files is executed.
    """


@import_.command()
@click.argument("file", type=click.Path())
@click.option("--system/--user", default=None, help="Whether each line names a user, as in /etc/cron.d.")
@_out
@_keep
@_zone
@writes()
def crontab(file: str, system: bool | None, output: str | None, store: str | None, zone: str | None) -> int:
    """Import a crontab: a file, or - for `crontab -l | asyncsched import crontab -`."""
    from asyncsched.cli.imports.crontab import read_crontab

    by_place = True if file.startswith(("/etc/cron.d/", "/etc/crontab")) else system
    return _done(
        file, output, store, lambda text: read_crontab(text, zone=zone or local_zone(), system=by_place)
    )


@import_.command()
@click.argument("file", type=click.Path())
@_out
@_keep
@_zone
@writes()
def apscheduler(file: str, output: str | None, store: str | None, zone: str | None) -> int:
    """Import APScheduler 3: a Python file, or the URL of its SQLAlchemy job store (sqlite:///jobs.sqlite)."""
    if "://" in file:
        from asyncsched.cli.imports.jobstore import read_job_store

        return _written(read_job_store(file), file.rpartition("@")[2], output, store)
    from asyncsched.cli.imports.apscheduler import read_apscheduler

    module = module_of(file)
    return _done(file, output, store, lambda text: read_apscheduler(text, module, zone or local_zone()))


@import_.command("celery-beat")
@click.argument("file", type=click.Path())
@_out
@_keep
@_zone
@writes()
def celery_beat(file: str, output: str | None, store: str | None, zone: str | None) -> int:
    """Import a Celery beat schedule from a Python file: beat_schedule and add_periodic_task."""
    from asyncsched.cli.imports.celery import read_celery

    module = module_of(file)
    return _done(file, output, store, lambda text: read_celery(text, module, zone))


@import_.command("repeat-every")
@click.argument("file", type=click.Path())
@_out
@_keep
@writes()
def repeat_every(file: str, output: str | None, store: str | None) -> int:
    """Import functions decorated with repeat_every of fastapi-utils from a Python file."""
    from asyncsched.cli.imports.repeat_every import read_repeat_every

    module = module_of(file)
    return _done(file, output, store, lambda text: read_repeat_every(text, module))


def module_of(file: str) -> str:
    """Return the name by which a Python file is imported, its packages included; ``app`` for stdin."""
    if file == "-":
        return "app"
    path = Path(file).absolute()
    parts = [] if path.stem == "__init__" else [path.stem]
    for folder in path.parents:
        if not (folder / "__init__.py").exists():
            break
        parts.insert(0, folder.name)
    return ".".join(parts)


def local_zone() -> str:
    """Return the name of this host's time zone, ``UTC`` where it has none."""
    named = os.environ.get("TZ", "").lstrip(":")
    if named:
        return named
    try:
        place = str(Path("/etc/localtime").resolve())
    except OSError:
        return "UTC"
    found = place.partition("zoneinfo/")[2].removeprefix("posix/")
    return found or "UTC"


def _done(file: str, output: str | None, store: str | None, read: Callable[[str], Imported]) -> int:
    if file == "-":
        text = sys.stdin.read()
    else:
        try:
            text = Path(file).read_text("utf-8", errors="replace")
        except OSError as error:
            raise Fault(NOT_FOUND, f"{file} cannot be read: {error.strerror}") from None
    try:
        found = read(text)
    except SyntaxError as error:
        raise Fault(2, f"{file}:{error.lineno} is no Python: {error.msg}") from None
    return _written(found, "stdin" if file == "-" else Path(file).name, output, store)


def _written(found: Imported, source: str, output: str | None, store: str | None) -> int:
    code = written(found, source, store)
    if store is None:
        found.notes += found.notes_on_store()
    lost = [one for one in found.schedules if not one.trigger]
    if style_of().json:
        write_json({
            "kind": found.kind, "code": code, "notes": found.notes,
            "calls": [{"line": one.line, "source": one.source, "told": one.told} for one in found.calls],
            "schedules": [
                {"name": one.name, "where": one.where, "source": one.source, "trigger": one.trigger, "notes": one.notes,
                 "fault": one.fault} for one in found.schedules
            ],
        })  # fmt: skip
        return BAD if lost else OK
    if output is None:
        click.echo(code, nl=False)
    else:
        Path(output).write_text(code, "utf-8")
    _report(found, output)
    return BAD if lost else OK


def _report(found: Imported, output: str | None) -> None:
    good = [one for one in found.schedules if one.trigger]
    to = f" into {output}" if output else ""
    click.echo(f"imported {len(good)} of {plural(len(found.schedules), 'schedule')}{to}", err=True)
    for one in found.schedules:
        if not one.trigger:
            click.echo(
                f"✕ {one.where}: {one.source.splitlines()[0][:80]}\n    not imported: {one.fault}", err=True
            )
        for note in one.notes:
            click.echo(f"! {one.where} ({one.name}): {note}", err=True)
    for call in found.calls:
        click.echo(f"! line {call.line}: {call.source.splitlines()[0][:80]}\n    {call.told}", err=True)
    for note in found.notes:
        click.echo(f"! {note}", err=True)
