"""A worker in a process of its own, for tests that kill it. Prints what it does, one word a line.

    python kafka_worker.py URL GROUP [--plain] [--order O] [--die POINT:N] [--poison MIC] [--remember] [--batch N]

`--die POINT:N` kills the process (kill -9) the Nth time it passes POINT: polled, processed, written, flushed,
committed.
"""

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial

from streams import codec, worker
from streams.broker import Broker, Message, TopicPartition, open_broker
from streams.faust_app.worker import run_faust_worker
from streams.records import TOPIC_SCORES, TOPIC_WINDOWS, AudioWindow, WindowScore
from streams.worker import BatchLimits, Outgoing, run_worker


class Identity:
    """A stage that gives each window a score of 0 and says when it came, so that latency can be measured."""

    def __init__(self, poison: str = "") -> None:
        self.poison = poison

    def assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
        """Remembers nothing."""

    def process(self, messages: Sequence[Message]) -> list[Outgoing]:
        return [self._one(message) for message in messages]

    def value(self, window: AudioWindow) -> float:
        return 0.0

    def _one(self, message: Message) -> Outgoing:
        window = codec.decode_window(message)
        if self.poison and window.mic == self.poison:
            raise RuntimeError("this window crashes the stage")
        score = WindowScore(
            machine=window.machine,
            mic=window.mic,
            session=window.session,
            sequence=window.sequence,
            start_ns=window.start_ns,
            duration_s=window.duration_s,
            status="ok",
            score=self.value(window),
            scored_ns=time.time_ns(),
        )
        return Outgoing(TOPIC_SCORES, *codec.encode_score(score))


class Remembering(Identity):
    """Gives a window the score 1 where the window before it is known, read back after a rebalance, else 0."""

    def __init__(self, broker: Broker) -> None:
        super().__init__()
        self.broker = broker
        self.heard: set[tuple[str, str, int]] = set()

    def assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
        for where, position in partitions.items():
            before = self.broker.read(where, max(0, position - 100), 100)
            self.heard |= {codec.decode_window(message).identity for message in before if message.offset < position}

    def process(self, messages: Sequence[Message]) -> list[Outgoing]:
        self.heard |= {codec.decode_window(message).identity for message in messages}
        return super().process(messages)

    def value(self, window: AudioWindow) -> float:
        return float(window.sequence == 0 or (window.mic, window.session, window.sequence - 1) in self.heard)


class Killer:
    """Kills this process the Nth time it passes a point."""

    def __init__(self, where: str) -> None:
        self.point, _, number = where.partition(":")
        self.left = int(number or 0)

    def __call__(self, point: str) -> None:
        if point == self.point:
            self.left -= 1
            if self.left == 0:
                say(f"killed {point}")
                os.kill(os.getpid(), signal.SIGKILL)


def say(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("group")
    parser.add_argument("--plain", action="store_true", help="kafka-python alone, without Faust")
    parser.add_argument("--die", default="")
    parser.add_argument("--poison", default="")
    parser.add_argument("--remember", action="store_true", help="score whether the window before is known")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--wait", type=float, default=0.1)
    parser.add_argument("--order", default=",".join(worker.ORDER), help="of write, flush and commit: to show a loss")
    parser.add_argument("--session", type=float, default=4.0)
    parser.add_argument("--stall", type=float, default=8.0)
    given = parser.parse_args()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    faust = given.url.startswith("kafka://") and not given.plain
    run = partial(run_faust_worker, session_s=given.session, stall_s=given.stall) if faust else run_worker
    worker.ORDER = tuple(given.order.split(","))
    broker = open_broker(given.url)
    totals = run(
        broker,
        given.group,
        (TOPIC_WINDOWS,),
        Remembering(broker) if given.remember else Identity(given.poison),
        limits=BatchLimits(given.batch, given.wait),
        stop=stop.is_set,
        probe=Killer(given.die),
        on_state=lambda state: say(f"state {state}"),
        on_batch=lambda totals: say(f"batch {totals.messages}"),
    )
    say(f"done {totals}")


if __name__ == "__main__":
    sys.exit(main())
