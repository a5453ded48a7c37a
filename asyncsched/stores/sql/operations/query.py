"""The query for runs, as SQL: every filter has an index that is read newest due first, up to the limit.

These indexes have the state and the origin before the due time and the id. So a list is one branch per state
and origin, and the database merges the branches and ends at the limit, also where one has very many runs and
another none. The index of tags has neither, so a list by tag and state reads the runs of that tag. The indexes leave running runs out, which saves two writes per run: the branch of that
state reads the index of held runs, of which the capacity of the executors bounds the number.
"""

from __future__ import annotations

from typing import Any

from asyncsched._core.records import RunRecord
from asyncsched._core.requests import RunQuery
from asyncsched._core.rules.retention import DEAD_LETTER_STATES
from asyncsched._core.states import FINAL_STATES
from asyncsched.stores.sql.rows import RUN_COLUMNS
from asyncsched.stores.sql.session import Session

_STATES = ("pending", "running", *sorted(FINAL_STATES))
_ORIGINS = ("backfill", "manual", "once", "schedule")
_COLUMNS = {
    "key": 'r."key"', "schedule": "r.schedule", "job": "r.job", "origin": "r.origin", "slot": "r.slot",
}  # fmt: skip
_FIRST = ("key", "schedule", "tag", "job")
_ORDER = "ORDER BY 3 DESC, 1 DESC LIMIT :limit"
"""Newest due first: by the due time and the id, by their places in ``RUN_COLUMNS``."""

_BY_TAG = RUN_COLUMNS.replace("r.id", "t.run").replace("r.due", "t.due")
"""The same columns; those that the order needs are read from the index of tags."""


def runs(session: Session, query: RunQuery) -> list[RunRecord]:
    """Return the runs that match, newest due first."""
    if query.live:  # alone: nothing else narrows a list of what goes on
        return session.runs("live_runs", limit=query.limit)
    own_slot = query.slot is not None and query.schedule is not None and query.origin == "schedule"
    if query.ids is None and not own_slot:
        return _List(session, query).read()
    found = _Few(session, query).read()
    found.sort(key=lambda run: (run.due, run.id), reverse=True)
    return found[: query.limit]


class _Query:
    """A query on its way to SQL: its parameters, and the conditions that no index answers."""

    def __init__(self, session: Session, query: RunQuery) -> None:
        self.session = session
        self.query = query
        self.params: dict[str, Any] = {"namespace": session.namespace, "limit": query.limit}

    def select(self, sql: str) -> list[RunRecord]:
        """Return the runs of a statement."""
        return self.session.runs_of(self.session.execute(self.session.adapted(sql), self.params).fetchall())

    def given(self, *names: str) -> list[str]:
        """Return those of the filters that are given, and take their values as parameters."""
        found = [name for name in names if getattr(self.query, name) is not None]
        self.params.update((name, getattr(self.query, name)) for name in found)
        return found

    def named(self, name: str) -> str:
        """Return a condition of the dialect's own."""
        return self.session.queries[name]

    def states(self) -> list[str]:
        """Return the condition on the states, if they are given."""
        if self.query.states is None:
            return []
        self.params["states"] = self.session.array(self.query.states)
        return [self.named("where_states")]

    def times(self, due: str = "r.due", id: str = "r.id") -> list[str]:
        """Return the conditions on the due time and on the end."""
        where = [f"{due} >= :start"] if self.given("start") else []
        before_due, before = self.query.before or (None, 0)
        # An index is read from one of two upper bounds, so only the lower one is written.
        if self.query.end is not None and (before_due is None or self.query.end < before_due):
            where += [f"{due} <= :{name}" for name in self.given("end")]
        elif before_due is not None:
            self.params["before_due"], self.params["before"] = before_due, self.session.write_id(before)
            where.append(f"({due}, {id}) < (:before_due, :before)")
        if self.given("finished_since"):
            where.append(self.named("where_finished_since"))
        return where


class _Few(_Query):
    """A query of runs by their ids, or of a slot's own run: a list of at most as many."""

    def read(self) -> list[RunRecord]:
        """Return the runs that match, in no order."""
        where = [*self.states(), *self.times()]
        for name in self.given(*_COLUMNS):
            # The origin as a literal, so that the index of slots is used.
            own = name == "origin" and self.query.origin == "schedule"
            where.append("r.origin = 'schedule'" if own else f"{_COLUMNS[name]} = :{name}")
        if self.given("tag"):
            where.append(self.named("where_tag"))
        if self.query.dead_letters:
            where.append(self.named("where_dead_letter"))
        name = "few_runs"
        if self.query.ids is not None:
            ids = {self.session.write_id(id) for id in self.query.ids}
            if len(ids) > 1:
                name, self.params["ids"] = "runs_by_id", self.session.array(ids)
            else:  # nearly always
                self.params["id"] = next(iter(ids), None)
                where.append("r.id = :id")
        return self.select(self.named(name).replace("{where}", "".join(f" AND {one}" for one in where)))


class _List(_Query):
    """A query that may match very many runs."""

    def __init__(self, session: Session, query: RunQuery) -> None:
        super().__init__(session, query)
        # The index that is read is that of the filter which usually leaves the fewest runs.
        given = self.given("key", "schedule", "job") if query.dead_letters else self.given(*_FIRST)
        self._by = given[0] if given else ""
        self._dead = query.dead_letters and self._by != "key"
        wanted = DEAD_LETTER_STATES if query.dead_letters else _STATES
        self._states = [
            one for one in _STATES if one in wanted and (query.states is None or one in query.states)
        ]

    def read(self) -> list[RunRecord]:
        """Return the runs that match, newest due first."""
        rest = self._rest()
        columns = _BY_TAG if self._by == "tag" else RUN_COLUMNS
        branches = [
            f"SELECT {columns} FROM {table} WHERE {' AND '.join((*conditions, *rest))}"
            for table, conditions in self._branches()
        ]
        if len(branches) > 1:
            branches = [self.named("branch").replace("{select}", one) for one in branches]
        return self.select(f"{' UNION ALL '.join(branches)} {_ORDER}") if branches else []

    def _branches(self) -> list[tuple[str, list[str]]]:
        """Return the table and the conditions of each branch, in the order of its index."""
        if self._by == "tag":
            return [(self.named("from_tags"), ["t.namespace = :namespace", "t.tag = :tag", *self.states()])]
        table = "asyncsched_runs AS r"
        first = ["r.namespace = :namespace", *([f"{_COLUMNS[self._by]} = :{self._by}"] if self._by else [])]
        if self._dead:
            return [(table, [*first, self.named("where_dead_letter"), *self.states()])]
        found = []
        for state in self._states:
            if state == "running":
                held = self._residual(*filter(None, (self._by, *self.given("origin"))))
                found.append((
                    table, ["r.namespace = :namespace", "r.state = 'running'", "r.holder >= 0", *held],
                ))  # fmt: skip
                continue
            stated = [*first, f"r.state = '{state}'", "r.state <> 'running'"]
            origins = [one for one in _ORIGINS if self.query.origin in (None, one)]
            found += [(table, [*stated, f"r.origin = '{one}'"]) for one in origins]
        return found

    def _rest(self) -> list[str]:
        """Return the conditions that each branch has beside those of its index."""
        names = [name for name in self.given(*_COLUMNS) if name != self._by]
        if not (self._dead or self._by == "tag"):  # the branches have the origin
            names = [name for name in names if name != "origin"]
        where = self._residual(*names)
        if self._by == "tag":
            where += self.times("t.due", "t.run")
        else:
            where += [*self.times(), *([self.named("where_tag")] if self.given("tag") else [])]
        if self.query.dead_letters and not self._dead:
            where.append(self.named("where_dead_letter"))
        return where

    @staticmethod
    def _residual(*names: str) -> list[str]:
        """Return conditions on columns in an expression that keeps the database from their own indexes."""
        return [
            f"{_COLUMNS[name]} = :slot" if name == "slot" else f"({_COLUMNS[name]} || '') = :{name}"
            for name in names
        ]
