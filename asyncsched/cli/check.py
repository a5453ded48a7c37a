"""``check``: what cannot work in the code, for a CI; or what is wrong in a store, for a monitor."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Collection, Iterator
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from asyncsched._core.errors import AsyncSchedError
from asyncsched._core.jobs import Declared, Job
from asyncsched._core.reports import Instance
from asyncsched._core.text import describe_error
from asyncsched.cli.faults import NOT_FOUND, Fault, suggestion
from asyncsched.cli.findings import Finding, write_findings
from asyncsched.cli.options import Span, targets, writes
from asyncsched.cli.output import plural, present
from asyncsched.cli.slots import next_slots
from asyncsched.cli.target import Target, run_async, say_where
from asyncsched.cli.views import Row, failed_of, rows_of

if TYPE_CHECKING:
    from asyncsched._scheduler.scheduler import Scheduler


@click.command()
@click.option(
    "--max-late", type=Span(), help="With a store: the longest lateness of the last run, such as 10s."
)
@click.option("--job", "names", multiple=True, help="Only schedules of this job; repeat for several.")
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings, too.")
@targets()
@writes()
def check(target: Target, max_late: float | None, names: tuple[str, ...], strict: bool) -> int:
    """Find what cannot work, and exit with 1.

    With --app it checks the code: schedules that never fire, arguments that a database cannot keep, jobs that a worker
    process cannot import. With --store it checks what runs: failing and late schedules, for Nagios, cron or a
    container's health check.
    """
    if target.app is not None and not target.has_ledger:
        code = target.code()
        say_where(f"from code, not running: {target.app}")
        return write_findings(list(faults_in_code(code, names)), strict)

    async def ask() -> tuple[list[Row], list[Instance], Counter[str], str]:
        async with target.ledger() as ledger:
            rows, failed = await rows_of(ledger.scheduler), await failed_of(ledger.scheduler)
            return rows, await ledger.scheduler.instances(), failed, ledger.where

    rows, instances, failed, where = run_async(ask)
    say_where(where)
    known = {row.schedule.job for row in rows}.union(failed, *(one.jobs for one in instances))
    for name in names:
        if name not in known:
            raise Fault(NOT_FOUND, f"there is no job {name!r}", suggestion(name, known))
    chosen = [row for row in rows if not names or row.schedule.job in names]
    found = [*_faults_in_store(chosen, len(instances), max_late), *_failed_runs(failed, names)]
    return write_findings(found, strict)


def _failed_runs(failed: Counter[str], names: Collection[str]) -> Iterator[Finding]:
    for job, count in sorted(failed.items()):
        if not names or job in names:
            remedy = (
                "`asyncsched failures` shows them, `requeue` runs them again, and `dismiss` puts one aside"
            )
            yield Finding("bad", job, f"{plural(count, 'run')} failed for good within a day", remedy)


def _faults_in_store(rows: list[Row], instances: int, max_late: float | None) -> Iterator[Finding]:
    if not instances:
        yield Finding("bad", "", "no instance is running, so nothing fires", "start the app, or a worker")
    for row in rows:
        last = row.last[0] if row.last else None
        if row.state in ("failing", "late"):
            yield Finding("bad", row.schedule.id, row.why)
        elif row.state == "orphaned" and instances:
            yield Finding(
                "bad", row.schedule.id, row.why, "deploy the code that has the job, or remove the schedule"
            )
        elif max_late is not None and last is not None and last.late is not None:
            if last.late > timedelta(seconds=max_late):
                seconds = last.late.total_seconds()
                yield Finding(
                    "bad",
                    row.schedule.id,
                    f"its last run began {seconds:.3g} s late, more than {max_late:g} s",
                )
        if row.state == "paused":
            yield Finding("warning", row.schedule.id, f"is paused {row.why}".strip())
    if not rows:
        yield Finding("warning", "", "there are no schedules")


def faults_in_code(code: Scheduler, names: tuple[str, ...] = ()) -> Iterator[Finding]:
    """Yield what cannot work in the declarations of the code."""
    registry = code._registry
    durable = code._choices.make_store().durable
    for name in names:
        if name not in registry.jobs:
            raise Fault(NOT_FOUND, f"there is no job {name!r}", suggestion(name, registry.jobs))
    jobs = [job for job in registry.jobs.values() if not names or job.name in names]
    schedules = [one for one in registry.schedules.values() if not names or one.job.name in names]
    for job in jobs:
        yield from _faults_of_job(job)
    for one in schedules:
        yield from _faults_of_schedule(one, durable)
    yield Finding(
        "fine", "", f"{plural(len(jobs), 'job')} and {plural(len(schedules), 'schedule')} were checked"
    )


def _faults_of_job(job: Job) -> Iterator[Finding]:
    if job.executor == "process" and (fault := _cannot_travel(job.func)):
        yield Finding(
            "bad", job.name, f"a worker process cannot import its function: {fault}",
            'define it at the top of a module, or pip install "asyncsched[process]"',
        )  # fmt: skip


def _cannot_travel(func: Any) -> str:
    """Return why a function cannot be sent to a worker process, or ``""``."""
    if find_spec("cloudpickle") is not None:
        return ""
    try:
        pickle.dumps(func)
    except Exception as error:
        return describe_error(error)
    return ""


def _faults_of_schedule(one: Declared, durable: bool) -> Iterator[Finding]:
    try:
        slots = next_slots(one.trigger, 1, present())
    except Exception as error:
        yield Finding("bad", one.id, f"its trigger fails: {describe_error(error)}")
        return
    if not slots:
        yield Finding("bad", one.id, "it is never due again", "remove it, or give its trigger a later end")
    if isinstance(one.arguments, str):
        return
    try:
        one.job.signature.encode(one.arguments)
    except AsyncSchedError as error:
        level, more = ("bad", "") if durable else ("warning", "; in memory it works")
        yield Finding(level, one.id, f"a database cannot keep its arguments: {error}{more}")  # type: ignore[arg-type]
