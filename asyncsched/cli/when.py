"""Commands that say why and when: ``explain``, ``next`` and ``timeline``."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from asyncsched._core.errors import UnknownSchedule
from asyncsched._core.instants import to_datetime, to_instant
from asyncsched._core.models import Schedule
from asyncsched._core.reports import Coming, Explanation
from asyncsched._core.trigger import as_instants
from asyncsched.cli.faults import NOT_FOUND, OK, USAGE, Fault, suggestion
from asyncsched.cli.look import suggest_schedule
from asyncsched.cli.options import Moment, style_of, targets, writes
from asyncsched.cli.output import (
    Column,
    bold,
    moment,
    plural,
    present,
    prose,
    relative,
    state,
    write_json,
    write_table,
)
from asyncsched.cli.slots import Slot, next_slots, slots_between
from asyncsched.cli.target import Target, run_async, say_where
from asyncsched.cli.views import explanation_json
from asyncsched.triggers.combine import notes_of


def is_expression(text: str) -> bool:
    """Whether a text is a cron expression and no schedule's id."""
    return text.startswith("@") or len(text.split()) >= 5


def cron_of(expression: str, zone: str) -> Any:
    """Return the trigger of a cron expression."""
    from asyncsched.triggers.cron.trigger import Cron

    return Cron(expression, timezone=zone)


@click.command()
@click.argument("schedule", metavar="SCHEDULE|EXPRESSION")
@click.option("--at", type=Moment(), help="The due time to explain; by default the last one, else the next.")
@click.option("--tz", "zone", default="UTC", show_default=True, help="The time zone of a cron expression.")
@click.option(
    "-n", "count", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many due times."
)
@targets()
@writes()
def explain(target: Target, schedule: str, at: datetime | None, zone: str, count: int) -> int:
    """Explain what became of a due time of a schedule; or say a cron expression in words, with its next due times."""
    if is_expression(schedule):
        return _explain_trigger(cron_of(schedule, zone), schedule, count, at)
    if target.app is not None and not target.has_ledger and not _durable(target):
        declared = _declared(target)
        if schedule not in declared:
            raise Fault(
                NOT_FOUND,
                f"there is no schedule {schedule!r} in {target.app}",
                suggestion(schedule, declared),
            )
        say_where(f"from code, not running: {target.app}")
        return _explain_trigger(declared[schedule], schedule, count, at)
    if target.app is None and target.store is None and target.url is None:
        raise Fault(
            USAGE, f"{schedule!r} is no cron expression, and no target was given",
            "for a schedule name its --store or --app; an expression has five fields, in quotes",
        )  # fmt: skip

    async def ask() -> tuple[Explanation, str, str]:
        async with target.ledger() as ledger:
            try:
                found = await ledger.scheduler.schedule(schedule)
            except UnknownSchedule as error:
                raise await suggest_schedule(ledger, error) from None
            when = at or found.last_slot or found.next_due or present()
            return await ledger.scheduler.explain(schedule, when), ledger.where, _standing(found)

    found, where, standing = run_async(ask)
    if style_of().json:
        write_json(explanation_json(found) | {"schedule_state": standing})
        return OK
    say_where(where)
    if standing:
        click.echo(prose(f"{bold(found.schedule)} {standing}"))
    click.echo(f"{bold(found.schedule)} at {moment(found.at, style_of().utc)}")
    click.echo(prose(f"{state(found.verdict)}: {found.text}"))
    if found.run is not None:
        click.echo(f"run {found.run.id}")
    return OK


def _standing(found: Schedule) -> str:
    """Return why no slot of a schedule runs as it stands, or ``""``."""
    if found.paused:
        since = f" since {moment(found.paused_at, style_of().utc)}" if found.paused_at else ""
        by, note = (f" by {found.by}" if found.by else ""), (f": {found.note}" if found.note else "")
        return f"is paused{since}{by}{note}"
    if found.ended:
        return "has ended: no slot of it runs any more"
    return "is orphaned: no running instance has its job" if found.orphaned else ""


def _durable(target: Target) -> bool:
    return target.code()._choices.make_store().durable


def _declared(target: Target) -> dict[str, Any]:
    """Return the triggers of the schedules that the code declares."""
    return {id: one.trigger for id, one in target.code()._registry.schedules.items()}


def _explain_trigger(trigger: Any, name: str, count: int, at: datetime | None) -> int:
    after = at or present()
    slots = next_slots(trigger, count, after)
    changes = _clock_changes(trigger, after)
    described = trigger.describe()
    if style_of().json:
        write_json({
            "expression": name, "describe": described, "due": [one for one, _ in slots],
            "notes": [{"due": one, "note": note} for one, note in changes],
        })  # fmt: skip
        return OK
    click.echo(bold(described))
    zone = next(iter(trigger.zones()), UTC)
    for slot, _ in slots:
        click.echo(f"  {slot.astimezone(UTC if style_of().utc else zone):%a %d %b %Y %H:%M:%S %Z}".rstrip())
    for slot, note in changes[:4]:
        click.echo(prose(f"! {slot.astimezone(zone):%d %b %Y}: {note}"))
    return OK


def _clock_changes(trigger: Any, after: datetime) -> list[Slot]:
    """Return what the clock changes of the next year do to a trigger."""
    first, last = to_instant(after), to_instant(after + timedelta(days=366))
    return [
        (to_datetime(at), text) for at, text in notes_of(as_instants(trigger, "the trigger"), first, last)
    ]


@click.command("next")
@click.argument("words", nargs=-1, metavar="[N] [EXPRESSION]")
@click.option("--tz", "zone", default="UTC", show_default=True, help="The time zone of a cron expression.")
@click.option("--hours", type=float, help="All due times of the next hours, in place of the next N.")
@targets()
@writes()
def next_(target: Target, words: tuple[str, ...], zone: str, hours: float | None) -> int:
    """Show the next N due times (10 by default), of all schedules or of a cron expression."""
    count, expression = 10, ""
    for word in words:
        if word.isdigit():
            count = max(1, min(int(word), 10_000))
        else:
            expression = f"{expression} {word}".strip()
    now = present()
    until = now + timedelta(hours=hours) if hours else now + timedelta(days=366)
    limit = 10_000 if hours else count
    if expression:
        slots = slots_between(
            cron_of(expression, zone), now, until if hours else now + timedelta(days=366 * 41), limit
        )
        found, where = [Coming(at, expression, "", note) for at, note in slots], ""
    else:
        found, where = _coming(target, now, until, limit)
    return _write_coming(found[:limit], where, now)


def _coming(target: Target, start: datetime, end: datetime, limit: int) -> tuple[list[Coming], str]:
    """Return the due times of all schedules, of the code or of the store."""
    if target.app is not None and not target.has_ledger:
        code = target.code()
        found: list[Coming] = []
        for id, one in code._registry.schedules.items():
            slots = slots_between(one.trigger, start, end, limit)
            found += [Coming(at, id, one.job.name, note) for at, note in slots]
        found.sort(key=lambda one: (one.at, one.schedule))
        return found, f"from code, not running: {target.app} ({plural(len(code._registry.jobs), 'job')})"

    async def ask() -> tuple[list[Coming], str]:
        async with target.ledger() as ledger:
            found = await ledger.scheduler.timeline(start, end, limit=limit)
            idle = not found and not await ledger.scheduler.instances()
            return found, ledger.where + (": no instance is running, so nothing fires" if idle else "")

    return run_async(ask)


def _write_coming(found: list[Coming], where: str, now: datetime) -> int:
    if style_of().json:
        write_json([
            {"due": one.at, "schedule": one.schedule, "job": one.job, "note": one.note, "fault": one.fault}
            for one in found
        ])  # fmt: skip
        return OK
    if where:
        say_where(where)
    if not found:
        click.echo("nothing is due")
        return OK
    rows = [
        [moment(one.at, style_of().utc), relative(one.at, now), one.schedule, one.note or one.fault]
        for one in found
    ]
    write_table(
        [Column("due"), Column("in", 2), Column("schedule", cut=True), Column("note", 1, cut=True)], rows
    )
    return OK


@click.command()
@click.option("--hours", type=float, default=24, show_default=True, help="How far to look ahead.")
@click.option("--from", "start", type=Moment(), help="The beginning; now by default.")
@targets()
@writes()
def timeline(target: Target, hours: float, start: datetime | None) -> int:
    """Show the coming hours: one line a schedule, and the minutes in which most is due."""
    begin = start or present()
    found, where = _coming(target, begin, begin + timedelta(hours=hours), 200_000)
    crowded = busiest(one.at for one in found)
    if style_of().json:
        write_json({
            "start": begin, "hours": hours, "total": len(found),
            "due": [{"due": one.at, "schedule": one.schedule, "note": one.note} for one in found[:10_000]],
            "busiest": [{"minute": at, "count": count} for at, count in crowded],
        })  # fmt: skip
        return OK
    say_where(where)
    if not found:
        click.echo("nothing is due")
        return OK
    write_lanes(found, begin, hours)
    for at, count in crowded:
        if count > 1:
            names = sorted({one.schedule for one in found if _minute(one.at) == at})
            click.echo(f"{moment(at, style_of().utc)}  {count} at once: {' · '.join(names[:6])}")
    for one in found:
        if one.note:
            click.echo(prose(f"! {one.schedule}: {one.note}"))
    return OK


def _minute(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(second=0, microsecond=0)


def busiest(times: Iterable[datetime], most: int = 3) -> list[tuple[datetime, int]]:
    """Return the minutes in which most is due, the fullest first."""
    counts: dict[datetime, int] = {}
    for at in times:
        counts[_minute(at)] = counts.get(_minute(at), 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]


_MARKS = " ·∶▪■█"


def write_lanes(found: list[Coming], begin: datetime, hours: float) -> None:
    """Write one lane a schedule: darker where more is due."""
    from asyncsched.cli.output import terminal_width

    names = sorted({one.schedule for one in found})
    head = min(24, max(len(name) for name in names))
    cells = max(24, min((terminal_width() or 100) - head - 10, 96))
    step = hours * 3600 / cells
    for name in names:
        lane = [0] * cells
        for one in found:
            if one.schedule == name:
                lane[min(cells - 1, int((one.at - begin).total_seconds() / step))] += 1
        text = "".join(_MARKS[min(count, len(_MARKS) - 1)] for count in lane)
        click.echo(f"{name[:head]:<{head}} {text} {sum(lane):>6,}")
    ends = (
        f"{moment(begin, style_of().utc)[11:16]}",
        f"{moment(begin + timedelta(hours=hours), style_of().utc)[11:16]}",
    )
    click.echo(f"{'':<{head}} {ends[0]}{ends[1]:>{cells - 5}}")
