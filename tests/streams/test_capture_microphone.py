from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sound_makers import NOW_NS, RATE, SECOND_NS, FakeClock, news, noise, until, windows

from streams.capture import SourceError, Stalled
from streams.capture.microphone import Inbox, MicSource, load_sounddevice
from streams.windows import Cut

CUT = Cut("press", "m1")


class PortAudioError(Exception):
    """What sounddevice raises."""


class Card:
    """A sound card that speaks sounddevice's language; tests say when it calls back."""

    PortAudioError = PortAudioError

    def __init__(self, rates: tuple[int, ...] = (RATE,), present: bool = True) -> None:
        self.rates = rates
        self.present = present
        self.open: list[Any] = []
        self.opened = 0
        self.asked: dict[str, Any] = {}

    def check_input_settings(self, *, device: object, channels: int, dtype: str, samplerate: int) -> None:
        if samplerate not in self.rates:
            raise PortAudioError("Invalid sample rate")

    def query_devices(self, device: object, kind: str) -> dict[str, float]:
        return {"default_samplerate": float(self.rates[0])}

    def InputStream(self, **options: Any) -> Any:  # noqa: N802  (sounddevice's name)
        if not self.present:
            raise PortAudioError("Error querying device")
        self.opened += 1
        self.asked = options
        stream = SimpleNamespace(active=True, start=lambda: self.open.append(stream), callback=options["callback"])
        stream.close = lambda ignore_errors: self.open.remove(stream)
        return stream

    def call_back(self, sound: NDArray[np.float32], overflow: bool = False) -> None:
        shared = np.tile(sound[:, None], (1, self.asked["channels"]))
        for stream in self.open:
            stream.callback(shared, len(sound), None, SimpleNamespace(input_overflow=overflow))
        shared[:] = 9.0  # PortAudio uses its buffer again


def listening(card: Card, **options: Any) -> tuple[MicSource, FakeClock]:
    clock = FakeClock()
    names = iter(f"session-{number}" for number in range(1_000))
    source = MicSource(CUT, "3", clock=clock, load=lambda: card, session=lambda: next(names), **options)
    return source, clock


def playing(card: Card, clock: FakeClock, rate: int = RATE) -> Callable[[], None]:
    """The card gives what sounded during each sleep."""
    last = clock.seconds
    seed = 0

    def play() -> None:
        nonlocal last, seed
        seed += 1
        frames = round((clock.seconds - last) * rate)
        last = clock.seconds
        if card.open and frames:
            card.call_back(noise(frames / rate, seed, rate))

    return play


def test_a_sound_card_becomes_windows_placed_by_the_clock() -> None:
    """Windows follow each other in one session, from when the first block began; idle while waiting."""
    card = Card()
    source, clock = listening(card)
    clock.on_sleep = playing(card, clock)
    events = until(source, lambda events: len(windows(events)) == 3)
    out = windows(events)
    assert [w.identity for w in out] == [("m1", "session-0", number) for number in range(3)]
    assert [w.start_ns - NOW_NS for w in out] == [0, 2 * SECOND_NS, 4 * SECOND_NS]
    assert all(np.abs(w.samples).max() < 1 for w in out)
    assert news(events) == []
    assert card.asked["device"] == 3
    source.close()
    assert card.open == []


def test_the_channel_is_chosen_among_those_that_are_opened() -> None:
    """Channel 2 opens three channels and takes the last."""
    card = Card()
    source, clock = listening(card, channel=2)
    clock.on_sleep = playing(card, clock)
    until(source, lambda events: len(windows(events)) == 1)
    assert card.asked["channels"] == 3
    source.close()


def test_a_card_that_does_not_know_the_rate_is_resampled() -> None:
    """A card of 48 kHz gives windows of 16 kHz at the same pace."""
    card = Card(rates=(48_000,))
    source, clock = listening(card)
    clock.on_sleep = playing(card, clock, 48_000)
    out = windows(until(source, lambda events: len(windows(events)) == 2))
    assert card.asked["samplerate"] == 48_000
    assert [w.rate for w in out] == [RATE, RATE]
    assert clock.seconds - 100.0 == pytest.approx(4.0, abs=0.3)
    source.close()


def test_a_card_below_the_lines_rate_is_a_fault_of_the_device() -> None:
    """It would sound as if the upper bands had failed."""
    source, _ = listening(Card(rates=(8_000,)))
    (stalled,) = news(until(source, lambda events: bool(news(events))))
    assert isinstance(stalled, Stalled)
    assert stalled.reason == "device_failed"
    assert "8000 Hz, the line runs at 16000 Hz" in stalled.text
    source.close()


def test_overflow_is_a_gap_measured_by_the_clock() -> None:
    """What the driver lost becomes missing time before the next window, counted."""
    card = Card()
    source, clock = listening(card)
    clock.on_sleep = playing(card, clock)
    assert windows(until(source, lambda events: len(windows(events)) == 1))[0].gap_s == 0
    clock.on_sleep = lambda: None
    clock.pass_(3.0)
    card.call_back(noise(1.0), overflow=True)
    clock.on_sleep = playing(card, clock)
    (after,) = windows(until(source, lambda events: len(windows(events)) == 1))
    assert after.flags == {"gap"}
    assert after.gap_s == pytest.approx(2.0, abs=0.01)
    assert after.start_ns == NOW_NS + 4 * SECOND_NS
    source.close()
    assert source.counts().gaps == 1
    assert source.counts().lost_samples == pytest.approx(2 * RATE, abs=RATE // 100)


def test_a_slow_consumer_loses_counted_sound_and_no_memory() -> None:
    """The inbox holds so much and no more; what did not fit is a gap of exactly that length."""
    card = Card()
    source, clock = listening(card, buffer_s=4.0)
    clock.on_sleep = playing(card, clock)
    first = windows(until(source, lambda events: len(windows(events)) == 1))
    clock.on_sleep = lambda: None
    for seed in range(100):
        clock.pass_(0.1)
        card.call_back(noise(0.1, seed))
    held = windows(until(source, lambda events: len(windows(events)) == 2))
    clock.pass_(0.1)
    card.call_back(noise(0.1))
    clock.on_sleep = playing(card, clock)
    (after,) = windows(until(source, lambda events: len(windows(events)) == 1))
    assert [w.sequence for w in (*first, *held, after)] == [0, 1, 2, 3]
    assert after.gap_s == pytest.approx(6.0)
    assert after.start_ns == NOW_NS + 12 * SECOND_NS
    source.close()
    assert source.counts().lost_samples == 6 * RATE


def test_a_card_that_goes_quiet_is_told_and_opened_again_with_growing_pauses() -> None:
    """No samples for five seconds: one event, a new session, and the missing time in its first window."""
    card = Card()
    source, clock = listening(card)
    play = playing(card, clock)
    clock.on_sleep = play
    until(source, lambda events: len(windows(events)) == 1)
    clock.on_sleep = lambda: None
    (stalled,) = news(until(source, lambda events: bool(news(events))))
    assert isinstance(stalled, Stalled)
    assert (stalled.reason, stalled.machine, stalled.mic) == ("no_samples", "press", "m1")
    assert stalled.quiet_s == pytest.approx(5.0, abs=0.2)
    assert card.open == []
    card.present = False
    failed_at = []
    for _ in range(8):
        until(source, lambda events: bool(news(events)))
        failed_at.append(clock.seconds)
    assert np.diff(failed_at).round().tolist() == [2, 4, 8, 16, 32, 60, 60]
    card.present = True
    clock.on_sleep = playing(card, clock)
    (back,) = windows(until(source, lambda events: len(windows(events)) == 1))
    assert (back.session, back.sequence, back.flags) == ("session-1", 0, {"gap"})
    assert back.gap_s == pytest.approx((back.start_ns - NOW_NS) / 1e9 - 2.0)
    source.close()
    assert source.counts().reopened == card.opened - 1 + 8


def test_a_card_that_stops_by_itself_is_noticed_at_once() -> None:
    """A stream that is no longer active needs no watchdog."""
    card = Card()
    source, clock = listening(card)
    clock.on_sleep = playing(card, clock)
    until(source, lambda events: len(windows(events)) == 1)
    card.open[0].active = False
    (stalled,) = news(until(source, lambda events: bool(news(events))))
    assert isinstance(stalled, Stalled)
    assert stalled.reason == "device_failed"
    assert stalled.quiet_s < 1.0
    source.close()


def test_stop_lets_go_of_the_card() -> None:
    """A stop from another thread ends the iteration at the next event."""
    card = Card()
    source, clock = listening(card)
    clock.on_sleep = playing(card, clock)
    until(source, lambda events: len(windows(events)) == 1)
    source.stop()
    assert list(source) == []
    assert card.open == []


def test_the_inbox_gives_back_its_room() -> None:
    """Room that was taken is free again, for ever."""
    inbox = Inbox(100)
    for number in range(50):
        inbox.put(np.zeros(60, np.float32), number, torn=False)
        inbox.put(np.zeros(60, np.float32), number, torn=False)
        block = inbox.take()
        assert block is not None
        assert block.lost == (60 if number else 0)
        assert inbox.take() is None


def test_without_sounddevice_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is optional; without it there is one clear line."""
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(SourceError, match=r"pip install factory-ear\[mic\]"):
        load_sounddevice()


def test_without_portaudio_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """sounddevice without its library raises OSError on import."""

    class Finder:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "sounddevice":
                raise OSError("PortAudio library not found")

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    with pytest.raises(
        SourceError, match="PortAudio library not found; install PortAudio: apt-get install libportaudio2"
    ):
        load_sounddevice()
