"""How to reach Backpack, and as whom."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

#: The exchange's own limit for `X-Window`, ms.
MAX_WINDOW_MS = 60_000

#: The exchange's own addresses: requests, and streams of events.
BASE_URL = "https://api.backpack.exchange"
STREAM_URL = "wss://ws.backpack.exchange"


def stream_url(base_url: str) -> str:
    """Return where the streams are for requests that go to `base_url`.

    Any server but the exchange's own has both in one place:
    ``http://127.0.0.1:8801`` becomes ``ws://127.0.0.1:8801/ws``.
    """
    url = urlsplit(base_url)
    if url.hostname == urlsplit(BASE_URL).hostname:
        return STREAM_URL
    scheme = "wss" if url.scheme == "https" else "ws"
    return urlunsplit((scheme, url.netloc, url.path.rstrip("/") + "/ws", "", ""))


@dataclass(frozen=True, kw_only=True)
class BackpackConfig:
    """Where the exchange is and how long to wait for it."""

    #: Scheme and host, for example ``https://api.backpack.exchange``.
    base_url: str
    connect_timeout_s: float = 1.0
    read_timeout_s: float = 3.0
    #: Orders in one request. The exchange documents no limit; 20 is what its other clients keep to.
    max_batch: int = 20
    #: Connections kept open; more may be used at once, the surplus is closed after use.
    pool_size: int = 8
    #: How long reads and cancels stay acceptable. Placements bring their own window.
    window_ms: int = 5_000

    def __post_init__(self) -> None:
        url = urlsplit(self.base_url)
        if url.scheme not in {"http", "https"} or not url.hostname or url.username is not None:
            raise ValueError("base_url must look like https://host[:port], without user or password")
        if min(self.connect_timeout_s, self.read_timeout_s) <= 0:
            raise ValueError("connect_timeout_s and read_timeout_s must be above 0")
        if min(self.max_batch, self.pool_size) < 1:
            raise ValueError("max_batch and pool_size must be at least 1")
        if not 0 < self.window_ms <= MAX_WINDOW_MS:
            raise ValueError(f"window_ms must be above 0 and at most {MAX_WINDOW_MS}")


@dataclass(frozen=True, kw_only=True, repr=False)
class Credentials:
    """A key pair. Its `repr` shows the first four characters of the key and nothing of the secret."""

    #: base64 of the 32 byte ED25519 public key.
    api_key: str
    #: base64 of the 32 byte ED25519 seed (64 bytes, seed and public key, are accepted too).
    secret_key: str

    @property
    def fingerprint(self) -> str:
        """Return a short name of the key that tells nothing of it, fit for keys and logs."""
        return hashlib.sha256(self.api_key.encode()).hexdigest()[:10]

    def __repr__(self) -> str:
        return f"Credentials(api_key='{self.api_key[:4]}…', secret_key=hidden)"


#: The simulated exchange's built-in account `demo`: its private key, 32 bytes of 0x01, is no secret.
DEMO_CREDENTIALS = Credentials(
    api_key="iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=",
    secret_key="AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
)
