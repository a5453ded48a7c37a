"""Group commit: all queued requests are written in one transaction, and each caller resumes after its COMMIT.

Each kind of request has one operation that takes all requests of that kind at once. The operation runs
under a savepoint: if it fails, it is undone and its items are done one by one, so that one item's error is
that caller's alone. A transaction may be begun again after an error, so an operation changes nothing
but the database. An item that meets the lock of another transaction is undone, too, and waits in ``locked``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

from asyncsched._core.errors import StoreError, StoreUnavailable
from asyncsched.stores.sql.locked import DIVIDE, LEAVE_OUT, MOST_MET
from asyncsched.stores.sql.request import Request
from asyncsched.stores.sql.session import Ruling, Session
from asyncsched.stores.sql.thread import DatabaseThread

logger = logging.getLogger("asyncsched.store")

Operation = Callable[[Session, Sequence[Any]], list[Any]]

_PAUSES = (0.002, 0.01, 0.05, 0.1, 0.25)
"""Seconds between attempts at a database that is locked or unavailable."""

_ITS_OWN = ("refused", "locked")
"""The errors of one item."""


def each(operation: Callable[[Session, Any], Any]) -> Operation:
    """Return an operation on many requests that does them one after the other."""
    return lambda session, requests: [operation(session, payload) for payload in requests]


def _repeatable(error: Exception) -> StoreUnavailable:
    """Return an error as one that the recorder repeats until the database works: no attempt's outcome may be lost."""
    return error if isinstance(error, StoreUnavailable) else StoreUnavailable(str(error))


class GroupCommit:
    """Answers requests that write.

    Args:
        session: the writer's connection; used in the writer's thread alone.
        operations: the operations by kind of request, in the order in which a transaction does them.
        quiet: whether another one logs that the database cannot be written to.

    """

    def __init__(self, session: Session, operations: Mapping[str, Operation], quiet: bool = False) -> None:
        self._session = session
        self._operations = operations
        self._order = {kind: number for number, kind in enumerate(operations)}
        self._stopping = threading.Event()
        self._quiet = quiet
        self._reported = False
        self._locks_met = 0  # by the present batch
        self.lost_answers = 0
        """How many transactions with a claim have failed without an answer to whether they were committed."""
        self.thread: DatabaseThread

    def serve(self, requests: list[Request]) -> None:
        """Answer all requests, but those that meet a lock."""
        self._locks_met = 0
        requests = sorted(requests, key=lambda request: self._order[request.kind])
        for together in self._session.cut(requests):
            self._session.locks_first = True
            if not self._leave(together):
                self._commit_together(together)

    def _commit_together(self, requests: list[Request]) -> None:
        """Answer the requests that share a transaction."""
        failures = 0
        while requests:
            try:
                self._transaction(requests)
                self._report_recovery()
                return
            except Exception as error:
                self._session.rollback()
                ruling = self._session.judge(error)
                explained = self._session.explain(error)
                for request in requests:
                    request.result = request.error = None
                    request.met_lock = request.left = False
                if ruling == "locked" and self._session.locks_first:
                    self._session.locks_first = False  # so that only the requests meet it that are about it
                    continue
                if any(request.kind == "claim" for request in requests):
                    # The database may have committed, and only the answer is lost: the runs that began are unknown.
                    self.lost_answers += 1
                if ruling not in ("again", "locked") or self._stopping.is_set():
                    self._report_trouble(explained)
                    for request in requests:
                        request.error = explained if request.kind != "record" else _repeatable(explained)
                    return
                self.thread.trouble = str(explained)
                if failures:
                    self._report_trouble(explained)
            self._session.clear_the_way()
            self._stopping.wait(_PAUSES[min(failures, len(_PAUSES) - 1)])
            failures += 1
            requests[:] = [request for request in requests if not request.lost]

    def _transaction(self, requests: list[Request]) -> None:
        session = self._session
        session.start(requests)
        if len(requests) == 1:
            self._commit_alone(requests[0])
            return
        for kind, group in groupby(requests, lambda request: request.kind):
            self._group(self._operations[kind], list(group))
        session.commit()

    def _commit_alone(self, request: Request) -> None:
        """Do a single request, which needs no savepoint."""
        session = self._session
        try:
            request.result = self._operations[request.kind](session, (request.payload,))[0]
            session.commit()
        except Exception as error:
            ruling = session.judge(error)
            if ruling not in _ITS_OWN:
                raise
            session.rollback()
            if self._may_leave_out(request, ruling):
                with session.leaving_out():
                    session.start((request,))
                    self._commit_alone(request)
            else:
                self._fail(request, error, ruling)

    def _group(self, operation: Operation, group: list[Request]) -> None:
        session = self._session
        session.savepoint()
        try:
            results = operation(session, [request.payload for request in group])
            session.release()
        except Exception as error:
            ruling = session.judge(error)
            if ruling not in _ITS_OWN:
                raise
            session.go_back()
            session.need_transaction()
            if len(group) > 1:
                for request in group:
                    if not self._leave((request,)):
                        self._group(operation, [request])
            elif self._may_leave_out(group[0], ruling):
                with session.leaving_out():
                    self._group(operation, group)
            else:
                self._fail(group[0], error, ruling)
        else:
            for request, result in zip(group, results, strict=True):
                request.result = result

    def _leave(self, requests: Sequence[Request]) -> bool:
        """Leave requests to the next batch, if this one has met so many locks that others wait too long for it."""
        for request in requests:
            request.left = self._locks_met >= MOST_MET
        return self._locks_met >= MOST_MET

    def _may_leave_out(self, request: Request, ruling: Ruling) -> bool:
        return ruling == "locked" and request.about == LEAVE_OUT and not self._session.leaves_out

    def _fail(self, request: Request, error: Exception, ruling: Ruling) -> None:
        """Answer a request with its error, or have it wait for the end of the transaction that is in its way."""
        explained = self._session.explain(error)
        if ruling == "locked":
            self._locks_met += 1
            request.obstacle = str(explained)
            request.met_lock = request.about != DIVIDE
            explained = StoreError(str(explained))
        request.error = None if request.met_lock else explained

    def _report_trouble(self, error: Exception) -> None:
        self.thread.trouble = str(error)
        if not (self._reported or self._quiet):
            self._reported = True
            logger.error("the store cannot be written to: %s", error)

    def _report_recovery(self) -> None:
        self.thread.trouble = ""
        if self._reported:
            self._reported = False
            logger.warning("the store can be written to again")

    def wake(self) -> None:
        """End a wait for an unavailable database, at shutdown."""
        self._stopping.set()


class Reader:
    """Answers requests that only read, one by one: a request is a call with the session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._stopping = threading.Event()
        self.thread: DatabaseThread

    def serve(self, requests: list[Request]) -> None:
        """Answer all requests, but those that meet a lock."""
        met = 0
        for request in requests:
            request.left = met >= MOST_MET
            if not request.left:
                self._answer(request)
                met += request.met_lock

    def _answer(self, request: Request) -> None:
        """Answer one request, trying again for a moment, or, for a read, until the database is available."""
        failures = 0
        while not request.lost:
            try:
                self._session.connect()
                request.result = request.payload(self._session)
                self.thread.trouble = ""
                return
            except Exception as error:
                self._session.rollback()
                ruling = self._session.judge(error)
                explained = self._session.explain(error)
            if ruling == "locked":
                request.met_lock, request.obstacle = True, str(explained)
                return
            waits = ruling == "again" and request.kind == "read" and not self._stopping.is_set()
            if ruling == "refused" or (failures >= len(_PAUSES) and not waits):
                request.error = explained
                return
            self.thread.trouble = str(explained)
            self._stopping.wait(_PAUSES[min(failures, len(_PAUSES) - 1)])
            failures += 1

    def wake(self) -> None:
        """End a wait for an unavailable database, at shutdown."""
        self._stopping.set()
