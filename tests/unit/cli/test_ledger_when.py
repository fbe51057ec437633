"""Moments as people write them."""

from __future__ import annotations

import pytest

from cli.when import parse_when

NOW_MS = 1_767_312_000_000  # 2026-01-02T00:00Z


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("30m", NOW_MS - 1_800_000),
        ("2h", NOW_MS - 7_200_000),
        ("3d", NOW_MS - 259_200_000),
        ("1.5 H", NOW_MS - 5_400_000),
        ("10s", NOW_MS - 10_000),
        ("1w", NOW_MS - 604_800_000),
        ("2026-01-02", NOW_MS),
        ("2026-01-02T00:00", NOW_MS),
        ("2026-01-02 00:00:00.250", NOW_MS + 250),
        ("2026-01-02T00:00Z", NOW_MS),
        ("2026-01-02T08:00+08:00", NOW_MS),
        ("99999999d", 0),
    ],
)
def test_a_moment_is_read_in_utc(text: str, expected_ms: int) -> None:
    assert parse_when(text, now_ms=NOW_MS) == expected_ms


@pytest.mark.parametrize("text", ["", "2", "2x", "2h ago", "h", "-2h", "yesterday", "2026-13-01", "2026"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_when(text, now_ms=NOW_MS)
