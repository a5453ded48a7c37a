"""Chaos by the minute: ``python -m tests.chaos sqlite --minutes 2`` (or ``postgres``).

Prints what was done, then the counts: duplicates, losses, silent drops, late recoveries, stalls. Exits 1
if any of them but the last, which depends on the outages, is not what the store promises.
"""

from __future__ import annotations

import argparse
import logging
import random
import tempfile
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx

from asyncsched import Scheduler
from tests.chaos.fleet import Fleet
from tests.chaos.ledger import LEASE, ledger
from tests.chaos.workers import Workers
from tests.waiting import until

if TYPE_CHECKING:
    from tests.chaos.postgres import Troubles

logger = logging.getLogger(__name__)

_LOOK = 0.5
_OUTAGE = 10.0
"""Seconds that the database is away at most, and that reaching it again takes."""

_EXPLAINED = frozenset({"ran", "pending", "missed", "overlap", "paused", "cancelled"})


@dataclass
class Report:
    """What was done, and what came of it."""

    lease: float
    kills: int = 0
    freezes: int = 0
    rolls: int = 0
    troubles: dict[str, int] = field(default_factory=dict)
    accepted: dict[str, int] = field(default_factory=dict)
    runs: int = 0
    again: int = 0
    duplicates: int = 0
    lost: int = 0
    dropped: int = 0
    stuck: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    recovered: int = 0
    slowest: float = 0.0
    silent: list[str] = field(default_factory=list)
    late_ends: list[str] = field(default_factory=list)
    longest_gap: float = 0.0

    @property
    def patience(self) -> float:
        """Seconds within which a dead holder's runs are free again: the lease and one, and this observer's look."""
        return self.lease + 1 + 2 * _LOOK

    @property
    def silence(self) -> float:
        """Seconds within which something of every schedule begins."""
        return 2 * self.patience + _OUTAGE

    def failed(self) -> bool:
        return bool(
            self.duplicates
            or self.lost
            or self.dropped
            or self.stuck
            or self.late
            or self.silent
            or self.late_ends
        )

    def __str__(self) -> str:
        return "\n".join(
            (
                f"done: {self.kills} kill -9, {self.freezes} SIGSTOP, {self.rolls} rolling restarts, "
                f"{', '.join(f'{name}: {count}' for name, count in sorted(self.troubles.items())) or 'no troubles'}, "
                f"{len(self.accepted)} one-offs accepted, {self.runs} runs, "
                f"{self.again} of them begun more than once",
                f"duplicates (slots with two runs): {self.duplicates}",
                f"losses (accepted one-offs that did not succeed): {self.lost}",
                f"silent drops (slots without a record): {self.dropped}",
                f"stuck (without an end although all live): {len(self.stuck)} {' '.join(self.stuck[:5])}",
                f"late recoveries (over {self.patience:.0f} s): {len(self.late)} of {self.recovered}, "
                f"the slowest after {self.slowest:.1f} s {'; '.join(self.late[:5])}",
                f"silent schedules (nothing of theirs began for {self.silence:.0f} s): {len(self.silent)} "
                f"{'; '.join(self.silent[:5])}",
                f"late ends (at SIGTERM, while the database was frozen): {len(self.late_ends)} "
                f"{'; '.join(self.late_ends)}",
                f"stalls: longest stretch in which nothing began anywhere: {self.longest_gap:.1f} s",
            )
        )


class Chaos:
    """One run of it all.

    Args:
        url: of the store.
        folder: for the log and what the servers say.
        seed: of all that is random here.
        lease: seconds; other than the default only on SQLite.
        troubles: what befalls the database.
        skewed: whether the processes' wall clocks are wrong by ten minutes.

    """

    def __init__(
        self,
        url: str,
        folder: Path,
        seed: int,
        lease: float = LEASE,
        troubles: Troubles | None = None,
        skewed: bool = False,
    ) -> None:
        self.report = Report(lease)
        self._url = url
        self._log = folder / "ran.log"
        self._dice = random.Random(seed)
        self._troubles = troubles
        self._stop = threading.Event()
        self._errors = ""
        self._away = 0.0  # when the store was last seen not to answer
        self._outages: list[float] = []  # when the store could be reached again after a trouble
        self._schedule_of: dict[str, str] = {}
        self._fleet: Fleet | Workers
        if skewed:
            self._fleet = Fleet(url, self._log, lease, skews=(0.0, 600.0, -600.0, 0.0))
        else:
            self._fleet = Workers(url, self._log, lease)

    def run(self, minutes: float) -> Report:
        """Do it, and return the counts."""
        self._fleet.start_all()
        until(self._log.exists)  # something has begun
        threads = ThreadPoolExecutor(2)
        beside = [threads.submit(self._post_one_offs), threads.submit(anyio.run, self._watch_recoveries)]
        try:
            self._misbehave(time.monotonic() + minutes * 60)
            if self._troubles is not None:
                self._troubles.end()
                self.report.troubles = dict(self._troubles.done)
                self.report.late_ends = self._troubles.late_ends
            last = time.monotonic() + self.report.patience + 3  # what died last is picked up
            while time.monotonic() < last:
                self._fleet.revive()
                time.sleep(_LOOK)
        finally:
            self._stop.set()
            threads.shutdown()
            try:
                for one in beside:
                    one.result()  # who could not watch to the end has seen nothing
                anyio.run(self._examine)
            finally:
                self._fleet.stop()
                self._errors = self._fleet.errors()
        return self.report

    def _misbehave(self, until: float) -> None:
        """Kill, freeze, roll and cut at random until the time is up."""
        while time.monotonic() < until:
            time.sleep(self._dice.uniform(1.0, 4.0))  # chaos takes real time
            if self._troubles is not None and isinstance(self._fleet, Fleet) and self._dice.random() < 0.45:
                before, self._away = self._away, inf
                self._away = max(before, self._troubles.strike(self._dice, self._fleet))
                self._outages.append(self._away)
            elif living := self._fleet.alive():
                self._do_one_deed(living, self._dice.random())
            self._fleet.revive()

    def _do_one_deed(self, living: list[int], deed: float) -> None:
        dice, fleet, report = self._dice, self._fleet, self.report
        if deed < 0.45:
            logger.info("kill -9: %d", fleet.kill(dice.choice(living)))
            report.kills += 1
            time.sleep(dice.uniform(0.0, 2.0))
        elif deed < 0.7:
            one, seconds = dice.choice(living), report.lease * 1.2 if deed < 0.5 else dice.uniform(0.5, 4.0)
            logger.info("SIGSTOP: %d for %.1f s", one, seconds)
            fleet.freeze(one, seconds)
            report.freezes += 1
        else:
            logger.info("a rolling restart")
            fleet.roll()
            report.rolls += 1

    def _post_one_offs(self) -> None:
        """Post one-offs all the time; what was answered with an id was accepted."""
        number = 0
        with httpx.Client(timeout=8) as client:
            while not self._stop.wait(0.05):
                number += 1
                port = self._fleet.ports[number % len(self._fleet.ports)]
                try:
                    answer = client.post(f"http://127.0.0.1:{port}/once/{number}")
                    if answer.status_code == 200:
                        self.report.accepted[answer.json()["id"]] = number
                except httpx.HTTPError:
                    pass  # not accepted: nothing is promised

    def _observer(self) -> Scheduler:
        url = self._url if self._troubles is None else self._troubles.own_dsn
        return Scheduler(ledger(url, self.report.lease), role="submit")

    async def _watch_recoveries(self) -> None:
        """Look who holds what: a run whose holder was killed must be somebody else's, or final, in time."""
        since: dict[tuple[str, int], float] = {}
        async with self._observer() as observer:
            while not self._stop.is_set():
                await anyio.sleep(_LOOK)  # real time: the promise is about it
                try:
                    running = await observer.runs(state="running", limit=10_000)
                    pids = {instance.id: instance.pid for instance in await observer.instances()}
                except Exception as error:
                    logger.warning("the observer could not look: %s", error)
                    since.clear()
                    continue
                self._schedule_of.update((run.id, run.schedule) for run in running if run.schedule)
                if observer.health().trouble:
                    self._away = time.time()
                dead = {
                    (run.id, run.attempt): self._fleet.killed[pid]
                    for run in running
                    if (pid := pids.get(run.instance or "", 0)) in self._fleet.killed
                }
                since = self._compare(since, dead)
        overdue = {mark: at for mark, at in since.items() if time.time() - at > self.report.patience}
        self._compare(overdue, {})

    def _compare(
        self, since: dict[tuple[str, int], float], dead: dict[tuple[str, int], float]
    ) -> dict[tuple[str, int], float]:
        """Return since when each run is seen with a dead holder; count those that no longer are."""
        now = time.time()
        for mark, began in since.items():
            if mark not in dead:
                # Nobody is declared dead while nobody can be heard, and what a stranger has locked waits for that.
                waited = now - max(began, self._away, self._held_back(mark[0]))
                self.report.recovered += 1
                self.report.slowest = max(self.report.slowest, waited)
                if waited > self.report.patience:
                    self.report.late.append(f"{mark[0]} attempt {mark[1]}: {waited:.1f} s")
                    away = f"was away {now - self._away:.1f} s ago" if self._away else "was never away"
                    logger.info("late: %s (the store %s)", self.report.late[-1], away)
        return {mark: since.get(mark, max(died, now - _LOOK)) for mark, died in dead.items()}

    def _held_back(self, run: str) -> float:
        """Return until when a stranger's lock was in the way of a run."""
        locks = {} if self._troubles is None else self._troubles.held_back
        return max(locks.get(run, 0.0), locks.get(self._schedule_of.get(run, ""), 0.0))

    # ── what came of it ──────────────────────────────────────────────────────────────────────

    async def _examine(self) -> None:
        """Hold the ledger against what was accepted and what really ran."""
        self._read_the_log()
        async with self._observer() as observer:
            await self._let_all_end(observer)
            states = [(await observer.run(id)).state for id in self.report.accepted]
            self.report.lost = sum(state != "succeeded" for state in states)
            slots: dict[str, list[Any]] = defaultdict(list)
            for run in await observer.runs(origin="schedule", limit=1_000_000):
                slots[run.schedule or ""].append(run.scheduled_for)
            for schedule, times in slots.items():
                self.report.duplicates += len(times) - len(set(times))
                if int(schedule.removeprefix("tick")) % 5 == 0:  # those whose period no version changes
                    self.report.dropped += await self._unexplained(observer, schedule, set(times))

    def _read_the_log(self) -> None:
        begun: dict[tuple[str, str], set[str]] = defaultdict(set)
        begins: dict[str, int] = defaultdict(int)
        moments = []
        ticks: dict[str, list[int]] = defaultdict(list)
        for line in self._log.read_text().splitlines():
            at, kind, name, slot, run, _attempt, _pid = line.split()
            if kind == "begin":
                moments.append(int(at))
                begins[run] += 1
                if name.startswith("tick"):
                    begun[name, slot].add(run)
                    ticks[name].append(int(at))
        self.report.runs = len(begins)
        self.report.again = sum(count > 1 for count in begins.values())
        self.report.duplicates += sum(len(runs) > 1 for runs in begun.values())
        moments.sort()
        for name, times in ticks.items():
            # A schedule may be held by a dead run for a lease, and by an outage; and then once more for a
            # lease, because who could not reach the store watches anew. No longer: but anew after each
            # of several outages.
            times = sorted([*times, moments[-1]])
            for before, after in pairwise(at / 1e6 for at in times):
                gap = after - max((end for end in self._outages if before < end < after), default=before)
                if gap > self.report.silence:
                    self.report.silent.append(f"{name}: {gap:.1f} s")
        self.report.longest_gap = max((b - a for a, b in pairwise(moments)), default=0) / 1e6

    async def _let_all_end(self, observer: Scheduler) -> None:
        """Wait until everything that was there has its end; what has none then is stuck."""
        left = {run.id for run in await observer.runs(state=("running", "pending"), limit=100_000)}
        deadline = time.monotonic() + 2 * self.report.patience
        while left and time.monotonic() < deadline:
            await anyio.sleep(_LOOK)  # the instances work on in real time
            left = {id for id in left if not (await observer.run(id)).finished}
        self.report.stuck = [str(await observer.run(id)) for id in sorted(left)]

    async def _unexplained(self, observer: Scheduler, schedule: str, ran: set[Any]) -> int:
        """Return how many slots between the first and the last run have no record."""
        at, last = min(ran), max(ran)
        count = 0
        while (at := at + timedelta(seconds=1)) < last:
            if at not in ran and (await observer.explain(schedule, at)).verdict not in _EXPLAINED:
                count += 1
        return count

    def raised(self) -> Counter[str]:
        """Return what the servers' tracebacks ended with.

        ``StoreUnavailable`` is what a handler hears while a process that was stopped holds the file's
        lock, or the server is down.
        """
        lines = self._errors.splitlines()
        ends: Counter[str] = Counter()
        inside = False
        for line in lines:
            if "Traceback (most recent" in line:
                inside = True
            elif inside and line and not line.lstrip("|").startswith(" "):
                ends[line[:200]] += 1
                inside = False
        return ends

    def complaints(self) -> list[str]:
        """Return what they should not have raised; uvicorn cancels the handlers that outlive its graceful time."""
        return [
            line for line in self.raised()
            if "StoreUnavailable" not in line and "timeout graceful shutdown exceeded" not in line
        ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", choices=("sqlite", "postgres"))
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s")  # to hold what went wrong against what was done
    logger.setLevel(logging.INFO)
    print(f"chaos on {options.store}, {options.minutes:g} minutes, seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if options.store == "sqlite":
            chaos = Chaos(f"sqlite:///{folder}/jobs.db", Path(folder), options.seed)
            report = chaos.run(options.minutes)
        else:
            from tests.chaos.postgres import server

            with server() as troubles:
                chaos = Chaos(troubles.dsn, Path(folder), options.seed, troubles=troubles, skewed=True)
                report = chaos.run(options.minutes)
    print(report)
    print("the servers' tracebacks:", dict(chaos.raised()) or "none")
    return int(report.failed() or bool(chaos.complaints()))
