"""The words for a run's state, origin and outcome, and for the overlap and catch-up rules."""

from __future__ import annotations

from typing import Literal, get_args

from asyncsched._core.values import value

State = Literal["pending", "running", "succeeded", "failed", "timed_out", "cancelled", "lost"]

Origin = Literal["schedule", "once", "manual", "backfill"]

Overlap = Literal["skip", "queue_one", "queue_all", "replace", "allow"]

CatchUp = Literal["latest", "all", "none"]

FINAL_STATES: frozenset[str] = frozenset(get_args(State)) - {"pending", "running"}

FAILURES: tuple[str, ...] = ("failed", "timed_out", "lost")
"""The outcomes that count as a failure of the schedule."""

OVERLAPS: tuple[str, ...] = get_args(Overlap)

QUEUE_ALL_LIMIT = 100
"""How many runs of one schedule wait at most under ``overlap="queue_all"``."""


@value
class Outcome:
    """How a run ended, and why.

    Attributes:
        state: ``succeeded``, ``failed``, ``timed_out``, ``cancelled`` or ``lost``.
        why: a reason in few words, such as ``shutdown`` or ``replaced``; ``""`` where there is none.

    """

    state: State
    why: str = ""
