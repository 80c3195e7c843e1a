"""Leases: fair, and worth nothing after sleep, silence or a reboot, whatever the wall clock does."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from broker_contract import after, drain, fill, texts, until
from embedded_place import EmbeddedPlace
from hypothesis import given
from hypothesis import strategies as st

from streams.broker import LeaseLost, TopicPartition, TopicSpec
from streams.embedded.leases import fair_share

TOPIC = "sound"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[EmbeddedPlace]:
    place = EmbeddedPlace(tmp_path / "broker")
    place.open().ensure_topics([TopicSpec(TOPIC, 4)])
    yield place
    place.close()


@given(
    st.integers(1, 20),
    st.lists(st.text("abcdefgh", min_size=1, max_size=2), min_size=1, max_size=6, unique=True),
    st.data(),
)
def test_fair_share_settles(partitions: int, members: list[str], data: st.DataObject) -> None:
    """From any owners, in any order of turns, two rounds bring shares that differ by one at most, and then peace."""
    owner = st.sampled_from([*members, "somebody dead", None])
    owners = {p: data.draw(owner) for p in data.draw(st.sets(st.integers(0, partitions - 1)))}
    for _ in range(2):
        for member in data.draw(st.permutations(members)):
            plan = fair_share(partitions, members, owners, member)
            assert not (plan.give and plan.take)
            owners |= dict.fromkeys(plan.give)
            owners |= dict.fromkeys(plan.take, member)
    counts = [sum(one == member for one in owners.values()) for member in members]
    assert sum(counts) == partitions
    assert max(counts) - min(counts) <= 1
    assert all(fair_share(partitions, members, owners, member) == ((), ()) for member in members)


def test_who_slept_through_its_lease_cannot_commit(place: EmbeddedPlace) -> None:
    """Even though nobody else took the partitions; after the next poll it reads the same messages again."""
    broker = place.open()
    fill(broker, TOPIC, map(str, range(8)))
    consumer = broker.consumer("g", [TOPIC])
    messages = drain(consumer, 8, commit=False)
    place.pass_time(place.lease_s + 0.001)
    with pytest.raises(LeaseLost, match=r"group g: the lease on sound/\d"):
        consumer.commit(after(messages))
    assert consumer.assignment() == {}
    assert broker.committed("g", TOPIC) == {}
    assert sorted(texts(drain(consumer, 8))) == sorted(texts(messages))


def test_polls_and_commits_keep_the_lease(place: EmbeddedPlace) -> None:
    """Showing life twice per lease is enough, by polling or by committing, and an early commit is no late one."""
    broker = place.open()
    fill(broker, TOPIC, map(str, range(8)))
    consumer = broker.consumer("g", [TOPIC])
    messages = drain(consumer, 8, commit=False)
    for number in range(6):
        place.pass_time(place.lease_s * 0.6)
        if number % 2:
            consumer.commit(after(messages[:1]))
        else:
            assert consumer.poll(0, 0.0) == []
    consumer.commit(after(messages))
    assert sum(broker.committed("g", TOPIC).values()) == 8


def test_the_wall_clock_means_nothing(place: EmbeddedPlace) -> None:
    """Set a year ahead or back, it neither ends a lease nor keeps one alive."""
    first = place.open().consumer("g", [TOPIC])
    first.poll(1, 0.0)
    second = place.open().consumer("other", [TOPIC])
    for jump_s in (365 * 86_400, -2 * 365 * 86_400):
        place.clock.utc += jump_s * 10**9
        second.poll(1, 0.0)
        first.commit({TopicPartition(TOPIC, 0): 0})
    place.pass_time(place.lease_s + 1.0)
    place.clock.utc -= 365 * 86_400 * 10**9
    with pytest.raises(LeaseLost):
        first.commit({TopicPartition(TOPIC, 0): 0})


@pytest.mark.parametrize("boot", ["boot-2", "boot-1"])
def test_a_reboot_ends_every_lease(place: EmbeddedPlace, boot: str) -> None:
    """The monotonic clock begins anew: a lease of before is dead at once; without boot ids, within the bound."""
    place.clock.since_boot_ns = 90_000 * 10**9
    place.open().consumer("g", [TOPIC]).poll(1, 0.0)
    place.clock.boot, place.clock.since_boot_ns = boot, 20 * 10**9
    consumer = place.open().consumer("g", [TOPIC])
    consumer.poll(1, 0.0)
    assert len(consumer.assignment()) == 4


def test_what_was_read_may_be_committed_before_it_is_given_up(place: EmbeddedPlace) -> None:
    """A member that joins waits until the partitions it is to get are committed: nothing is done twice."""
    broker = place.open()
    fill(broker, TOPIC, map(str, range(40)))
    first = place.open().consumer("g", [TOPIC])
    messages = drain(first, 40, commit=False)
    second = place.open().consumer("g", [TOPIC])
    second.poll(1, 0.0)
    first.poll(0, 0.0)
    assert first.assignment().keys() >= after(messages).keys()
    first.commit(after(messages))
    first.poll(0, 0.0)
    assert len(first.assignment()) == 2
    assert second.poll(100, 0.0) == []
    assert len(second.assignment()) == 2


def test_nobody_waits_for_ever_for_a_commit(place: EmbeddedPlace) -> None:
    """A member that polls and never commits gives up its surplus after a grace, and its late commit is refused."""
    broker = place.open()
    fill(broker, TOPIC, map(str, range(40)))
    first = place.open().consumer("g", [TOPIC])
    messages = drain(first, 40, commit=False)
    second = place.open().consumer("g", [TOPIC])
    for _ in range(2):
        second.poll(0, 0.0)
        first.poll(0, 0.0)
        place.pass_time(place.lease_s / 6)
    first.poll(0, 0.0)
    again = second.poll(100, 0.0)
    assert len(second.assignment()) == 2
    assert again
    with pytest.raises(LeaseLost):
        first.commit(after(messages))
    assert broker.committed("g", TOPIC) == {}
    first.commit({where: offset for where, offset in after(messages).items() if where in first.assignment()})


def test_members_with_different_topics(place: EmbeddedPlace) -> None:
    """A topic is shared among those who asked for it."""
    broker = place.open()
    broker.ensure_topics([TopicSpec("scores", 4)])
    both, one = broker.consumer("g", [TOPIC, "scores"]), broker.consumer("g", [TOPIC])
    until(lambda: len(both.assignment()) == 6 and len(one.assignment()) == 2, [both, one], place, 60.0)
    assert {where.topic for where in one.assignment()} == {TOPIC}
