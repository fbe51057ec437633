"""Moments as text."""

from __future__ import annotations

import pytest

from state.times import iso


@pytest.mark.parametrize(
    ("at_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_009, "1970-01-01T00:00:01.009Z"),
        (1_790_000_000_999, "2026-09-21T14:13:20.999Z"),
    ],
)
def test_a_moment_is_told_in_utc_to_the_millisecond(at_ms: int, text: str) -> None:
    assert iso(at_ms) == text


def test_no_moment_is_none() -> None:
    assert iso(None) is None
