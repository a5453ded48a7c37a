"""The changes of the schedules in a shared store: what an instance has seen of them, and what it still has to ask for."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from asyncsched._core.requests import Changes, Watch
from asyncsched._engine.agenda import Agenda


class Feed:
    """The changes that one instance follows. A version counts as seen when all of it was taken in.

    Args:
        agenda: follows the schedules.

    """

    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda
        self._work_version: Any = None
        self._version = -1
        self._after: str | None = None  # the schedule after which the changes of that version go on

    @property
    def behind(self) -> bool:
        """Whether changes are known to be left that were not taken in."""
        return self._version < 0 or self._after is not None

    @property
    def seen(self) -> tuple[Any, ...]:
        """The versions that were taken in."""
        return self._work_version, self._version, self._after

    def watch(self, holder: int, runs: Collection[int], fully: bool) -> Watch:
        """Return the poll for the changes since the last one that was taken in."""
        return Watch(holder, self._work_version, self._version, runs, fully or self.behind, self._after)

    def take_in(self, changes: Changes) -> set[int]:
        """Follow the changes of schedules, and hear when the first pending run is ready.

        Returns:
            The instances that have declared a schedule since the last poll, by their incarnations.

        """
        agenda, declarers = self._agenda, set[int]()
        if (changes.version, changes.after) != (self._version, self._after):
            known = agenda.schedules
            for one in changes.schedules:
                if one.declared and (one.id not in known or known[one.id].declared_by != one.declared_by):
                    declarers.add(one.declared_by)
            agenda.follow(
                one
                for one in changes.schedules
                if one.id not in known or known[one.id].revision != one.revision
            )
            if changes.ids is not None:
                for id in known.keys() - changes.ids:
                    agenda.forget(id)
            agenda.notify()  # a changed schedule may be due before the time that is slept for
            self._version, self._after = changes.version, changes.after
        if changes.work_version != self._work_version:
            agenda.expect(changes.earliest)
            self._work_version = changes.work_version
        return declarers
