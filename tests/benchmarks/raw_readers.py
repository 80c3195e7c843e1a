"""What the libraries alone read a second, for comparison: no stage, no scores, no guard.

    python tests/benchmarks/raw_readers.py aiokafka|faust HOST:PORT GROUP COUNT

Prints the messages a second between the first batch and the last.
"""

import asyncio
import sys
import tempfile
import time

import aiokafka
import faust

TOPIC = "audio.windows"


class Meter:
    """Counts from the second batch on: the first one pays for joining the group."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.began_s = 0.0
        self.read = 0

    def add(self, messages: int) -> bool:
        """True when all has come."""
        self.left -= messages
        if self.began_s:
            self.read += messages
        else:
            self.began_s = time.perf_counter()
        return self.left <= 0

    def rate(self) -> float:
        return self.read / (time.perf_counter() - self.began_s)


async def with_aiokafka(server: str, group: str, meter: Meter) -> None:
    reader = aiokafka.AIOKafkaConsumer(
        TOPIC, bootstrap_servers=server, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await reader.start()
    while True:
        found = await reader.getmany(timeout_ms=1000, max_records=64)
        count = sum(len(messages) for messages in found.values())
        if count:
            await reader.commit()
        if count and meter.add(count):
            break
    await reader.stop()


async def with_faust(server: str, group: str, meter: Meter) -> None:
    done = asyncio.Event()
    app = faust.App(
        group,
        broker=f"kafka://{server}",
        datadir=tempfile.mkdtemp(),
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        table_standby_replicas=0,
        consumer_auto_offset_reset="earliest",
    )
    source = app.topic(TOPIC, value_type=bytes, key_type=bytes, value_serializer="raw", key_serializer="raw")

    @app.agent(source)
    async def take(stream: faust.StreamT) -> None:  # type: ignore[type-arg]  # of raw bytes
        async for batch in stream.take(64, within=0.1):
            if meter.add(len(batch)):
                done.set()

    starting = asyncio.ensure_future(app.start())
    await done.wait()
    print(meter.rate(), flush=True)
    starting.cancel()
    await app.stop()


def main() -> None:
    library, server, group, count = sys.argv[1:]
    meter = Meter(int(count))
    if library == "faust":
        asyncio.run(with_faust(server, group, meter))
    else:
        asyncio.run(with_aiokafka(server, group, meter))
        print(meter.rate(), flush=True)


if __name__ == "__main__":
    main()
