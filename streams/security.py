"""How a broker on a network wants to be spoken to: encrypted, and with a name."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from streams.contract import BrokerError

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, slots=True)
class Security:
    """How Kafka wants to be spoken to. `ca`, `cert`, `key` are PEM files.

    Raises ValueError for a combination that cannot work.
    """

    protocol: str = "PLAINTEXT"
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    check_hostname: bool = True
    mechanism: str = ""
    username: str = ""
    password: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise ValueError(f"protocol is {self.protocol!r}, allowed is {', '.join(PROTOCOLS)}")
        if self.sasl and self.mechanism not in MECHANISMS:
            raise ValueError(
                f"mechanism is {self.mechanism!r}, allowed with {self.protocol} is {', '.join(MECHANISMS)}"
            )
        if self.sasl and not (self.username and self.password):
            raise ValueError(f"{self.protocol} needs username and password")
        if not self.sasl and (self.mechanism or self.username or self.password):
            raise ValueError(f"protocol {self.protocol} sends no name: use SASL_SSL, or remove mechanism and username")
        if not self.tls and (self.ca or self.cert or self.key):
            raise ValueError(
                f"protocol {self.protocol} uses no certificate: use SSL or SASL_SSL, or remove ca, cert, key"
            )
        if bool(self.cert) != bool(self.key):
            raise ValueError("cert and key go together: give both or none")

    @property
    def tls(self) -> bool:
        """Whether what travels is encrypted."""
        return self.protocol in ("SSL", "SASL_SSL")

    @property
    def sasl(self) -> bool:
        """Whether Kafka asks for a name and a password."""
        return self.protocol.startswith("SASL_")

    def ssl_context(self) -> ssl.SSLContext | None:
        """What TLS needs, or None without TLS. Raises BrokerError for a file that cannot be read."""
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=str(self.ca) if self.ca else None)
            if self.cert and self.key:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(str(path) for path in (self.ca, self.cert, self.key) if path)
            raise BrokerError(f"{files}: {error}. Give PEM files that this user may read") from error
        context.check_hostname = self.check_hostname
        return context
