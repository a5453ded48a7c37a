"""What a run keeps of the attempts that it has behind it."""

from __future__ import annotations

from asyncsched._instants import Instant
from asyncsched._ledger import PastAttempt, RunRecord, Verdict

ATTEMPTS_KEPT = 200


def past_attempts(run: RunRecord, verdict: Verdict, now: Instant) -> list[PastAttempt] | None:
    """Return the attempts that a run has behind it once this one has ended."""
    if verdict.state == "succeeded" and run.attempts is None:
        return None
    assert run.started_at is not None
    past = PastAttempt(run.attempt, run.started_at, now, verdict.attempt, verdict.why, verdict.error)
    kept = [*(run.attempts or ()), past]
    if len(kept) > ATTEMPTS_KEPT:  # one that snoozes for ever: its first attempt and its newest stay
        del kept[1]
    return kept
