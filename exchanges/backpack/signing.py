"""Backpack's request signatures, as pure functions.

The text that is signed is ``instruction=<name>&<fields sorted by key>&timestamp=<ms>&window=<ms>``; a batch
repeats ``instruction=…&<fields>`` for each order, in the order of the body. Values are signed as they stand
in the JSON text, not URL-encoded; fields that are null are left out of both body and text.
Source: docs.backpack.exchange, "Authentication".
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from exchanges.backpack.config import Credentials
from exchanges.errors import AuthenticationFailed

#: What a field of a request may be on the wire.
WireValue = str | int | bool
Fields = Mapping[str, WireValue]


def load_private_key(credentials: Credentials) -> Ed25519PrivateKey:
    """Return the private key of `credentials`.

    Raises:
        AuthenticationFailed: the secret is no key, or is not the one that belongs to the API key.
    """
    try:
        seed = base64.b64decode(credentials.secret_key, validate=True)
    except (binascii.Error, ValueError):
        # "from None": the original error may quote what it could not decode.
        raise AuthenticationFailed("the secret key is not base64: copy it again from the exchange") from None
    if len(seed) not in {32, 64}:
        raise AuthenticationFailed(f"the secret key has {len(seed)} bytes instead of 32: copy it again")
    key = Ed25519PrivateKey.from_private_bytes(seed[:32])
    public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    if public != credentials.api_key:
        raise AuthenticationFailed("the API key and the secret key do not belong together: check both")
    return key


def wire_text(value: WireValue) -> str:
    """Return `value` as it is signed and as it stands in a query string: booleans in lower case."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def signing_string(
    instruction: str, payload: Fields | Sequence[Fields], timestamp_ms: int, window_ms: int
) -> str:
    """Return the text to sign; a `payload` that is a sequence is a batch."""
    items = [payload] if isinstance(payload, Mapping) else payload
    head = "&".join(
        "&".join(
            [f"instruction={instruction}", *(f"{name}={wire_text(item[name])}" for name in sorted(item))]
        )
        for item in items
    )
    return f"{head}&timestamp={timestamp_ms}&window={window_ms}"


def sign(key: Ed25519PrivateKey, text: str) -> str:
    """Return the base64 ED25519 signature of `text`."""
    return base64.b64encode(key.sign(text.encode())).decode()


def headers(
    api_key: str,
    key: Ed25519PrivateKey,
    instruction: str,
    payload: Fields | Sequence[Fields],
    *,
    timestamp_ms: int,
    window_ms: int,
) -> dict[str, str]:
    """Return the four headers of a signed request."""
    return {
        "X-API-Key": api_key,
        "X-Signature": sign(key, signing_string(instruction, payload, timestamp_ms, window_ms)),
        "X-Timestamp": str(timestamp_ms),
        "X-Window": str(window_ms),
    }


def subscription_signature(
    api_key: str, key: Ed25519PrivateKey, *, timestamp_ms: int, window_ms: int
) -> list[str]:
    """Return the signature of a subscription to streams of the account, as the message carries it.

    It covers the time only, not the names of the streams.
    """
    text = signing_string("subscribe", {}, timestamp_ms, window_ms)
    return [api_key, sign(key, text), str(timestamp_ms), str(window_ms)]
