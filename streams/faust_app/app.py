"""The Faust application: one agent that hands batches over and waits until they are done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faust
from faust.transport.drivers import aiokafka
from faust.types import EventT, StreamT
from mode.utils.times import Seconds

from streams.kafka.connection import KAFKA_MESSAGE_BYTES, Connection

SESSION_S = 10.0  # a worker that Kafka has not heard of for so long is dead
REQUEST_S = 15.0
POLL_S = 300.0
BUFFERED = 4  # batches in memory that wait for the one in hand
NEVER_S = 365 * 86_400.0

HandOver = Callable[[Sequence[EventT[Any]]], Awaitable[None]]


@dataclass(frozen=True)
class Intake:
    """What a worker takes: windows of these topics, in batches by count and by time."""

    group: str
    topics: tuple[str, ...]
    max_messages: int
    max_wait_s: float
    session_s: float = SESSION_S


class PromptConsumer(aiokafka.Consumer):
    """Faust's consumer, without its second of sleep whenever all partitions are paused.

    With bounded buffers that is the normal state of a busy worker: 392 windows/s with the sleep, 919 without it.
    """

    async def sleep(self, n: Seconds) -> None:
        """As the service does; one second, which is what the fetching loop asks for, becomes a hundredth of it."""
        await super().sleep(0.01 if n == 1 else n)


def build_app(connection: Connection, intake: Intake, folder: Path, hand_over: HandOver) -> faust.App:
    """The application. `hand_over` returns when a batch is done; until then no other batch is taken."""
    security = connection.security
    app = faust.App(
        intake.group,
        broker=[f"kafka://{server}" for server in connection.servers],
        broker_credentials=_credentials(connection),
        broker_client_id="factory-ear-worker",
        datadir=folder,
        ssl_context=security.ssl_context(),
        autodiscover=False,
        web_enabled=False,
        worker_redirect_stdouts=False,
        topic_disable_leader=True,  # else it makes a topic of its own on a Kafka where it may not
        topic_allow_declare=False,  # topics are made, and checked, before anything consumes
        table_standby_replicas=0,  # else it balances by its own assignor, which other members do not know
        consumer_auto_offset_reset="earliest",  # a new group begins at the oldest message
        consumer_max_fetch_size=KAFKA_MESSAGE_BYTES,
        broker_max_poll_records=BUFFERED * intake.max_messages,  # what one fetch may bring into memory
        stream_buffer_maxsize=BUFFERED * intake.max_messages,  # full: partitions are paused
        stream_wait_empty=False,  # a rebalance must not wait for a batch: its commit is refused instead
        stream_processing_timeout=NEVER_S,
        broker_commit_interval=NEVER_S,  # commits are ours: after the results, before the next batch
        broker_commit_livelock_soft_timeout=NEVER_S,
        broker_session_timeout=intake.session_s,
        broker_heartbeat_interval=intake.session_s / 5,
        broker_rebalance_timeout=intake.session_s,  # a dead member holds a rebalance up for no longer than its session
        broker_request_timeout=REQUEST_S,
        broker_max_poll_interval=POLL_S,
        consumer_metadata_max_age_ms=30_000,
    )
    app.transport.Consumer = PromptConsumer  # type: ignore[misc]  # Faust has no other place to say so
    source = app.topic(
        *intake.topics, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", internal=True
    )

    async def take(stream: StreamT[bytes]) -> None:
        batches = stream.noack_take(  # type: ignore[attr-defined]  # Faust's own type of streams lacks it
            intake.max_messages, within=max(0.005, intake.max_wait_s)
        )
        async for events in batches:
            await hand_over(events)

    app.agent(source, concurrency=1, name=f"{intake.group}.take")(take)
    return app


def _credentials(connection: Connection) -> faust.SASLCredentials | faust.SSLCredentials | None:
    security = connection.security
    if security.sasl:
        return faust.SASLCredentials(
            username=security.username,
            password=security.password,
            ssl_context=security.ssl_context(),
            mechanism=security.mechanism,
        )
    context = security.ssl_context()
    return faust.SSLCredentials(context) if context else None
