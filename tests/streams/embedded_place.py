"""An embedded broker in a folder, with time that tests move."""

import itertools
from dataclasses import replace
from pathlib import Path

from streams.broker import Broker, Consumer
from streams.embedded.broker import EmbeddedBroker
from streams.embedded.store import Options

BEGIN_NS = 1_790_000_000 * 10**9  # some hour in 2026


class FakeClock:
    """Time stands still until somebody sleeps or lets it pass."""

    def __init__(self) -> None:
        self.boot = "boot-1"
        self.since_boot_ns = 1_000 * 10**9
        self.utc = BEGIN_NS

    def monotonic_ns(self) -> int:
        return self.since_boot_ns

    def utc_ns(self) -> int:
        return self.utc

    def sleep(self, seconds: float) -> None:
        self.pass_time(seconds)

    def pass_time(self, seconds: float) -> None:
        self.since_boot_ns += int(seconds * 1e9)
        self.utc += int(seconds * 1e9)


class EmbeddedPlace:
    """The `broker_contract.Place` of the embedded broker."""

    lease_s = 30.0

    def __init__(self, folder: Path, **options: object) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.options = replace(Options(clock=self.clock), **options)  # type: ignore[arg-type]  # tests name real fields
        self.opened: list[EmbeddedBroker] = []
        self._numbers = itertools.count()

    def open(self) -> EmbeddedBroker:
        broker = EmbeddedBroker(self.folder, options=self.options)
        self.opened.append(broker)
        return broker

    def close(self) -> None:
        for broker in self.opened:
            broker.close()

    def name(self, name: str) -> str:
        return f"{name}-{next(self._numbers)}"

    def now_s(self) -> float:
        return self.clock.monotonic_ns() / 1e9

    def pass_time(self, seconds: float) -> None:
        self.clock.pass_time(seconds)

    def vanish(self, consumer: Consumer) -> None:
        """It simply never polls again."""

    def expire(self, broker: Broker, topic: str) -> None:
        assert isinstance(broker, EmbeddedBroker)
        self.pass_time(3 * 86_400.0)
        broker.expire()  # seals what is due
        self.pass_time(3 * 86_400.0)
        broker.expire()
