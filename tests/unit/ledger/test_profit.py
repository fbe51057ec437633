"""Profit of small stories, by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from ledger.bookings import Booking
from ledger.database import Ledger
from ledger.profit import Figures, Grouping, ProfitRow, profit, totals
from market.orders import Side
from tests.unit.ledger import story
from tests.unit.ledger.profit_cases import ProfitCases
from tests.unit.ledger.story import ACCOUNT, DAY_MS, PERP, SYMBOL, T0


class TestProfitOnSqlite(ProfitCases):
    pass


def traded(number: int, side: str, quantity: str, price: str, **changed: Any) -> Booking:
    """Return the fill of an order of its own, `number` seconds after the beginning."""
    values = {"order_id": str(number), "filled_at_ms": T0 + number * 1000, "symbol": PERP, **changed}
    amounts = {"quantity": Decimal(quantity), "price": Decimal(price)}
    return story.fill(str(number), side=Side(side), **amounts, **values)


def only(rows: tuple[ProfitRow, ...]) -> ProfitRow:
    (row,) = rows
    return row


def values(row: ProfitRow, *names: str) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in names)


def by_instance(rows: tuple[ProfitRow, ...]) -> dict[str, ProfitRow]:
    return {row.instance_id: row for row in rows}


def test_a_round_trip_of_a_short(ledger: Ledger) -> None:
    ledger.book(
        [
            traded(1, "sell", "2", "100", fee=Decimal("0.1")),
            traded(2, "buy", "1", "90", fee=Decimal("0.2"), is_maker=False),
        ]
    )
    row = only(profit(ledger, marks={PERP: Decimal(95)}))
    assert values(row, "realized", "unrealized", "fees") == (10, 5, Decimal("0.3"))
    assert values(row, "net_quantity", "average_price") == (-1, 100)
    assert values(row, "maker_volume", "taker_volume", "volume") == (200, 90, 290)
    assert values(row, "fills", "first_ms", "last_ms") == (2, T0 + 1000, T0 + 2000)
    assert values(row, "total", "closed_total") == (Decimal("14.7"), Decimal("9.7"))
    assert values(row, "wear", "wear_bps") == (0, 0)


def test_wear_is_the_loss_per_volume(ledger: Ledger) -> None:
    ledger.book([traded(1, "buy", "1", "100", fee=Decimal(1)), traded(2, "sell", "1", "99", fee=Decimal(1))])
    row = only(profit(ledger))
    assert row.total == -3
    assert row.wear is not None
    assert round(row.wear * 199, 20) == 3
    assert round(row.wear_bps or 0, 2) == Decimal("150.75")


def test_an_unknown_mark_leaves_the_total_unknown_only_while_something_is_held(ledger: Ledger) -> None:
    ledger.book([traded(1, "buy", "1", "100")])
    row = only(profit(ledger, marks={PERP: None}))
    assert values(row, "unrealized", "total", "wear") == (None, None, None)
    assert totals([row])["USDC"].total is None
    ledger.book([traded(2, "sell", "1", "101")])
    assert only(profit(ledger)).total == 1


def test_fees_of_a_third_asset_need_a_price(ledger: Ledger) -> None:
    ledger.book([traded(1, "buy", "1", "100", fee=Decimal(3), fee_asset="BP")])
    row = only(profit(ledger))
    assert values(row, "fees", "fees_by_asset", "unconverted_fees") == (0, {"BP": 3}, {"BP": 3})
    row = only(profit(ledger, prices={"BP": Decimal("0.5")}))
    assert values(row, "fees", "fees_by_asset", "unconverted_fees") == (Decimal("1.5"), {"BP": 3}, {})


def test_a_base_fee_of_a_spot_market_takes_coins_and_of_a_perpetual_none(ledger: Ledger) -> None:
    paid = {"fee": Decimal("0.01"), "fee_asset": "SOL"}
    ledger.book([traded(1, "buy", "1", "100", symbol=SYMBOL, **paid), traded(2, "buy", "1", "100", **paid)])
    spot, perp = profit(ledger)
    assert values(spot, "symbol", "net_quantity", "fees") == (SYMBOL, Decimal("0.99"), 1)
    assert values(perp, "symbol", "net_quantity", "fees") == (PERP, 1, 1)


def test_a_chain_goes_on_over_runs_and_days(ledger: Ledger) -> None:
    started = {"account": ACCOUNT}
    ledger.book(
        [
            story.event("started", T0, fields=started),
            story.event("started", T0 + 10_000, epoch=2, fields=started),
            traded(1, "buy", "1", "100"),
            traded(11, "sell", "3", "110", epoch=2),
            traded(12, "buy", "1", "105", epoch=2, filled_at_ms=T0 + DAY_MS),
        ]
    )
    marks = {PERP: Decimal(100)}
    first, second = profit(ledger, by=Grouping.RUN, marks=marks)
    assert values(first, "epoch", "started_at_ms", "realized", "fills") == (1, T0, 0, 1)
    # What is held belongs to the newest run.
    assert values(first, "net_quantity", "unrealized") == (0, 0)
    assert values(second, "epoch", "started_at_ms", "realized") == (2, T0 + 10_000, 15)
    assert values(second, "net_quantity", "average_price", "unrealized") == (-1, 110, 10)
    today, tomorrow = profit(ledger, by=Grouping.DAY, marks=marks)
    assert values(today, "day", "realized", "unrealized") == ("2026-01-02", 10, 0)
    assert values(tomorrow, "day", "realized", "unrealized") == ("2026-01-03", 5, 10)
    assert only(profit(ledger, marks=marks)).total == 25


def test_an_epoch_that_is_used_again_is_another_run(ledger: Ledger) -> None:
    ledger.book([story.event("started", T0), story.event("started", T0 + 10_000)])
    ledger.book([traded(1, "buy", "1", "100"), traded(11, "sell", "1", "110")])
    first, second = profit(ledger, by=Grouping.RUN)
    assert values(first, "epoch", "started_at_ms", "realized") == (1, T0, 0)
    assert values(second, "epoch", "started_at_ms", "realized") == (1, T0 + 10_000, 10)


def test_trade_ids_of_one_moment_are_ordered_as_numbers(ledger: Ledger) -> None:
    """Ordered as texts, 9 would come last and leave another average."""
    trades = [("11", "buy", "120"), ("10", "sell", "110"), ("9", "buy", "100")]
    ledger.book([traded(int(n), side, "1", price, filled_at_ms=T0) for n, side, price in trades])
    row = only(profit(ledger, marks={PERP: Decimal(110)}))
    assert values(row, "realized", "net_quantity", "average_price") == (10, 1, 120)


def test_funding_is_for_what_was_held_until_then(ledger: Ledger) -> None:
    ledger.book([traded(1, "buy", "1", "100"), story.funding("2", T0 + 1000)])
    assert by_instance(profit(ledger))[""].funding == 2


def test_funding_is_the_only_holders(ledger: Ledger) -> None:
    ledger.book(
        [
            story.funding("1", T0 + 500),
            traded(1, "buy", "1", "100"),
            story.funding("2", T0 + 1500),
            traded(2, "buy", "1", "100", instance_id="mm_02", epoch=7),
            story.funding("4", T0 + 2500),
            traded(3, "sell", "1", "100"),
            story.funding("8", T0 + 3500),
        ]
    )
    rows = by_instance(profit(ledger, marks={PERP: Decimal(100)}))
    assert {name: row.funding for name, row in rows.items()} == {"": 5, "mm_01": 2, "mm_02": 8}
    assert sum(row.total or 0 for row in rows.values()) == 15
    assert [row.epoch for row in profit(ledger, by=Grouping.RUN, instance_id="mm_02")] == [7]


def test_a_stranger_who_holds_leaves_funding_to_nobody(ledger: Ledger) -> None:
    ledger.book([traded(1, "buy", "1", "100"), traded(2, "buy", "9", "100", instance_id="", epoch=0)])
    ledger.book([story.funding("2", T0 + 5000)])
    assert by_instance(profit(ledger))[""].funding == 2


@pytest.mark.parametrize(("others", "owner"), [(0, "mm_01"), (1, "")])
def test_a_liquidation_is_the_only_holders(ledger: Ledger, others: int, owner: str) -> None:
    ledger.book([traded(1, "buy", "1", "100", epoch=4)])
    ledger.book([traded(2, "buy", "1", "100", instance_id="mm_02")][:others])
    ledger.book([traded(3, "sell", "1", "80", instance_id="", epoch=0, is_system=True)])
    row = by_instance(profit(ledger))[owner]
    assert values(row, "fills", "realized") == ((2, -20) if owner else (1, 0))
    if owner:
        assert [found.epoch for found in profit(ledger, by=Grouping.RUN)] == [4]


def test_a_selection_selects(ledger: Ledger) -> None:
    ledger.book([traded(1, "buy", "1", "100"), traded(2, "buy", "1", "100", symbol=SYMBOL)])
    ledger.book([traded(3, "buy", "1", "100", instance_id="mm_02")])
    assert {(r.instance_id, r.symbol) for r in profit(ledger, instance_id="mm_01")} == {
        ("mm_01", PERP),
        ("mm_01", SYMBOL),
    }
    assert len(profit(ledger, symbol=PERP)) == 2
    assert profit(ledger, account="backpack:other") == ()
    assert profit(ledger, instance_id="mm_03") == ()


def test_totals_add_up_by_quote_asset(ledger: Ledger) -> None:
    ledger.book([traded(1, "buy", "1", "100"), traded(2, "sell", "1", "101", fee=Decimal(2), fee_asset="BP")])
    ledger.book([traded(3, "buy", "1", "5", symbol="SOL_EUR", quote_asset="EUR", instance_id="mm_02")])
    sums = totals(profit(ledger))
    assert set(sums) == {"USDC", "EUR"}
    assert sums["USDC"] == Figures(
        realized=Decimal(1),
        fees_by_asset={"BP": Decimal(2)},
        unconverted_fees={"BP": Decimal(2)},
        maker_volume=Decimal(201),
        fills=2,
    )
