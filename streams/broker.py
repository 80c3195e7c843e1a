"""Where a broker comes from: a url. What a broker is stands in `streams.contract`; its names are here for callers."""

from __future__ import annotations

from streams.contract import (
    MAX_MESSAGE_BYTES,
    Broker,
    BrokerAbsent,
    BrokerError,
    Consumer,
    LeaseLost,
    Message,
    MessageTooLarge,
    Producer,
    StorageFull,
    TopicPartition,
    TopicSpec,
    partition_of,
)
from streams.security import Security

__all__ = [
    "MAX_MESSAGE_BYTES",
    "Broker",
    "BrokerAbsent",
    "BrokerError",
    "Consumer",
    "LeaseLost",
    "Message",
    "MessageTooLarge",
    "Producer",
    "Security",
    "StorageFull",
    "TopicPartition",
    "TopicSpec",
    "open_broker",
    "partition_of",
]


def open_broker(
    url: str, *, lease_s: float = 30.0, min_free_bytes: int = 100_000_000, security: Security | None = None
) -> Broker:
    """The broker at `url`: `embedded:DIR` or `kafka://host:port`. Raises ValueError for any other text.

    `lease_s` is how long a consumer that does not poll keeps its partitions. Below `min_free_bytes` of free disk the
    embedded broker takes no more windows (StorageFull), so that results can still be written; Kafka has its own limits.
    `security` is how Kafka wants to be spoken to; the embedded broker needs none.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "embedded" and rest:
        from streams.embedded.broker import EmbeddedBroker

        return EmbeddedBroker(rest, lease_s=lease_s, min_free_bytes=min_free_bytes)
    if scheme == "kafka":
        from streams.kafka.broker import KafkaBroker

        return KafkaBroker(url, lease_s=lease_s, security=security)
    raise ValueError(f"broker url is {url!r}, allowed is embedded:DIR or kafka://host:port")
