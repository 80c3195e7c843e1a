"""Short questions to Kafka, each on a connection of its own that is closed again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from kafka.admin import KafkaAdminClient

from streams.kafka.connection import Connection


@contextlib.contextmanager
def admin(connection: Connection) -> Iterator[KafkaAdminClient]:
    """An administration client, closed at the end."""
    client = KafkaAdminClient(**connection.options())
    try:
        yield client
    finally:
        client.close()


def existing(connection: Connection) -> set[str]:
    """The names of the topics that there are."""
    with admin(connection) as client:
        return set(client.list_topics())
