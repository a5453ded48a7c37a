"""Statistics are added and read, and records of what people did are kept: operations of the SQL stores."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from asyncsched._core.book import PERIOD, PERIODS_KEPT, Book, Period
from asyncsched._core.instants import Instant
from asyncsched._core.reporting import ActivityQuery, ActivityRecord
from asyncsched._core.rules.retention import DEAD_LETTERS
from asyncsched._core.tallies import EDGES, Bins, Tally
from asyncsched.stores.sql.rows import activity_row, text
from asyncsched.stores.sql.session import Session

_SOURCES_KEPT = 1_000_000
"""How many writes after its last one the number of an instance's last write is kept."""


class Adding(NamedTuple):
    """A request to add what an instance has counted."""

    counted: Book
    source: int
    number: int


def add_tallies(session: Session, request: Adding) -> None:
    """Add what an instance has counted, if it was not added before."""
    counted, source, number = request
    version = session.one("number_tallies")[0]
    row = session.one("counted", source=source)
    if row is not None and row[0] >= number:
        return
    rows = []
    subjects = {text(subject): tally for subject, tally in counted.tallies.items()}
    stand = session.several(*(("tally", {"subject": subject}) for subject in subjects))
    for (subject, tally), kept in zip(subjects.items(), stand, strict=True):
        if kept:
            newer, tally = tally, _tally(kept[0][0])
            tally.merge(newer)
        rows.append((session.namespace, subject, _json(tally.to_json()), version))
    session.many("put_tally", rows)
    _add_periods(session, counted, version)
    session.do("set_counted", source=source, number=number, version=version)


def forget_tally(session: Session, subject: str) -> None:
    """Begin the figures of a subject anew."""
    version = session.one("number_tallies")[0]
    session.many("put_tally", [(session.namespace, text(subject), _json(Tally().to_json()), version)])


def _add_periods(session: Session, counted: Book, version: int) -> None:
    if not counted.periods:
        return
    stand = _periods(session.all("periods", first=min(counted.periods), last=max(counted.periods)))
    rows = []
    for start, newer in counted.periods.items():
        one = stand.setdefault(start, Period())
        one.merge(newer)  # into the stored one: this request may be begun again after an error
        rows.append(
            (
                session.namespace,
                start,
                one.succeeded,
                one.failed,
                one.cancelled,
                one.skipped.get("missed", 0),
                _json(one.late),
                _json(one.skipped),
                _json(one.took),
                version,
            )
        )
    session.many("put_period", rows)


def tallies(session: Session, version: int) -> tuple[Book, int]:
    """Return the tallies and periods that were written since a version, and the new version."""
    row = session.one("tallies_version")  # first: what is written meanwhile is read again the next time
    book = Book()
    book.tallies = {subject: _tally(kept) for subject, kept in session.all("tallies_since", version=version)}
    book.periods = _periods(session.all("periods_since", version=version))
    return book, row[0] if row else version


def _periods(rows: Iterable[Sequence[Any]]) -> dict[Instant, Period]:
    return {
        start: Period(succeeded, failed, cancelled, _counts(skipped), _bins(late), _bins(took))
        for start, succeeded, failed, cancelled, skipped, late, took in rows
    }


def _counts(kept: str) -> dict[str, int]:
    """Return counts by a word; those that were edited so that they make no sense begin anew."""
    try:
        return {word: int(count) for word, count in json.loads(kept).items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def _bins(kept: str) -> Bins:
    counts = _counts(kept)
    return {
        int(number): count
        for number, count in counts.items()
        if number.isdecimal() and int(number) <= len(EDGES)
    }


def _tally(kept: str) -> Tally:
    """Return a tally; one that was edited so that it makes no sense begins anew."""
    try:
        return Tally.from_json(json.loads(kept))
    except (ValueError, TypeError, KeyError, AttributeError):
        return Tally()


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


# ── what people did ──────────────────────────────────────────────────────────────────────────────


def add_activity(session: Session, one: ActivityRecord) -> None:
    """Keep a record."""
    session.run("add_activity", activity_row(session.namespace, one))


def activity(session: Session, query: ActivityQuery) -> list[ActivityRecord]:
    """Return the records that match, newest first."""
    params: dict[str, Any] = {"namespace": session.namespace, "limit": query.limit}
    where = []
    for name, column in (("subject", "subject"), ("by", '"by"')):
        if (value := getattr(query, name)) is not None:
            where.append(f" AND {column} = :{name}")
            params[name] = value
    if query.before is not None:
        where.append(" AND id < :before")
        params["before"] = f"{query.before:032x}"
    for number, action in enumerate(query.actions or ()):
        where.append(f"{' OR' if number else ' AND ('} action = :action{number}")
        params[f"action{number}"] = action
    if query.actions:
        where.append(")")
    sql = session.queries["activity"].replace("{where}", "".join(where))
    rows = session.execute(session.adapted(sql), params).fetchall()
    return session.quarantine.readable("activity", rows, _activity)


def _activity(row: Any) -> ActivityRecord:
    id, at, action, subject, by, note, via, result, failed = row
    return ActivityRecord(int(id, 16), at, action, subject, by, note, via, result, bool(failed))


def prune_reporting(session: Session, now: Instant) -> None:
    """Drop figures and records that are too old."""
    session.do("prune_periods", horizon=now - PERIODS_KEPT * PERIOD)
    session.do("prune_activity", horizon=now - DEAD_LETTERS)
    row = session.one("tallies_version")
    if row is not None:
        session.do("prune_counted", version=row[0] - _SOURCES_KEPT)
