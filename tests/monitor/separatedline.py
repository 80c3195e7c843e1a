"""A trained line of one machine whose models have a separator, and its windows; for tests of the separated chain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hummingline import RATE, hum, write_line

from monitor.settings import Chain, Line, load_line
from monitor.train import train_line
from streams import codec, soundfiles
from streams.broker import Broker
from streams.records import TOPIC_WINDOWS, AudioWindow

SECONDS = 60.0
WINDOW_NS = 2_000_000_000
CHAIN = '[chain]\nstages = ["raw", "separated"]\nadapt_minutes = 0.01\n'
EVERY = Chain(stages=("raw", "separated"), cascade=False)


def separated_line(folder: Path) -> Line:
    """The line; clean and background recordings are there, and its separator had half a second."""
    path = write_line(folder, extra=CHAIN)
    for kind, seed, tone in (("clean", 50, 120.0), ("background", 60, 900.0)):
        for number in range(2):
            target = folder / kind / f"{number}.wav"
            target.parent.mkdir(exist_ok=True)
            soundfiles.write_wav(target, hum(8.0, tone, seed + number), RATE)
    text = path.read_text("utf-8").replace(
        'healthy = "healthy/fan"\n', 'healthy = "healthy/fan"\nclean = "clean"\nbackground = "background"\n'
    )
    path.write_text(text, "utf-8")
    loaded = load_line(path)
    train_line(loaded, only=["fan"], detector="neighbours", quiet=True)
    return loaded.model_copy(update={"machine": loaded.machine[:1]})


def windows(mic: str = "fan-a", seed: int = 99, seconds: float = SECONDS) -> list[AudioWindow]:
    """A healthy minute of one microphone."""
    sound = hum(seconds, 120.0, seed).reshape(-1, 2 * RATE)
    return [
        AudioWindow("fan", mic, "s", number, number * WINDOW_NS, RATE, samples) for number, samples in enumerate(sound)
    ]


def send(broker: Broker, some: Sequence[AudioWindow]) -> None:
    """Have windows accepted, in the order of their time."""
    producer = broker.producer()
    for window in sorted(some, key=lambda one: (one.start_ns, one.mic)):
        producer.send(TOPIC_WINDOWS, *codec.encode_window(window))
    producer.flush()
    producer.close()
