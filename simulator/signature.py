"""Who signed a request, and whether the ED25519 signature fits."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from simulator.accounts import Account
from simulator.errors import Refusal

DEFAULT_WINDOW_MS = 5_000
LONGEST_WINDOW_MS = 60_000

Fields = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Signed:
    """A request whose signature fits."""

    account: Account
    at_ms: int
    window_ms: int


def signing_string(instruction: str, payload: Fields | Sequence[Fields], at_ms: int, window_ms: int) -> str:
    """Return the text that a client signs; a batch repeats the instruction for every order."""
    items = [payload] if isinstance(payload, Mapping) else payload
    head = "&".join(f"instruction={instruction}{_fields(item)}" for item in items)
    return f"{head}&timestamp={at_ms}&window={window_ms}"


def _fields(fields: Fields) -> str:
    return "".join(f"&{key}={_text(fields[key])}" for key in sorted(fields) if fields[key] is not None)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


class KeyRing:
    """The accounts by their public keys."""

    def __init__(self, accounts: Iterable[Account]) -> None:
        self._known = {
            key: (account, Ed25519PublicKey.from_public_bytes(base64.b64decode(key)))
            for account in accounts
            for key in (account.public_key, *account.more_keys)
        }

    def owner(self, public_key: str) -> Account | None:
        """Return the account of a key."""
        return self._known.get(public_key, (None, None))[0]

    def verify(
        self, headers: Mapping[str, str], instruction: str, payload: Fields | Sequence[Fields]
    ) -> Signed:
        """Return who signed. Raises `Refusal`; whether the time fits is judged by the engine."""
        known = self._known.get(headers.get("X-API-Key", ""))
        if known is None:
            raise Refusal("UNAUTHORIZED", "Unknown API key", 401)
        account, public_key = known
        at_ms = _integer(headers, "X-Timestamp")
        window_ms = _integer(headers, "X-Window", DEFAULT_WINDOW_MS)
        if not 0 < window_ms <= LONGEST_WINDOW_MS:
            raise Refusal("INVALID_CLIENT_REQUEST", "Invalid X-Window header")
        try:
            signature = base64.b64decode(headers.get("X-Signature", ""), validate=True)
        except (ValueError, binascii.Error):
            raise Refusal("INVALID_CLIENT_REQUEST", "Invalid X-Signature header") from None
        message = signing_string(instruction, payload, at_ms, window_ms).encode("utf-8", "surrogatepass")
        try:
            public_key.verify(signature, message)
        except InvalidSignature:
            raise Refusal("INVALID_CLIENT_REQUEST", "Invalid signature") from None
        return Signed(account=account, at_ms=at_ms, window_ms=window_ms)


def _integer(headers: Mapping[str, str], name: str, default: int | None = None) -> int:
    given = headers.get(name)
    if given is None and default is not None:
        return default
    # Longer than any time in milliseconds; int() itself refuses thousands of digits in its own way.
    if given is None or not (given.isascii() and given.isdigit()) or len(given) > 15:
        raise Refusal("INVALID_CLIENT_REQUEST", f"Invalid {name} header")
    return int(given)
