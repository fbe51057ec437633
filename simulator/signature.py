"""Who signed a request, and whether the ED25519 signature fits."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
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


def verify(
    headers: Mapping[str, str],
    instruction: str,
    payload: Fields | Sequence[Fields],
    accounts: Mapping[str, Account],
) -> Signed:
    """Return who signed. Raises `Refusal`; whether the time fits is judged by the engine."""
    public_key = headers.get("X-API-Key", "")
    account = next((a for a in accounts.values() if a.public_key == public_key), None)
    if account is None:
        raise Refusal("UNAUTHORIZED", "Unknown API key", 401)
    try:
        at_ms = int(headers["X-Timestamp"])
        window_ms = int(headers.get("X-Window", DEFAULT_WINDOW_MS))
        signature = base64.b64decode(headers["X-Signature"], validate=True)
    except (KeyError, ValueError, binascii.Error):
        raise Refusal("INVALID_CLIENT_REQUEST", "Invalid X-Signature header") from None
    if not 0 < window_ms <= LONGEST_WINDOW_MS:
        raise Refusal("INVALID_CLIENT_REQUEST", "Invalid X-Window header")
    message = signing_string(instruction, payload, at_ms, window_ms).encode()
    try:
        Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key)).verify(signature, message)
    except InvalidSignature:
        raise Refusal("INVALID_CLIENT_REQUEST", "Invalid signature") from None
    return Signed(account=account, at_ms=at_ms, window_ms=window_ms)
