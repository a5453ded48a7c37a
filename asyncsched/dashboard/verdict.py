"""The verdict in one line, and the list of what needs somebody."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from markupsafe import Markup

from asyncsched._core.instants import to_datetime
from asyncsched.dashboard.snapshot import Row, Snapshot
from asyncsched.dashboard.words import cut, duration, elapsed, number, plural, short_moment, when

MOST = 8
"""The most items of the attention list; the others are counted."""

_LONG_PAUSE = timedelta(hours=24)
SILENT = timedelta(seconds=10)
"""The time without a heartbeat, one of which comes every 5 s, after which an instance may be dead."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How it stands, in one line."""

    state: str
    text: str
    title: str


@dataclass(frozen=True, slots=True)
class Need:
    """Something that needs somebody: what, the detail, and the buttons. ``actions`` are of ``templates/_button``."""

    state: str
    name: str
    text: Markup
    detail: str = ""
    schedule: str = ""
    run: str = ""
    actions: tuple[str, ...] = field(default=())


def verdict_of(snapshot: Snapshot) -> Verdict:
    """Return the verdict: the first rule that holds."""
    counts = snapshot.counts
    failing, late, all_ = counts["failing"], counts["late"], len(snapshot.rows)
    if snapshot.trouble:
        return Verdict("stopped", "Store unreachable", "✕ asyncsched")
    if not snapshot.health.ok and "beat" in snapshot.health.trouble:
        return Verdict("stopped", "Scheduler stopped on this instance", "✕ asyncsched")
    if failing:
        text = plural(failing, "schedule") + " failing" + (f", {number(late)} late" if late else "")
        return Verdict("failing", text, f"✕{failing}" + (f" ▲{late}" if late else "") + " asyncsched")
    if late:
        return Verdict("late", f"{plural(late, 'schedule')} late", f"▲{late} asyncsched")
    if all_ and counts["paused"] == all_:
        return Verdict("paused", _all_paused(snapshot), "❚❚ asyncsched")
    if not all_:
        return Verdict("ok", "Nothing is scheduled yet", "✓ asyncsched")
    active = all_ - counts["paused"] - counts["orphaned"]
    if active == 1:
        return Verdict("ok", "The schedule is on time", "✓ asyncsched")
    return Verdict("ok", f"All {number(active)} schedules on time", "✓ asyncsched")


def _all_paused(snapshot: Snapshot) -> str:
    """Return since when everything is paused, and by whom the last pause was."""
    pauses = [(at, row) for row in snapshot.rows if (at := _paused_since(row, snapshot)) is not None]
    if not pauses:
        return "Everything is paused"
    since, last = max(pauses, key=lambda one: one[0])
    by = f" by {cut(last.schedule.by, 40)}" if last.schedule.by else ""
    return f"Everything is paused since {short_moment(since, snapshot.at)}{by}"


def needs_of(snapshot: Snapshot) -> tuple[list[Need], int]:
    """Return what needs somebody, the worst first, and how many more there are."""
    found: list[Need] = []
    if not snapshot.health.ok and not snapshot.trouble:
        found.append(Need("failing", "This instance", Markup("{}").format(snapshot.health.trouble)))
    for row in snapshot.rows:
        need = _need(row, snapshot)
        if need is not None:
            found.append(need)
    for one in snapshot.instances:
        if snapshot.at - one.beat_at > SILENT:
            text = Markup("has not been heard of for {}").format(elapsed(one.beat_at, snapshot.at))
            found.append(
                Need(
                    "late",
                    f"{one.host}:{one.pid}",
                    text,
                    "it has ended, or lost the store: soon the others take its runs over",
                )
            )
    return found[:MOST], max(0, len(found) - MOST)


def _need(row: Row, snapshot: Snapshot) -> Need | None:
    if row.state == "failing":
        return _failing(row, snapshot.at)
    if row.state == "late":
        return _late(row, snapshot)
    if row.stuck is not None:
        return _stuck(row, snapshot)
    if row.state == "paused" and (since := _paused_since(row, snapshot)) is not None:
        if snapshot.at - since > _LONG_PAUSE:
            text = Markup("is paused for {}").format(elapsed(since, snapshot.at))
            return Need("paused", row.id, text, _by(row), schedule=row.id, actions=("resume",))
    return None


def _failing(row: Row, now: datetime) -> Need:
    tally, failures = row.tally, row.schedule.failures
    since = tally.failing_since
    if failures == 1:
        at = tally.error.at if tally.error else since
        text = Markup("failed {}").format(when(to_datetime(at), now)) if at else Markup("failed")
    else:
        text = Markup("failed {} times in a row").format(failures)
        if since is not None:
            text += Markup(", since {}").format(when(to_datetime(since), now))
    error = tally.error
    detail = cut(f"{error.type}: {error.message}") if error else ""
    return Need(
        "failing",
        row.id,
        text,
        detail,
        schedule=row.id,
        run=error.run if error else "",
        actions=("run", "pause"),
    )


def _late(row: Row, snapshot: Snapshot) -> Need:
    skip, now = row.tally.skip, snapshot.at
    if row.overdue is not None:
        text = Markup("was due {} and has not begun").format(when(row.schedule.next_due, now))
        return Need(
            "late",
            row.id,
            text,
            "no instance has taken it: see Instances",
            schedule=row.id,
            actions=("open",),
        )
    late = row.late
    parts = []
    if late is not None and late.total_seconds() > row.grace:
        parts.append(f"started {duration(late)} late")
    if skip is not None and skip.reason == "missed":
        parts.append(f"{plural(skip.slots, 'due time')} missed")
    detail = _blocked(snapshot)
    if not detail and skip is not None and skip.reason == "missed":
        detail = "no instance met it in time: the scheduler was down, blocked or too busy"
    return Need(
        "late", row.id, Markup("{}").format(", ".join(parts)), detail, schedule=row.id, actions=("open",)
    )


def _blocked(snapshot: Snapshot) -> str:
    """Return which event loop was blocked lately, if one was for so long that schedules are late."""
    worst = max(snapshot.instances, key=lambda one: one.loop_lag, default=None)
    if worst is None or worst.loop_lag.total_seconds() < 1:
        return ""
    return f"the event loop of {snapshot.instance_name(worst.id)} was blocked for {duration(worst.loop_lag)}"


def _stuck(row: Row, snapshot: Snapshot) -> Need:
    run = row.stuck
    assert run is not None and run.started_at is not None
    usual = row.p95
    text = Markup("runs for {}").format(elapsed(run.started_at, snapshot.at))
    if usual is not None:
        text += Markup(", 95 % end within {}").format(duration(usual))
    detail = f"{snapshot.instance_name(run.instance)} · attempt {run.attempt} of {run.max_attempts}"
    return Need("late", row.id, text, detail, schedule=row.id, run=run.id, actions=("cancel",))


def _paused_since(row: Row, snapshot: Snapshot) -> datetime | None:
    pause = snapshot.paused_jobs.get(row.schedule.job)
    return row.schedule.paused_at or (pause.since if pause else None)


def _by(row: Row) -> str:
    by = f"by {row.schedule.by}" if row.schedule.by else ""
    return " · ".join(part for part in (by, row.schedule.note) if part)
