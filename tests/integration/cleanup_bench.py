"""What the tests of a cleanup share: a fast one, and venues that answer late or wrongly."""

from __future__ import annotations

from settings import Settings

WINDOW_MS = 150
MARGIN_MS = 50
#: Long enough that a slow machine does not lose its lease or run out of time by accident.
SETTINGS = Settings(
    lease_ms=20_000, cleanup_lease_ms=20_000, fence_margin_ms=MARGIN_MS, cleanup_soft_limit_s=60.0
)
