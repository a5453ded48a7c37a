"""The triggers of stored schedules: each is a text, which is read when the schedule is fired or shown.

A start with 50,000 schedules would otherwise read 50,000 texts before the first run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import tzinfo
from typing import Any

from asyncsched._core.instants import Instant
from asyncsched._core.trigger import InstantTrigger, TriggerCodec


class WrittenTrigger(InstantTrigger):
    """A trigger that is read from its text when it is first needed.

    Args:
        spec: the trigger as JSON.
        anchor: where its grid is fixed.
        codec: reads triggers.

    Raises:
        TriggerError, ValueError: the text is not that of a trigger. Faults inside a trigger of a known kind
            are found when it is read.

    """

    __slots__ = ("_anchor", "_codec", "_read", "_spec")

    def __init__(self, spec: str, anchor: Instant, codec: TriggerCodec) -> None:
        data = json.loads(spec)
        if not (isinstance(data, dict) and codec.knows(data)):
            codec.from_json(data)  # raises the error that says what is wrong
        self._spec = spec
        self._anchor = anchor
        self._codec = codec
        self._read: InstantTrigger | None = None

    def next_instant(self, after: Instant) -> Instant | None:
        return self._trigger().next_instant(after)

    def previous_instant(self, before: Instant) -> Instant | None:
        return self._trigger().previous_instant(before)

    def anchored(self, at: Instant) -> InstantTrigger:  # type: ignore[override]  # its own kind is an envelope
        return self._trigger().anchored(at)

    def count(self, after: Instant, upto: Instant) -> int | None:
        return self._trigger().count(after, upto)

    def describe(self) -> str:
        return self._trigger().describe()

    def zones(self) -> Iterable[tzinfo]:
        return self._trigger().zones()

    @property
    def original(self) -> Any:
        """The trigger that the text describes."""
        return self._trigger()

    def _trigger(self) -> InstantTrigger:
        if self._read is None:
            self._read = self._codec.from_json(json.loads(self._spec)).anchored(self._anchor)
        return self._read

    def __repr__(self) -> str:
        return repr(self._trigger())
