"""What the raw detector alone would have found: the same windows, models and alarm rules, without separation."""

from __future__ import annotations

from collections.abc import Iterator

from detectors.card import read_card
from detectors.store import load_models
from monitor.alarms import plan
from monitor.judges import Judges
from monitor.line_broker import messages
from monitor.pipeline import Pipeline
from monitor.settings import Chain, Line
from streams import codec
from streams.broker import Broker, Message
from streams.records import TOPIC_WINDOWS, Alert, WindowScore


def raw_alone(line: Line, broker: Broker) -> tuple[Alert, ...]:
    """The alerts on the sound of the broker's windows if no stage were on, each as it was in the end."""
    raw = line.model_copy(update={"chain": Chain(device=line.chain.device, max_batch=line.chain.max_batch)})
    models = {machine.id: load_models(line.models / machine.id) for machine in line.machine}
    pipeline = Pipeline(raw, models, broker)
    scores: list[WindowScore] = []
    for batch in _batches(messages(broker, TOPIC_WINDOWS), line.chain.max_batch):
        scores += [codec.decode_score(Message("", 0, 0, made.key, made.value)) for made in pipeline.process(batch)]
    plans = {}
    for machine in line.machine:
        mics = read_card(line.models / machine.id).mics
        plans[machine.id] = {mic: plan(one.effective_n, one.context_s, line.alarms) for mic, one in mics.items()}
    judges = Judges(line, plans)
    found: dict[str, Alert] = {}
    for score in sorted(scores, key=lambda one: one.end_ns):
        found |= {update.alert.alert_id: update.alert for update in judges.feed(score)}
    found |= {update.alert.alert_id: update.alert for update in judges.settle(over=True)}
    return tuple(found.values())


def _batches(sent: Iterator[Message], size: int) -> Iterator[list[Message]]:
    batch: list[Message] = []
    for message in sent:
        batch.append(message)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
