"""The part of a SQL store in which instances join, beat and leave, and are declared dead."""

from __future__ import annotations

from collections.abc import Mapping, Set

from asyncsched._core.instants import Instant, Now
from asyncsched._core.records import InstanceRecord
from asyncsched.stores.sql.connections import Connected
from asyncsched.stores.sql.locked import LEAVE_OUT
from asyncsched.stores.sql.operations import instances as members


class Cluster(Connected):
    """Implements the calls of ``ClusterStore`` about instances and the runs that they hold."""

    async def join(self, instance: InstanceRecord, now: Now) -> InstanceRecord:
        joined: InstanceRecord = await self._call(members.join, members.Joining(instance, now))
        return joined

    async def beat(self, incarnation: int, now: Now, lag: int = 0) -> bool:
        alive: bool = await self._write("beat", members.Beating(incarnation, now, lag), urgent=True)
        return alive

    async def instances(self) -> list[InstanceRecord]:
        found: list[InstanceRecord] = await self._read(members.instances)
        return found

    async def declare_dead(self, incarnation: int, beat: int, now: Now) -> dict[str, int] | None:
        fenced: dict[str, int] | None = await self._call(
            members.declare_dead, members.DeclaringDead(incarnation, beat, now), about=LEAVE_OUT
        )
        return fenced

    async def sweep(self, now: Now) -> dict[str, int]:
        # Mostly there are none, and a reader need not wait for a writer that is busy.
        if not await self._read(lambda session: session.all("astray")):
            return {}
        fenced: dict[str, int] = await self._call(members.sweep, now, about=LEAVE_OUT)
        return fenced

    async def held(self, incarnation: int) -> dict[int, Instant]:
        held: dict[int, Instant] = await self._call(members.held, incarnation)
        return held

    async def let_go(self, incarnation: int, held: Mapping[int, Instant] | None, now: Now) -> dict[str, int]:
        releasing = members.Releasing(incarnation, None if held is None else dict(held), now)
        fenced: dict[str, int] = await self._call(members.release_held, releasing, about=LEAVE_OUT)
        return fenced

    async def leave(self, incarnation: int, known: Set[int], now: Now) -> None:
        held = frozenset(known)
        await self._write(
            "leave", lambda session: members.leave(session, incarnation, held, now), about=LEAVE_OUT
        )
