"""One instance among others: it beats, watches the others, declares the dead, and hears of changes.

An instance is dead when this one has itself seen the same beat for a whole lease on its own
monotonic clock, with its own beats accepted all that time. An instance that could not reach the store,
or was frozen, begins to watch anew; so neither clocks nor outages end a living instance's runs.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence, Set
from contextvars import Context
from typing import TYPE_CHECKING, Any

from asyncsched._core.errors import StoreError
from asyncsched._core.events import StoreFailed
from asyncsched._core.instants import SECOND, to_datetime
from asyncsched._core.records import InstanceRecord
from asyncsched._core.reports import Health
from asyncsched._core.requests import Changes
from asyncsched._engine.astray import Astray
from asyncsched._engine.feed import Feed
from asyncsched._engine.lines import tell_death
from asyncsched._engine.lost_runs import tell_lost
from asyncsched._engine.rounds import Rounds

if TYPE_CHECKING:
    from asyncsched._backends.clock import ClusterTimeline
    from asyncsched._core.instants import Instant
    from asyncsched._engine.agenda import Agenda
    from asyncsched._engine.engine import Engine
    from asyncsched._engine.environment import Environment
    from asyncsched._engine.pulse import Pulse
    from asyncsched._engine.reconcile import Reconciler
    from asyncsched._engine.runner import Runner
    from asyncsched.abc import ClusterStore

logger = logging.getLogger("asyncsched.scheduler")


class Membership:
    """Makes one instance a member of its cluster, and follows what the other members do.

    Args:
        store, timeline, environment, agenda, engine, runner, reconciler: of the worker.

    """

    def __init__(
        self,
        store: ClusterStore,
        environment: Environment,
        timeline: ClusterTimeline,
        agenda: Agenda,
        engine: Engine,
        runner: Runner,
        reconciler: Reconciler,
    ) -> None:
        self._store = store
        self._timeline = timeline
        self._clock = environment.clock
        self._bus = environment.bus
        self._waiters = environment.waiters
        self._backend = environment.backend
        self._agenda = agenda
        self._engine = engine
        self._runner = runner
        self.endings = runner.endings
        self._reconciler = reconciler
        self._incarnation = environment.ids.incarnation
        self.me = reconciler.describe(environment.ids.instance, environment.settings.role)
        """The record of this instance, as the others see it."""
        self._astray = Astray(store, environment, timeline, agenda, runner)
        self.rounds = Rounds(environment)
        self._beater, self._poller = self.rounds.of_a_task(), self.rounds.of_a_task()
        self._closing = False
        self._joined = False
        self._accepted: float | None = None  # when the last beat was accepted
        self._steady_since = 0.0  # since when beats are accepted without a gap
        self._missed = False  # a request to the store has failed since the last beat
        self._beats: dict[int, tuple[int, float]] = {}  # of each instance: its beat, and since when it stands
        self._feed = Feed(agenda)
        self._tokens: dict[int, Any] = {}
        self._blind = False  # the last poll failed: the next one asks for everything again
        self._members: dict[int, InstanceRecord] = {}  # the watched ones, as they joined
        self._members_known = True  # the last change of the living instances was taken in
        self._trouble = ""
        self._trouble_since: Instant | None = None
        self._told = False  # the log has told of the trouble
        self._last_beat: Instant | None = None

    # ── a life ───────────────────────────────────────────────────────────────────────────────

    async def join(self) -> None:
        """Join the living instances, and take the store's time. May be repeated until the store accepts it."""
        await self._refresh()
        self.me = await self._store.join(self.me, self._timeline.now())
        self._engine.holder = self.me.incarnation
        self._joined = True
        self._accept()

    async def members(self) -> list[InstanceRecord]:
        """Return the living instances, oldest first."""
        return await self._store.instances()

    def begin(self, pulse: Pulse) -> None:
        """Begin to beat and to poll; each beat tells by how much the loop was late by the pulse."""
        self._store.notified = self._notified
        for serving in (self._beating(pulse), self._polling()):
            self._backend.spawn(serving, Context())

    def close(self) -> None:
        """Begin no further beat and no further poll."""
        self._closing = True
        self.rounds.close()

    async def leave(self) -> None:
        """Leave the living instances, and release runs that never began.

        If outcomes are not recorded, the instance stays until its lease is over.
        """
        try:
            await self._store.leave(self.me.incarnation, self._runner.known(), self._timeline.now())
        except StoreError as error:
            logger.warning("this instance ends, and the store did not accept that it leaves: %s", error)
        except Exception:
            logger.exception("this instance ends, and the store did not accept that it leaves")

    async def _refresh(self) -> None:
        sent = self._clock.monotonic()
        self._timeline.refresh(await self._store.time(), sent, self._clock.monotonic())

    async def find_unknown(self) -> None:
        """Begin a search for runs that this instance holds by the store, and does not know of."""
        await self._astray.begin(self.me.incarnation)

    # ── beating ──────────────────────────────────────────────────────────────────────────────

    async def _beating(self, pulse: Pulse) -> None:
        while not self._closing:
            began = self._clock.monotonic()
            try:
                await self._beat(round(pulse.lag * SECOND))
                pause = self._store.beat_every
                self._recovered()
            except StoreError as error:
                self._failed(error)
                pause = min(1.0, self._store.beat_every)
            except Exception:
                logger.exception("a beat of this instance failed; the next one comes")
                pause = self._store.beat_every
            if not self._closing:
                due = max(self._clock.monotonic(), began + pause)
                await self._beater.sleep(began, pause)
                pulse.woken(due)

    async def _beat(self, lag: int) -> None:
        if self._joined and not await self._store.beat(self.me.incarnation, self._timeline.now(), lag):
            self._die()
        if not self._joined:
            await self.join()
            self._agenda.notify()
        self._accept()
        await self._refresh()

    def _accept(self) -> None:
        """Note that a beat was accepted; after a gap this instance begins to watch the others anew."""
        now = self._clock.monotonic()
        if self._missed or self._accepted is None or now - self._accepted > 2 * self._store.beat_every:
            self._steady_since = now
        self._accepted = now
        self._last_beat = self._timeline.now().wall
        self._missed = False

    def _die(self) -> None:
        """Cancel everything, because another instance has declared this one dead; join again with a new id."""
        logger.error(
            "this instance (%x) was declared dead: it had no heartbeat for %g s. Its runs are cancelled "
            "here, and it joins again", self.me.incarnation, self._store.lease,
        )  # fmt: skip
        self._runner.cancel_all("fenced")
        self.me = self.me._replace(incarnation=self._incarnation())
        self._engine.holder = (
            self.me.incarnation
        )  # runs that the old incarnation claimed are not begun any more
        self._accepted = None
        self._joined = False
        self._astray.forget()

    # ── polling for changes ──────────────────────────────────────────────────────────────────

    async def _polling(self) -> None:
        while not self._closing:
            began = self._clock.monotonic()
            try:
                await self._poll()
                self._blind = False
                await self._astray.search(self.me.incarnation)
            except StoreError as error:
                self._cannot_see()
                self._failed(error)
            except Exception:
                self._cannot_see()
                logger.exception("a poll for changes failed; the next one comes")
            if self._store.trouble:  # known before a beat runs into its timeout, and logged where it is known
                self._note_trouble(self._store.trouble)
                self._told = True
            if not self._closing:
                pause = self._store.poll_every
                await self._poller.sleep(began, min(pause, self._astray.every) if self._astray else pause)

    def poll_soon(self) -> None:
        """Poll at once, because this instance may have changed work that it does not know of."""
        self._poller.wake()

    def _cannot_see(self) -> None:
        self._blind = True
        self.rounds.be_quiet(False)

    def _notified(self, work: bool, runs: Set[int] | None) -> None:
        """Poll at once, because another instance changed work or runs that concern this one."""
        if work or runs is None or not runs.isdisjoint(self._waiters.waited_for):
            self.poll_soon()

    async def _poll(self) -> None:
        waited_for = self._waiters.waited_for
        changes = await self._store.poll(self._feed.watch(self.me.incarnation, waited_for, self._blind))
        before = (self._feed.seen, self._tokens)
        if changes is not None:
            self._watch(changes.beats)
            if not self._take_in(changes) <= self._beats.keys():
                self._members_known = False  # one that came and went between two polls has declared schedules
            if self._feed.behind:
                self._poller.wake()
        if not self._members_known:
            await self._members_changed()
        changed = before != (self._feed.seen, self._tokens)
        looks = await self._reconciler.look_for_orphans(changed)
        await self._declare_the_dead()
        nothing = not (changed or looks or self._astray)
        self.rounds.be_quiet(nothing and self._beats.keys() == {self.me.incarnation})

    async def catch_up(self) -> None:
        """Follow all schedules of the store, in portions."""
        while self._feed.behind:
            changes = await self._store.poll(self._feed.watch(self.me.incarnation, (), True))
            if changes is not None:
                self._take_in(changes)

    def _take_in(self, changes: Changes) -> set[int]:
        """Follow the changes that other instances made; return those that have declared a schedule."""
        for run_id, why in changes.cancel_requests:
            self._runner.cancel(run_id, why)
        declarers = self._feed.take_in(changes)
        for run_id, token in changes.runs.items():
            if self._tokens.get(run_id) != token:
                self._waiters.notify(run_id)
        self._tokens = changes.runs
        return declarers

    # ── the other instances ──────────────────────────────────────────────────────────────────

    def _watch(self, beats: Sequence[tuple[int, int]]) -> None:
        """Note the others' beats, and whether an instance came or went."""
        now = self._clock.monotonic()
        watched = {}
        for incarnation, beat in beats:
            known = self._beats.get(incarnation)
            watched[incarnation] = known if known is not None and known[0] == beat else (beat, now)
        if watched.keys() != self._beats.keys():
            self._members_known = False
            if not self._beats.keys() <= watched.keys():
                # The instance that declared it dead may have found its runs locked, and may be gone as well.
                self._astray.left = True
        self._beats = watched

    async def _declare_the_dead(self) -> None:
        now = self._clock.monotonic()
        late = self._accepted is None or now - self._accepted > 2 * self._store.beat_every
        if self._missed or late:
            return  # this instance itself may be cut off from the store
        for incarnation, (beat, since) in list(self._beats.items()):
            if incarnation == self.me.incarnation or now - max(since, self._steady_since) < self._store.lease:
                continue
            fenced = await self._store.declare_dead(incarnation, beat, moment := self._timeline.now())
            if fenced is not None:
                tell_death(incarnation, self._members.get(incarnation), self._store.lease, fenced)
                self._astray.left = self._astray.left or "locked" in fenced
                self._agenda.notify()
                await tell_lost(self._store, self.endings, fenced, moment)
            self._beats.pop(incarnation, None)
            self._members_known = False
            await self._members_changed()

    async def _members_changed(self) -> None:
        """Take the rank of this instance from the living instances, and let the newest one declare schedules."""
        members = await self._store.instances()
        self._members = {member.incarnation: member for member in members}
        firing = [member.incarnation for member in members if member.role != "submit"]
        if self.me.incarnation in firing:
            self._agenda.share = (firing.index(self.me.incarnation), len(firing))
        await self._reconciler.members_changed(self.me.incarnation, members)
        self._members_known = True

    # ── health ───────────────────────────────────────────────────────────────────────────────

    @property
    def silent(self) -> bool:
        """Whether no beat was accepted for longer than the lease, so that the others may declare this one dead."""
        if self.rounds.quiet:  # beats are left out, and there are no others
            return False
        return self._accepted is None or self._clock.monotonic() - self._accepted > self._store.lease

    def health(self) -> Health:
        """Return the present fault of the store, if there is one, and the time of the last beat."""
        if self._store.trouble:  # a poll may be waiting for the store that would have noted it
            self._note_trouble(self._store.trouble)
        since = self._trouble_since
        return Health(
            self._trouble,
            None if since is None else to_datetime(since),
            None if self._last_beat is None else to_datetime(self._last_beat),
        )

    def _failed(self, error: StoreError) -> None:
        self._missed = True
        if self._bus.wants(StoreFailed):
            self._bus.emit(StoreFailed(to_datetime(self._timeline.now().wall), str(error)))
        if not self._told:
            logger.error(
                "the store cannot be reached: %s; running attempts go on, and the store is tried again", error
            )
        self._told = True
        self._note_trouble(str(error))

    def _note_trouble(self, trouble: str) -> None:
        if not self._trouble:
            self._trouble_since = self._timeline.now().wall
        self._trouble = trouble

    def _recovered(self) -> None:
        if self._trouble and not (self._blind or self._store.trouble):
            if self._told:
                logger.warning("the store answers again")
            self._trouble, self._trouble_since, self._told = "", None, False
