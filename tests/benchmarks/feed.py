"""A producer in a process of its own: windows of 64 kB from many microphones, as fast as they go or at a rate.

    python tests/benchmarks/feed.py URL COUNT [--mics M] [--rate R] [--flush N]

Prints how many were acknowledged, and in how many seconds. `start_ns` is the time at which a window was sent.
"""

import argparse
import time
from dataclasses import replace

import numpy as np

from streams.broker import open_broker
from streams.codec import encode_window
from streams.records import TOPIC_WINDOWS, AudioWindow


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("count", type=int)
    parser.add_argument("--mics", type=int, default=100)
    parser.add_argument("--rate", type=float, default=0.0, help="windows a second; 0: as fast as they go")
    parser.add_argument("--flush", type=int, default=32, help="windows per flush")
    given = parser.parse_args()
    sound = np.random.default_rng(1).uniform(-0.5, 0.5, 32_000).astype(np.float32)  # 2 s at 16 kHz: 64 kB of noise
    window = AudioWindow("machine", "mic", str(time.time_ns()), 0, 0, 16_000, sound)
    value = encode_window(window).value
    empty = replace(window, samples=sound[:0])  # headers are made anew for each window, its samples are not
    broker = open_broker(given.url)
    producer = broker.producer()
    began_s = time.monotonic()
    for number in range(given.count):
        if given.rate:
            time.sleep(max(0.0, began_s + number / given.rate - time.monotonic()))
        mic = f"mic {number % given.mics}"
        sent = replace(empty, mic=mic, sequence=number // given.mics, start_ns=time.time_ns())
        producer.send(TOPIC_WINDOWS, mic, value, encode_window(sent).headers)
        if given.rate or number % given.flush == given.flush - 1:
            producer.flush()
    producer.close()
    print(given.count, time.monotonic() - began_s, flush=True)
    broker.close()


if __name__ == "__main__":
    main()
