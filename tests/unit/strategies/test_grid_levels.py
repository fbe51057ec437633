"""Levels, ranges and sizes of grids, with the figures of the program they replace."""

from __future__ import annotations

from decimal import Decimal as D
from decimal import localcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.grid_levels import (
    GridImpossible,
    GridMode,
    GridType,
    PriceRange,
    automatic_perp_quantity,
    automatic_range,
    automatic_spot_quantity,
    configured_quantity,
    is_outside,
    level_prices,
    nearest_level,
    only_waits,
    shown,
    smallest_order,
)
from tests.unit.strategies.market_values import instrument


def levels(lower: str, upper: str, number: int, mode: str = "arithmetic", tick: str = "0.01") -> list[str]:
    wanted = PriceRange(lower=D(lower), upper=D(upper))
    return [
        shown(price) for price in level_prices(wanted, number, GridMode(mode), instrument(tick_size=tick))
    ]


class TestLevels:
    @pytest.mark.parametrize(
        ("mode", "expected"),
        [
            ("arithmetic", "120 122 124 126 128 130 132"),
            ("geometric", "120 121.92 123.87 125.86 127.87 129.92 132"),
        ],
    )
    def test_seven_levels_are_those_of_the_old_program(self, mode: str, expected: str) -> None:
        assert levels("120", "132", 7, mode) == expected.split()

    def test_a_geometric_grid_ends_at_its_upper_price(self) -> None:
        assert levels("140", "160", 10, "geometric")[-1] == "160"

    def test_levels_on_one_tick_become_one(self) -> None:
        assert len(levels("100", "101", 15, tick="0.1")) == 11

    def test_a_tie_goes_to_the_even_tick(self) -> None:
        # 0.5 and 1.5 ticks between 0 and 2 above 100.
        assert levels("100", "103", 7, tick="1") == ["100", "101", "102", "103"]
        assert levels("100.5", "101.5", 2, tick="1") == ["100", "102"]

    def test_two_levels_make_the_smallest_grid(self) -> None:
        assert levels("100", "100.01", 2) == ["100", "100.01"]

    def test_the_callers_precision_does_not_move_levels(self) -> None:
        wanted = levels("120", "132", 7, "geometric")
        with localcontext() as context:
            context.prec = 9
            assert levels("120", "132", 7, "geometric") == wanted

    @pytest.mark.parametrize(
        ("lower", "upper", "message"),
        [
            ("132", "120", "grid_lower_price 132 must be below grid_upper_price 120"),
            ("120", "120", "must be below"),
            ("120.001", "120.002", "must be at least a tick apart"),
        ],
    )
    def test_a_range_without_two_levels_is_refused(self, lower: str, upper: str, message: str) -> None:
        with pytest.raises(GridImpossible, match=message):
            levels(lower, upper, 5)

    @pytest.mark.parametrize(
        ("lower", "upper", "message"),
        [
            ("0.001", "5", "takes no order at 0: grid_lower_price must be at least 1 and at most 200"),
            ("150", "250", "takes no order at 250: grid_upper_price must be at least 1 and at most 200"),
        ],
    )
    def test_a_level_outside_the_exchange_filter_is_refused(
        self, lower: str, upper: str, message: str
    ) -> None:
        filtered = instrument(min_price="1", max_price="200")
        with pytest.raises(GridImpossible, match=message):
            level_prices(PriceRange(lower=D(lower), upper=D(upper)), 5, GridMode.ARITHMETIC, filtered)

    @settings(max_examples=60, deadline=None)
    @given(
        lower=st.integers(1, 50_000),
        width=st.integers(1, 50_000),
        number=st.integers(2, 200),
        mode=st.sampled_from(GridMode),
    )
    def test_levels_are_sorted_distinct_on_tick_and_end_where_they_should(
        self, lower: int, width: int, number: int, mode: GridMode
    ) -> None:
        wanted = PriceRange(lower=D(lower) / 100, upper=D(lower + width) / 100)
        prices = level_prices(wanted, number, mode, instrument())
        assert list(prices) == sorted(set(prices))
        assert (prices[0], prices[-1]) == (wanted.lower, wanted.upper)
        assert all(price % D("0.01") == 0 for price in prices)
        assert 2 <= len(prices) <= number


class TestRange:
    @pytest.mark.parametrize(
        ("grid_type", "expected"),
        [
            (GridType.NEUTRAL, PriceRange(lower=D(95), upper=D(105))),
            (GridType.LONG, PriceRange(lower=D(95), upper=D(100))),
            (GridType.SHORT, PriceRange(lower=D(100), upper=D(105))),
        ],
    )
    def test_an_automatic_range_lies_where_the_grid_opens(
        self, grid_type: GridType, expected: PriceRange
    ) -> None:
        assert automatic_range(D(100), D(5), grid_type) == expected

    @pytest.mark.parametrize(
        ("price", "expected"),
        [("132.132", False), ("132.133", True), ("119.88", False), ("119.879", True), ("126", False)],
    )
    def test_the_range_is_left_beyond_the_tolerance(self, price: str, expected: bool) -> None:
        assert is_outside(D(price), [D(120), D(126), D(132)], D("0.001")) is expected

    @pytest.mark.parametrize(
        ("price", "index"), [("119", 0), ("121", 0), ("121.01", 1), ("126", 3), ("140", 6)]
    )
    def test_of_two_equally_near_levels_the_lower_is_nearest(self, price: str, index: int) -> None:
        assert nearest_level([D(120 + 2 * step) for step in range(7)], D(price)) == index


SEVEN = [D(120 + 2 * step) for step in range(7)]


@pytest.mark.parametrize(
    ("price", "opens", "follows", "expected"),
    [
        ("132", GridType.LONG, False, False),
        ("132.01", GridType.LONG, False, True),
        ("500", GridType.LONG, False, True),
        ("134", GridType.LONG, True, True),
        ("134.01", GridType.LONG, True, False),
        ("119", GridType.LONG, False, False),
        ("119.99", GridType.SHORT, False, True),
        ("118", GridType.SHORT, True, True),
        ("117.99", GridType.SHORT, True, False),
        ("133", GridType.SHORT, False, False),
        ("133", GridType.NEUTRAL, False, False),
    ],
)
def test_a_one_sided_grid_waits_beyond_the_end_where_it_closes(
    price: str, opens: GridType, follows: bool, expected: bool
) -> None:
    assert only_waits(D(price), SEVEN, opens, follows=follows) is expected


def spot_quantity(price: str, quote: str, base: str, *, minimum: str = "0.01") -> D:
    return automatic_spot_quantity(
        SEVEN,
        D(price),
        quote_available=D(quote),
        base_available=D(base),
        instrument=instrument(min_quantity=minimum),
    )


class TestQuantity:
    @pytest.mark.parametrize("base", ["0", "0.019", "0.5", "3", "100"])
    def test_the_automatic_spot_size_is_by_quote_whatever_there_is_to_sell(self, base: str) -> None:
        # The old program had 4 bids and 3 asks here, one of them in the interval of the price, and took
        # min(0.95 x 800 / 4 / 126.3, 0.95 x 3 / 3) = min(1.504, 0.95). This grid has 4 intervals that open by
        # buys at 120, 122, 124, 126: 0.95 x 800 / 492.
        assert spot_quantity("126.3", "800", base) == D("1.54")

    def test_without_quote_the_automatic_spot_size_is_by_base(self) -> None:
        assert spot_quantity("126.3", "1", "3") == D("1.42")

    def test_every_buy_is_paid_at_its_own_price(self) -> None:
        quantity = spot_quantity("126.3", "800", "100")
        assert quantity * (120 + 122 + 124 + 126) <= 800 * D("0.95")
        assert (quantity + D("0.01")) * (120 + 122 + 124 + 126) > 800 * D("0.95")

    @pytest.mark.parametrize(("price", "expected"), [("140", "1.01"), ("119", "1.58")])
    def test_only_sides_with_levels_count(self, price: str, expected: str) -> None:
        assert spot_quantity(price, "800", "10") == D(expected)

    @pytest.mark.parametrize("base", ["0", "0.09", "3"])
    def test_a_small_holding_does_not_shrink_a_grid_above_the_price(self, base: str) -> None:
        # 0.95 x 800 / (120 + ... + 130)
        assert spot_quantity("119", "800", base) == D("1.01")

    def test_the_automatic_spot_size_is_at_least_the_smallest_order(self) -> None:
        assert spot_quantity("126.3", "200", "0", minimum="1") == D(1)

    def test_an_account_that_pays_no_order_has_no_automatic_size(self) -> None:
        with pytest.raises(GridImpossible, match="smallest of SOL_USDC: fund the account"):
            spot_quantity("126.3", "100", "0.5", minimum="1")

    @pytest.mark.parametrize(
        ("maximum", "intervals", "expected"),
        [("1.5", 5, "0.24"), ("1.5", 19, "0.06"), ("0.05", 19, "0.01"), ("1", 1, "0.8")],
    )
    def test_the_automatic_perpetual_size_is_a_share_of_the_largest_position(
        self, maximum: str, intervals: int, expected: str
    ) -> None:
        assert automatic_perp_quantity(D(maximum), intervals, instrument()) == D(expected)

    def test_a_largest_position_below_the_smallest_order_is_refused(self) -> None:
        with pytest.raises(GridImpossible, match=r"raise strategy_config\.max_position"):
            automatic_perp_quantity(D("0.009"), 5, instrument())

    def test_a_configured_quantity_is_cut_to_a_step(self) -> None:
        assert configured_quantity(D("0.509"), instrument()) == D("0.5")

    @pytest.mark.parametrize(
        ("quantity", "message"),
        [
            ("0.09", r"below the smallest order of SOL_USDC, 0\.1: raise strategy_config\.order_quantity"),
            ("5.01", "above the largest order of SOL_USDC, 5: lower strategy_config.order_quantity"),
        ],
    )
    def test_a_configured_quantity_outside_the_limits_is_refused(self, quantity: str, message: str) -> None:
        with pytest.raises(GridImpossible, match=message):
            configured_quantity(D(quantity), instrument(min_quantity="0.1", max_quantity="5"))

    @pytest.mark.parametrize(("minimum", "expected"), [("0.1", "0.1"), ("0", "0.01"), ("0.015", "0.02")])
    def test_the_smallest_order_is_on_a_step(self, minimum: str, expected: str) -> None:
        assert smallest_order(instrument(min_quantity=minimum)) == D(expected)


@pytest.mark.parametrize(
    ("number", "text"), [("1E+3", "1000"), ("0.500", "0.5"), ("0", "0"), ("-0.00001", "-0.00001")]
)
def test_numbers_in_sentences_have_no_exponent(number: str, text: str) -> None:
    assert shown(D(number)) == text
