"""Frozen values that describe a scheduler: its instances, its health, and the end of a due time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from asyncsched._core.models import Run


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause of a job, with its note, author and time: while it lasts, no run of the job is begun."""

    note: str
    by: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Instance:
    """One running scheduler, as the store records it.

    Attributes:
        id: the id in :attr:`Run.instance`; a new one at each start, and whenever the scheduler joins again.
        host, pid, version, role: the machine, the process, the version of asyncsched, and the role.
        jobs: the names of the jobs that its code knows.
        started_at: when it joined; the declarations of the newest instance count.
        beat_at: the time of its last heartbeat; shown to people, and no decision depends on it.

    """

    id: str
    host: str
    pid: int
    version: str
    role: str
    jobs: frozenset[str]
    started_at: datetime
    beat_at: datetime


@dataclass(frozen=True, slots=True)
class Health:
    """The health of a scheduler and its store, as far as this process knows.

    Attributes:
        trouble: the fault, in words; ``""`` while all is well.
        since: the beginning of the fault, in UTC.
        last_beat: when the store last accepted a heartbeat of this instance; ``None`` in memory. An
            instance without a heartbeat for 15 s is declared dead by the others.

    """

    trouble: str = ""
    since: datetime | None = None
    last_beat: datetime | None = None

    @property
    def ok(self) -> bool:
        """Whether there is no fault."""
        return not self.trouble


@dataclass(frozen=True, slots=True)
class Probe:
    """The answer of a probe, which is true if it passes.

    Attributes:
        reasons: why it does not pass, in a word or two each, for anybody to see.
        details: the same in whole sentences, for the operator.

    """

    reasons: tuple[str, ...] = ()
    details: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the probe passes."""
        return not self.reasons

    def __bool__(self) -> bool:
        return self.ok


@dataclass(frozen=True, slots=True)
class Explanation:
    """How one due time ended, and why: the answer of ``explain``.

    Attributes:
        verdict: ``ran`` (it has a run that began), ``pending`` (it will), ``cancelled`` and
            ``rate_limited`` (before it began), ``missed``, ``paused``, ``overlap`` and ``orphaned`` (it got no
            run), ``future``, ``before_first``, ``pruned`` or ``not_a_slot``.
        text: the verdict in a sentence.
        run: the slot's own run, where there is one.

    """

    schedule: str
    at: datetime
    verdict: str
    text: str
    run: Run | None = None


@dataclass(frozen=True, slots=True)
class Coming:
    """One slot on the timeline.

    Attributes:
        note: the effect of a clock change on it, such as ``"02:30 does not exist on 29 March …"``, or ``""``.
        fault: the error of the schedule's trigger in the search for the slot after ``at``, which is
            no slot then; ``""`` for a slot.

    """

    at: datetime
    schedule: str
    job: str
    note: str = ""
    fault: str = ""
