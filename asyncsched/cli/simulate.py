"""``simulate``: the schedules of the code through days of virtual time, without running any job."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from asyncsched._core.jobs import Declared
from asyncsched._core.records import Given
from asyncsched.cli.faults import NOT_FOUND, OK, USAGE, Fault, suggestion
from asyncsched.cli.options import Moment, Span, seconds_of, style_of, targets, writes
from asyncsched.cli.output import (
    Column,
    bold,
    duration,
    moment,
    plural,
    present,
    progress,
    prose,
    write_json,
    write_table,
)
from asyncsched.cli.slots import slots_between
from asyncsched.cli.target import Target, say_where

if TYPE_CHECKING:
    from asyncsched._scheduler.scheduler import Scheduler

MOST = 2_000_000
"""The most due times of one simulation."""


@dataclass
class Lane:
    """What becomes of one schedule."""

    id: str
    job: str
    due: int = 0
    run: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    waited: float = 0.0
    longest_wait: float = 0.0
    notes: list[tuple[datetime, str]] = field(default_factory=list)
    free_at: float = 0.0
    waiting: deque[float] = field(default_factory=deque)


@dataclass
class Simulated:
    """What becomes of all schedules: lanes, the busiest minute, and how many run at once."""

    lanes: list[Lane]
    busiest: list[tuple[datetime, int, list[str]]]
    most_at_once: int
    most_at: datetime | None
    waits: Counter[str]


def simulate_code(
    code: Scheduler, start: datetime, days: float, assumed: Mapping[str, float], default: float
) -> Simulated:
    """Return what becomes of the schedules of the code, if each run takes as long as assumed.

    Due times come from the triggers themselves; overlap, ``max_runs``, ``max_running`` and the capacity of each executor decide
    as they do in a scheduler. Jitter, retries and rate limits are left out.
    """
    declared = code._registry.schedules
    end = start + timedelta(days=days)
    lanes = {id: Lane(id, one.job.name) for id, one in declared.items()}
    due: list[tuple[float, str]] = []
    with progress("due times", len(declared)) as advance:
        for id, one in declared.items():
            slots = slots_between(one.trigger, start, end, MOST)
            lanes[id].due = len(slots)
            lanes[id].notes = [(at, note) for at, note in slots if note]
            due += [(at.timestamp(), id) for at, _ in slots]
            advance(1)
            if len(due) >= MOST:
                raise Fault(
                    USAGE, f"more than {MOST:,} due times in {days:g} days", "simulate fewer with --days"
                )
    due.sort()
    return _played(code, declared, lanes, due, assumed, default)


def _played(
    code: Scheduler, declared: Mapping[str, Declared], lanes: dict[str, Lane], due: list[tuple[float, str]],
    assumed: Mapping[str, float], default: float,
) -> Simulated:  # fmt: skip
    places = {name: executor.capacity for name, executor in code._executors.items()}
    permits = {id: one.job.permits(arguments_given(one)) for id, one in declared.items()}
    taken: dict[str, list[float]] = {}
    running: list[float] = []
    most, most_at, waits = 0, None, Counter[str]()
    by_minute: dict[int, Counter[str]] = {}
    with progress("runs", len(due)) as advance:
        for number, (at, id) in enumerate(due):
            if number % 1000 == 0:
                advance(min(1000, len(due) - number))
            job, lane = declared[id].job, lanes[id]
            if lane.run == declared[id].max_runs:
                lane.skipped["ended"] += 1
                continue
            by_minute.setdefault(int(at) // 60, Counter())[id] += 1
            takes = assumed.get(id, assumed.get(job.name, default))
            wanted = _begins(lane, job.overlap, at)
            if wanted is None:
                continue
            pools = [(job.executor, places[job.executor])]
            # A rate has an interval: rates are not simulated.
            pools += [(one.key, one.most) for one in permits[id] if not one.interval]
            begins = _seated(taken, pools, wanted, takes)
            lane.waited += begins - at
            lane.longest_wait = max(lane.longest_wait, begins - at)
            waits[pools[-1][0]] += begins > wanted
            if begins > at:
                lane.waiting.append(begins)
            lane.free_at = begins + takes
            lane.run += 1
            while running and running[0] <= begins:
                heapq.heappop(running)
            heapq.heappush(running, begins + takes)
            if len(running) > most:
                most, most_at = len(running), datetime.fromtimestamp(begins, UTC)
    fullest = sorted(by_minute.items(), key=lambda item: (-item[1].total(), item[0]))[:3]
    busiest = [
        (datetime.fromtimestamp(minute * 60, UTC), count.total(), sorted(count)) for minute, count in fullest
    ]
    return Simulated(sorted(lanes.values(), key=lambda lane: lane.id), busiest, most, most_at, +waits)


def _begins(lane: Lane, overlap: str, at: float) -> float | None:
    """Return when the run of a slot may begin by its overlap rule, or ``None`` for a slot that gets no run."""
    if lane.free_at <= at or overlap == "allow":
        return at
    if overlap == "skip":
        lane.skipped["overlap"] += 1
        return None
    if overlap == "replace":
        lane.skipped["replaced"] += 1
        lane.free_at = at
        return at
    while lane.waiting and lane.waiting[0] <= at:
        lane.waiting.popleft()
    if len(lane.waiting) >= (1 if overlap == "queue_one" else 100):
        lane.skipped["overlap"] += 1
        return None
    return lane.free_at


def _seated(
    taken: dict[str, list[float]], pools: list[tuple[str, int]], begins: float, takes: float
) -> float:
    """Take a place in an executor and in each limit, and return when the run begins: when all have one."""
    for name, places in pools:
        ends = taken.setdefault(name, [])
        while ends and ends[0] <= begins:
            heapq.heappop(ends)
        if len(ends) >= places:
            begins = max(begins, heapq.heappop(ends))
    for name, _ in pools:
        heapq.heappush(taken[name], begins + takes)
    return begins


def arguments_given(declared: Declared) -> Given:
    """Return the arguments of a declared schedule, decoded."""
    found = declared.arguments
    return declared.job.signature.decode(found) if isinstance(found, str) else found


def assumptions(given: tuple[str, ...], code: Scheduler) -> dict[str, float]:
    """Return the assumed durations by the names of jobs and ids of schedules."""
    found = {}
    known = {*code._registry.jobs, *code._registry.schedules}
    for one in given:
        name, equals, span = one.partition("=")
        if not equals:
            raise Fault(USAGE, f"--assume {one!r} is no JOB=DURATION", "write --assume nightly_report=12s")
        if name not in known:
            raise Fault(NOT_FOUND, f"--assume: there is no job or schedule {name!r}", suggestion(name, known))
        found[name] = seconds_of(span)
    return found


@click.command()
@click.option(
    "--days", type=click.FloatRange(0.01, 3660), default=30, show_default=True, help="How many days."
)
@click.option("--from", "start", type=Moment(), help="The first moment; now by default.")
@click.option("--assume", "assumed", multiple=True, metavar="JOB=12s", help="How long a run of a job takes.")
@click.option("--default", type=Span(), default=1.0, show_default="1s", help="How long other runs take.")
@targets(url=False)
@writes()
def simulate(
    target: Target, days: float, start: datetime | None, assumed: tuple[str, ...], default: float
) -> int:
    """Run the schedules of the code through days of virtual time; no job is called.

    Shows how often each is due, what its overlap rule would skip, the busiest minutes, how many runs there are at once,
    and what the changes of the clocks do.
    """
    code = target.code()
    begin = start or present()
    found = simulate_code(code, begin, days, assumptions(assumed, code), default)
    if style_of().json:
        write_json(_as_json(found, begin, days))
        return OK
    say_where(f"from code, not running: {target.app}, {days:g} days from {moment(begin, style_of().utc)}")
    if not found.lanes:
        click.echo("no schedules")
        return OK
    _write(found, code)
    return OK


def _as_json(found: Simulated, start: datetime, days: float) -> dict[str, Any]:
    return {
        "start": start, "days": days,
        "schedules": [
            {"id": lane.id, "job": lane.job, "due": lane.due, "runs": lane.run, "skipped": dict(lane.skipped),
             "mean_wait_seconds": lane.waited / lane.run if lane.run else 0.0,
             "longest_wait_seconds": lane.longest_wait,
             "notes": [{"due": at, "note": note} for at, note in lane.notes]}
            for lane in found.lanes
        ],
        "busiest": [{"minute": at, "count": count, "schedules": ids} for at, count, ids in found.busiest],
        "most_at_once": found.most_at_once, "most_at": found.most_at, "waits": dict(found.waits),
    }  # fmt: skip


def _write(found: Simulated, code: Scheduler) -> None:
    utc = style_of().utc
    write_table(
        [Column("schedule", cut=True), Column("due", right=True), Column("runs", right=True),
         Column("skipped", 1, right=True), Column("longest wait", 2, right=True), Column("why", 3)],
        [[lane.id, f"{lane.due:,}", f"{lane.run:,}", f"{lane.skipped.total():,}", duration(lane.longest_wait),
          ", ".join(lane.skipped)] for lane in found.lanes],
    )  # fmt: skip
    click.echo("")
    for at, count, ids in found.busiest:
        click.echo(f"busiest minute  {moment(at, utc)}  {count} due: {' · '.join(ids[:6])}")
    if found.most_at is not None:
        click.echo(f"most at once    {moment(found.most_at, utc)}  {plural(found.most_at_once, 'run')}")
    for name, count in found.waits.items():
        full = (
            f"executor {name!r} ({code._executors[name].capacity})"
            if name in code._executors
            else f"the limit {name}"
        )
        click.echo(bold(f"! {plural(count, 'run')} waited for a place in {full}"))
    for lane in found.lanes:
        if lane.skipped:
            click.echo(
                bold(
                    f"! {lane.id}: {plural(lane.skipped.total(), 'due time')} skipped, since an earlier run was live"
                )
            )
        for at, note in lane.notes[:4]:
            click.echo(prose(f"! {lane.id}, {moment(at, utc)}: {note}"))
