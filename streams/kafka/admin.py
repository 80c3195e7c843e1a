"""Short questions to Kafka, each on a connection of its own that is closed again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from kafka import errors
from kafka.admin import KafkaAdminClient

from streams.kafka.clients import connected
from streams.kafka.connection import Connection


@contextlib.contextmanager
def admin(connection: Connection) -> Iterator[KafkaAdminClient]:
    """An administration client, closed at the end."""
    client = connected(KafkaAdminClient, **connection.options())
    try:
        yield client
    finally:
        client.close()


def partition_counts(connection: Connection, topics: Iterable[str]) -> dict[str, int]:
    """How many partitions each of these topics has; topics that do not exist are left out."""
    with admin(connection) as client:
        return counted(client, topics)


def counted(client: KafkaAdminClient, topics: Iterable[str]) -> dict[str, int]:
    """The same over a client that is there already."""
    found = {}
    for topic in client.describe_topics(list(topics)):
        error = errors.for_code(topic["error_code"])
        if error is errors.NoError:
            found[topic["name"]] = len(topic["partitions"])
        elif error is not errors.UnknownTopicOrPartitionError:
            raise error(topic["name"])
    return found
