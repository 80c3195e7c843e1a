"""Hostile sound and a full disk through the whole line: refused with a reason, counted, and nothing stops."""

from __future__ import annotations

import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hummingline import RATE, hum, trained, write_line
from prometheus_client.parser import text_string_to_metric_families

from monitor.alarm_store import AlarmStore
from monitor.dead import list_dead, replay_dead
from monitor.ingest import ingest_line
from monitor.line_broker import messages, open_line_broker
from monitor.rounds import Monitor
from monitor.settings import Line
from monitor.worker import work_line
from streams import codec, soundfiles
from streams.broker import StorageFull
from streams.records import TOPIC_DEAD, TOPIC_SCORES, TOPIC_WINDOWS, AudioWindow


def wav(data: bytes, channels: int = 1, data_size: int | None = None) -> bytes:
    size = len(data) if data_size is None else data_size
    form = struct.pack("<HHIIHH", 1, channels, RATE, RATE * channels * 2, channels * 2, 16)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", min(36 + size, 2**32 - 1)) + body


def attacks(folder: Path) -> dict[str, str]:
    """Broken files by name, and the reason that each is to be refused with."""
    sound = hum(4.0, 120.0, 7)
    pcm = (sound * 32767).astype("<i2").tobytes()
    (folder / "a-header.wav").write_bytes(b"RIFF\x00\x00\x00\x00JUNK" + bytes(100))
    (folder / "b-empty.wav").write_bytes(wav(b""))
    (folder / "c-4gb.wav").write_bytes(wav(pcm, data_size=2**32 - 40))
    (folder / "d-channels.wav").write_bytes(wav(pcm[:4096], channels=1024))
    broken = sound.copy()
    broken[1000] = np.nan
    soundfile.write(folder / "e-nan.wav", broken, RATE, subtype="FLOAT")
    soundfile.write(folder / "f-rate.wav", sound[::2], RATE // 2, subtype="PCM_16")
    bomb = np.zeros(RATE * 60, np.int16)
    with soundfile.SoundFile(folder / "g-bomb.flac", "w", RATE, 8, subtype="PCM_16") as file:
        for _ in range(60):
            file.write(np.repeat(bomb[:RATE, None], 8, axis=1))
        for _ in range(5):
            file.write(np.repeat(bomb[:, None], 8, axis=1))
    (folder / "h-nothing.wav").write_bytes(b"")
    return {
        "a-header.wav": "unknown_format",
        "b-empty.wav": "no_frames",
        "c-4gb.wav": "false_size",
        "d-channels.wav": "too_many_channels",
        "e-nan.wav": "not_finite",
        "f-rate.wav": "rate_too_low",
        "g-bomb.flac": "decompression_bomb",
        "h-nothing.wav": "empty_file",
    }


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    folder = tmp_path_factory.mktemp("line")
    return trained(write_line(folder, live_s=20.0))


def drain(line: Line) -> None:
    """Let a worker and the monitor work until nothing is left."""
    broker = open_line_broker(line)
    ends = sum(end for _, end in broker.bounds(TOPIC_WINDOWS).values())
    work_line(line, stop=lambda: sum(broker.committed("workers", TOPIC_WINDOWS).values()) >= ends)
    broker.close()


def test_every_attack_is_refused_by_name_and_stops_nothing(line: Line, tmp_path: Path) -> None:
    """Each broken file has a dead letter with its reason; the good one among them and other microphones are scored."""
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    reasons = attacks(incoming)
    soundfiles.write_wav(incoming / "dd-good.wav", hum(20.0, 120.0, 55), RATE)
    fan, pump = line.machine
    broken = fan.mic[0].model_copy(update={"source": f"file:{incoming}/*"})
    line = line.model_copy(
        update={
            "machine": (fan.model_copy(update={"mic": (broken, *fan.mic[1:])}), pump),
            "broker": line.broker.model_copy(update={"url": f"embedded:{tmp_path / 'broker'}"}),
            "site": line.site.model_copy(update={"data": line.site.data}),
        }
    )
    assert ingest_line(line, stop=lambda: False) == 0
    drain(line)
    letters = {Path(row["source"]).name: row["reason"] for row in list_dead(line, 100)}
    assert letters == reasons
    broker = open_line_broker(line)
    scores = Counter(codec.decode_score(message).mic for message in messages(broker, TOPIC_SCORES))
    assert scores == {"fan-a": 10, "fan-b": 10, "pump-a": 10}
    with AlarmStore(tmp_path / "alarms.sqlite") as store:
        monitor = Monitor(line, broker, store)
        for _ in range(20):
            monitor.tick(0.01)
        families = {family.name: family for family in text_string_to_metric_families(exposition(monitor))}
        monitor.finish()
    dead = {s.labels["reason"]: s.value for s in families["factory_ear_dead_letters"].samples if s.value}
    assert sum(dead.values()) == len(reasons)
    broker.close()


def exposition(monitor: Monitor) -> str:
    from prometheus_client import generate_latest

    return generate_latest(monitor.metrics.registry).decode()


def test_a_full_disk_stops_intake_and_loses_nothing(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Intake waits with a clear word while there is no room; when there is, every window arrives once."""
    from streams.embedded import producer as embedded_producer

    line = line.model_copy(update={"broker": line.broker.model_copy(update={"url": f"embedded:{tmp_path / 'broker'}"})})
    refused = {"left": 3}
    flush = embedded_producer.EmbeddedProducer.flush

    def full(self: embedded_producer.EmbeddedProducer) -> None:
        if refused["left"] > 0:
            refused["left"] -= 1
            raise StorageFull("no room: make room, intake goes on by itself")
        flush(self)

    monkeypatch.setattr(embedded_producer.EmbeddedProducer, "flush", full)
    monkeypatch.setattr("monitor.ingest.RETRY_S", 0.01)
    assert ingest_line(line, stop=lambda: False) == 0
    assert "intake waits: no room" in capsys.readouterr().err
    broker = open_line_broker(line)
    windows = [codec.decode_window(message).identity for message in messages(broker, TOPIC_WINDOWS)]
    broker.close()
    assert len(windows) == len(set(windows)) == 30


def test_an_intake_that_breaks_begins_again(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error that nobody foresaw is told; its microphone is opened anew and no window is missing in the end."""
    line = line.model_copy(update={"broker": line.broker.model_copy(update={"url": f"embedded:{tmp_path / 'broker'}"})})
    encode, left = codec.encode_window, {"bad": 1}

    def breaks(window: AudioWindow) -> codec.Wire:
        if window.mic == "fan-a" and window.sequence == 5 and left["bad"]:
            left["bad"] -= 1
            raise RuntimeError("a driver said no")
        return encode(window)

    monkeypatch.setattr("monitor.ingest.codec.encode_window", breaks)
    monkeypatch.setattr("monitor.ingest.RETRY_S", 0.01)
    assert ingest_line(line, stop=lambda: False) == 0
    assert "fan-a: RuntimeError: a driver said no; opened again" in capsys.readouterr().err
    broker = open_line_broker(line)
    accepted = {codec.decode_window(message).identity for message in messages(broker, TOPIC_WINDOWS)}
    broker.close()
    assert Counter(identity.mic for identity in accepted) == {"fan-a": 10, "fan-b": 10, "pump-a": 10}


def test_dead_windows_are_replayed(line: Line, tmp_path: Path) -> None:
    """A window that died is listed with its reason; replayed, it is scored like any other."""
    line = line.model_copy(update={"broker": line.broker.model_copy(update={"url": f"embedded:{tmp_path / 'broker'}"})})
    broker = open_line_broker(line)
    producer = broker.producer()
    producer.send(TOPIC_WINDOWS, "fan-a", b"\x00", {"v": "1", "machine": "fan", "mic": "fan-a"})
    producer.flush()
    drain(line)
    rows = list_dead(line, 10)
    assert [row["reason"] for row in rows] == ["bad_message"]
    assert rows[0]["mic"] == "fan-a"
    before = sum(end for _, end in broker.bounds(TOPIC_WINDOWS).values())
    assert replay_dead(line, "another_reason") == 0
    assert replay_dead(line) == 1
    assert sum(end for _, end in broker.bounds(TOPIC_WINDOWS).values()) == before + 1
    producer.close()
    broker.close()


def test_dead_letters_of_files_are_not_replayed(line: Line, tmp_path: Path) -> None:
    """A refused file has no bytes in its letter: replay leaves it alone."""
    from streams.dead import DeadLetter

    line = line.model_copy(update={"broker": line.broker.model_copy(update={"url": f"embedded:{tmp_path / 'broker'}"})})
    broker = open_line_broker(line)
    producer = broker.producer()
    producer.send(TOPIC_DEAD, *codec.encode_dead(DeadLetter("truncated", "cut", 1, source="x.wav")))
    producer.flush()
    assert replay_dead(line) == 0
    producer.close()
    broker.close()
