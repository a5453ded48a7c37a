"""How right and how quick: ours, cronsim and croniter over the oracle's corpus.

python -m tests.triggers.cron.report
"""

from __future__ import annotations

import random
import signal
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import croniter  # type: ignore[import-untyped]  # croniter ships no types
from cronsim import CronSim, CronSimError

from asyncsched._core.instants import SECOND
from asyncsched.triggers.cron import Cron
from tests.triggers.cron.oracle import EPOCH, HOUR, Rule, Stretch, around, corpus, due, following, starts

COUNT = 3
PATIENCE = 0.5  # seconds for one next

Ask = Callable[[], int | None]
Tool = Callable[[str, str, int], Ask]


def ours(expression: str, zone: str, start: int) -> Ask:
    cron, at = Cron(expression, timezone=zone), start * SECOND

    def ask() -> int | None:
        nonlocal at
        found = cron.next_instant(at)
        at = at if found is None else found
        return None if found is None else found // SECOND

    return ask


def by_cronsim(expression: str, zone: str, start: int) -> Ask:
    dates = CronSim(expression, (EPOCH + timedelta(seconds=start)).astimezone(ZoneInfo(zone)))
    return lambda: seconds(next(dates, None))


def by_croniter(expression: str, zone: str, start: int) -> Ask:
    moment = (EPOCH + timedelta(seconds=start)).astimezone(ZoneInfo(zone))
    dates = croniter(expression, moment, ret_type=datetime)
    return lambda: seconds(dates.get_next())


TOOLS: dict[str, Tool] = {"ours": ours, "cronsim": by_cronsim, "croniter": by_croniter}


def seconds(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - EPOCH) // timedelta(seconds=1)


def kind_of(stretch: Stretch, rule: Rule, start: int) -> str:
    """Return the class of a row: what the clock does, and what sort of job it is."""
    shift = stretch.shift()
    size = abs(shift)
    change = "gap" if shift > 0 else "fold"
    if size >= 3 * HOUR:
        change += " of 3 h and more"
    elif size <= 300:
        change += " up to 5 minutes"
    elif size % HOUR:
        change += " of part hours"
    second_pass = any(old is not None and old - wall > start - at >= 0 for at, wall, old in stretch.events)
    start_in = ", start in the second pass" if second_pass else ""
    return f"{change if shift else 'no change'}, {'wildcard' if rule.wildcard else 'fixed'}{start_in}"


def refuses(tool: Tool, expression: str, zone: str, start: int) -> bool:
    try:
        tool(expression, zone, start)
    except (ValueError, TypeError, CronSimError):
        return True
    return False


def answers(ask: Ask, costs: list[float], expected: list[int], end: int) -> str:
    """Return "" where a tool's next instants are right, else how they are wrong."""
    for wanted in [*expected, None][:COUNT]:
        begin = time.perf_counter()
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)
        try:
            found = ask()
        except TimeoutError:
            return "no answer"
        except (ValueError, ArithmeticError, LookupError, TypeError):
            return "raises"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            costs.append(time.perf_counter() - begin)
        if wanted is None:
            return "" if found is None or found > end else "too many"
        if found != wanted:
            return "wrong instant"
    return ""


def rows() -> Iterator[tuple[str, Stretch, Rule, list[int], int]]:
    dice = random.Random(1)
    for expression, zone, day in corpus(randoms=6):
        stretch, rule = around(zone, day), Rule(expression)
        instants = due(rule, stretch)
        for start in starts(stretch, dice):
            yield expression, stretch, rule, following(instants, start, COUNT), start


def worst_cases() -> None:
    print("\none next, one second before a change (µs; a dash: no answer in half a second)")
    for zone, day, hour in [
        ("America/New_York", date(2026, 3, 8), 7),
        ("Antarctica/Troll", date(2026, 3, 29), 1),
        ("Pacific/Apia", date(2011, 12, 30), 10),
    ]:
        start = int(datetime(day.year, day.month, day.day, hour, tzinfo=EPOCH.tzinfo).timestamp()) - 1
        costs: dict[str, str] = {}
        for name, tool in TOOLS.items():
            taken: list[float] = []
            wrong = answers(tool("* * * * * *", zone, start), taken, [start + 1], 10**12)
            costs[name] = "-" if wrong == "no answer" else f"{taken[0] * 1e6:.0f}"
        print(f"  * * * * * *  {zone:20}", "  ".join(f"{name} {cost}" for name, cost in costs.items()))


def main() -> None:
    def give_up(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, give_up)
    total: Counter[str] = Counter()
    wrong: dict[str, Counter[str]] = {name: Counter() for name in TOOLS}
    costs: dict[str, list[float]] = {name: [] for name in TOOLS}
    refused: Counter[str] = Counter()
    for expression, stretch, rule, expected, start in rows():
        kind = kind_of(stretch, rule, start)
        total[kind] += 1
        for name, tool in TOOLS.items():
            if refuses(tool, expression, stretch.zone, start):
                refused[name] += 1
                continue
            how = answers(tool(expression, stretch.zone, start), costs[name], expected, stretch.end)
            if how:
                wrong[name][f"{how}: {kind}"] += 1
    print(f"{sum(total.values())} rows (expression, zone, start), {COUNT} instants each, against brute force")
    for name in TOOLS:
        print(f"\n{name}: {sum(wrong[name].values())} rows disagree, {refused[name]} refused")
        for kind, count in wrong[name].most_common():
            print(f"  {count:6}  {kind}")
    print("\ncost of one next (µs)       median       p99       worst")
    for name, taken in costs.items():
        taken.sort()
        p99 = taken[int(len(taken) * 0.99)]
        print(f"  {name:20} {statistics.median(taken) * 1e6:10.1f} {p99 * 1e6:10.1f} {taken[-1] * 1e6:10.1f}")
    worst_cases()


if __name__ == "__main__":
    main()
