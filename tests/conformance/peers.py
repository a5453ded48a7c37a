"""The libraries, each asked by its documented calls. Also a program: ``python peers.py NAME`` answers lines of JSON.

It imports nothing of the project, so that it runs in an environment that has only the library asked.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo


def asyncsched(expression: str, zone: str, after: datetime) -> Iterator[datetime]:
    """``Cron(…).next(…)``."""
    from asyncsched import Cron

    trigger, at = Cron(expression, timezone=zone), after
    while (found := trigger.next(at)) is not None:
        yield found
        at = found


def croniter(expression: str, zone: str, after: datetime) -> Iterator[datetime]:
    """``croniter(…).get_next()`` from an aware time of the zone; with the seconds first where there are six fields."""
    from croniter import croniter

    found = croniter(expression, after, second_at_beginning=True)
    while True:
        yield found.get_next(datetime)


def cronsim(expression: str, zone: str, after: datetime) -> Iterator[datetime]:
    """``CronSim(…)`` from an aware time of the zone."""
    from cronsim import CronSim

    return iter(CronSim(expression, after))


def apscheduler3(expression: str, zone: str, after: datetime) -> Iterator[datetime]:
    """``CronTrigger.from_crontab(…).get_next_fire_time()``, as its scheduler asks."""
    from apscheduler.triggers.cron import CronTrigger

    trigger = CronTrigger.from_crontab(expression, timezone=zone)
    found = trigger.get_next_fire_time(None, after + timedelta(microseconds=1))
    while found is not None:
        yield found
        found = trigger.get_next_fire_time(found, found)


def apscheduler4(expression: str, zone: str, after: datetime) -> Iterator[datetime]:
    """``CronTrigger.from_crontab(…, start_time=…).next()``."""
    from apscheduler.triggers.cron import CronTrigger

    start = (after.astimezone(UTC) + timedelta(seconds=1)).astimezone(ZoneInfo(zone))
    trigger = CronTrigger.from_crontab(expression, start_time=start, timezone=zone)
    while (found := trigger.next()) is not None:
        yield found


def celery(expression: str, zone: str, after: datetime) -> Iterator[datetime]:
    """``crontab.from_string(…).is_due(…)``, as its beat asks: at once, and then after the time that it was told."""
    from celery import Celery
    from celery.schedules import crontab

    app = Celery("conformance", broker="memory://")
    app.conf.timezone = zone
    clock = {"now": after}
    schedule = crontab.from_string(expression)
    schedule.app, schedule.nowfun = app, lambda: clock["now"].astimezone(ZoneInfo(zone))
    last = after
    for _ in range(100_000):
        due, seconds = schedule.is_due(last)
        if due:
            last = clock["now"]
            yield last
            continue
        clock["now"] = (clock["now"].astimezone(UTC) + timedelta(seconds=max(seconds, 1))).astimezone(
            ZoneInfo(zone)
        )


PEERS: dict[str, tuple[str, Any]] = {
    "asyncsched": ("asyncsched", asyncsched),
    "croniter": ("croniter", croniter),
    "cronsim": ("cronsim", cronsim),
    "APScheduler 3": ("apscheduler", apscheduler3),
    "APScheduler 4": ("apscheduler", apscheduler4),
    "Celery crontab": ("celery", celery),
}
"""Each library by its name in the report: its distribution, and how it is asked."""

_YEARS = timedelta(days=366 * 12)


def answer(name: str, question: dict[str, Any], count: int) -> list[str]:
    """Return the first due times that a library gives, or ``["refused: …"]``; none within twelve years is ``[]``."""
    zone = question["zone"]
    after = datetime.fromisoformat(question["after"]).astimezone(ZoneInfo(zone))
    found = []
    try:
        for at in islice(PEERS[name][1](question["expression"], zone, after), count):
            if at.astimezone(UTC) - after.astimezone(UTC) > _YEARS:
                break
            found.append(at.astimezone(UTC).astimezone(ZoneInfo(zone)).isoformat(timespec="seconds"))
    except Exception as error:
        return [*found, f"refused: {type(error).__name__}"]
    return found


def main() -> None:
    """Answer the questions on stdin, one a line, with the library's version first."""
    from importlib import import_module
    from importlib.metadata import PackageNotFoundError, version

    name = sys.argv[1]
    try:
        known = version(PEERS[name][0]) if name != "asyncsched" else import_module(name).__version__
    except PackageNotFoundError:
        known = ""
    print(json.dumps(known), flush=True)
    for line in sys.stdin:
        question, count = json.loads(line)
        print(json.dumps(answer(name, question, count)), flush=True)


if __name__ == "__main__":
    main()
