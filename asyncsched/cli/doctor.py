"""``doctor``: what would go wrong in production, by the code, the files beside it, and the store."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from asyncsched._core.errors import AsyncSchedError, StoreError
from asyncsched._core.instants import SECOND
from asyncsched._core.jobs import Declared
from asyncsched._core.reports import Instance
from asyncsched._scheduler.scheduler import Scheduler
from asyncsched.cli.check import faults_in_code
from asyncsched.cli.faults import USAGE, Fault
from asyncsched.cli.findings import Finding, write_findings
from asyncsched.cli.options import targets, writes
from asyncsched.cli.output import plural, present
from asyncsched.cli.page import about_page
from asyncsched.cli.slots import next_slots
from asyncsched.cli.target import Ledger, Target, run_async, say_where

if TYPE_CHECKING:
    from asyncsched.abc import ClusterStore

_SLOW = 0.25
_SKEW = 2.0
_SILENT = timedelta(seconds=15)
_STARTS = re.compile(r"\b(?:uvicorn|fastapi run)\b")
_SERVER_FILES = (
    "Procfile", "Dockerfile*", "docker-compose*.y*ml", "compose*.y*ml", "*.service", "*.sh", "deploy/*", "k8s/*.y*ml",
)  # fmt: skip


@click.command()
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings, too.")
@click.option(
    "--workers", type=int, envvar="WEB_CONCURRENCY", help="How many worker processes serve the app."
)
@targets()
@writes()
def doctor(target: Target, strict: bool, workers: int | None) -> int:
    """Find what would go wrong in production; exits with 1 for faults.

    Looks at the code (--app), at the files that start the server in this folder, and at the store.
    """
    found: list[Finding] = []
    if target.app is None and not target.has_ledger:
        raise Fault(USAGE, "no target was given", "--app module:scheduler, --store URL, both, or --url URL")
    say_where(
        ", ".join(
            part for part in (target.app, target.store and "its store", target.url and "its page") if part
        )
    )
    durable = target.has_ledger
    if target.app is not None:
        code = target.code()
        durable = durable or code._choices.make_store().durable
        found += faults_in_code(code)
        found += _about_code(code, durable, workers or 1)
        found += about_files(Path.cwd())
    if durable:
        found += _about_store(target)
    return write_findings(found, strict)


def _about_code(code: Scheduler, durable: bool, workers: int) -> Iterator[Finding]:
    if not durable and workers > 1:
        yield Finding(
            "bad", "store", f"runs are kept in memory, and {workers} workers run each schedule {workers} times",
            'Scheduler("sqlite:///jobs.db") lets one of them run it, and keeps runs over restarts',
        )  # fmt: skip
    elif not durable:
        yield Finding(
            "warning",
            "store",
            "runs are kept in memory: a restart loses them, and a second worker doubles them",
        )
    registry = code._registry
    endless = sorted(job.name for job in registry.jobs.values() if job.timeout is None)
    if endless:
        yield Finding(
            "warning",
            "timeout",
            f"{plural(len(endless), 'job')} without: {', '.join(endless[:8])}",
            "timeout=60",
        )
    yield from _twins(list(registry.schedules.values()))
    for one in registry.schedules.values():
        yield from _too_close(one)


def _twins(schedules: list[Declared]) -> Iterator[Finding]:
    for number, one in enumerate(schedules):
        for other in schedules[:number]:
            same = one.job is other.job and one.arguments == other.arguments
            if same and repr(one.trigger.original) == repr(other.trigger.original):
                text = f"is the same as {other.id}: one job, one trigger, the same arguments"
                yield Finding("bad", one.id, text, "remove one of them")


def _too_close(one: Declared) -> Iterator[Finding]:
    slots = next_slots(one.trigger, 2, present())
    if len(slots) < 2 or one.job.timeout is None or one.job.overlap != "skip":
        return
    gap, limit = (slots[1][0] - slots[0][0]).total_seconds(), one.job.timeout / SECOND
    if limit > gap:
        text = f"its timeout ({limit:g} s) is longer than its period ({gap:g} s): a slow run skips due times"
        yield Finding("warning", one.id, text, "a shorter timeout, or overlap='queue_one'")


def about_files(folder: Path) -> Iterator[Finding]:
    """Yield what the files that start the server lack."""
    files = sorted({path for pattern in _SERVER_FILES for path in folder.glob(pattern) if path.is_file()})
    for path in files[:100]:
        text = re.sub(r"\\\n", " ", path.read_text(errors="replace")[:200_000])
        for line in text.splitlines():
            if line.lstrip().startswith("#") or not _STARTS.search(line) or "install" in line:
                continue
            if "--timeout-graceful-shutdown" not in line and re.search(r"uvicorn['\", ]+\S", line):
                yield Finding(
                    "warning", path.name, "uvicorn is started without --timeout-graceful-shutdown: an open connection "
                    "keeps it from ending, and the scheduler's outcomes unrecorded", "--timeout-graceful-shutdown 10",
                )  # fmt: skip


def _about_store(target: Target) -> list[Finding]:
    async def ask() -> list[Finding]:
        async with target.ledger() as ledger:
            return await _findings_of(ledger)

    try:
        return run_async(ask)
    except (StoreError, Fault) as error:
        remedy = error.remedy if isinstance(error, Fault) else ""
        return [Finding("bad", "store", str(error), remedy)]
    except AsyncSchedError as error:
        return [Finding("bad", "store", str(error))]


async def _findings_of(ledger: Ledger) -> list[Finding]:
    if not isinstance(ledger.scheduler, Scheduler):
        found = await about_page(ledger.scheduler.api)
        return [*found, *_about_instances(await ledger.scheduler.instances(), ledger)]
    store = cast("ClusterStore", ledger.scheduler._running().main.store)
    answer, spent = await store.time(), []
    for _ in range(5):
        began = time.perf_counter()
        await ledger.scheduler.instances()
        spent.append(time.perf_counter() - began)
    middle = sorted(spent)[2]
    found = [
        Finding(
            "warning" if middle > _SLOW else "fine",
            "store",
            f"{ledger.where.removeprefix('store ')} answers in {middle * 1000:.3g} ms",
        )
    ]
    skew = abs(answer - round(present().timestamp() * SECOND)) / SECOND
    if skew > _SKEW:
        text = f"this machine's clock and the store's are {skew:.1f} s apart"
        found.append(Finding("warning", "clock", text, "runs are on the store's time; set the clock by NTP"))
    return [*found, *_about_instances(await ledger.scheduler.instances(), ledger)]


def _about_instances(instances: list[Instance], ledger: Ledger) -> Iterator[Finding]:
    if not instances:
        yield Finding("warning", "instances", "none is running", "start the app, or `asyncsched worker`")
        return
    hosts, versions = sorted({one.host for one in instances}), sorted({one.version for one in instances})
    yield Finding(
        "fine", "instances", f"{plural(len(instances), 'process', 'processes')} on {', '.join(hosts)}"
    )
    if len(hosts) > 1 and "sqlite" in ledger.where.lower():
        yield Finding(
            "bad", "store", f"one SQLite file is used from several hosts ({', '.join(hosts)})",
            "a network file system corrupts it: use PostgreSQL",
        )  # fmt: skip
    if len(versions) > 1:
        yield Finding("warning", "instances", f"they run different versions: {', '.join(versions)}")
    for one in instances:
        if present() - one.beat_at > _SILENT:
            yield Finding("warning", f"{one.host}:{one.pid}", "has had no heartbeat for more than 15 s")
    if all(one.role == "submit" for one in instances):
        yield Finding(
            "bad", "instances", "all have the role 'submit': none runs anything", "`asyncsched worker APP`"
        )
