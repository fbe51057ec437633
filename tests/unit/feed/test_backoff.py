"""Waits that grow, stay below their limit, and differ."""

from __future__ import annotations

from feed.backoff import Backoff


def test_waits_double_up_to_the_limit_and_half_of_each_is_chance() -> None:
    backoff = Backoff(first_s=0.2, longest_s=5.0, seed=1)
    waits = [backoff.next_s() for _ in range(12)]
    full = [min(5.0, 0.2 * 2**n) for n in range(12)]
    assert all(limit / 2 <= wait <= limit for wait, limit in zip(waits, full, strict=True))
    assert waits != [Backoff(first_s=0.2, longest_s=5.0, seed=2).next_s() for _ in range(12)]
    assert len(set(waits[-4:])) == 4


def test_success_begins_anew() -> None:
    backoff = Backoff(first_s=0.2, longest_s=5.0)
    for _ in range(10):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() <= 0.2
