"""Intake against a limit on file sizes, which a process can lift again: prints what happened as JSON."""

import json
import resource
import sys
from pathlib import Path

from streams.broker import StorageFull, TopicPartition, TopicSpec
from streams.embedded.broker import EmbeddedBroker

folder = Path(sys.argv[1])
broker = EmbeddedBroker(folder)
broker.ensure_topics([TopicSpec("audio.windows", 1, 86_400.0), TopicSpec("audio.scores", 1, 1e7)])
producer, scores = broker.producer(), broker.producer()
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, hard))
accepted, refusals, words = 0, 0, ""
for number in range(100):
    try:
        producer.send("audio.windows", "mic", number.to_bytes(4, "big") + bytes(64_000))
        producer.flush()
    except StorageFull as error:
        words = str(error)
        refusals += 1
        if refusals == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            producer.flush()
    accepted = number + 1
stored = [int.from_bytes(m.value[:4], "big") for m in broker.read(TopicPartition("audio.windows", 0), 0, 1_000)]
broker.close()
print(json.dumps({"accepted": accepted, "refusals": refusals, "words": words, "stored": stored}))
