"""Bearer tokens for programs: a file with their names and hashes, which only its owner reads."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from passwords import PasswordFileError, require_private
from wording import said

TOKENS_FILE = "web-tokens.json"
#: So that a leaked one is recognised by people and by scanners.
PREFIX = "cleanbook_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class TokenError(Exception):
    """Raised for a name that cannot be used, or a file that cannot be read; says what to do."""


@dataclass(frozen=True, kw_only=True)
class Token:
    """What is kept of a token."""

    name: str
    sha256: str
    created_ms: int


class TokenFile:
    """The tokens of this installation. Read again whenever the file changes: a revoked one is out at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_of: tuple[int, int, int] | None = None
        self._by_hash: dict[str, Token] = {}

    def name_of(self, token: str) -> str | None:
        """Return whose token this is, None for nobody's. Raises `TokenError`, `PasswordFileError`."""
        digest = hashlib.sha256(token.encode()).hexdigest()
        # A look-up by hash tells no time about the token: nobody can choose hashes.
        found = self._tokens().get(digest)
        return found.name if found else None

    def all(self) -> tuple[Token, ...]:
        """Return what is kept, by name."""
        return tuple(sorted(self._tokens().values(), key=lambda token: token.name))

    def make(self, name: str) -> str:
        """Return a new token for `name`, which is shown once and kept as a hash only."""
        if not _NAME.fullmatch(name):
            raise TokenError(
                said("{name} is no name for a token: letters, digits, _ . and -, at most 64", name=repr(name))
            )
        kept = self._tokens()
        if any(token.name == name for token in kept.values()):
            raise TokenError(
                said(
                    "there is a token {name} already; revoke it first, or choose another name",
                    name=repr(name),
                )
            )
        token = PREFIX + secrets.token_urlsafe(32)
        digest = hashlib.sha256(token.encode()).hexdigest()
        made = Token(name=name, sha256=digest, created_ms=time.time_ns() // 1_000_000)
        self._write([*kept.values(), made])
        return token

    def revoke(self, name: str) -> None:
        """Take a token away; running servers refuse it from then on. Raises `TokenError` for no such name."""
        kept = list(self._tokens().values())
        left = [token for token in kept if token.name != name]
        if len(left) == len(kept):
            there = ", ".join(sorted(token.name for token in kept)) or "none"
            raise TokenError(
                said("there is no token {name}; there is: {there}", name=repr(name), there=there)
            )
        self._write(left)

    def _tokens(self) -> dict[str, Token]:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            self._read_of, self._by_hash = None, {}
            return self._by_hash
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if stamp != self._read_of:
            self._by_hash, self._read_of = _read(self.path), stamp
        return self._by_hash

    def _write(self, tokens: list[Token]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        rows = [{"name": t.name, "sha256": t.sha256, "created_ms": t.created_ms} for t in tokens]
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump({"tokens": rows}, file, indent=1)
        draft.replace(self.path)


def _read(path: Path) -> dict[str, Token]:
    try:
        require_private(path)
    except PasswordFileError:
        raise TokenError(said("{path} can be read by others; chmod 600 {path}", path=path)) from None
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["tokens"]
        tokens = [
            Token(name=str(row["name"]), sha256=str(row["sha256"]), created_ms=int(row["created_ms"]))
            for row in rows
        ]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise TokenError(said("{path} is damaged; remove it, and make the tokens anew", path=path)) from error
    return {token.sha256: token for token in tokens}
