"""What each interval of a grid holds, and which orders it wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from market.book import OrderBook
from market.instrument import Instrument
from market.orders import Quote, Role, Side
from market.snapshot import LevelTotals, OwnOrder, Snapshot
from strategies.grid_levels import GridType, shown
from strategies.intervals import Grid, assign, make_grid, net_by_interval, wanted_quotes
from tests.unit.strategies.market_values import book, instrument, own_order, snapshot

BUY, SELL = Side.BUY, Side.SELL
LEVELS = tuple(D(price) for price in (140, 145, 150, 155, 160))
OPEN, CLOSE = Role.QUOTE, Role.CLOSE


def grid(*, longs: int = 4, quantity: str = "1", carried: Mapping[int, str] | None = None) -> Grid:
    return Grid(
        levels=LEVELS,
        quantity=D(quantity),
        long_intervals=longs,
        carried={interval: D(amount) for interval, amount in (carried or {}).items()},
    )


def bought(quantity: str, *, fee: str = "0") -> LevelTotals:
    return LevelTotals(bought=D(quantity), base_fees=D(fee))


def sold(quantity: str) -> LevelTotals:
    return LevelTotals(sold=D(quantity))


def at(
    bid: str = "151.99",
    ask: str = "152.01",
    totals: Mapping[Any, LevelTotals] | None = None,
    *,
    own: tuple[OwnOrder, ...] = (),
    of: Instrument | None = None,
) -> Snapshot:
    return replace(snapshot(of=of, order_book=book(bid, ask), open_orders=own), totals=totals or {})


def seen(quotes: tuple[Quote, ...]) -> list[tuple[str, str, str, int, Role]]:
    return [
        (quote.side.value, shown(quote.price), shown(quote.quantity), quote.level, quote.role)
        for quote in quotes
    ]


def wanted(of: Grid, when: Snapshot) -> list[tuple[str, str, str, int, Role]]:
    return seen(wanted_quotes(of, when, reduce_only=False))


class TestHoldings:
    def test_an_interval_holds_what_was_opened_less_what_was_closed_and_the_fees_in_base(self) -> None:
        totals: dict[Any, LevelTotals] = {
            (1, OPEN): bought("1.7", fee="0.0017"),
            (1, CLOSE): sold("0.9"),
            (3, OPEN): bought("0.2"),
        }
        assert net_by_interval(grid(), totals) == [D(0), D("0.7983"), D(0), D("0.2")]

    def test_a_short_interval_adds_a_negative_amount(self) -> None:
        totals: dict[Any, LevelTotals] = {(3, OPEN): sold("1"), (3, CLOSE): bought("0.4")}
        assert net_by_interval(grid(longs=2), totals)[3] == D("-0.6")

    def test_what_was_carried_counts(self) -> None:
        totals: dict[Any, LevelTotals] = {(2, CLOSE): sold("0.25")}
        assert net_by_interval(grid(carried={2: "1"}), totals)[2] == D("0.75")

    def test_orders_of_other_roles_do_not_count(self) -> None:
        assert net_by_interval(grid(), {(0, Role.HEDGE): bought("5")})[0] == 0

    def test_a_new_grid_holds_what_it_is_given_whatever_its_levels_traded_before(self) -> None:
        totals: dict[Any, LevelTotals] = {
            (1, OPEN): bought("3"),
            (1, CLOSE): sold("1"),
            (2, OPEN): bought("0.5"),
        }
        made = make_grid(LEVELS, D(1), 4, {1: D("0.75"), 3: D(1)}, totals)
        assert net_by_interval(made, totals) == [D(0), D("0.75"), D(0), D(1)]
        assert made.carried == {1: D("-1.25"), 2: D("-0.5"), 3: D(1)}


class TestOpening:
    def test_long_intervals_the_price_has_not_reached_buy_at_their_lower_level(self) -> None:
        assert wanted(grid(), at()) == [
            ("buy", "150", "1", 2, OPEN),
            ("buy", "145", "1", 1, OPEN),
            ("buy", "140", "1", 0, OPEN),
        ]

    def test_short_intervals_the_price_has_not_reached_sell_at_their_upper_level(self) -> None:
        assert wanted(grid(longs=0), at()) == [
            ("sell", "155", "1", 2, OPEN),
            ("sell", "160", "1", 3, OPEN),
        ]

    def test_a_neutral_grid_buys_below_its_pivot_and_sells_above_it(self) -> None:
        assert wanted(grid(longs=2), at("149.99", "150.01")) == [
            ("buy", "145", "1", 1, OPEN),
            ("sell", "155", "1", 2, OPEN),
            ("buy", "140", "1", 0, OPEN),
            ("sell", "160", "1", 3, OPEN),
        ]

    @pytest.mark.parametrize(("bid", "ask"), [("149.98", "150"), ("148", "149")])
    def test_a_level_the_market_has_run_over_sleeps(self, bid: str, ask: str) -> None:
        assert [quote[3] for quote in wanted(grid(), at(bid, ask))] == [1, 0]

    def test_a_level_inside_the_spread_is_quoted(self) -> None:
        assert wanted(grid(), at("149", "150.01"))[0][:2] == ("buy", "150")

    def test_only_what_is_lacking_is_opened(self) -> None:
        opened = wanted(grid(), at(totals={(2, OPEN): bought("0.355")}))
        assert ("buy", "150", "0.64", 2, OPEN) in opened

    def test_less_than_a_hundredth_of_the_quantity_is_not_worth_an_order(self) -> None:
        # A buy of 10 that paid its fee in the base asset lacks 0.01.
        of = grid(quantity="10")
        assert wanted(of, at(totals={(2, OPEN): bought("10", fee="0.01")}))[0] == (
            ("sell", "155", "9.99", 2, CLOSE)
        )
        assert not [q for q in wanted(of, at(totals={(2, OPEN): bought("9.91")})) if q[3:] == (2, OPEN)]
        assert [q for q in wanted(of, at(totals={(2, OPEN): bought("9.9")})) if q[3:] == (2, OPEN)]

    def test_an_interval_that_sold_too_much_buys_it_back_with_its_opening(self) -> None:
        oversold = {(2, OPEN): bought("1"), (2, CLOSE): sold("1.2")}
        assert ("buy", "150", "1.2", 2, OPEN) in wanted(grid(), at(totals=oversold))

    def test_no_order_is_above_the_exchange_maximum(self) -> None:
        of = instrument(max_quantity="0.4")
        quotes = wanted(grid(), at(totals={(1, OPEN): bought("1")}, of=of))
        assert {quote[2] for quote in quotes} == {"0.4"}


class TestClosing:
    def test_what_is_held_is_sold_one_level_higher(self) -> None:
        assert wanted(grid(), at(totals={(2, OPEN): bought("1"), (1, OPEN): bought("0.3")})) == [
            # Its level, 150, is below the market: the next passive price.
            ("sell", "152", "0.3", 1, CLOSE),
            ("sell", "155", "1", 2, CLOSE),
            ("buy", "145", "0.7", 1, OPEN),
            ("buy", "140", "1", 0, OPEN),
        ]

    def test_what_is_short_is_bought_one_level_lower(self) -> None:
        quotes = wanted(grid(longs=0), at(totals={(2, OPEN): sold("0.4"), (3, OPEN): sold("1")}))
        assert [quote for quote in quotes if quote[4] is CLOSE] == [
            # Its level, 155, is above the market.
            ("buy", "152", "1", 3, CLOSE),
            ("buy", "150", "0.4", 2, CLOSE),
        ]

    def test_a_partial_fill_gets_an_exit_for_its_part(self) -> None:
        quotes = wanted(grid(), at(totals={(2, OPEN): bought("0.35", fee="0.0004")}))
        assert quotes[:2] == [("sell", "155", "0.34", 2, CLOSE), ("buy", "150", "0.65", 2, OPEN)]

    def test_dust_waits_until_more_comes(self) -> None:
        of = instrument(min_quantity="0.1")
        dust = wanted(grid(), at(totals={(2, OPEN): bought("0.09")}, of=of))
        assert dust[0] == ("buy", "150", "0.91", 2, OPEN)
        more = wanted(grid(), at(totals={(2, OPEN): bought("0.10")}, of=of))
        assert more[0] == ("sell", "155", "0.1", 2, CLOSE)

    def test_only_closing_orders_are_reduce_only(self) -> None:
        quotes = wanted_quotes(grid(), at(totals={(2, OPEN): bought("0.5")}), reduce_only=True)
        assert {(quote.role, quote.reduce_only) for quote in quotes} == {(CLOSE, True), (OPEN, False)}
        assert all(quote.post_only for quote in quotes)

    @pytest.mark.parametrize("unclear", [book(None, "152"), book("152", None), book("152", "152")])
    def test_nothing_is_wanted_without_a_two_sided_book(self, unclear: OrderBook) -> None:
        holding = at(totals={(2, OPEN): bought("1")})
        assert wanted_quotes(grid(), replace(holding, book=unclear), reduce_only=False) == ()


class TestApart:
    def test_an_opening_that_would_meet_an_exit_is_left_out(self) -> None:
        # Interval 1 sells at 150, where interval 2 would buy; both are inside the spread.
        quotes = wanted(grid(), at("149", "151", {(1, OPEN): bought("1")}))
        assert quotes == [("sell", "150", "1", 1, CLOSE), ("buy", "140", "1", 0, OPEN)]

    def test_exits_that_would_meet_stand_a_tick_apart(self) -> None:
        both = {(1, OPEN): bought("1"), (2, OPEN): sold("1")}
        quotes = wanted(grid(longs=2), at("148", "152", both))
        assert quotes[:2] == [("sell", "150", "1", 1, CLOSE), ("buy", "149.99", "1", 2, CLOSE)]

    def test_exits_stay_apart_and_passive_when_the_spread_is_one_tick(self) -> None:
        both = {(0, OPEN): bought("1"), (3, OPEN): sold("1")}
        quotes = wanted(grid(longs=2), at("151.99", "152.00", both))
        assert quotes[:2] == [("sell", "152", "1", 0, CLOSE), ("buy", "151.99", "1", 3, CLOSE)]


class TestRemainders:
    OF = instrument(min_quantity="0.5")

    def test_the_rest_of_an_exit_that_is_too_small_to_be_placed_stays(self) -> None:
        rests = own_order(SELL, "155.00", "1", executed="0.75", level=2, role=CLOSE)
        totals: dict[Any, LevelTotals] = {(2, OPEN): bought("1"), (2, CLOSE): sold("0.75")}
        assert wanted(grid(), at(totals=totals, own=(rests,), of=self.OF))[0] == (
            ("sell", "155", "0.25", 2, CLOSE)
        )

    def test_the_rest_of_an_opening_that_is_too_small_to_be_placed_stays(self) -> None:
        rests = own_order(BUY, "150", "1", executed="0.75", level=2)
        totals: dict[Any, LevelTotals] = {(2, OPEN): bought("0.75", fee="0.001")}
        quotes = wanted(grid(), at(totals=totals, own=(rests,), of=self.OF))
        assert ("buy", "150", "0.25", 2, OPEN) in quotes

    @pytest.mark.parametrize(
        "rests",
        [
            pytest.param(own_order(BUY, "149", "1", executed="0.75", level=2), id="at another price"),
            pytest.param(own_order(BUY, "150", "1", executed="0.70", level=2), id="larger than lacking"),
            pytest.param(own_order(SELL, "150", "1", executed="0.75", level=2), id="on the other side"),
            pytest.param(own_order(BUY, "150", "1", executed="0.75", level=1), id="of another level"),
            pytest.param(own_order(BUY, None, "1", executed="0.75", level=2), id="without a price"),
            pytest.param(
                own_order(SELL, "150", "1", executed="0.75", level=1, role=CLOSE), id="an exit run over"
            ),
            pytest.param(
                own_order(SELL, "152.5", "1", executed="0.75", level=2, role=CLOSE), id="below its level"
            ),
        ],
    )
    def test_an_order_that_is_not_that_rest_is_not_wanted(self, rests: OwnOrder) -> None:
        totals: dict[Any, LevelTotals] = {(level, OPEN): bought("0.75") for level in (1, 2)}
        if rests.role == CLOSE:
            totals = {(level, OPEN): bought("0.25") for level in (1, 2)}
        quotes = wanted(grid(), at(totals=totals, own=(rests,), of=self.OF))
        assert not [quote for quote in quotes if D(quote[2]) < D("0.5")]

    def test_a_rest_that_would_meet_an_exit_goes(self) -> None:
        rests = own_order(BUY, "150", "1", executed="0.75", level=2)
        totals: dict[Any, LevelTotals] = {(2, OPEN): bought("0.75"), (1, OPEN): bought("1")}
        quotes = wanted(grid(), at("149", "151", totals, own=(rests,), of=self.OF))
        assert ("sell", "150", "1", 1, CLOSE) in quotes
        assert not [quote for quote in quotes if quote[3:] == (2, OPEN)]


class TestAssign:
    @pytest.mark.parametrize(
        ("net", "price", "grid_type", "longs", "holdings"),
        [
            pytest.param("0", "152", "long", 4, {}, id="nothing, long"),
            pytest.param("0", "152", "short", 0, {}, id="nothing, short"),
            pytest.param("0", "152", "neutral", 2, {}, id="nothing, neutral"),
            pytest.param("1.5", "146", "long", 4, {2: "1", 3: "0.5"}, id="long, lowest interval above first"),
            pytest.param("2", "145", "long", 4, {1: "1", 2: "1"}, id="long, price on a level"),
            pytest.param("5", "146", "long", 4, {2: "1", 3: "4"}, id="long, rest on top of the last"),
            pytest.param("2", "160", "long", 4, {3: "2"}, id="long, nothing above"),
            pytest.param("-1.5", "154", "short", 0, {1: "-1", 0: "-0.5"}, id="short, highest below first"),
            pytest.param("-5", "154", "short", 0, {1: "-1", 0: "-4"}, id="short, rest on the last"),
            pytest.param("-2", "140", "short", 0, {0: "-2"}, id="short, nothing below"),
            pytest.param("-1", "152", "long", 4, {1: "-1"}, id="short held by a long grid"),
            pytest.param("1", "152", "short", 0, {1: "1"}, id="long held by a short grid"),
            pytest.param(
                "1.5", "150", "neutral", 4, {2: "1", 3: "0.5"}, id="neutral, long moves the pivot up"
            ),
            pytest.param("-1", "150", "neutral", 1, {1: "-1"}, id="neutral, short moves the pivot down"),
            pytest.param("9", "150", "neutral", 4, {2: "1", 3: "8"}, id="neutral, more than the levels"),
            pytest.param("-9", "150", "neutral", 0, {1: "-1", 0: "-8"}, id="neutral, short likewise"),
            pytest.param("1", "170", "neutral", 4, {3: "1"}, id="neutral, price above"),
            pytest.param("-1", "130", "neutral", 0, {0: "-1"}, id="neutral, price below"),
            pytest.param("0.005", "150", "neutral", 2, {1: "0.005"}, id="neutral, dust leaves the pivot"),
            pytest.param("0.005", "130", "neutral", 0, {0: "0.005"}, id="neutral, dust below the range"),
        ],
    )
    def test_a_position_is_taken_over_where_it_can_be_closed(
        self, net: str, price: str, grid_type: str, longs: int, holdings: dict[int, str]
    ) -> None:
        found = assign(
            D(net),
            LEVELS,
            D(price),
            quantity=D(1),
            grid_type=GridType(grid_type),
            min_quantity=D("0.01"),
        )
        assert found == (longs, {interval: D(amount) for interval, amount in holdings.items()})

    def test_a_position_taken_over_gets_its_exits(self) -> None:
        longs, holdings = assign(
            D("1.5"), LEVELS, D(146), quantity=D(1), grid_type=GridType.LONG, min_quantity=D("0.01")
        )
        made = make_grid(LEVELS, D(1), longs, holdings, {})
        quotes = wanted(made, at("145.99", "146.01"))
        assert [quote for quote in quotes if quote[4] is CLOSE] == [
            ("sell", "155", "1", 2, CLOSE),
            ("sell", "160", "0.5", 3, CLOSE),
        ]


def test_a_grid_survives_json_to_the_last_digit() -> None:
    some = grid(longs=2, quantity="0.30", carried={3: "-1.2340000", 0: "1E-7"})
    again = Grid.model_validate_json(some.model_dump_json())
    assert again == some
    assert again.model_dump_json() == some.model_dump_json()
