"""The limiter in SQL: the rules of ``memory/limiter`` over rows that a transaction has locked.

A run that finds a limit closed waits in the limit's queue, out of the index of ready runs. For a limit of
running runs, the head of the queue may try when a place is free; for a rate, one run at a time tries at its turn.
Waking one run too many costs a query and changes nothing, so an uncertain case wakes.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable

from asyncsched._core.instants import Instant
from asyncsched._core.records import Permit, RunRecord
from asyncsched._core.rules.admission import gcra
from asyncsched.stores.sql.session import Session

logger = logging.getLogger("asyncsched.store")


class Limits:
    """The limits of some runs, locked and read; :meth:`write` stores the changes."""

    def __init__(self, session: Session, runs: Iterable[RunRecord], now: Instant) -> None:
        self._session = session
        self._now = now
        self._permits = {permit.key: permit for run in runs if run.rare for permit in run.permits}
        self._used: dict[str, int] = {}
        self._theoretical: dict[str, Instant] = {}
        self._trying: dict[str, str | None] = {}
        self._changed: set[str] = set()
        self._wake: Counter[str] = Counter()
        if self._permits:
            keys = sorted(self._permits)
            self._used = dict.fromkeys(keys, 0)
            self._theoretical = dict.fromkeys(keys, 0)
            for key, used, theoretical, trying in session.all("limits", keys=session.array(keys)):
                self._used[key], self._theoretical[key], self._trying[key] = used, theoretical, trying

    def take(self, run: RunRecord) -> tuple[str, str]:
        """Take the run's permits.

        Returns:
            The key of the limit for which the run must wait, or ``""``; and the reason for which it is dropped
            instead, or ``""``.

        """
        closed: Permit | None = None
        self._forget_trying(run)
        for permit in run.permits:
            if not self._open(permit):
                closed = permit
                break
        if closed is None:
            self._occupy(run)
            return "", ""
        if closed.drop and run.started_at is None:
            return closed.key, closed.reason
        self._pass_on(run)
        return closed.key, ""

    def _open(self, permit: Permit) -> bool:
        if permit.interval:
            return gcra(self._theoretical[permit.key], permit, self._now)[0] <= self._now
        return self._used[permit.key] < permit.most

    def _occupy(self, run: RunRecord) -> None:
        for permit in run.permits:
            self._changed.add(permit.key)
            if permit.interval:
                self._theoretical[permit.key] = gcra(self._theoretical[permit.key], permit, self._now)[1]
                self._wake[permit.key] += 1
            else:
                self._used[permit.key] += 1

    def give_back(self, run: RunRecord) -> None:
        """Free the places of a run that has ended."""
        for permit in run.permits:
            if not permit.interval:
                self._used[permit.key] = max(0, self._used[permit.key] - 1)
                self._changed.add(permit.key)
                self._wake[permit.key] += 1

    def leave(self, run: RunRecord) -> None:
        """Let the next run try in place of a pending run that will not."""
        self._forget_trying(run)
        self._pass_on(run)

    def _forget_trying(self, run: RunRecord) -> None:
        id = f"{run.id:032x}"
        for permit in run.permits:
            if self._trying.get(permit.key) == id:
                self._trying[permit.key] = None
                self._changed.add(permit.key)

    def _pass_on(self, run: RunRecord) -> None:
        for permit in run.permits:
            self._wake[permit.key] += 1

    def write(self) -> tuple[int, Instant | None]:
        """Wake the runs that may try, and write the rows that changed.

        Returns:
            How many runs may try now, and when the next run of a rate may.

        """
        woken, upcoming = 0, None
        for key in sorted(self._wake):
            permit = self._permits[key]
            if not permit.interval:
                for _ in range(min(self._wake[key], permit.most - self._used[key])):
                    if self._wake_head(key, self._now, None) is None:
                        break
                    woken += 1
            elif self._trying.get(key) is None:
                turn = max(self._now, gcra(self._theoretical[key], permit, self._now)[0])
                self._trying[key] = head = self._wake_head(key, turn, key)
                if head is not None:
                    self._changed.add(key)
                    woken += turn <= self._now
                    upcoming = turn if upcoming is None else min(upcoming, turn)
        session = self._session
        session.many("set_limit", [
            (session.namespace, key, self._used[key], self._theoretical[key], self._trying.get(key))
            for key in sorted(self._changed)
        ])  # fmt: skip
        return woken, upcoming

    def _wake_head(self, key: str, at: Instant, waits_for: str | None) -> str | None:
        found = self._session.one("wake_head", key=key, at=at, waits_for=waits_for)
        return None if found is None else f"{self._session.read_id(found[0]):032x}"


def recount(session: Session, now: Instant) -> None:
    """Count anew the runs that hold each limit: a run deleted or broken by hand gives nothing back."""
    stands = dict(session.all("used_limits"))
    if not stands:
        return
    held = Counter(
        permit.key for run in session.runs("limited") for permit in run.permits if not permit.interval
    )
    for key, used in stands.items():
        if used != held[key]:
            logger.warning("limit %r: %d runs hold it, and not %d; it is put right", key, held[key], used)
            session.do("recount_limit", key=key, used=held[key])
            session.one("wake_head", key=key, at=now, waits_for=None)
            session.announce()


def sweep_limits(session: Session, now: Instant) -> None:
    """Recount the limits, and drop those that neither hold nor delay a run."""
    recount(session, now)
    session.do("sweep_limits", now=now)
