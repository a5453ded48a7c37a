"""One instance among others: it beats, watches, declares the dead, and hears what others did.

An instance is dead when this one has itself seen the same beat for a whole lease on its own
monotonic clock, with its own beats accepted all that time. Whoever could not reach the store, or was
frozen, begins to watch anew; so neither clocks nor outages end a living instance's runs.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence, Set
from contextvars import Context
from typing import TYPE_CHECKING, Any

from asyncsched._core.errors import StoreError
from asyncsched._core.instants import to_datetime
from asyncsched._core.models import Health
from asyncsched._core.records import InstanceRecord
from asyncsched._core.requests import Changes, Watch

if TYPE_CHECKING:
    from asyncsched._backends.base import Backend
    from asyncsched._backends.clock import ClusterTimeline
    from asyncsched._core.instants import Instant
    from asyncsched._engine.engine import Engine
    from asyncsched._engine.event_bus import EventBus
    from asyncsched._engine.runner import Runner
    from asyncsched.abc import Clock, ClusterStore

logger = logging.getLogger("asyncsched.scheduler")

TEND_EVERY = 300.0
"""Seconds between two prunings of the history, and two looks for runs that nobody knows of."""


class Membership:
    """Keeps one instance alive in the eyes of the others.

    Args:
        store, timeline, clock, hub, backend, engine, runner: of the line.
        me: what the others are to know of this instance.
        incarnation: makes a number that no instance had before.
        members_changed: called with our incarnation and the living, oldest first, when they change.

    """

    def __init__(
        self,
        store: ClusterStore,
        timeline: ClusterTimeline,
        clock: Clock,
        bus: EventBus,
        backend: Backend,
        engine: Engine,
        runner: Runner,
        me: InstanceRecord,
        incarnation: Callable[[], int],
        members_changed: Callable[[int, Sequence[InstanceRecord]], Awaitable[None]],
    ) -> None:
        self._store = store
        self._timeline = timeline
        self._clock = clock
        self._bus = bus
        self._backend = backend
        self._engine = engine
        self._runner = runner
        self.me = me
        self._incarnation = incarnation
        self._members_changed = members_changed
        self._beater = backend.sleeper()
        self._poller = backend.sleeper()
        self._tender = backend.sleeper()
        self._closing = False
        self._joined = False
        self._accepted: float | None = None  # when our last beat was accepted,
        self._steady_since = 0.0  # and since when they are without a gap,
        self._missed = False  # nor anything else failed that we asked of the store
        self._beats: dict[int, tuple[int, float]] = {}  # of the others: the beat, and since when it is seen
        self._work_version: Any = None
        self._version = 0
        self._tokens: dict[int, Any] = {}
        self._unconfirmed: dict[int, Instant] = {}
        self._blind = False  # the last poll failed: the next one asks for everything again
        self._members_known = True  # the last change of who lives was heeded
        self._trouble = ""
        self._trouble_since: Instant | None = None
        self._last_beat: Instant | None = None

    # ── a life ───────────────────────────────────────────────────────────────────────────────

    async def join(self) -> None:
        """Take a seat among the living, and the store's time. May be repeated until it is heard."""
        await self._refresh()
        self.me = await self._store.join(self.me, self._timeline.now())
        self._engine.holder = self.me.incarnation
        self._joined = True
        self._accept()

    async def members(self) -> list[InstanceRecord]:
        """Return the living, oldest first."""
        return await self._store.instances()

    def begin(self) -> None:
        """Begin to beat and to look."""
        self._store.notified = self._notified
        for serve in (self._beating, self._polling, self._tending):
            self._backend.spawn(serve(), Context())

    def close(self) -> None:
        """Begin no further beat and no further look."""
        self._closing = True
        for sleeper in (self._beater, self._poller, self._tender):
            sleeper.wake()

    async def leave(self) -> None:
        """Go, and let go of what was never begun. What ended and could not be recorded is left to the lease."""
        try:
            await self._store.leave(self.me.incarnation, self._runner.known(), self._timeline.now())
        except StoreError as error:
            logger.warning("the store could not be told that this instance ends: %s", error)
        except Exception:
            logger.exception("the store could not be told that this instance ends")

    async def _refresh(self) -> None:
        sent = self._clock.monotonic()
        self._timeline.refresh(await self._store.time(), sent, self._clock.monotonic())

    async def _unknown(self) -> dict[int, Instant]:
        """Return what we hold and do not know of."""
        held = await self._store.held(self.me.incarnation)
        known = self._runner.known()
        return {run_id: began for run_id, began in held.items() if run_id not in known}

    # ── beating ──────────────────────────────────────────────────────────────────────────────

    async def _beating(self) -> None:
        while not self._closing:
            began = self._clock.monotonic()
            try:
                await self._beat()
                unconfirmed = self._store.unconfirmed or self._unconfirmed
                pause = min(1.0, self._store.beat_every) if unconfirmed else self._store.beat_every
                self._well()
            except StoreError as error:
                self._say_ill(error)
                pause = min(1.0, self._store.beat_every)
            except Exception:
                logger.exception("a beat of this instance failed; the next one comes")
                pause = self._store.beat_every
            if not self._closing:
                await self._beater.until(began + pause)

    async def _beat(self) -> None:
        lost_answers = (
            self._store.lost_answers
        )  # what was asked before this beat has been done when it is answered
        if self._joined and not await self._store.beat(self.me.incarnation, self._timeline.now()):
            self._die()
        if not self._joined:
            await self.join()
            self._engine.notify()
        self._accept()
        await self._refresh()
        if self._store.unconfirmed or self._unconfirmed:
            await self._let_go_of_unknown(lost_answers)

    def _accept(self) -> None:
        """A beat was accepted: without a gap since the last one, or we begin to watch anew."""
        now = self._clock.monotonic()
        if self._missed or self._accepted is None or now - self._accepted > 2 * self._store.beat_every:
            self._steady_since = now
        self._accepted = now
        self._last_beat = self._timeline.now().wall
        self._missed = False

    def _die(self) -> None:
        """Others have declared us dead: what runs here is no longer ours. We join as somebody new."""
        logger.error(
            "this instance (%x) was declared dead: it had not been heard of for %g s. Its runs are cancelled "
            "here, and it joins again", self.me.incarnation, self._store.lease,
        )  # fmt: skip
        for run_id in list(self._runner.running):
            self._runner.cancel(run_id, "fenced")
        self.me = self.me._replace(incarnation=self._incarnation())
        self._engine.holder = self.me.incarnation  # what is won by the old one is not begun any more
        self._accepted = None
        self._joined = False
        self._unconfirmed = {}

    async def _let_go_of_unknown(self, lost_answers: int) -> None:
        """Release what we hold and do not know, seen so twice: an answer was lost, not on its way."""
        unknown = await self._unknown()
        confirmed = dict(unknown.items() & self._unconfirmed.items())
        if confirmed:
            await self._store.let_go(self.me.incarnation, confirmed, self._timeline.now())
            self._engine.notify()
        if not unknown and not self._unconfirmed:
            self._store.confirm(lost_answers)
        self._unconfirmed = {run_id: began for run_id, began in unknown.items() if run_id not in confirmed}

    # ── tending ──────────────────────────────────────────────────────────────────────────────

    async def _tending(self) -> None:
        """Do now and then what may take long: no beat waits for it."""
        # Instances that start together take turns.
        pause = TEND_EVERY * (1 + 3 * self.me.incarnation / 2**32) / 4
        while not self._closing:
            until, pause = self._clock.monotonic() + pause, TEND_EVERY
            while not self._closing and self._clock.monotonic() < until:
                await self._tender.until(until)
            if self._closing or not self._engine.works:
                continue
            try:
                await self._store.sweep(self._timeline.now())
                await self._store.prune(self._timeline.now())
                self._unconfirmed = self._unconfirmed or await self._unknown()
            except StoreError as error:
                logger.warning("the history could not be tended; it is tried again: %s", error)
            except Exception:
                logger.exception("the history could not be tended; it is tried again")

    # ── looking ──────────────────────────────────────────────────────────────────────────────

    async def _polling(self) -> None:
        while not self._closing:
            began = self._clock.monotonic()
            try:
                await self._poll()
                self._blind = False
            except StoreError as error:
                self._blind = True
                self._say_ill(error)
            except Exception:
                self._blind = True
                logger.exception("a look at what other instances did failed; the next one comes")
            if self._store.trouble:  # what it says itself is known before a beat has waited in vain
                self._note_trouble(self._store.trouble)
            if not self._closing:
                await self._poller.until(began + self._store.poll_every)

    def _notified(self, work: bool, runs: Set[int] | None) -> None:
        """Look before it is time: others wrote something that concerns us."""
        if work or runs is None or not runs.isdisjoint(self._bus.waited_for):
            self._poller.wake()

    async def _poll(self) -> None:
        waited_for = self._bus.waited_for
        changes = await self._store.poll(
            Watch(self.me.incarnation, self._work_version, self._version, waited_for, self._blind)
        )
        if changes is not None:
            self._take_in(changes)
            self._watch(changes.beats)
        if not self._members_known:
            await self._heed(await self._store.instances())
        await self._declare_the_dead()

    def _take_in(self, changes: Changes) -> None:
        """Take in what others did. The versions count as seen when all that they stand for was taken in."""
        if changes.version != self._version:
            known = self._engine.schedules
            self._engine.follow(
                one
                for one in changes.schedules
                if one.id not in known or known[one.id].revision != one.revision
            )
            if changes.ids is not None:
                for id in self._engine.schedules.keys() - changes.ids:
                    self._engine.forget(id)
            self._engine.notify()  # what changed may be due before what is slept for
            self._version = changes.version
        for run_id, why in changes.cancel_requests:
            self._runner.cancel(run_id, why)
        if changes.work_version != self._work_version:
            self._engine.expect(changes.earliest)
            self._work_version = changes.work_version
        tokens = {}
        for run_id, token in changes.runs.items():
            tokens[run_id] = token
            if self._tokens.get(run_id) != token:
                self._bus.notify(run_id)
        self._tokens = tokens

    def _watch(self, beats: Sequence[tuple[int, int]]) -> None:
        """Note the others' beats, and whether somebody came or went."""
        now = self._clock.monotonic()
        watched = {}
        for incarnation, beat in beats:
            known = self._beats.get(incarnation)
            watched[incarnation] = known if known is not None and known[0] == beat else (beat, now)
        if watched.keys() != self._beats.keys():
            self._members_known = False
        self._beats = watched

    async def _declare_the_dead(self) -> None:
        now = self._clock.monotonic()
        late = self._accepted is None or now - self._accepted > 2 * self._store.beat_every
        if self._missed or late:
            return  # we may be the one who is cut off
        for incarnation, (beat, since) in list(self._beats.items()):
            if incarnation == self.me.incarnation or now - max(since, self._steady_since) < self._store.lease:
                continue
            fenced = await self._store.declare_dead(incarnation, beat, self._timeline.now())
            if fenced is not None:
                what = ", ".join(f"{count} {state}" for state, count in sorted(fenced.items())) or "none"
                logger.warning("instance %x was declared dead; its runs: %s", incarnation, what)
                self._engine.notify()
            self._beats.pop(incarnation, None)
            self._members_known = False
            await self._heed(await self._store.instances())

    async def _heed(self, members: Sequence[InstanceRecord]) -> None:
        """Hear who lives now."""
        firing = [member.incarnation for member in members if member.role != "submit"]
        if self.me.incarnation in firing:
            self._engine.place = (firing.index(self.me.incarnation), len(firing))
        await self._members_changed(self.me.incarnation, members)
        self._members_known = True

    # ── how it is ────────────────────────────────────────────────────────────────────────────

    def health(self) -> Health:
        """Return what is wrong, if anything is."""
        since = self._trouble_since
        return Health(
            self._trouble,
            None if since is None else to_datetime(since),
            None if self._last_beat is None else to_datetime(self._last_beat),
        )

    def _say_ill(self, error: StoreError) -> None:
        self._missed = True
        if not self._trouble:
            logger.error("the store cannot be reached: %s; what runs goes on, and it is tried again", error)
        self._note_trouble(str(error))

    def _note_trouble(self, trouble: str) -> None:
        if not self._trouble:
            self._trouble_since = self._timeline.now().wall
        self._trouble = trouble

    def _well(self) -> None:
        if self._trouble and not (self._blind or self._store.trouble):
            logger.warning("the store answers again")
            self._trouble, self._trouble_since = "", None
