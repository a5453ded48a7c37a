"""The claim / holder / death protocol as a small machine, and a checker that walks all its interleavings.

A *node* is a process, its *incarnation* what it is in the ledger until it is declared dead. Time is a
*tick*: at least as long as a living node that can see the store needs to beat once. A node takes one
step at a time; between any two steps of one node, all others may take any number of theirs, and a
fault may come: a crash, a freeze, a node cut off, an outage of the store, an answer that is lost after
its write was done, and a write that lands when nobody expects it any more (a connection was cut while
the server was still at it).

``Protocol`` names each rule of it; a checker that cannot fail shows nothing, so each can be broken.
By hand: ``python -m tests.chaos.model --nodes 3 --faults 2``.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Protocol:
    """The rules, each of them on. Turning one off must yield a counter-example."""

    fire_if_unmoved: bool = True
    """A schedule's row moves only if its revision still holds."""
    claim_if_alive: bool = True
    """Who was declared dead claims nothing."""
    record_if_running: bool = True
    """Only a running run gets an outcome."""
    record_if_holder: bool = True
    """Only who holds a run records it: by incarnation, and by attempt."""
    record_if_same_turn: bool = True
    """A turn that spent no attempt, and the next by the same holder, are told apart."""
    give_back_if_recorded: bool = True
    """A place of a limit is given back by the write that ends the attempt, not by its repetition."""
    bury_if_unmoved: bool = True
    """Declaring dead is refused when the beat has moved."""
    bury_needs_own_beats: bool = True
    """Who could not beat declares nobody dead."""
    watch_anew: bool = True
    """Who can beat again begins to watch anew."""
    polls_tell: bool = True
    """A poll that fails counts like a beat that fails: an outage may fall between one's own beats."""
    fence_at_once: bool = True
    """Declaring dead and fencing the runs are one write."""
    stop_when_dead: bool = True
    """Who finds itself dead cancels what it runs."""
    let_go_when_idle: bool = True
    """Runs that are held and not known are let go only while no claim is on its way."""
    look_again_for_unknown: bool = True
    """What is held and not known is looked for at every beat, not only after an answer was lost."""


class Bounds(NamedTuple):
    """How far the checker goes."""

    nodes: int = 2
    faults: int = 2
    lease: int = 2
    slots: int = 1
    attempts: int = 2
    turns: int = 3
    places: int = 1


class Token(NamedTuple):
    """What an attempt is known by."""

    run: int
    attempt: int
    turn: int


class Row(NamedTuple):
    """A run in the ledger. ``turn`` counts how often it was begun."""

    slot: int
    state: str = "pending"
    attempt: int = 0
    turn: int = 0
    holder: int = 0


class Node(NamedTuple):
    """A process: what it knows, which may be old."""

    phase: str = "awake"  # or away, and back; or crashed
    me: int = 0  # its incarnation; 0 until it has joined
    last: int = 0  # the number of its last incarnation
    seen: int = 0  # the schedule's revision
    runs: frozenset[Token] = frozenset()  # what it executes
    over: frozenset[tuple[Token, str]] = frozenset()  # what has ended and is not known to be recorded
    answer: tuple[Any, ...] = ()  # the answer to its claim that is on its way
    doubt: bool = False  # whether an answer was lost
    beaten: bool = False  # whether it has beaten in this tick
    missed: bool = False  # whether it could not, in an earlier one
    watch: tuple[tuple[int, int], ...] = ()  # of each node: the incarnation, and for how long its beat stands


class World(NamedTuple):
    """All there is."""

    up: bool = True
    revision: int = 0
    rows: tuple[Row, ...] = ()
    used: int = 0  # places of the limit
    members: tuple[int, ...] = ()  # the incarnation of each node that the ledger says lives
    news: frozenset[tuple[int, int]] = frozenset()  # (who has not seen, whose beat)
    nodes: tuple[Node, ...] = ()
    late: tuple[Any, ...] = ()  # a write that may still land
    faults: int = 0
    silent: tuple[int, ...] = ()  # for how many ticks each node, by its own fault, has not beaten
    wrong: str = ""  # a step that must not be


class Model:
    """The steps of a world, under a protocol."""

    def __init__(self, protocol: Protocol, bounds: Bounds) -> None:
        self.protocol = protocol
        self.bounds = bounds

    def start(self) -> World:
        """Return the world in which every node has just joined."""
        number = range(self.bounds.nodes)
        watch = tuple((name(index, 1), 0) for index in number)
        nodes = tuple(Node(me=name(index, 1), last=1, beaten=True, watch=watch) for index in number)
        return World(
            members=tuple(name(index, 1) for index in number), nodes=nodes, faults=self.bounds.faults,
            silent=(0,) * self.bounds.nodes,
        )  # fmt: skip

    # ── what happens in the ledger: each one transaction ─────────────────────────────────────

    def write(self, world: World, op: tuple[Any, ...]) -> tuple[World, Any]:
        """Do a write; return its answer, too."""
        written: tuple[World, Any] = getattr(self, f"_{op[0]}")(world, *op[1:])
        return written

    def _join(self, world: World, index: int, me: int) -> tuple[World, bool]:
        return self._heard(world._replace(members=put(world.members, index, me)), index), True

    def _beat(self, world: World, index: int, me: int) -> tuple[World, bool]:
        if world.members[index] != me:
            return world, False
        return self._heard(world, index)._replace(silent=put(world.silent, index, 0)), True

    def _heard(self, world: World, index: int) -> World:
        """Have a beat move on: a late burial that has seen the old one is refused."""
        news = world.news | {
            (other, index)
            for other, node in enumerate(world.nodes)
            if other != index and node.phase != "crashed"
        }
        late = world.late
        if self.protocol.bury_if_unmoved and late and late[0] == "bury" and late[2] == index:
            late = ()
        return world._replace(news=news, late=late)

    def _bury(self, world: World, by: int, index: int, who: int) -> tuple[World, bool]:
        unmoved = (by, index) not in world.news or not self.protocol.bury_if_unmoved
        if world.members[index] != who or not unmoved:
            return world, False
        # It may have beaten late in the first of the ticks that were counted.
        if world.silent[index] < self.bounds.lease - 1:
            return world._replace(wrong=f"node {index} lives and was declared dead"), True
        world = world._replace(members=put(world.members, index, 0))
        return (self._fence(world, who)[0] if self.protocol.fence_at_once else world), True

    def _fence(self, world: World, who: int) -> tuple[World, bool]:
        rows, used = list(world.rows), world.used
        for run, row in enumerate(rows):
            if row.state == "running" and row.holder == who:
                again = row.attempt < self.bounds.attempts
                rows[run] = row._replace(state="pending" if again else "lost", holder=0)
                used -= 1
        return world._replace(rows=tuple(rows), used=used), True

    def _claim(self, world: World, index: int, me: int, seen: int, mark: Any = None) -> tuple[World, Any]:
        if self.protocol.claim_if_alive and me not in world.members:
            return world, None
        rows, revision = list(world.rows), world.revision
        fires = seen == revision if self.protocol.fire_if_unmoved else True
        if fires and seen < self.bounds.slots:
            rows.append(Row(slot=seen))
            revision = seen + 1
        used, won = world.used, []
        for run, row in enumerate(rows):
            if row.state == "pending" and used < self.bounds.places:
                used += 1
                rows[run] = Row(row.slot, "running", row.attempt + 1, row.turn + 1, me)
                won.append(Token(run, row.attempt + 1, row.turn + 1))
        return world._replace(rows=tuple(rows), revision=revision, used=used), (revision, *won)

    def _record(self, world: World, index: int, me: int, token: Token, verdict: str) -> tuple[World, bool]:
        row, rules = world.rows[token.run], self.protocol
        ours = row.holder == me and row.attempt == token.attempt
        ours = ours and (row.turn == token.turn or not rules.record_if_same_turn)
        if (rules.record_if_running and row.state != "running") or (rules.record_if_holder and not ours):
            used = world.used if rules.give_back_if_recorded else world.used - 1
            return world._replace(used=used), False
        if row.state in FINAL:
            return world._replace(wrong=f"the outcome of run {token.run} was overwritten"), True
        attempt = row.attempt - (verdict == "snooze")
        state = "pending" if verdict in ("snooze", "retry") else verdict
        rows = put(world.rows, token.run, row._replace(state=state, attempt=attempt))
        return world._replace(rows=rows, used=world.used - 1), True

    def _let_go(self, world: World, index: int, me: int, tokens: frozenset[Token]) -> tuple[World, bool]:
        rows, used = list(world.rows), world.used
        for run, attempt, turn in tokens:
            row = rows[run]
            same = row.turn == turn or not self.protocol.record_if_same_turn
            if row.state == "running" and row.holder == me and row.attempt == attempt and same:
                rows[run] = row._replace(state="pending", attempt=attempt - 1, holder=0)
                used -= 1
        return world._replace(rows=tuple(rows), used=used), True

    # ── what a node makes of an answer, or of none ───────────────────────────────────────────

    def hear(self, world: World, op: tuple[Any, ...], answer: Any) -> World:
        """Give a node the answer to its write."""
        kind, index = op[0], op[1]
        node = world.nodes[index]
        if kind == "join":
            node = node._replace(me=op[2], beaten=True, missed=True)
        elif kind == "claim":
            node = node._replace(answer=answer or (None,))
        elif kind == "beat" and answer:
            if node.missed and self.protocol.watch_anew:
                node = node._replace(watch=tuple((who, 0) for who, _ in node.watch))
            node = node._replace(beaten=True, missed=False)
        elif kind == "beat":
            node = self._died(node)
        elif kind == "record":
            node = node._replace(over=node.over - {(op[3], op[4])})
        elif kind == "let_go":
            node = node._replace(doubt=False)
        return world._replace(nodes=put(world.nodes, index, node))

    def receive(self, node: Node) -> Node:
        """Take the answer to a claim: begin what was won."""
        revision, *won = node.answer
        if revision is None:
            return self._died(node)
        return node._replace(seen=revision, runs=node.runs | set(won), answer=())

    def _died(self, node: Node) -> Node:
        stopped = frozenset() if self.protocol.stop_when_dead else node.runs
        return node._replace(
            me=0, runs=stopped, over=frozenset(), answer=(), doubt=False, beaten=False, missed=False
        )

    # ── the steps that are possible ──────────────────────────────────────────────────────────

    def steps(self, world: World) -> Iterator[tuple[str, World]]:
        """Return what may happen next."""
        for index, node in enumerate(world.nodes):
            if node.phase != "crashed":
                for what, after in self._alone(node):
                    yield f"{index}: {what}", world._replace(nodes=put(world.nodes, index, after))
            if node.phase == "awake" and world.up:
                if self._would_see(world, index):
                    yield f"{index}: look", self.poll(world, index)
                for op in self.writes(world, index, node):
                    yield from self._tries(world, op)
            yield from self._misfortunes(world, index, node)
        if world.late and world.up:
            yield f"lands: {shown(world.late)}", self.write(world._replace(late=()), world.late)[0]
        if world.late:
            yield f"never lands: {shown(world.late)}", world._replace(late=())
        if not world.up:
            yield "the store is back", world._replace(up=True)
        elif world.faults:
            yield "the store is gone", world._replace(up=False, faults=world.faults - 1)
        if self.may_tick(world):
            yield "tick", self.tick(world)

    def _alone(self, node: Node) -> Iterator[tuple[str, Node]]:
        """Return what a node does without the store."""
        if node.answer:
            yield "hears what it won", self.receive(node)
        for token in node.runs:
            verdicts = ["succeeded"]
            if token.turn < self.bounds.turns:
                verdicts.append("snooze")
                if token.attempt < self.bounds.attempts:
                    verdicts.append("retry")
            for verdict in verdicts:
                ended = node._replace(runs=node.runs - {token}, over=node.over | {(token, verdict)})
                yield f"{verdict} run {token.run} attempt {token.attempt}", ended

    def writes(self, world: World, index: int, node: Node) -> Iterator[tuple[Any, ...]]:
        """Return what a node may write now."""
        if not node.me:
            yield "join", index, name(index, node.last + 1)
            return
        if not node.beaten:
            yield "beat", index, node.me
        for other, (who, age) in enumerate(node.watch):
            fresh = not node.missed or not self.protocol.bury_needs_own_beats
            if other != index and who and age >= self.bounds.lease and fresh:
                yield "bury", index, other, who
        if not self.protocol.fence_at_once:
            dead = {row.holder for row in world.rows if row.state == "running"} - {*world.members}
            # Who declared it dead fences next, in a second write.
            for who in dead & {who for who, age in node.watch if age >= self.bounds.lease}:
                yield "fence", who
        ready = any(row.state == "pending" for row in world.rows) and world.used < self.bounds.places
        if not node.answer and (ready or node.seen < self.bounds.slots):
            yield "claim", index, node.me, node.seen
        for token, verdict in node.over:
            yield "record", index, node.me, token, verdict
        unknown = self._unknown(world, node)
        calm = not node.answer or not self.protocol.let_go_when_idle
        if calm and (node.doubt or (unknown and self.protocol.look_again_for_unknown)):
            yield "let_go", index, node.me, unknown

    def _unknown(self, world: World, node: Node) -> frozenset[Token]:
        """Return what a node holds and does not know of."""
        known = node.runs | {token for token, _ in node.over}
        held = {
            Token(run, row.attempt, row.turn)
            for run, row in enumerate(world.rows)
            if row.state == "running" and row.holder == node.me
        }
        return frozenset(held - known)

    def _tries(self, world: World, op: tuple[Any, ...]) -> Iterator[tuple[str, World]]:
        """Return what may become of a write: it is done; its answer is lost; it lands late."""
        if op[0] == "fence":
            yield shown(op), self.write(world, op)[0]
            return
        if op[0] == "join":
            world = world._replace(
                nodes=put(world.nodes, op[1], world.nodes[op[1]]._replace(last=op[2] % 10))
            )
        after, answer = self.write(world, op)
        yield shown(op), self.hear(after, op, answer)
        lossy = op[0] in ("claim", "record", "let_go", "bury") and after != world
        if lossy and world.faults and not world.late:
            poorer = world._replace(faults=world.faults - 1, late=op)
            yield f"{shown(op)}, without an answer", self._doubt(poorer, op)

    def _doubt(self, world: World, op: tuple[Any, ...]) -> World:
        if op[0] != "claim":
            return world
        node = world.nodes[op[1]]._replace(doubt=True)
        return world._replace(nodes=put(world.nodes, op[1], node))

    def _misfortunes(self, world: World, index: int, node: Node) -> Iterator[tuple[str, World]]:
        poorer = world._replace(faults=world.faults - 1)
        if node.phase == "away":
            yield (
                f"{index}: is back",
                world._replace(nodes=put(world.nodes, index, node._replace(phase="awake"))),
            )
        elif node.phase == "awake" and world.faults:
            away = node._replace(phase="away")
            yield f"{index}: frozen or cut off", poorer._replace(nodes=put(world.nodes, index, away))
            crashed = Node("crashed", me=node.me, watch=tuple((0, 0) for _ in node.watch))
            news = frozenset(pair for pair in world.news if pair[0] != index)
            yield f"{index}: crashed", poorer._replace(nodes=put(world.nodes, index, crashed), news=news)

    def _would_see(self, world: World, index: int) -> bool:
        watch = world.nodes[index].watch
        return any(
            who != world.members[other] or ((index, other) in world.news and age)
            for other, (who, age) in enumerate(watch)
            if other != index
        )

    def poll(self, world: World, index: int) -> World:
        """Have a node see which beats have moved."""
        node = world.nodes[index]
        watch = tuple(
            (who, 0) if who != old or (index, other) in world.news else (old, age)
            for other, ((old, age), who) in enumerate(zip(node.watch, world.members, strict=True))
        )
        news = frozenset(pair for pair in world.news if pair[0] != index)
        return world._replace(news=news, nodes=put(world.nodes, index, node._replace(watch=watch)))

    def may_tick(self, world: World) -> bool:
        """Whether every living node that can see the store has beaten."""
        return not world.up or all(
            node.phase != "awake" or not node.me or node.beaten for node in world.nodes
        )

    def tick(self, world: World) -> World:
        """Let time pass for all, the frozen too."""
        lease = self.bounds.lease
        nodes, silent = [], []
        for node, quiet in zip(world.nodes, world.silent, strict=True):
            own_fault = world.up and node.phase != "awake"
            silent.append(min(lease, quiet + 1) if own_fault else quiet)
            if node.phase == "crashed":
                nodes.append(node)
                continue
            missed = node.missed or not node.beaten or (self.protocol.polls_tell and not world.up)
            watch = tuple((who, min(lease, age + 1)) for who, age in node.watch)
            nodes.append(node._replace(watch=watch, beaten=False, missed=missed))
        return world._replace(nodes=tuple(nodes), silent=tuple(silent))

    # ── what must hold ───────────────────────────────────────────────────────────────────────

    def complaint(self, world: World) -> str:
        """Return what is wrong with a world, or nothing."""
        if world.wrong:
            return world.wrong
        slots = [row.slot for row in world.rows]
        if len(slots) != len(set(slots)):
            return "a slot has two runs"
        running = {run: row for run, row in enumerate(world.rows) if row.state == "running"}
        if world.used != len(running):
            return f"{world.used} places are taken by {len(running)} running runs"
        if any(row.holder not in world.members for row in running.values()):
            return "a run is held by nobody who lives"
        if any(row.attempt > self.bounds.attempts for row in world.rows):
            return "a run was begun too often"
        for index, node in enumerate(world.nodes):
            if node.phase == "crashed" or world.members[index] == 0:
                continue  # it hears of it as soon as it can see the store
            for token in node.runs:
                row = running.get(token.run)
                if row is None or row[2:] != (token.attempt, token.turn, node.me):
                    return f"node {index} lives and executes run {token.run}, which it does not hold"
        return ""

    def owed(self, world: World) -> bool:
        """Whether a run is held by who will never end it: the dead, or one who does not know of it."""
        for row_holder, token in (
            (row.holder, Token(run, row.attempt, row.turn))
            for run, row in enumerate(world.rows)
            if row.state == "running"
        ):
            node = world.nodes[row_holder // 10]
            if node.me != row_holder or node.phase == "crashed":
                return True
            known = node.runs | {known for known, _ in node.over} | {*node.answer[1:]}
            if token not in known:
                return True
        return False

    def recovers(self, world: World) -> bool:
        """Whether, without further faults, everything owed is freed within a lease and two ticks."""
        if not any(node.phase == "awake" for node in world.nodes):
            return True
        if world.late:
            return True  # it lands, or is gone, in another world that is looked at too
        world = world._replace(up=True, faults=0)
        for _ in range(self.bounds.lease + 3):
            for index in range(self.bounds.nodes):
                world = self._turn(world, index)
            if not self.owed(world):
                return True
            if self.may_tick(world):
                world = self.tick(world)
        return False

    def _turn(self, world: World, index: int) -> World:
        """Have a node do its share, recording and claiming left out."""
        node = world.nodes[index]
        if node.phase != "awake":
            return world
        if node.answer:
            world = world._replace(nodes=put(world.nodes, index, self.receive(node)))
        for kind in ("join", "beat", "look", "bury", "let_go"):
            if kind == "look":
                world = self.poll(world, index)
                continue
            for op in list(self.writes(world, index, world.nodes[index])):
                if op[0] == "fence":
                    world = self.write(world, op)[0]
                elif op[0] == kind:
                    after, answer = self.write(world, op)
                    world = self.hear(after, op, answer)
        return world


FINAL = frozenset({"succeeded", "lost"})


def name(index: int, number: int) -> int:
    """Return a node's nth incarnation."""
    return index * 10 + number


def put(values: tuple[Any, ...], index: int, value: Any) -> tuple[Any, ...]:
    """Return the tuple with another value at one place."""
    return (*values[:index], value, *values[index + 1 :])


def shown(op: tuple[Any, ...]) -> str:
    """Return a write in words."""
    kind, index, *rest = op
    return f"{index}: {kind}{''.join(f' {one}' for one in rest)}"


class Found(NamedTuple):
    """What a walk found: how many worlds, and the shortest way to what is wrong, if anything is."""

    worlds: int
    complaint: str = ""
    way: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.complaint:
            return f"{self.worlds} worlds, all as they must be"
        return "\n".join((f"{self.complaint}, after", *(f"  {step}" for step in self.way)))


def check(protocol: Protocol = Protocol(), bounds: Bounds = Bounds()) -> Found:  # noqa: B008  # frozen
    """Walk all worlds, nearest first, until something is wrong or all have been seen."""
    collecting = gc.isenabled()
    gc.disable()  # nothing here refers to itself, and looking for it takes half of the time
    try:
        return _walk(Model(protocol, bounds))
    finally:
        if collecting:
            gc.enable()


def _walk(model: Model) -> Found:
    start = model.start()
    before: dict[World, tuple[World, str] | None] = {start: None}
    ahead = deque([start])
    while ahead:
        world = ahead.popleft()
        complaint = model.complaint(world)
        if not complaint and model.owed(world) and not model.recovers(world):
            complaint = "a run stays with who will never end it"
        if complaint:
            return Found(len(before), complaint, way(before, world))
        for what, after in model.steps(world):
            known = len(before)
            before.setdefault(after, (world, what))  # a world's hash is what takes most of the time
            if len(before) > known:
                ahead.append(after)
    return Found(len(before))


def way(before: dict[World, tuple[World, str] | None], world: World) -> tuple[str, ...]:
    """Return the steps that led to a world."""
    steps = []
    while (last := before[world]) is not None:
        world, what = last
        steps.append(what)
    return tuple(reversed(steps))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for field in Bounds._fields:
        parser.add_argument(f"--{field}", type=int, default=Bounds._field_defaults[field])
    parser.add_argument(
        "--without", choices=[rule.name for rule in fields(Protocol)], action="append", default=[]
    )
    options = vars(parser.parse_args())
    protocol = Protocol(**dict.fromkeys(options.pop("without"), False))
    begun = time.monotonic()
    print(check(protocol, Bounds(**options)), f"({time.monotonic() - begun:.1f} s)")


if __name__ == "__main__":
    main()
