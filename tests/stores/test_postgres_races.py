"""Races between PostgreSQL's writer thread, its notifications' thread and the loop that closes the store."""

from __future__ import annotations

import socket
from typing import Any

import pytest

pytest.importorskip("psycopg")

from asyncsched.stores.postgres import PostgresStore
from asyncsched.stores.postgres.notifications import Notifications


class ClosedInBetween(PostgresStore):
    """A store that the loop closes between two looks of the writer's thread."""

    hints: Any = None
    looks = 0

    @property
    def _notifications(self) -> Any:
        self.looks += 1
        return self.hints if self.looks == 1 else None

    @_notifications.setter
    def _notifications(self, hints: Any) -> None:
        self.hints = hints


class Hints:
    def __init__(self) -> None:
        self.said: list[tuple[bool, set[int]]] = []

    def say(self, work: bool, changed: set[int]) -> None:
        self.said.append((work, changed))


def test_a_commit_is_none_the_less_committed_for_a_store_that_is_closed_meanwhile() -> None:
    store = ClosedInBetween("postgresql:///nowhere")
    store.looks, store.hints = 0, Hints()
    store._committed(True, {1})  # after COMMIT: an error here would be taken for the transaction's
    assert store.hints.said == [(True, {1})]


def test_a_hint_that_comes_after_the_end_of_those_who_send_it_is_no_error_of_the_writer() -> None:
    hints = object.__new__(Notifications)
    hints._bell, hints._button = socket.socketpair()
    hints._button.setblocking(False)
    hints._bell.close()
    hints._button.close()
    hints._ring()
