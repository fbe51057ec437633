"""A state server that goes away while an iteration ends."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from runner import committing
from state.leases import Committed, Leases
from tests.integration.trader import Trader


def lose(monkeypatch: pytest.MonkeyPatch, times: int, *, answers: bool = False) -> list[str]:
    """Have so many commits end without an answer, done or not; return a list of all that were tried."""
    tried: list[str] = []
    commit = Leases.commit

    def lost(self: Leases, *positional: Any, **arguments: Any) -> Committed:
        tried.append("commit")
        if len(tried) > times:
            return commit(self, *positional, **arguments)
        if answers:
            commit(self, *positional, **arguments)
        raise redis.ConnectionError("away")

    monkeypatch.setattr(Leases, "commit", lost)
    monkeypatch.setattr(committing, "PAUSE_S", 0.0)
    return tried


def test_its_commit_is_tried_again(trader: Trader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or its lease would keep the instance from iterating until it is over."""
    tried = lose(monkeypatch, 3)
    (message,) = trader.bench.run(0)
    assert (len(tried), message.tick) == (4, 1)
    assert trader.bench.field("lease_token") is None
    assert len(trader.books.orders) == 2
    assert trader.bench.field("errors") == "0"


def test_one_that_was_done_is_not_done_twice(trader: Trader, monkeypatch: pytest.MonkeyPatch) -> None:
    lose(monkeypatch, 1, answers=True)
    assert trader.bench.run(0) == ()
    assert trader.bench.field("tick") == "1"
    assert len(trader.books.orders) == 2


def test_not_for_ever(trader: Trader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committing, "PATIENCE_S", 0.0)
    tried = lose(monkeypatch, 1)
    with pytest.raises(redis.ConnectionError):
        trader.bench.run(0)
    assert len(tried) == 1
