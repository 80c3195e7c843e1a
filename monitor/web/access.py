"""Who may do what: tokens with roles. A token is compared by its digest, and neither logged nor shown.

`view` reads, `operate` also acknowledges, shelves, judges and votes, `admin` also asks for a new normal and reads the
audit log. Where the settings name no token at all, tokens for `view`, `operate` and `admin` are made in the data folder
(mode 0600): whoever can read the monitor's files may act.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from monitor.errors import WorkFailed
from monitor.settings import Line

Role = Literal["view", "operate", "admin"]
ROLES: tuple[Role, ...] = ("view", "operate", "admin")
FOLDER = "secrets"


def may(role: Role | None, wanted: Role) -> bool:
    """Whether `role` includes `wanted`."""
    return role is not None and ROLES.index(role) >= ROLES.index(wanted)


def digest(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class Access:
    """The tokens of a line: digest -> role. The widest role counts where a token is given twice."""

    def __init__(self, tokens: Mapping[Role, tuple[str, ...]]) -> None:
        self._roles: dict[str, Role] = {}
        for role in ROLES:
            for token in tokens.get(role, ()):
                self._roles[digest(token)] = role

    def role(self, token: str) -> Role | None:
        """The role of a token, in a time that says nothing about the tokens."""
        return self.role_of(digest(token))

    def role_of(self, given: str) -> Role | None:
        """The role of a token's digest; None where it is not (or not any more) valid."""
        found: Role | None = None
        for known, role in self._roles.items():
            if hmac.compare_digest(known, given):
                found = role
        return found


def access_of(line: Line) -> Access:
    """The tokens of the settings, or those in the data folder, made where there are none."""
    found: dict[Role, tuple[str, ...]] = dict.fromkeys(ROLES, ())
    if line.web.token:
        found["view"] = (line.web.token,)
    for one in line.web.tokens:
        found[one.role] = (*found[one.role], one.secret())
    if not line.web.tokens:
        for role in ROLES:
            found[role] = (*found[role], _made(line.site.data / FOLDER / f"{role}.token"))
    return Access(found)


def _made(path: Path) -> str:
    """The token in the file, made where there is none. Raises WorkFailed where it cannot be made or read."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(24) + "\n")
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise WorkFailed(f"{path}: {error}; the page's tokens lie there, make the folder writable") from error
    if not token:
        raise WorkFailed(f"{path} is empty: remove it, and a new token is made")
    return token
