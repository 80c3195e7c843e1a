"""Who of a group reads which partition: members that must show life, and leases with a generation.

A member is alive until `expires_ns` of the monotonic clock of the boot it registered in. A lease is worth as much as
its owner is alive. Taking a lease raises its generation; a commit compares owner and generation in the transaction
that stores the offsets. So a consumer that slept too long cannot commit, even if nobody took its partitions.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from streams.contract import LeaseLost, TopicPartition
from streams.embedded.clock import Clock
from streams.embedded.database import Database
from streams.embedded.log import Topic

SCHEMA = (
    """CREATE TABLE members(grp TEXT, member TEXT, topics TEXT NOT NULL, boot TEXT NOT NULL,
       expires_ns INTEGER NOT NULL, PRIMARY KEY(grp, member)) WITHOUT ROWID""",
    """CREATE TABLE leases(grp TEXT, topic TEXT, partition INTEGER, owner TEXT, generation INTEGER NOT NULL,
       PRIMARY KEY(grp, topic, partition)) WITHOUT ROWID""",
    """CREATE TABLE offsets(grp TEXT, topic TEXT, partition INTEGER, next INTEGER NOT NULL,
       PRIMARY KEY(grp, topic, partition)) WITHOUT ROWID""",
)
MAX_LEASE_NS = 3_600 * 10**9  # a lease that ends later than this belongs to an earlier boot, whatever its boot id says


class Renewal(NamedTuple):
    """What changed: partitions gained, with the committed offset or None, and partitions lost or given up."""

    gained: Mapping[TopicPartition, int | None]
    lost: frozenset[TopicPartition]


class Plan(NamedTuple):
    """What a member ought to give up and to take, to come to its fair share."""

    give: tuple[int, ...]
    take: tuple[int, ...]


def fair_share(partitions: int, members: Sequence[str], owners: Mapping[int, str | None], me: str) -> Plan:
    """The plan of member `me` for one topic, from the live members that want it (`me` among them).

    What is held stays held up to the share; shares differ by one at most and add up to all partitions.
    """
    rank = sorted(members).index(me)
    share = partitions // len(members) + (rank < partitions % len(members))
    mine = [p for p in range(partitions) if owners.get(p) == me]
    free = [p for p in range(partitions) if owners.get(p) not in members]
    return Plan(tuple(mine[share:]), tuple(free[: max(0, share - len(mine))]))


class _View(NamedTuple):
    now_ns: int
    alive: dict[str, set[str]]  # member -> topics
    dead: list[str]
    mine_expires_ns: int
    leases: dict[TopicPartition, tuple[str | None, int]]


class Membership:
    """One consumer's place in its group; `held` maps partitions to the generation of their lease."""

    def __init__(self, database: Database, group: str, topics: Sequence[Topic], clock: Clock, lease_s: float) -> None:
        self.id = uuid.uuid4().hex
        self.held: dict[TopicPartition, int] = {}
        self.surplus: dict[TopicPartition, int] = {}  # since when (monotonic ns) it ought to be given up
        self._database = database
        self._group = group
        self._topics = {topic.name: topic for topic in topics}
        self._clock = clock
        self._lease_ns = int(lease_s * 1e9)

    def renew(self, may_release: Callable[[TopicPartition], bool]) -> Renewal:
        """Show life, give up surplus partitions that `may_release` allows, take free ones.

        Mostly nothing has changed, and then it only reads.
        """
        with self._database.read() as connection:
            view = self._view(connection)
        lasts = self.id in view.alive and view.mine_expires_ns - view.now_ns > self._lease_ns * 5 // 6
        if lasts and not self._moves(view, may_release):
            return Renewal({}, frozenset())
        with self._database.write(durable=False) as connection:
            view = self._view(connection)
            kept = self._kept(view)
            if self.id not in view.alive:
                self._disown(connection)
                mine = {where: (None, number) for where, (owner, number) in view.leases.items() if owner == self.id}
                view = view._replace(alive={**view.alive, self.id: set(self._topics)}, leases={**view.leases, **mine})
            self._register(connection, view)
            give, take = self._moves(view, may_release) or ([], [])
            self._give(connection, give)
            taken = self._take(connection, take)
            committed = {where: _committed(connection, self._group, where) for where in taken}
        lost = frozenset(self.held.keys() - kept) | frozenset(give)
        self.held = {where: self.held[where] for where in kept - set(give)} | taken
        self._note_surplus(view)
        return Renewal(committed, lost)

    def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """Store offsets if every lease is still ours, in one transaction; shows life as well."""
        with self._database.write() as connection:
            view = self._view(connection)
            kept = self._kept(view)
            if positions.keys() <= kept:
                connection.executemany(
                    "INSERT INTO offsets VALUES (?, ?, ?, ?)"
                    " ON CONFLICT(grp, topic, partition) DO UPDATE SET next = excluded.next",
                    [(self._group, *where, offset) for where, offset in positions.items()],
                )
                self._register(connection, view)
                return
        lost = sorted(positions.keys() - kept)
        self.held = {where: number for where, number in self.held.items() if where in kept}
        names = ", ".join(f"{topic}/{partition}" for topic, partition in lost)
        raise LeaseLost(
            f"group {self._group}: the lease on {names} has ended; whoever holds it now will process it again"
        )

    def leave(self) -> None:
        """Give everything back at once."""
        self.held, self.surplus = {}, {}
        with self._database.write(durable=False) as connection:
            self._disown(connection)
            connection.execute("DELETE FROM members WHERE grp = ? AND member = ?", (self._group, self.id))

    def _view(self, connection: sqlite3.Connection) -> _View:
        members = connection.execute(
            "SELECT member, topics, boot, expires_ns FROM members WHERE grp = ?", (self._group,)
        ).fetchall()
        rows = connection.execute(
            "SELECT topic, partition, owner, generation FROM leases WHERE grp = ?", (self._group,)
        ).fetchall()
        now_ns = self._clock.monotonic_ns()  # after the rows: a member that renewed meanwhile must not look odd
        live = {
            member: set(json.loads(topics))
            for member, topics, boot, expires_ns in members
            if boot == self._clock.boot and 0 < expires_ns - now_ns <= MAX_LEASE_NS
        }
        dead = [member for member, *_ in members if member not in live]
        mine = next((expires_ns for member, _, _, expires_ns in members if member == self.id), 0)
        leases = {TopicPartition(topic, partition): (owner, number) for topic, partition, owner, number in rows}
        return _View(now_ns, live, dead, mine, leases)

    def _kept(self, view: _View) -> set[TopicPartition]:
        """What we hold and still own."""
        if self.id not in view.alive:
            return set()
        return {where for where, number in self.held.items() if view.leases.get(where) == (self.id, number)}

    def _plans(self, view: _View) -> dict[str, Plan]:
        plans = {}
        for name, topic in self._topics.items():
            members = [member for member, topics in view.alive.items() if name in topics]
            owners = {p: owner for (of, p), (owner, _) in view.leases.items() if of == name}
            plans[name] = fair_share(topic.partitions, members, owners, self.id)
        return plans

    def _moves(
        self, view: _View, may_release: Callable[[TopicPartition], bool]
    ) -> tuple[list[TopicPartition], list[TopicPartition]] | None:
        """What to give and what to take now, or None."""
        self._note_surplus(view)
        give = [where for where in self.surplus if may_release(where)]
        take = [TopicPartition(name, p) for name, plan in self._plans(view).items() for p in plan.take]
        return (give, take) if give or take else None

    def _note_surplus(self, view: _View) -> None:
        surplus = {TopicPartition(name, p) for name, plan in self._plans(view).items() for p in plan.give}
        self.surplus = {where: self.surplus.get(where, view.now_ns) for where in surplus if where in self.held}

    def _register(self, connection: sqlite3.Connection, view: _View) -> None:
        connection.executemany(
            "DELETE FROM members WHERE grp = ? AND member = ?",
            [(self._group, member) for member in view.dead if member != self.id],
        )
        expires_ns = view.now_ns + self._lease_ns
        connection.execute(
            "INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?, ?)",
            (self._group, self.id, json.dumps(sorted(self._topics)), self._clock.boot, expires_ns),
        )

    def _disown(self, connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE leases SET owner = NULL WHERE grp = ? AND owner = ?", (self._group, self.id))

    def _give(self, connection: sqlite3.Connection, given: Sequence[TopicPartition]) -> None:
        connection.executemany(
            "UPDATE leases SET owner = NULL WHERE grp = ? AND topic = ? AND partition = ? AND owner = ?",
            [(self._group, *where, self.id) for where in given],
        )

    def _take(self, connection: sqlite3.Connection, wanted: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        taken = {}
        for where in wanted:
            row = connection.execute(
                "INSERT INTO leases VALUES (?, ?, ?, ?, 1) ON CONFLICT(grp, topic, partition)"
                " DO UPDATE SET owner = excluded.owner, generation = generation + 1 RETURNING generation",
                (self._group, *where, self.id),
            ).fetchall()
            taken[where] = int(row[0][0])
        return taken


def _committed(connection: sqlite3.Connection, group: str, where: TopicPartition) -> int | None:
    row = connection.execute(
        "SELECT next FROM offsets WHERE grp = ? AND topic = ? AND partition = ?", (group, *where)
    ).fetchone()
    return int(row[0]) if row else None


def committed(connection: sqlite3.Connection, group: str, topic: str) -> dict[int, int]:
    """The next offset of a group per partition that it ever committed."""
    rows = connection.execute("SELECT partition, next FROM offsets WHERE grp = ? AND topic = ?", (group, topic))
    return {int(partition): int(following) for partition, following in rows.fetchall()}
