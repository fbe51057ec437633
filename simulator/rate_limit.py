"""Requests per minute and account: a token bucket, answered with 429 when empty."""

from __future__ import annotations

from collections.abc import Callable

from simulator.errors import Refusal


class RateLimit:
    """One bucket per account."""

    def __init__(self, now_ms: Callable[[], int], per_minute: int) -> None:
        self._now_ms = now_ms
        self._per_minute = per_minute
        self._buckets: dict[str, tuple[float, int]] = {}

    def take(self, account: str) -> None:
        """Count one request. Raises `Refusal` with status 429."""
        now_ms = self._now_ms()
        tokens, at_ms = self._buckets.get(account, (float(self._per_minute), now_ms))
        tokens = min(self._per_minute, tokens + (now_ms - at_ms) * self._per_minute / 60_000)
        if tokens < 1:
            self._buckets[account] = (tokens, now_ms)
            raise Refusal("TOO_MANY_REQUESTS", "Too many requests", 429)
        self._buckets[account] = (tokens - 1, now_ms)
