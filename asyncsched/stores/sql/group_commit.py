"""Group commit: all queued requests are written in one transaction, and each caller resumes after its COMMIT.

Each kind of request has one operation that takes all requests of that kind at once. The operation runs
under a savepoint: if it fails, it is undone and its items are done one by one, so that one item's error is
that caller's alone. A transaction may be begun again after an error, so an operation changes nothing
but the database.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

from asyncsched._core.errors import StoreUnavailable
from asyncsched.stores.sql.session import Session
from asyncsched.stores.sql.thread import DatabaseThread, Request

logger = logging.getLogger("asyncsched.store")

Operation = Callable[[Session, Sequence[Any]], list[Any]]

_PAUSES = (0.002, 0.01, 0.05, 0.1, 0.25)
"""Seconds between attempts at a database that is locked or unavailable."""


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

    """

    def __init__(self, session: Session, operations: Mapping[str, Operation]) -> None:
        self._session = session
        self._operations = operations
        self._order = {kind: number for number, kind in enumerate(operations)}
        self._stopping = threading.Event()
        self._reported = False
        self.lost_answers = 0
        """How many transactions with a claim have failed without an answer to whether they were committed."""
        self.thread: DatabaseThread

    def serve(self, requests: list[Request]) -> None:
        """Answer all requests."""
        requests = sorted(requests, key=lambda request: self._order[request.kind])
        for together in self._session.cut(requests):
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
                if any(request.kind == "claim" for request in requests):
                    # The database may have committed, and only the answer is lost: the runs that began are unknown.
                    self.lost_answers += 1
                if ruling != "again" or self._stopping.is_set():
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
        try:
            request.result = self._operations[request.kind](self._session, (request.payload,))[0]
        except Exception as error:
            if self._session.judge(error) != "refused":
                raise
            self._session.rollback()
            request.error = self._session.explain(error)
        else:
            self._session.commit()

    def _group(self, operation: Operation, group: list[Request]) -> None:
        session = self._session
        session.savepoint()
        try:
            results = operation(session, [request.payload for request in group])
        except Exception as error:
            if session.judge(error) != "refused":
                raise
            session.go_back()
            if len(group) == 1:
                group[0].error = session.explain(error)
                return
            session.need_transaction()
            for request in group:
                self._group(operation, [request])
        else:
            session.release()
            for request, result in zip(group, results, strict=True):
                request.result = result

    def _report_trouble(self, error: Exception) -> None:
        self.thread.trouble = str(error)
        if not self._reported:
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
        """Answer all requests."""
        for request in requests:
            self._answer(request)

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
