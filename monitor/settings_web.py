"""The settings of the page and of what it shows of the past: `[web]` and `[history]`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from monitor.errors import SettingsError

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Part(BaseModel):
    """A section of line.toml: unknown keys are errors, and nobody changes it afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class History(Part):
    """How long the course of the scores is kept: a point a minute for three days, one a quarter of an hour beyond."""

    keep_days: float = Field(90.0, gt=0.0, le=3660.0)


class WebToken(Part):
    """A token and what its bearer may do. It stands in a file, in an environment variable, or here (the worst place).

    view: read. operate: also acknowledge, shelve, judge, vote. admin: also ask for a new normal, read the audit log.
    """

    role: Literal["view", "operate", "admin"]
    file: Path | None = None
    env: str = ""
    token: SecretStr = SecretStr("")

    def secret(self) -> str:
        """The token. Raises SettingsError where it is not there or is given twice."""
        given = [bool(self.file), bool(self.env), bool(self.token.get_secret_value())]
        if sum(given) != 1:
            raise SettingsError(f"web.tokens ({self.role}): give exactly one of file, env and token")
        if self.env:
            found = os.environ.get(self.env, "")
        else:
            try:
                found = self.file.read_text(encoding="utf-8") if self.file else self.token.get_secret_value()
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(f"web.tokens ({self.role}): {error}") from error
        if not found.strip():
            raise SettingsError(f"web.tokens ({self.role}): {self.env or self.file or 'token'} is empty; put one there")
        return found.strip()


class Web(Part):
    """Where the page and the metrics are served, and to whom.

    `token` is the shortest way to ask everybody for a token before they read. `reading`: open to all, only with a
    token, or auto: open on this machine alone (loopback), with a token elsewhere. Whoever writes needs a token in any
    case; where none is set, `tokens.make_tokens` makes them in the data folder. `hosts` are further names by which the
    page may be called. `certfile` and `keyfile` (PEM) switch TLS on. 0 requests a second: no limit.
    """

    host: str = "127.0.0.1"
    port: int = Field(8765, ge=0, le=65_535)
    token: str = Field("", repr=False)
    tokens: tuple[WebToken, ...] = ()
    reading: Literal["auto", "open", "token"] = "auto"
    hosts: tuple[str, ...] = ()
    certfile: Path | None = None
    keyfile: Path | None = None
    session_hours: float = Field(12.0, gt=0.0, le=24 * 366.0)
    requests_per_s: float = Field(20.0, ge=0.0)

    @property
    def reading_is_open(self) -> bool:
        """Whether pages are shown without a token."""
        if self.reading != "auto":
            return self.reading == "open"
        return not self.token and self.host in LOOPBACK

    @model_validator(mode="after")
    def _certificate_is_whole(self) -> Web:
        if (self.certfile is None) != (self.keyfile is None):
            raise ValueError("certfile and keyfile go together: give both, or none")
        return self

    def absolute(self, base: Path) -> Web:
        """The same with paths that count from `base`."""
        tokens = tuple(one.model_copy(update={"file": one.file and base / one.file}) for one in self.tokens)
        paths = {"certfile": self.certfile and base / self.certfile, "keyfile": self.keyfile and base / self.keyfile}
        return self.model_copy(update={"tokens": tokens, **paths})
