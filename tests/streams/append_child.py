"""Opens a folder that may not exist yet, and appends: one of several processes at once."""

import sys
from pathlib import Path

from streams.broker import TopicSpec
from streams.embedded.broker import EmbeddedBroker
from streams.embedded.store import Options

folder, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
broker = EmbeddedBroker(folder, options=Options(segment_bytes=1_000_000))
broker.ensure_topics([TopicSpec("audio.windows", 2, 86_400.0), TopicSpec("audio.scores", 2, 1e7)])
producer = broker.producer()
for number in range(count):
    producer.send("audio.windows", name, str(number).encode() + b" " * 10_000)
    producer.send("audio.scores", name, str(number).encode())
    if number % 5 == 4:
        producer.flush()
broker.close()
