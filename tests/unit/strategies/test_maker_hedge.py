"""The hedge: quotes at the best prices, and every fill traded back at once."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from market.book import OrderBook
from market.orders import Quote, Role, Side
from strategies.base import Decision, TakerOrder
from strategies.maker_hedge_state import State
from strategies.reconcile import reconcile
from tests.unit.strategies.hedge_values import (
    BEGUN,
    fill,
    hedge,
    on_perp,
    on_spot,
    perp,
    perp_instrument,
    perp_params,
    sides,
    size,
    spot,
    spot_params,
)
from tests.unit.strategies.market_values import book, instrument, own_order, placed

BUY, SELL = Side.BUY, Side.SELL
QUOTE, HEDGE = Role.QUOTE, Role.HEDGE


class TestQuotes:
    def test_one_bid_and_one_ask_stand_at_the_best_prices(self) -> None:
        expected = (
            Quote(side=BUY, price=D("149.97"), quantity=D(1), level=0),
            Quote(side=SELL, price=D("150.03"), quantity=D(1), level=0),
        )
        assert on_spot(spot()).quotes == expected
        assert on_perp(perp()).quotes == expected

    def test_they_are_post_only(self) -> None:
        assert all(quote.post_only for quote in on_perp(perp()).quotes)

    def test_an_unchanged_market_needs_no_second_order(self) -> None:
        resting = placed(on_perp(perp()).quotes)
        again = on_perp(perp(open_orders=resting))
        plan = reconcile(again.quotes, resting, tolerance_bps=D(0), instrument=instrument())
        assert plan.changes_nothing

    @pytest.mark.parametrize(
        "unclear",
        [book(None, "150.03"), book("149.97", None), book(None, None), book("150.03", "150.03")],
        ids=["no bids", "no asks", "empty", "crossed"],
    )
    def test_without_a_two_sided_book_quotes_are_withdrawn(self, unclear: OrderBook) -> None:
        assert on_perp(perp(order_book=unclear)).quotes == ()

    def test_without_balances_nothing_is_quoted_on_spot(self) -> None:
        assert on_spot(spot(base=None, quote=None)).quotes == ()

    def test_without_a_position_nothing_is_done_on_a_perpetual(self) -> None:
        unknown = perp((QUOTE, "1"), position=None)
        assert on_perp(unknown) == Decision(quotes=(), state=BEGUN)

    def test_spot_quotes_only_what_the_balances_cover(self) -> None:
        poor = on_spot(spot(base="0.4", quote="75.2"))
        assert (size(poor, SELL), size(poor, BUY)) == (D("0.40"), D("0.50"))
        assert sides(on_spot(spot(base="0", quote="700"))) == {BUY}

    def test_prices_outside_the_exchange_filter_are_left_out(self) -> None:
        narrow = spot(of=instrument(max_price="150"))
        assert sides(on_spot(narrow)) == {BUY}


class TestSize:
    def test_spot_takes_a_twentieth_of_the_quote_balance_on_both_sides(self) -> None:
        decision = on_spot(spot(base="4", quote="700"), quantity=None)
        assert (size(decision, BUY), size(decision, SELL)) == (D("0.23"), D("0.23"))

    def test_a_perpetual_takes_a_quarter_of_the_cap(self) -> None:
        decision = on_perp(perp(), quantity=None, max_position="2.5")
        assert (size(decision, BUY), size(decision, SELL)) == (D("0.62"), D("0.62"))

    def test_it_is_at_least_the_minimum(self) -> None:
        coarse = instrument(min_quantity="0.5")
        assert size(on_spot(spot(of=coarse), quantity=None), BUY) == D("0.5")
        tiny = on_perp(perp(of=perp_instrument(min_quantity="0.5")), quantity=None, max_position="1")
        assert size(tiny, BUY) == D("0.5")

    def test_a_small_change_of_the_balance_keeps_the_size_of_resting_quotes(self) -> None:
        resting = [own_order(SELL, "150.03", "0.24")]
        assert size(on_spot(spot(open_orders=resting), quantity=None), BUY) == D("0.24")

    def test_a_large_change_of_the_balance_changes_the_size(self) -> None:
        resting = [own_order(SELL, "150.03", "0.40")]
        assert size(on_spot(spot(open_orders=resting), quantity=None), BUY) == D("0.23")

    def test_a_quantity_below_the_minimum_ends_the_run_with_advice(self) -> None:
        decision = on_spot(spot(of=instrument(min_quantity="2")), quantity="1")
        assert decision.stop_reason is not None
        assert "raise strategy_config.quantity" in decision.stop_reason


class TestHedge:
    @pytest.mark.parametrize(
        ("bought", "expected"),
        [
            pytest.param("1", hedge(SELL, "1", "149.68", reduce_only=True), id="bought"),
            pytest.param("-1", hedge(BUY, "1", "150.33", reduce_only=True), id="sold"),
            pytest.param("0.4", hedge(SELL, "0.4", "149.68", reduce_only=True), id="in part"),
        ],
    )
    def test_what_fills_is_traded_back(self, bought: str, expected: TakerOrder) -> None:
        assert on_perp(perp((QUOTE, bought), position=bought)).taker == expected
        # Reduce-only has no meaning on spot.
        assert on_spot(spot((QUOTE, bought))).taker == replace(expected, reduce_only=False)

    def test_only_the_side_that_the_hedge_does_not_hit_is_quoted(self) -> None:
        assert sides(on_perp(perp((QUOTE, "1"), position="1"))) == {SELL}
        assert sides(on_perp(perp((QUOTE, "-1"), position="-1"))) == {BUY}
        assert sides(on_spot(spot((QUOTE, "1")))) == {SELL}

    def test_after_the_hedge_both_sides_are_quoted_again(self) -> None:
        decision = on_perp(perp((QUOTE, "1"), (HEDGE, "-1")))
        assert decision.taker is None
        assert sides(decision) == {BUY, SELL}

    def test_a_hedge_filled_in_part_is_completed(self) -> None:
        decision = on_perp(perp((QUOTE, "1"), (HEDGE, "-0.3"), position="0.7"))
        assert decision.taker is not None
        assert (decision.taker.side, decision.taker.quantity) == (SELL, D("0.7"))

    def test_fees_taken_in_coins_are_part_of_the_difference(self) -> None:
        bought = fill("1", fee="0.1", fee_asset="SOL")
        of = spot()
        of = replace(of, profit=of.profit.after(bought, of.instrument))
        taker = on_spot(of).taker
        assert taker is not None
        assert taker.quantity == D("0.90")

    def test_residuals_too_small_for_an_order_add_up(self) -> None:
        coarse = instrument(step_size="0.001", min_quantity="0.01")
        assert on_spot(spot((QUOTE, "0.009"), of=coarse)).taker is None
        grown = on_spot(spot((QUOTE, "0.009"), (QUOTE, "0.009"), of=coarse)).taker
        assert grown is not None
        assert grown.quantity == D("0.018")

    def test_one_smallest_order_is_traded_back(self) -> None:
        taker = on_spot(spot((QUOTE, "0.01"))).taker
        assert taker is not None
        assert taker.quantity == D("0.01")

    @pytest.mark.parametrize(("bought", "is_hedged"), [("0.5", False), ("0.51", True)])
    def test_a_difference_within_the_tolerance_is_left_alone(self, bought: str, is_hedged: bool) -> None:
        decision = on_perp(perp((QUOTE, bought), position=bought), hedge_tolerance="0.5")
        assert (decision.taker is not None) is is_hedged
        assert (sides(decision) == {BUY, SELL}) is not is_hedged

    @pytest.mark.parametrize("role", [QUOTE, HEDGE])
    def test_while_something_is_unsettled_nothing_is_hedged_and_nothing_quoted(self, role: Role) -> None:
        """The last hedge, and the quotes' last fills, may be what is not known."""
        for decision in (
            on_perp(perp((QUOTE, "1"), position="1", unsettled=[role])),
            on_spot(spot((QUOTE, "-1"), unsettled=[role])),
            on_spot(spot(unsettled=[role])),
        ):
            assert (decision.taker, decision.quotes) == (None, ())

    def test_a_sale_is_paid_from_what_is_available_here(self) -> None:
        decision = on_spot(spot((QUOTE, "1"), base="0.6", base_locked="5"))
        assert decision.taker is not None
        assert decision.taker.quantity == D("0.60")
        assert decision.quotes == ()

    def test_a_purchase_is_paid_from_what_is_available_here(self) -> None:
        decision = on_spot(spot((QUOTE, "-1"), quote="60"))
        assert decision.taker is not None
        assert decision.taker.quantity == D("0.39")

    def test_nothing_is_sent_that_the_balances_do_not_cover(self) -> None:
        assert on_spot(spot((QUOTE, "-1"), quote="1")).taker is None

    def test_what_the_hedge_takes_is_not_quoted_as_well(self) -> None:
        decision = on_spot(spot((QUOTE, "1"), base="1.5"))
        assert decision.taker is not None
        assert size(decision, SELL) + decision.taker.quantity == D("1.5")

    def test_without_anybody_to_trade_with_it_waits(self) -> None:
        decision = on_perp(perp((QUOTE, "1"), position="1", order_book=book(None, "150.03")))
        assert (decision.taker, decision.state) == (None, BEGUN)


class TestSlippage:
    def limits(self, *fills: str, **given: Any) -> list[D]:
        """Return the limit of each hedge of one bought SOL, of which each attempt fills so much."""
        state, trades, found = BEGUN, [(QUOTE, "1")], []
        for filled in fills:
            net = sum((D(signed) for _, signed in trades), D(0))
            decision = on_perp(perp(*trades, position=net, order_book=book("100", "101")), state, **given)
            assert decision.taker is not None
            found.append(decision.taker.limit_price)
            state = decision.state
            if D(filled):
                trades.append((HEDGE, filled))
        return found

    def test_it_doubles_with_each_hedge_filled_in_part_up_to_the_maximum(self) -> None:
        expected = [D("99.8"), D("99.6"), D("99.2"), D("99"), D("99")]
        assert self.limits("-0.1", "-0.1", "-0.2", "-0.1", "-0.1") == expected

    def test_one_hedge_that_trades_nothing_may_not_have_been_sent_so_only_the_second_counts(self) -> None:
        assert self.limits("0", "0", "0", "0", "0") == [
            D("99.8"),
            D("99.8"),
            D("99.6"),
            D("99.6"),
            D("99.2"),
        ]
        assert self.limits("0", "-0.1", "0", "0") == [D("99.8"), D("99.8"), D("99.6"), D("99.6")]

    def test_a_hedge_filled_whole_begins_anew_although_more_has_filled_since(self) -> None:
        first = on_perp(perp((QUOTE, "1"), position="1"))
        failed = on_perp(perp((QUOTE, "1"), (HEDGE, "-0.2"), position="0.8"), first.state)
        assert failed.state.attempts == 1
        again = on_perp(perp((QUOTE, "1"), (HEDGE, "-1"), (QUOTE, "1"), position="1"), failed.state)
        assert again.state.attempts == 0
        assert again.taker == first.taker

    def test_within_tolerance_it_begins_anew(self) -> None:
        failed = State(reference=D(0), attempts=3, awaited=D(9))
        assert on_perp(perp(), failed).state == BEGUN

    def test_attempts_are_kept_while_the_last_one_is_unsettled(self) -> None:
        failed = State(reference=D(0), attempts=3, awaited=D(9))
        assert on_perp(perp((QUOTE, "1"), position="1", unsettled=[HEDGE]), failed).state == failed

    def test_no_number_of_attempts_is_too_many(self) -> None:
        hopeless = State(reference=D(0), attempts=10**9, awaited=D(1))
        decision = on_perp(perp((QUOTE, "1"), position="1"), hopeless, hedge_slippage_bps="0.001")
        assert decision.taker is not None
        # 0.001 bps doubled sixteen times is 65.536 bps.
        assert decision.taker.limit_price == D("148.99")

    def test_a_decision_taken_again_is_the_same(self) -> None:
        of = perp((QUOTE, "1"), (HEDGE, "-0.2"), position="0.8")
        state = State(reference=D(0), attempts=1, awaited=D(1))
        assert on_perp(of, state) == on_perp(of, state)


class TestCap:
    def test_a_quote_is_cut_to_what_the_cap_leaves(self) -> None:
        decision = on_perp(perp(), max_position="0.7")
        assert (size(decision, BUY), size(decision, SELL)) == (D("0.7"), D("0.7"))

    def test_a_difference_within_the_tolerance_counts(self) -> None:
        of = perp((QUOTE, "0.4"), position="0.4")
        decision = on_perp(of, max_position="1", hedge_tolerance="0.5")
        assert (size(decision, BUY), size(decision, SELL)) == (D("0.6"), D("1"))
        decision = on_spot(spot((QUOTE, "-0.4")), max_unhedged="1", hedge_tolerance="0.5")
        assert (size(decision, BUY), size(decision, SELL)) == (D("1"), D("0.6"))

    def test_at_the_cap_only_the_reducing_side_is_quoted(self) -> None:
        of = perp((QUOTE, "1"), position="1")
        assert sides(on_perp(of, max_position="1")) == {SELL}
        assert sides(on_perp(of, max_position="1", hedge_tolerance="5")) == {SELL}

    def test_beside_a_hedge_a_quote_may_take_the_cap_and_no_more(self) -> None:
        # The hedge may be filled whole: then the quote alone decides where the position ends.
        decision = on_perp(perp((QUOTE, "1"), position="1"), quantity="5", max_position="2")
        assert size(decision, SELL) == D(2)

    def test_it_bounds_the_position_too_where_the_reference_is_not_zero(self) -> None:
        held = State(reference=D("0.8"), position_at_start=D("0.8"))
        decision = on_perp(perp(position="0.8"), held, max_position="1")
        assert (size(decision, BUY), size(decision, SELL)) == (D("0.2"), D("1"))

    def test_others_positions_do_not_count(self) -> None:
        decision = on_perp(perp(position="50"), position_source="own_fills")
        assert (size(decision, BUY), size(decision, SELL)) == (D(1), D(1))
        assert perp_params(position_source="own_fills").position_cap is None

    def test_spot_has_one_when_it_is_set(self) -> None:
        decision = on_spot(spot(), max_unhedged="0.5")
        assert (size(decision, BUY), size(decision, SELL)) == (D("0.5"), D("0.5"))
        assert spot_params(max_position="0.5").position_cap == D("0.5")
