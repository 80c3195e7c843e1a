"""What goes wrong on a real disk: it fills up, files are damaged or somebody else's, processes start together."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from broker_contract import after, drain, fill, texts
from embedded_place import EmbeddedPlace

from streams.broker import BrokerError, StorageFull, TopicPartition, TopicSpec, open_broker
from streams.embedded import database
from streams.embedded.broker import EmbeddedBroker
from streams.embedded.store import Options

ROOT = Path(__file__).parents[2]
WINDOWS, SCORES = TopicSpec("audio.windows", 2, 86_400.0), TopicSpec("audio.scores", 2, 1e7)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[EmbeddedPlace]:
    place = EmbeddedPlace(tmp_path / "broker")
    place.open().ensure_topics([WINDOWS, SCORES])
    yield place
    place.close()


def child(script: str, *arguments: str) -> subprocess.Popen[str]:
    path = Path(__file__).with_name(script)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, str(path), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_processes_open_a_fresh_folder_at_once(tmp_path: Path) -> None:
    """Four processes make, open and fill the same new folder together: all is there, in order, without a gap."""
    folder = tmp_path / "new" / "broker"
    children = [child("append_child.py", str(folder), f"writer {n}", "50") for n in range(4)]
    for one in children:
        _, errors = one.communicate(timeout=60)
        assert one.returncode == 0, errors
    broker = EmbeddedBroker(folder)
    for topic in ("audio.windows", "audio.scores"):
        seen: dict[str, list[int]] = {}
        for partition, (start, end) in broker.bounds(topic).items():
            messages = broker.read(TopicPartition(topic, partition), start, 1_000)
            assert [m.offset for m in messages] == list(range(end))
            for message in messages:
                seen.setdefault(message.key, []).append(int(message.value))
        assert seen == {f"writer {n}": list(range(50)) for n in range(4)}
    broker.close()


def test_a_full_disk_stops_intake_and_loses_nothing(tmp_path: Path) -> None:
    """The system refuses to store more: StorageFull, in words; with room again intake goes on, each window once."""
    one = child("full_disk_child.py", str(tmp_path / "broker"))
    out, errors = one.communicate(timeout=60)
    assert one.returncode == 0, errors
    outcome = json.loads(out)
    assert outcome["refusals"] == 3
    assert "Nothing accepted is lost; free some space" in outcome["words"]
    assert outcome["accepted"] == 100
    assert outcome["stored"] == list(range(100))


def test_sqlite_full(place: EmbeddedPlace) -> None:
    """SQLITE_FULL is StorageFull; what was accepted stays readable, what was refused is kept for another try."""
    broker = place.open()
    producer = broker.producer()
    producer.send("audio.scores", "a", b"accepted")
    producer.flush()
    connection = producer._store.database._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count={pages}")
    for number in range(40):
        producer.send("audio.scores", "a", f"{number}".encode() + bytes(10_000))
    for _ in range(2):
        with pytest.raises(StorageFull, match=r"broker\.sqlite"):
            producer.flush()
    consumer = broker.consumer("g", ["audio.scores"])
    assert texts(consumer.poll(10, 0.0)) == ["accepted"]
    connection.execute("PRAGMA max_page_count=1000000")
    producer.flush()
    assert [m.value.rstrip(b"\0") for m in drain(consumer, 40)] == [str(n).encode() for n in range(40)]


def test_windows_stop_before_results_have_no_room(tmp_path: Path) -> None:
    """Under the floor of free disk windows are refused while scores pass, from one and the same producer."""
    free = [10**9]
    place = EmbeddedPlace(tmp_path / "broker", min_free_bytes=10**8, free_bytes=lambda _: free[0])
    broker = place.open()
    broker.ensure_topics([WINDOWS, SCORES])
    producer = broker.producer()
    free[0] = 99_000_000
    producer.send("audio.windows", "a", b"window")
    producer.send("audio.scores", "a", b"score")
    with pytest.raises(StorageFull, match=r"99 MB free, windows need 100 MB"):
        producer.flush()
    assert texts(drain(broker.consumer("g", ["audio.scores"]), 1)) == ["score"]
    free[0] = 10**9
    producer.flush()
    assert texts(drain(broker.consumer("g", ["audio.windows"]), 1)) == ["window"]
    place.close()


def test_a_producer_is_bounded(place: EmbeddedPlace) -> None:
    """What waits is written by itself beyond a bound; a message whose room cannot be made is not taken."""
    broker = place.open()
    producer = broker.producer()
    for number in range(2_001):
        producer.send("audio.scores", "a", str(number).encode())
    assert sum(end for _, end in broker.bounds("audio.scores").values()) == 2_000
    producer.close()
    with pytest.raises(BrokerError, match="closed"):
        producer.send("audio.scores", "a", b"")
    assert sum(end for _, end in broker.bounds("audio.scores").values()) == 2_001


@pytest.mark.parametrize("spoil", ["foreign text", "foreign database", "empty", "newer"])
def test_files_that_are_not_ours(tmp_path: Path, spoil: str) -> None:
    """A broker.sqlite that is no broker's is refused by name, and is not changed."""
    path = tmp_path / "broker.sqlite"
    if spoil == "foreign text":
        path.write_text("shopping list\n" * 200)
    elif spoil == "empty":
        path.touch()
    else:
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE recipes(name)")
        if spoil == "newer":
            connection.execute(f"PRAGMA application_id={database.APPLICATION_ID}")
            connection.execute("PRAGMA user_version=2")
        connection.close()
    before = path.read_bytes()
    with pytest.raises(BrokerError, match=r"broker\.sqlite: .*([Uu]se|move it away)"):
        EmbeddedBroker(tmp_path)
    assert path.read_bytes() == before


def test_places_that_cannot_be_used(tmp_path: Path) -> None:
    """A file where the folder should be, or a url of another kind, says what to do."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(BrokerError, match=r"file.*Look at the disk and the rights"):
        open_broker(f"embedded:{tmp_path / 'file'}")
    for url in ("embedded:", "redis://x", ""):
        with pytest.raises(ValueError, match="allowed is embedded:DIR or kafka"):
            open_broker(url)
    with pytest.raises(ValueError, match="lease_s is 0"):
        open_broker(f"embedded:{tmp_path / 'x'}", lease_s=0)


def test_a_damaged_segment_is_named(place: EmbeddedPlace) -> None:
    """Reading a damaged file says which; moved away, its windows count as expired and the rest is read."""
    broker = place.open()
    fill(broker, "audio.windows", ["x" * 50_000] * 20, keys=["a"])
    place.pass_time(3_600.0)
    fill(broker, "audio.windows", ["later"], keys=["a"])
    broker.close()
    place.close()
    place.opened.clear()
    oldest = min((place.folder / "audio.windows").glob("*.sqlite"))
    content = bytearray(oldest.read_bytes())
    content[database.PAGE_BYTES :] = os.urandom(len(content) - database.PAGE_BYTES)
    oldest.write_bytes(content)
    broker = place.open()
    consumer = broker.consumer("g", ["audio.windows"])
    with pytest.raises(BrokerError, match=rf"{oldest.name}.*damaged.*move it away"):
        consumer.poll(10, 0.0)
    broker.close()
    shutil.move(oldest, place.folder / "evidence")
    consumer = place.open().consumer("g", ["audio.windows"])
    assert texts(drain(consumer, 1)) == ["later"]
    assert consumer.expired() == 20


def test_one_bad_partition_loses_nothing_of_the_others(place: EmbeddedPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read error in one partition does not drop what was just read of another: its position has moved."""
    broker = place.open()
    fill(broker, "audio.scores", map(str, range(40)))
    consumer = broker.consumer("g", ["audio.scores"])
    consumer.poll(0, 0.0)
    log = consumer._store.log_of("audio.scores")
    whole, broken = log.read, [True]

    def read(partition: int, start: int, limit: int) -> object:
        if partition == 1 and broken[0]:
            raise BrokerError("cannot read")
        return whole(partition, start, limit)

    monkeypatch.setattr(log, "read", read)
    seen: list[str] = []
    errors = 0
    for _ in range(8):
        try:
            messages = consumer.poll(4, 0.0)
        except BrokerError:
            errors += 1
        else:
            seen += texts(messages)
            consumer.commit(after(messages))
    broken[0] = False
    seen += texts(drain(consumer, 40 - len(seen)))
    assert errors > 0
    assert sorted(map(int, seen)) == list(range(40))


def test_a_long_reader_does_not_let_the_log_grow_for_ever(
    place: EmbeddedPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads for hours keeps the write-ahead log; when it ends, housekeeping cuts it back."""
    monkeypatch.setattr(database, "WAL_KEPT_BYTES", 1_000_000)
    broker = place.open()
    reader = sqlite3.connect(place.folder / "broker.sqlite", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM messages").fetchall()
    fill(broker, "audio.scores", ["x" * 10_000] * 3_000)
    wal = place.folder / "broker.sqlite-wal"
    assert wal.stat().st_size > 20_000_000
    broker.expire()
    assert wal.stat().st_size > 20_000_000
    reader.execute("COMMIT")
    reader.close()
    broker.expire()
    assert wal.stat().st_size < 1_000_000


def test_retention_of_small_topics(place: EmbeddedPlace) -> None:
    """Rows of the small topics go one by one when they are too old, and their space is used again."""
    broker = place.open()
    broker.ensure_topics([TopicSpec("audio.scores", 2, 10 * 86_400.0)])
    fill(broker, "audio.scores", map(str, range(5_000)), keys=["a"])
    place.pass_time(11 * 86_400.0)
    fill(broker, "audio.scores", ["new"], keys=["a"])
    broker.expire()
    consumer = broker.consumer("g", ["audio.scores"])
    assert texts(drain(consumer, 1)) == ["new"]
    assert sorted(broker.bounds("audio.scores").values()) == [(0, 0), (5_000, 5_001)]


def test_a_broker_serves_several_threads(place: EmbeddedPlace) -> None:
    """Its own methods may be called from any thread, while consumers and producers live in theirs."""
    broker = place.open()
    failures: list[Exception] = []

    def use() -> None:
        try:
            for number in range(10):
                fill(broker, "audio.scores", [str(number)])
                broker.bounds("audio.scores")
                broker.read(TopicPartition("audio.scores", 0), 0, 10)
                broker.committed("g", "audio.scores")
        except (BrokerError, sqlite3.Error) as error:
            failures.append(error)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert sum(end for _, end in broker.bounds("audio.scores").values()) == 40


def test_nothing_leaks(tmp_path: Path) -> None:
    """Opened and closed fifty times, with readers and writers: descriptors and threads within two."""

    def once() -> None:
        broker = EmbeddedBroker(tmp_path / "broker", options=Options(segment_bytes=200_000))
        broker.ensure_topics([WINDOWS, SCORES])
        producer, consumer = broker.producer(), broker.consumer("g", ["audio.windows", "audio.scores"])
        producer.send("audio.windows", "a", b"x")
        producer.send("audio.scores", "a", b"x")
        producer.flush()
        consumer.commit(after(consumer.poll(10, 0.1)))
        broker.consumer("other", ["audio.windows"]).close()
        with pytest.raises(BrokerError):
            broker.consumer("g", ["missing"])
        broker.close()
        broker.close()

    def in_use() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    once()
    before = in_use()
    for _ in range(50):
        once()
    now = in_use()
    assert abs(now[0] - before[0]) <= 2
    assert abs(now[1] - before[1]) <= 2
