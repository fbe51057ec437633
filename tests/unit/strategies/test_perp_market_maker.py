"""The perpetual market maker's decisions, with the figures of the program it replaces."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest

from market.book import OrderBook
from market.orders import Side
from strategies.perp_market_maker import (
    State,
    inventory_ratio,
    skew_shift,
)
from strategies.reconcile import reconcile
from tests.unit.strategies.maker_values import (
    LOOSE,
    OLD_LADDERS,
    TAKER,
    decided,
    fill,
    perp_instrument,
    perp_params,
    perp_snapshot,
    position,
    prices,
    quantities,
)
from tests.unit.strategies.market_values import NOW_MS, book, own_order, placed


def _both(key: str) -> dict[str, Any]:
    """Return a quantity and a cap of which the one called `key` is too small for one whole SOL."""
    return {"quantity": 2, key: "0.5"}


class TestLadder:
    @pytest.mark.parametrize(("bid", "ask", "tick", "spread", "expected"), OLD_LADDERS)
    def test_nearest_rounding_gives_the_prices_of_the_old_program(
        self, bid: str, ask: str, tick: str, spread: str, expected: list[tuple[str, str]]
    ) -> None:
        quotes = decided(
            perp_snapshot(of=perp_instrument(tick_size=tick), order_book=book(bid, ask)),
            spread=spread,
            max_orders=len(expected),
            rounding="nearest",
        ).quotes
        assert prices(quotes, Side.BUY) == [D(lower) for lower, _ in expected]
        assert prices(quotes, Side.SELL) == [D(upper) for _, upper in expected]

    def test_quotes_rest_or_are_refused_and_may_open(self) -> None:
        quotes = decided(perp_snapshot()).quotes
        assert all(quote.post_only and not quote.reduce_only for quote in quotes)


class TestSize:
    @pytest.mark.parametrize(
        ("max_position", "layers", "step", "minimum", "expected"),
        [
            (5, 3, "0.01", "0.01", "0.41"),
            (1, 3, "0.01", "0.01", "0.08"),
            (1, 3, "0.1", "0.1", "0.1"),
            (5, 1, "0.01", "0.01", "1.25"),
        ],
    )
    def test_the_automatic_size_shares_a_quarter_of_the_cap_between_the_layers(
        self, max_position: int, layers: int, step: str, minimum: str, expected: str
    ) -> None:
        quotes = decided(
            perp_snapshot(of=perp_instrument(step_size=step, min_quantity=minimum)),
            quantity=None,
            max_position=max_position,
            max_orders=layers,
        ).quotes
        assert {quote.quantity for quote in quotes} == {D(expected)}

    def test_no_order_is_above_the_exchange_maximum(self) -> None:
        quotes = decided(perp_snapshot(of=perp_instrument(max_quantity="0.3"))).quotes
        assert {quote.quantity for quote in quotes} == {D("0.3")}

    @pytest.mark.parametrize("key", ["quantity", "max_position"])
    def test_what_can_never_be_an_order_stops_the_run_with_advice(self, key: str) -> None:
        decision = decided(perp_snapshot(of=perp_instrument(min_quantity="1")), **_both(key))
        assert decision.quotes == ()
        assert decision.stop_reason is not None
        assert f"raise strategy_config.{key}" in decision.stop_reason


class TestRoom:
    def test_a_side_may_lead_to_the_cap_and_not_beyond(self) -> None:
        quotes = decided(perp_snapshot(3), quantity=1, max_position=5, max_orders=4, **LOOSE).quotes
        assert quantities(quotes, Side.BUY) == [D(1), D(1)]
        assert quantities(quotes, Side.SELL) == [D(1)] * 4

    def test_the_layer_that_would_cross_the_cap_is_cut_to_a_step(self) -> None:
        quotes = decided(perp_snapshot("-3.505"), quantity=1, max_orders=3, **LOOSE).quotes
        assert quantities(quotes, Side.SELL) == [D(1), D("0.49")]
        assert quantities(quotes, Side.BUY) == [D(1), D(1), D(1)]

    def test_a_layer_cut_below_the_minimum_is_dropped(self) -> None:
        of = perp_snapshot("3.8", of=perp_instrument(min_quantity="0.5"))
        assert quantities(decided(of, quantity=1, **LOOSE).quotes, Side.BUY) == [D(1)]

    @pytest.mark.parametrize(("net", "reducing"), [(5, Side.SELL), (-5, Side.BUY)])
    def test_at_the_cap_only_the_reducing_side_is_quoted(self, net: int, reducing: Side) -> None:
        quotes = decided(perp_snapshot(net), **LOOSE).quotes
        assert {quote.side for quote in quotes} == {reducing}

    def test_what_an_order_of_unknown_fate_may_have_done_is_not_quoted_again(self) -> None:
        # A reducing order is under way: the position may be anything from 3 down to 0.
        of = perp_snapshot(3, unsettled=[TAKER], bounds=(0, 3))
        quotes = decided(of, quantity=2, max_orders=5, **LOOSE).quotes
        assert quantities(quotes, Side.BUY) == [D(2)]
        assert quantities(quotes, Side.SELL) == [D(2), D(2), D(1)]

    def test_a_position_that_lags_behind_own_fills_is_not_believed(self) -> None:
        late = perp_snapshot(1, own_net=2, bounds=(1, 3))
        decision = decided(late, quantity=1, max_orders=6, **LOOSE)
        assert quantities(decision.quotes, Side.BUY) == [D(1), D(1)]
        assert quantities(decision.quotes, Side.SELL) == [D(1)] * 6

    def test_own_fills_that_lag_behind_the_position_are_not_believed(self) -> None:
        late = perp_snapshot(3, own_net=0, bounds=(0, 3))
        decision = decided(late, quantity=1, max_orders=9, **LOOSE)
        assert quantities(decision.quotes, Side.BUY) == [D(1), D(1)]
        assert quantities(decision.quotes, Side.SELL) == [D(1)] * 5

    def test_what_others_hold_counts_against_the_cap(self) -> None:
        quotes = decided(perp_snapshot(4, is_exclusive=False), quantity=1, max_orders=3).quotes
        assert quantities(quotes, Side.BUY) == [D(1)]
        assert quantities(quotes, Side.SELL) == [D(1)] * 3


class TestSkew:
    @pytest.mark.parametrize(
        ("unit", "factor", "net", "shift"),
        [
            ("price", "0.3", 2, "18.00"),
            ("price", "0.002", 2, "0.12"),
            ("price", "0.002", -2, "-0.12"),
            ("half_spread", "0.5", 2, "0.03"),
            ("half_spread", "1", 7, "0.15"),
            ("half_spread", "1", "0.009", "0"),
        ],
    )
    def test_the_shift_grows_with_the_position_up_to_the_cap(
        self, unit: str, factor: str, net: object, shift: str
    ) -> None:
        given = perp_params(inventory_skew=factor, skew_unit=unit)
        ratio = inventory_ratio(perp_snapshot(D(str(net))), given)
        assert skew_shift(D(150), ratio, given) == D(shift)

    def test_a_long_position_moves_both_sides_down(self) -> None:
        quotes = decided(perp_snapshot("2.5"), inventory_skew="0.4", max_orders=2, **LOOSE).quotes
        assert prices(quotes, Side.BUY) == [D("149.82"), D("149.80")]
        assert prices(quotes, Side.SELL) == [D("150.12"), D("150.14")]

    def test_a_short_position_moves_both_sides_up(self) -> None:
        quotes = decided(perp_snapshot("-2.5"), inventory_skew="0.4", max_orders=1, **LOOSE).quotes
        assert [quote.price for quote in quotes] == [D("149.88"), D("150.18")]

    def test_a_shift_beyond_the_book_keeps_the_ladder_passive_and_its_shape(self) -> None:
        quotes = decided(
            perp_snapshot(2), inventory_skew="0.3", skew_unit="price", max_orders=3, **LOOSE
        ).quotes
        assert prices(quotes, Side.SELL) == [D("149.98"), D("150.00"), D("150.03")]
        assert prices(quotes, Side.BUY)[0] == D("131.85")

    def test_the_minimum_spread_holds_against_a_skew(self) -> None:
        quotes = decided(
            perp_snapshot(2),
            inventory_skew="0.3",
            skew_unit="price",
            max_orders=1,
            min_spread_bps=10,
            **LOOSE,
        ).quotes
        assert prices(quotes, Side.SELL) == [D("150.08")]

    def test_a_size_skew_shrinks_the_side_that_would_enlarge_the_position(self) -> None:
        quotes = decided(perp_snapshot("2.5"), quantity=1, size_skew="0.5", max_orders=1, **LOOSE).quotes
        assert [(quote.side, quote.quantity) for quote in quotes] == [
            (Side.BUY, D("0.75")),
            (Side.SELL, D(1)),
        ]

    def test_a_full_size_skew_leaves_that_side_empty_at_the_cap(self) -> None:
        quotes = decided(perp_snapshot("-4.99"), size_skew=1, max_orders=1, **LOOSE).quotes
        assert {quote.side for quote in quotes} == {Side.BUY}


class TestUnknown:
    def test_without_a_position_quotes_are_withdrawn(self) -> None:
        decision = decided(perp_snapshot(None))
        assert (decision.quotes, decision.taker, decision.stop_reason) == ((), None, None)

    @pytest.mark.parametrize(
        "unclear",
        [book(None, "150.03"), book("149.97", None), book(None, None), book("150.03", "150.03")],
        ids=["no bids", "no asks", "empty", "crossed"],
    )
    def test_without_a_two_sided_book_nothing_is_traded(self, unclear: OrderBook) -> None:
        decision = decided(perp_snapshot(3, order_book=unclear))
        assert (decision.quotes, decision.taker) == ((), None)

    def test_a_fill_is_remembered_even_when_nothing_can_be_quoted(self) -> None:
        decision = decided(perp_snapshot(None, fills=[fill("1", Side.BUY)]))
        assert decision.state.last_bought_at_ms == NOW_MS


class TestTakersAndOwnOrders:
    def test_own_quotes_that_a_close_would_hit_are_cancelled_with_it(self) -> None:
        resting = placed(decided(perp_snapshot(0)).quotes)
        held = position(2, unrealized="-10")
        decision = decided(perp_snapshot(held, own_net=2, open_orders=resting), stop_loss=10)
        plan = reconcile(decision.quotes, resting, tolerance_bps=D(1), instrument=perp_instrument())
        assert set(plan.cancels) == set(resting)

    def test_a_hanging_order_counts_against_the_cap_first(self) -> None:
        hung = own_order(Side.BUY, "149.50", "1", level=1, order_id="hung")
        state = State(hanging=("hung",), watched=())
        of = perp_snapshot("3.5", open_orders=[hung])
        decision = decided(of, state, quantity=1, hanging_orders=True, **LOOSE)
        bids = [
            (quote.level, quote.price, quote.quantity) for quote in decision.quotes if quote.side is Side.BUY
        ]
        assert bids == [(1, D("149.50"), D(1)), (0, D("149.85"), D("0.50"))]
