"""The daily summary, from the ledger of the day before."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from alerts.phrases import Phrases
from cli.daily_summary import daily_summary
from ledger.errors import LedgerError
from market.orders import Side
from settings import load
from tests.unit.cli.ledger_bench import NO_POSTGRES, LedgerBench
from tests.unit.ledger.story import DAY_MS, INSTANCE, SYMBOL, T0, fill


def test_it_tells_what_the_day_before_made(books: LedgerBench) -> None:
    books.bench.start("other_01")
    for number, (side, price, at_ms) in enumerate(
        ((Side.BUY, "100", T0), (Side.SELL, "103", T0 + 1), (Side.SELL, "90", T0 + DAY_MS))
    ):
        books.book(
            fill(
                str(number),
                side=side,
                price=Decimal(price),
                fee=Decimal("0.01"),
                filled_at_ms=at_ms,
                order_id=str(number),
            )
        )
    told = daily_summary(load(), books.bench.client, T0 + DAY_MS, Phrases("en"))
    day, now, line, total = told.splitlines()
    assert day.startswith("Summary of ")
    assert now == "now: 1 running"
    assert line == f"{INSTANCE} {SYMBOL}: 2.98 USDC, volume 203, 2 fills"
    assert total == "total 2.98 USDC, volume 203, 2 fills"


def test_a_day_without_trades_says_so(books: LedgerBench) -> None:
    told = daily_summary(load(), books.bench.client, T0, Phrases("en"))
    assert told.splitlines()[1:] == ["now: no instances", "nobody traded"]


def test_a_ledger_that_is_away_is_an_error(books: LedgerBench) -> None:
    settings = replace(load(), ledger_url=NO_POSTGRES)
    with pytest.raises(LedgerError):
        daily_summary(settings, books.bench.client, T0, Phrases("en"))
