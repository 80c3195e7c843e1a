"""Clients of kafka-python that say why they could not connect, and leave nothing behind when they could not."""

from __future__ import annotations

import logging
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TypeVar

import kafka
from kafka import errors
from kafka.net.compat import KafkaNetClient
from kafka.net.inet import KafkaNetSocket
from kafka.net.selector import NetworkSelector

_DIRECT = "factory-ear://direct"  # chooses _TidySocket; there is no proxy
_FIRST_SHARE = 0.3
Client = TypeVar("Client", kafka.KafkaProducer, kafka.KafkaConsumer, kafka.KafkaAdminClient)


class TlsRefused(errors.KafkaError):  # type: ignore[misc]  # kafka-python ships no types
    """No trust: the certificate, or its absence, is the reason."""


class _TidySocket(KafkaNetSocket):  # type: ignore[misc]  # kafka-python ships no types
    """A direct connection that closes its socket where nobody answers: kafka-python leaves that to the collector."""

    SCHEMES = ("factory-ear",)

    async def sock_connect(
        self, net: NetworkSelector, sock: socket.socket, sockaddr: object, timeout_at: float | None = None
    ) -> socket.socket:
        """As kafka-python does."""
        try:
            return await super().sock_connect(net, sock, sockaddr, timeout_at=timeout_at)  # type: ignore[no-any-return]
        except BaseException:
            net.unregister_event(sock, selectors.EVENT_WRITE)
            sock.close()
            raise


class _LastWords(logging.Handler):
    """Keeps what the libraries say of their connections instead of printing every attempt to reconnect."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: deque[tuple[float, str]] = deque(maxlen=200)

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append((time.monotonic(), record.getMessage()))

    def since(self, began_s: float, sign: str) -> str:
        """The last line since `began_s` with `sign` in it, from there on; empty if there is none."""
        lines = [line for at, line in list(self._lines) if at >= began_s and sign in line]
        return lines[-1].partition(sign)[2].strip(": ") if lines else ""


_WORDS = _LastWords()


def quiet(*names: str) -> None:
    """Listen to these libraries instead of letting them print. A level or handler that somebody has set stays."""
    for name in names:
        logger = logging.getLogger(name)
        ours = all(isinstance(handler, logging.NullHandler) for handler in logger.handlers)
        if logger.level == logging.NOTSET and ours:
            logger.addHandler(_WORDS)
            logger.setLevel(logging.WARNING)
            logger.propagate = False


def connected(kind: Callable[..., Client], *, bootstrap_timeout_ms: int, **options: object) -> Client:
    """A client of kafka-python. Raises KafkaError with the reason, where it alone would only say that time is up.

    kafka-python goes on trying where it was refused, until the time is up. So a first, short attempt is made, which
    finds most of the reasons soon, and a long one where that has found none.
    """
    try:
        return _connected(kind, {**options, "bootstrap_timeout_ms": round(_FIRST_SHARE * bootstrap_timeout_ms)})
    except errors.KafkaTimeoutError:
        return _connected(kind, {**options, "bootstrap_timeout_ms": bootstrap_timeout_ms})


def _connected(kind: Callable[..., Client], options: Mapping[str, object]) -> Client:
    quiet("kafka")
    opened: list[KafkaNetClient] = []
    began_s = time.monotonic()

    def net_client(**configs: object) -> KafkaNetClient:
        opened.append(KafkaNetClient(**configs))
        return opened[-1]

    try:
        return kind(kafka_client=net_client, proxy_url=_DIRECT, **options)
    except BaseException as error:
        for client in opened:  # the constructor raised: nobody else could end its thread
            client.close()
        if isinstance(error, errors.KafkaTimeoutError):
            if words := _WORDS.since(began_s, "SaslAuthenticationFailedError"):
                raise errors.SaslAuthenticationFailedError(words) from error
            if words := _WORDS.since(began_s, "UnsupportedSaslMechanismError"):
                raise errors.UnsupportedSaslMechanismError(words) from error
            if words := _WORDS.since(began_s, "Handshake failed"):
                raise TlsRefused(words) from error
        raise
