"""Windows lie in files of an hour, which nobody can see from outside but by looking into the folder."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from broker_contract import after, drain, fill, texts
from embedded_place import EmbeddedPlace

from streams.broker import Broker, BrokerError, StorageFull, TopicPartition, TopicSpec, partition_of
from streams.embedded import segments

TOPIC = "audio.windows"
HOUR_S = 3_600.0


@pytest.fixture
def place(tmp_path: Path) -> Iterator[EmbeddedPlace]:
    place = EmbeddedPlace(tmp_path / "broker")
    place.open().ensure_topics([TopicSpec(TOPIC, 2, 86_400.0)])
    yield place
    place.close()


def files(place: EmbeddedPlace) -> list[str]:
    return sorted(path.name for path in (place.folder / TOPIC).glob("*.sqlite"))


def hours(place: EmbeddedPlace, broker: Broker, count: int) -> None:
    """One message in each of `count` hours, with its number."""
    for number in range(count):
        fill(broker, TOPIC, [str(number)], keys=["a"])
        place.pass_time(HOUR_S)


def test_a_file_per_hour(place: EmbeddedPlace) -> None:
    """Each hour with sound has its own file, named by number and hour, and offsets go on across them."""
    broker = place.open()
    hours(place, broker, 3)
    assert files(place) == [
        "00000000-20260921T14.sqlite",
        "00000001-20260921T15.sqlite",
        "00000002-20260921T16.sqlite",
    ]
    messages = drain(broker.consumer("g", [TOPIC]), 3)
    assert [(m.offset, m.value) for m in messages] == [(0, b"0"), (1, b"1"), (2, b"2")]


def test_retention_unlinks_whole_files(place: EmbeddedPlace) -> None:
    """A file goes when its last message is older than the retention, by itself while others append."""
    broker = place.open()
    hours(place, broker, 30)
    assert 24 <= len(files(place)) <= 26
    broker.expire()
    oldest, end = broker.bounds(TOPIC)[partition_of("a", 2)]
    assert end == 30
    assert len(files(place)) == end - oldest + 1, "one file per hour kept, and the newest, still empty"
    consumer = broker.consumer("g", [TOPIC])
    assert texts(drain(consumer, end - oldest)) == [str(n) for n in range(oldest, 30)]
    assert consumer.expired() == 0


def test_a_full_disk_can_still_forget(place: EmbeddedPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no new file can be made, old ones are unlinked all the same, and that makes the room."""
    broker = place.open()
    hours(place, broker, 10)
    place.pass_time(30 * HOUR_S)

    def refuse(path: Path, fill: object) -> None:
        raise StorageFull(f"{path}: full")

    with monkeypatch.context() as full:
        full.setattr(segments, "build", refuse)
        with pytest.raises(StorageFull):
            broker.expire()
        with pytest.raises(StorageFull):
            fill(broker, TOPIC, ["refused"], keys=["a"])
    assert len(files(place)) == 1
    fill(broker, TOPIC, ["accepted"], keys=["a"])
    assert texts(drain(broker.consumer("g", [TOPIC]), 1))[-1] == "accepted"


def test_the_last_file_goes_too_when_the_sound_ends(place: EmbeddedPlace) -> None:
    """Nobody appends any more: polling alone lets the last windows expire, and counts them."""
    broker = place.open()
    fill(broker, TOPIC, ["first"], keys=["a"])
    consumer = broker.consumer("g", [TOPIC])
    drain(consumer, 1)
    fill(broker, TOPIC, ["never read"], keys=["a"])
    idle = broker.consumer("other", ["audio.windows"])
    for _ in range(28):
        place.pass_time(HOUR_S)
        idle.poll(0, 0.0)
    assert len(files(place)) == 1
    assert consumer.poll(1, 0.0) == []
    assert consumer.expired() == 1


@pytest.mark.parametrize(("commit", "expired"), [(True, 6), (False, 10)])
def test_a_reader_in_the_middle_of_an_unlinked_file(place: EmbeddedPlace, commit: bool, expired: int) -> None:
    """What was not done is counted when it is gone, and reading goes on with the oldest that is kept."""
    broker = place.open()
    fill(broker, TOPIC, map(str, range(10)), keys=["a"])
    consumer = broker.consumer("g", [TOPIC])
    messages = consumer.poll(4, 0.0)
    assert texts(messages) == ["0", "1", "2", "3"]
    if commit:
        consumer.commit(after(messages))
    place.pass_time(HOUR_S)
    fill(broker, TOPIC, ["later"], keys=["a"])
    place.pass_time(26 * HOUR_S - HOUR_S)
    fill(broker, TOPIC, ["now"], keys=["a"])
    place.open().expire()
    assert texts(drain(consumer, 2)) == ["later", "now"]
    assert consumer.expired() == expired


class Killed(BaseException):
    """Stands for `kill -9` at a named point."""


@pytest.mark.parametrize("point", ["roll:sealed", "roll:built", "roll:registered", "append"])
def test_death_while_rolling(tmp_path: Path, point: str) -> None:
    """Whoever comes after a death at any step finds every accepted message, and offsets have no gap."""
    armed = [False]

    def probe(name: str) -> None:
        if armed[0] and name == point:
            raise Killed

    place = EmbeddedPlace(tmp_path / "broker", probe=probe)
    broker = place.open()
    broker.ensure_topics([TopicSpec(TOPIC, 2, 86_400.0)])
    fill(broker, TOPIC, ["0", "1"], keys=["a"])
    place.pass_time(HOUR_S)
    armed[0] = True
    with pytest.raises(Killed):
        fill(broker, TOPIC, ["never accepted"], keys=["a"])
    armed[0] = False
    place.pass_time(HOUR_S)  # the next builder chooses another name
    fill(place.open(), TOPIC, ["2", "3"], keys=["a"])
    place.open().expire()
    messages = drain(place.open().consumer("g", [TOPIC]), 4)
    assert [(m.offset, m.value) for m in messages] == [(n, str(n).encode()) for n in range(4)]
    registered = 3 if point in ("roll:registered", "append") else 2
    assert len(list((place.folder / TOPIC).glob("*.sqlite"))) == registered, "an unregistered file was left"
    place.close()


def test_a_file_that_somebody_removed(place: EmbeddedPlace) -> None:
    """An old file taken away by hand is passed over and counted; the newest cannot be missed, and the text says so."""
    broker = place.open()
    hours(place, broker, 3)
    broker.close()
    place.opened.clear()
    (place.folder / TOPIC / files(place)[0]).unlink()
    broker = place.open()
    consumer = broker.consumer("g", [TOPIC])
    assert texts(drain(consumer, 2)) == ["1", "2"]
    assert consumer.expired() == 1
    broker.close()
    place.opened.clear()
    (place.folder / TOPIC / files(place)[-1]).unlink()
    with pytest.raises(BrokerError, match=r"the newest file of audio\.windows is gone"):
        fill(place.open(), TOPIC, ["x"])


def test_foreign_files_stay(place: EmbeddedPlace) -> None:
    """Sweeping removes what a killed builder left, and nothing that somebody else put there."""
    broker = place.open()
    hours(place, broker, 1)
    folder = place.folder / TOPIC
    for name in ("notes.txt", "copy.sqlite", ".00000009-20260921T13.sqlite.0af.tmp", "00000009-20260921T13.sqlite-wal"):
        (folder / name).write_text("x")
    broker.expire()
    names = {path.name for path in folder.iterdir()}
    assert {"notes.txt", "copy.sqlite"} <= names
    assert not any("00000009" in name for name in names)


def test_files_of_which_nothing_is_left_are_let_go(place: EmbeddedPlace) -> None:
    """A process that reads on closes unlinked files: their space becomes free."""
    broker = place.open()
    consumer = broker.consumer("g", [TOPIC])
    hours(place, broker, 30)
    drain(consumer, 24)
    links = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    place.open().expire()
    consumer.poll(0, 0.0)
    consumer.poll(1, 0.0)
    broker.bounds(TOPIC)
    assert links
    held = [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    assert not [name for name in held if TOPIC in name and name.endswith("(deleted)")]


def test_many_threads_roll_at_once(tmp_path: Path) -> None:
    """Four writers, each with its own view, cross file borders together: no double, no gap, order per key."""
    place = EmbeddedPlace(tmp_path / "broker", segment_bytes=150_000)
    place.open().ensure_topics([TopicSpec(TOPIC, 2, 86_400.0)])
    brokers = [place.open() for _ in range(4)]

    def write(number: int) -> None:
        producer = brokers[number].producer()
        for one in range(60):
            producer.send(TOPIC, f"key {number}", str(one).encode() + b" " * 4_000)
            if one % 3 == 2:
                producer.flush()
        producer.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(files(place)) >= 4
    bounds = place.open().bounds(TOPIC)
    assert sum(end for _, end in bounds.values()) == 240
    for partition, (_, end) in bounds.items():
        messages = place.open().read(TopicPartition(TOPIC, partition), 0, 1_000)
        assert [m.offset for m in messages] == list(range(end))
        for key in {m.key for m in messages}:
            assert [int(m.value) for m in messages if m.key == key] == list(range(60))
    place.close()
