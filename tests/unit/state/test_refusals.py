"""Refused messages are counted by reason, for all workers together."""

from __future__ import annotations

import redis

from state.refusals import count_refusals, read_refusals


def test_counts_of_all_workers_add_up_by_reason(client: redis.Redis) -> None:
    assert read_refusals(client) == {}
    count_refusals(client, {"unsigned": 2, "damaged": 1})
    count_refusals(client, {"unsigned": 3})
    assert list(read_refusals(client).items()) == [("damaged", 1), ("unsigned", 5)]


def test_nothing_to_count_changes_nothing(client: redis.Redis) -> None:
    count_refusals(client, {})
    assert read_refusals(client) == {}
