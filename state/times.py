"""Moments as text."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(at_ms: int | None) -> str | None:
    """Return a moment as ISO 8601 in UTC with ms, None for none."""
    if at_ms is None:
        return None
    moment = datetime.fromtimestamp(at_ms // 1000, UTC).replace(microsecond=at_ms % 1000 * 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
