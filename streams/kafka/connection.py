"""Where Kafka is, what its clients are told, and what its errors mean in words."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kafka import errors

from streams.contract import MAX_MESSAGE_BYTES, BrokerAbsent, BrokerError, LeaseLost, MessageTooLarge
from streams.kafka.clients import TlsRefused
from streams.security import Security

# A message of the contract's size, and room for what Kafka writes around it.
KAFKA_MESSAGE_BYTES = MAX_MESSAGE_BYTES + 64 * 1024
CONNECT_S = 10  # how long one attempt to reach Kafka may take before it is an error that says so
REQUEST_S = 15

_SERVER = re.compile(r"[^\s:,/]+:\d{1,5}|\[[0-9A-Fa-f:]+\]:\d{1,5}")


@dataclass(frozen=True, slots=True)
class Connection:
    """One Kafka: its servers and its security."""

    servers: tuple[str, ...]
    security: Security

    @classmethod
    def parse(cls, url: str, security: Security | None = None) -> Connection:
        """From `kafka://host:port[,host:port...]`. Raises ValueError for any other text."""
        servers = tuple(part.strip() for part in url.removeprefix("kafka://").rstrip("/").split(","))
        wrong = [server for server in servers if not _SERVER.fullmatch(server)]
        if not url.startswith("kafka://") or wrong:
            raise ValueError(f"broker url is {url!r}, allowed is kafka://host:port or kafka://host:port,host:port")
        return cls(servers, security or Security())

    @property
    def url(self) -> str:
        """The address as text, without secrets."""
        return "kafka://" + ",".join(self.servers)

    def options(self) -> dict[str, Any]:
        """What every client of kafka-python is given."""
        options: dict[str, Any] = {
            "bootstrap_servers": list(self.servers),
            "client_id": "factory-ear",
            "security_protocol": self.security.protocol,
            "bootstrap_timeout_ms": CONNECT_S * 1000,
            "request_timeout_ms": REQUEST_S * 1000,
            "reconnect_backoff_max_ms": 1000,  # after an outage every client is back within a second or two
        }
        if self.security.tls:
            options["ssl_context"] = self.security.ssl_context()
        if self.security.sasl:
            options["sasl_mechanism"] = self.security.mechanism
            options["sasl_plain_username"] = self.security.username
            options["sasl_plain_password"] = self.security.password
        return options


_REMEDY: Mapping[type[Exception], str] = {
    TlsRefused: "give the certificate of its authority: ca under [broker.security]; or see that host and protocol fit",
    errors.SaslAuthenticationFailedError: "correct mechanism, username and password under [broker.security]",
    errors.UnsupportedSaslMechanismError: "set the mechanism under [broker.security] to one that this Kafka offers",
    errors.TopicAuthorizationFailedError: "give this user the right to read, write and create the topics",
    errors.GroupAuthorizationFailedError: "give this user the right to read in the group",
    errors.ClusterAuthorizationFailedError: "give this user the right to create topics, or create them beforehand",
    errors.UnknownTopicOrPartitionError: "the topic is gone: restart the line, it creates its topics",
    errors.KafkaStorageError: "Kafka cannot write to its disk: free some space there and restart it",
    errors.NotEnoughReplicasError: "too few Kafka nodes are up for min.insync.replicas: bring them back",
    errors.InvalidReplicationFactorError: "Kafka has fewer nodes than the topic shall have copies",
    errors.PolicyViolationError: "Kafka's own policy forbids it: ask whoever runs it",
}
_NOBODY = (errors.KafkaTimeoutError, errors.KafkaConnectionError, errors.NodeNotReadyError, OSError)
_ABSENT = "see that Kafka runs there, that host and port are right and whether it wants TLS or SASL ([broker.security])"


def in_words(error: Exception, connection: Connection, what: str) -> BrokerError:
    """What kafka-python said while it did `what`, as an error of the contract."""
    if isinstance(error, errors.MessageSizeTooLargeError | errors.RecordListTooLargeError):
        return MessageTooLarge(f"{connection.url}: {what}: {error}; allowed is {MAX_MESSAGE_BYTES} bytes")
    if isinstance(error, errors.CommitFailedError | errors.RebalanceInProgressError):
        return LeaseLost(f"{connection.url}: {what}: the group has given these partitions to another member")
    if isinstance(error, _NOBODY):
        text = f"{connection.url}: {what}: nobody answers ({type(error).__name__} {error}). What to do: {_ABSENT}"
        return BrokerAbsent(text)
    remedy = next((text for kind, text in _REMEDY.items() if isinstance(error, kind)), _ABSENT)
    name = type(error).__name__
    return BrokerError(f"{connection.url}: {what}: {name} {error}".rstrip() + f". What to do: {remedy}")


@contextlib.contextmanager
def told(connection: Connection, what: str) -> Iterator[None]:
    """Turn errors of kafka-python and of the network into BrokerError."""
    try:
        yield
    except errors.IllegalStateError:
        raise  # our own mistake, such as use after close
    except (errors.KafkaError, OSError) as error:
        raise in_words(error, connection, what) from error
