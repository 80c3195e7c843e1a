"""A microphone at a sound card, through sounddevice (PortAudio): `mic:default`, `mic:3`, `mic:USB Audio`.

PortAudio calls back on a thread of its own and must never wait; its blocks go through a bounded inbox, and what does
not fit is counted as lost. A device that stops calling back (a cable that was pulled) is noticed by the stall watchdog.

Known limitation: PortAudio reads its list of devices once. A device that comes back under the same name is opened
again; one that was absent when the process started needs a restart of the process.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.capture.base import Clock, SourceError
from streams.capture.live import Block, Feed, FeedFailed, LiveSource, new_session
from streams.windows import Cut

_POLL_S = 0.05


class Inbox:
    """Blocks on their way from PortAudio's thread to ours: never more than `max_samples`, never waiting."""

    def __init__(self, max_samples: int) -> None:
        self._blocks: deque[Block] = deque()
        self._lock = threading.Lock()
        self._room = max_samples
        self._lost = 0

    def put(self, samples: NDArray[np.float32], arrived_ns: int, *, torn: bool) -> None:
        """Take a block; where there is no room it is counted, and the next block that fits says how much is lost."""
        with self._lock:
            if len(samples) > self._room:
                self._lost += len(samples)
                return
            self._room -= len(samples)
            self._blocks.append(Block(samples, arrived_ns, self._lost, torn))
            self._lost = 0

    def take(self) -> Block | None:
        """The oldest block, or None."""
        with self._lock:
            if not self._blocks:
                return None
            block = self._blocks.popleft()
            self._room += len(block.samples)
            return block


class MicFeed:
    """An open input stream of the sounddevice-like `module`. Raises FeedFailed where it cannot be opened."""

    def __init__(self, module: Any, device: str, channel: int, rate: int, clock: Clock, buffer_s: float) -> None:  # noqa: ANN401  (sounddevice ships no types, and tests hand in a fake)
        self._clock = clock
        self._channel = channel
        self._never = threading.Event()
        chosen = _device(device)
        try:
            self.rate = _rate(module, chosen, channel, rate)
            self._inbox = Inbox(round(buffer_s * self.rate))
            self._stream = module.InputStream(
                samplerate=self.rate, device=chosen, channels=channel + 1, dtype="float32", callback=self._called_back
            )
        except (module.PortAudioError, ValueError, OSError) as error:
            raise FeedFailed("device_failed", f"mic:{device}: {error}; trying again") from error
        try:
            self._stream.start()
        except (module.PortAudioError, OSError) as error:
            self.close()
            raise FeedFailed("device_failed", f"mic:{device}: {error}; trying again") from error

    def _called_back(self, indata: NDArray[np.float32], frames: int, time: object, status: Any) -> None:  # noqa: ANN401, ARG002  (PortAudio's signature)
        samples = indata[:, self._channel].copy()  # PortAudio uses its buffer again
        self._inbox.put(samples, self._clock.now_ns(), torn=bool(status and status.input_overflow))

    def read(self, wait_s: float) -> Block | None:
        """The next block, or None where none came within `wait_s`. Raises FeedFailed where the device went."""
        until = self._clock.monotonic() + wait_s
        while (block := self._inbox.take()) is None:
            if not self._stream.active:
                raise FeedFailed("device_failed", "the device stopped by itself; was it unplugged? Opening it again")
            rest = until - self._clock.monotonic()
            if rest <= 0:
                return None
            self._clock.sleep(min(rest, _POLL_S), self._never)
        return block

    def close(self) -> None:
        """Let go of the device."""
        try:
            self._stream.close(ignore_errors=True)
        except OSError:
            return  # it is gone already


class MicSource(LiveSource):
    """Windows from a sound card's input `device`: its number, a part of its name, or `default`.

    `buffer_s` of sound wait for a slow consumer; beyond that sound is lost and counted. `load` gives the
    sounddevice module. Raises SourceError where that is not installed.
    """

    def __init__(
        self,
        cut: Cut,
        device: str,
        *,
        channel: int = 0,
        stall_s: float = 5.0,
        buffer_s: float = 30.0,
        clock: Clock | None = None,
        session: Callable[[], str] = new_session,
        load: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__(cut, f"mic:{device}", channel=channel, stall_s=stall_s, clock=clock, session=session)
        self.device = device
        self.buffer_s = buffer_s
        self._module = (load or load_sounddevice)()

    def _connect(self) -> Feed:
        return MicFeed(self._module, self.device, self.channel, self.cut.rate, self.clock, self.buffer_s)


def load_sounddevice() -> Any:  # noqa: ANN401  (it ships no types)
    """The module sounddevice. Raises SourceError that says what to install."""
    try:
        import sounddevice
    except ImportError as error:
        raise SourceError("mic: needs sounddevice; install it with: pip install factory-ear[mic]") from error
    except OSError as error:
        raise SourceError(f"mic: {error}; install PortAudio: apt-get install libportaudio2") from error
    return sounddevice


def _device(text: str) -> int | str | None:
    if text == "default":
        return None
    return int(text) if text.isdecimal() else text


def _rate(module: Any, device: int | str | None, channel: int, rate: int) -> int:  # noqa: ANN401  (see above)
    """The line's rate where the device takes it, else the device's own, which is resampled.

    Raises ValueError where that one is lower: the upper bands would be missing and look like a fault.
    """
    try:
        module.check_input_settings(device=device, channels=channel + 1, dtype="float32", samplerate=rate)
    except module.PortAudioError:
        own = int(module.query_devices(device, "input")["default_samplerate"])
        if own < rate:
            raise ValueError(f"it records at {own} Hz, the line runs at {rate} Hz; use another device") from None
        return own
    return rate
