"""`factory-ear ingest`: from the microphones to the broker, one thread per microphone, without torch.

A source learns that its sound is taken only after the broker has flushed it. A full disk stops the intake: nothing
is read from files meanwhile, live microphones count what they could not keep as a gap, and it goes on by itself.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from monitor.console import warn
from monitor.errors import WorkFailed
from monitor.line_broker import open_line_broker
from monitor.processes import Stop
from monitor.settings import Line, Machine, Mic
from streams import codec, gate
from streams.broker import Broker, BrokerError, Producer
from streams.capture import Idle, Rejected, Source, SourceError, Stalled, open_source
from streams.dead import DeadLetter
from streams.records import TOPIC_DEAD, TOPIC_WINDOWS, AudioWindow

UNFLUSHED = 32  # windows gathered before a flush, where the source has more ready
RETRY_S = 2.0
LOOK_S = 0.2


@dataclass
class Intake:
    """One microphone's way into the broker."""

    line: Line
    machine: Machine
    mic: Mic
    broker: Broker
    stop: threading.Event
    start_ns: int
    unflushed: int = 0
    failed: bool = False

    def run(self) -> None:
        """Feed the broker until the source ends or `stop`; an error here stops no other microphone.

        A source that cannot be opened as it is configured is given up. Anything else that goes wrong is told and the
        source opened anew: what was not acknowledged comes again under the same identities.
        """
        while not self.stop.is_set():
            try:
                self._feed(self._open())
            except SourceError as error:
                self.failed = True
                warn(f"{self.mic.id}: {error}")
            except Exception as error:  # noqa: BLE001 - a microphone that died without a word would pass for read
                warn(f"{self.mic.id}: {type(error).__name__}: {error}; opened again in {RETRY_S:g} s")
                self.stop.wait(RETRY_S)
                continue
            return

    def _feed(self, source: Source) -> None:
        self.unflushed = 0
        producer = self.broker.producer()
        try:
            with source:
                threading.Thread(target=self._close_on_stop, args=(source,), daemon=True).start()
                for event in source:
                    self._take(event, producer)
                    if isinstance(event, Idle) or self.unflushed >= UNFLUSHED:
                        self._flush(producer, source)
                self._flush(producer, source)
        finally:
            with contextlib.suppress(BrokerError):  # what it still holds was never acknowledged: it comes again
                producer.close()

    def _open(self) -> Source:
        return open_source(
            self.mic.source,
            machine=self.machine.id,
            mic=self.mic.id,
            rate=self.line.site.rate,
            window_s=self.line.site.window_s,
            channel=self.mic.channel,
            speed=self.mic.speed,
            start_ns=self.start_ns,
            state_dir=self.line.site.data / "capture",
        )

    def _close_on_stop(self, source: Source) -> None:
        self.stop.wait()
        source.stop()

    def _take(self, event: object, producer: Producer) -> None:
        match event:
            case AudioWindow():
                self._send(event, producer)
            case Rejected():
                self._bury(event, producer)
            case Stalled():
                warn(f"{event.mic}: {event.text}")

    def _send(self, window: AudioWindow, producer: Producer) -> None:
        """The gate stands before encoding: int16 knows no NaN."""
        verdict = gate.check_window(window, gate.GateLimits(self.line.site.rate, self.line.site.window_s))
        if not verdict.ok:
            source = f"{self.mic.source} at window {window.sequence}"
            self._bury(
                Rejected(window.machine, window.mic, source, verdict.reason or "wrong_shape", verdict.text), producer
            )
            return
        key, value, headers = codec.encode_window(window)
        producer.send(TOPIC_WINDOWS, key, value, headers)
        self.unflushed += 1

    def _bury(self, event: Rejected, producer: Producer) -> None:
        warn(f"{event.mic}: refused ({event.reason}): {event.text}")
        letter = DeadLetter(
            key=event.machine,
            headers={"machine": event.machine, "mic": event.mic},
            reason=event.reason,
            detail=event.text,
            source=event.source,
            at_ns=time.time_ns(),
        )
        key, value = codec.encode_dead(letter)
        producer.send(TOPIC_DEAD, key, value)
        self.unflushed += 1

    def _flush(self, producer: Producer, source: Source) -> None:
        """Flush, then acknowledge; while the broker cannot take more, wait: what is held is tried again."""
        told = False
        while True:
            try:
                producer.flush()
            except BrokerError as error:
                if not told:
                    warn(f"{self.mic.id}: intake waits: {error}")
                    told = True
                if self.stop.wait(RETRY_S):
                    return  # never acknowledged: the source gives it again after a restart
            else:
                self.unflushed = 0
                source.acknowledge()
                return


def ingest_line(line: Line, *, only: Sequence[str] = (), stop: Stop, clock_ns: Callable[[], int] = time.time_ns) -> int:
    """Feed the broker from every microphone until `stop`, or until all sources have ended.

    Exit code 0 when all sources were finite and have been read; 1 where a source could not be opened at all.
    """
    chosen = [machine for machine in line.machine if not only or machine.id in only]
    if not chosen:
        raise WorkFailed(
            f"machine {', '.join(only)} is not in line.toml: it has {', '.join(m.id for m in line.machine)}"
        )
    broker = open_line_broker(line, stop=stop)
    ask = threading.Event()
    start_ns = clock_ns()
    intakes = [Intake(line, machine, mic, broker, ask, start_ns) for machine in chosen for mic in machine.mic]
    threads = [threading.Thread(target=intake.run, name=f"intake-{intake.mic.id}") for intake in intakes]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if stop():
            ask.set()
        time.sleep(LOOK_S)
    ask.set()
    broker.close()
    return 1 if any(intake.failed for intake in intakes) else 0
