"""What the hedge goes back to, who says how far it is, and what happens when they disagree."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

import pytest

from market.orders import Role, Side
from strategies.base import Decision
from strategies.maker_hedge_state import Dispute, State
from strategies.maker_hedge_taking import unwind
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
from tests.unit.strategies.market_values import NOW_MS, own_order

BUY, SELL = Side.BUY, Side.SELL
QUOTE, HEDGE = Role.QUOTE, Role.HEDGE


class TestReference:
    def test_it_is_the_position_found_at_the_start(self) -> None:
        first = on_perp(perp(position="2"), State())
        assert (first.state.reference, first.state.position_at_start) == (D(2), D(2))
        assert first.taker is None
        sold = on_perp(perp((QUOTE, "-1"), position="1"), first.state)
        # Back to a long position: an order that could only reduce would be refused.
        assert sold.taker == hedge(BUY, "1", "150.33", reduce_only=False)
        bought = on_perp(perp((QUOTE, "1"), position="3"), first.state)
        assert bought.taker == hedge(SELL, "1", "149.68", reduce_only=True)

    def test_a_reference_that_is_set_is_gone_to(self) -> None:
        decision = on_perp(perp(position="0.5"), State(), reference_position="-1")
        assert decision.taker == hedge(SELL, "1.5", "149.68", reduce_only=False)
        assert decision.state.reference == D(-1)
        assert sides(decision) == {SELL}

    def test_what_a_first_iteration_that_was_killed_left_behind_is_waited_for(self) -> None:
        """Its order may fill while the position is read, and the position may be late with what did fill."""
        resting = on_perp(perp(position="2", open_orders=[own_order(BUY, "149.97", "1")]), State())
        waiting = State(begins_at_ms=NOW_MS + 15_000)
        assert resting == Decision(quotes=(), state=waiting)
        filled = replace(perp((QUOTE, "1"), position="2"), fills=(fill("1"),))
        assert on_perp(filled, State()) == Decision(quotes=(), state=waiting)
        assert on_perp(perp(position="1", unsettled=[QUOTE]), State()) == Decision(quotes=(), state=waiting)

        of = perp((QUOTE, "1"), position="3", taken_at_ms=NOW_MS + 14_999)
        assert on_perp(of, waiting) == Decision(quotes=(), state=waiting)
        decision = on_perp(replace(of, taken_at_ms=NOW_MS + 15_000), waiting)
        assert (decision.state.reference, decision.state.position_at_start) == (D(2), D(2))
        assert decision.taker == hedge(SELL, "1", "149.68", reduce_only=True)

    def test_it_stays_when_the_position_moves(self) -> None:
        first = on_perp(perp(position="2"), State())
        assert on_perp(perp((QUOTE, "1"), position="3"), first.state).state.reference == D(2)

    def test_on_spot_it_is_zero_by_own_fills_whatever_the_balance(self) -> None:
        """Deposits and interest are no position."""
        before = on_spot(spot(base="4"), State())
        assert before.state == BEGUN
        assert on_spot(spot(base="400"), before.state).taker is None


class TestTwoWitnesses:
    @pytest.mark.parametrize(
        ("own", "position", "traded"),
        [
            pytest.param("2", "2", "-2", id="agree"),
            pytest.param("2", "1.5", "-1.5", id="the position knows less"),
            pytest.param("1.5", "2", "-1.5", id="the position knows more"),
            pytest.param("-2", "-1", "1", id="short"),
        ],
    )
    def test_the_smaller_difference_is_traded_back(self, own: str, position: str, traded: str) -> None:
        taker = on_perp(perp((QUOTE, own), position=position)).taker
        assert taker is not None
        assert (taker.quantity, taker.reduce_only) == (abs(D(traded)), True)
        assert (taker.side is BUY) is (D(traded) > 0)

    def test_what_only_the_position_shows_is_not_hedged(self) -> None:
        decision = on_perp(perp(position="1"))
        assert (decision.taker, decision.quotes) == (None, ())

    @pytest.mark.parametrize("position", ["0", "-1", "0.004"])
    def test_what_only_own_fills_show_is_hedged_by_an_order_that_can_only_reduce(self, position: str) -> None:
        decision = on_perp(perp((QUOTE, "1"), position=position))
        assert decision.taker == hedge(SELL, "1", "149.68", reduce_only=True)
        assert decision.quotes == ()

    @pytest.mark.parametrize("position", ["2", "1.5"])
    def test_away_from_zero_both_have_to_say_so(self, position: str) -> None:
        held = State(reference=D(2), position_at_start=D(2))
        decision = on_perp(perp((QUOTE, "1"), position=position), held)
        assert (decision.taker, decision.quotes) == (None, ())

    def test_own_fills_alone_count_where_others_trade_the_symbol_too(self) -> None:
        decision = on_perp(perp((QUOTE, "1"), position="-7"), position_source="own_fills")
        assert decision.taker == hedge(SELL, "1", "149.68", reduce_only=False)
        assert decision.state.dispute is None
        assert sides(decision) == {SELL}


class TestDispute:
    def test_it_is_remembered_since_when(self) -> None:
        state = on_perp(perp((QUOTE, "1"))).state
        assert state.dispute == Dispute(since_ms=NOW_MS, own=D(1), account=D(0))
        later = on_perp(perp((QUOTE, "1"), taken_at_ms=NOW_MS + 9_000), state).state
        assert later.dispute == state.dispute

    def test_it_ends_with_agreement(self) -> None:
        state = on_perp(perp((QUOTE, "1"))).state
        assert on_perp(perp((QUOTE, "1"), (HEDGE, "-1")), state).state.dispute is None

    def test_less_than_one_order_is_none(self) -> None:
        fine = perp_instrument(step_size="0.001", min_quantity="0.01")
        assert on_perp(perp((QUOTE, "1"), position="0.991", of=fine)).state.dispute is None
        assert on_perp(perp((QUOTE, "1"), position="0.990", of=fine)).state.dispute is not None

    @pytest.mark.parametrize(("after_ms", "ends"), [(15_000, False), (15_001, True)])
    def test_the_run_ends_when_it_lasts_and_names_both_figures(self, after_ms: int, ends: bool) -> None:
        state = on_perp(perp(position="-0.5")).state
        decision = on_perp(perp(position="-0.5", taken_at_ms=NOW_MS + after_ms), state)
        assert (decision.stop_reason is not None) is ends
        if decision.stop_reason:
            assert "should be 0, the exchange has said -0.5 for 15 s" in decision.stop_reason
            assert (decision.unwind, decision.quotes, decision.taker) == (False, (), None)

    def test_nothing_is_hedged_after_such_an_end(self) -> None:
        state = on_perp(perp((QUOTE, "2"), position="1")).state
        ended = on_perp(perp((QUOTE, "2"), position="1", taken_at_ms=NOW_MS + 15_001), state)
        assert ended.stop_reason is not None
        assert unwind(perp((QUOTE, "2"), position="1"), ended.state, perp_params()) is None

    def test_a_second_lag_is_not_the_first_one_grown_old(self) -> None:
        """One fill a minute, each seen before the position shows it."""
        state = on_perp(perp((QUOTE, "1"))).state
        meanwhile = perp((QUOTE, "1"), (QUOTE, "1"), position="1", taken_at_ms=NOW_MS + 60_000)
        decision = on_perp(meanwhile, state)
        assert decision.stop_reason is None
        assert decision.state.dispute == Dispute(since_ms=NOW_MS + 60_000, own=D(2), account=D(1))

    def test_fills_that_come_after_the_position_are_no_old_dispute_either(self) -> None:
        state = on_perp(perp(position="1")).state
        decision = on_perp(perp((QUOTE, "1"), position="2", taken_at_ms=NOW_MS + 60_000), state)
        assert decision.stop_reason is None

    def test_time_in_which_fills_are_to_come_does_not_count(self) -> None:
        state = on_perp(perp((QUOTE, "1"))).state
        waiting = perp((QUOTE, "1"), unsettled=[HEDGE], taken_at_ms=NOW_MS + 60_000)
        decision = on_perp(waiting, state)
        assert (decision.stop_reason, decision.state.dispute) == (None, None)

    def test_a_clock_set_back_begins_it_anew(self) -> None:
        state = on_perp(perp((QUOTE, "1"))).state
        decision = on_perp(perp((QUOTE, "1"), taken_at_ms=NOW_MS - 5_000), state)
        assert decision.state.dispute is not None
        assert decision.state.dispute.since_ms == NOW_MS - 5_000

    def test_while_it_stands_nothing_is_quoted_that_either_would_regret(self) -> None:
        assert on_perp(perp(position="5")).quotes == ()
        both_long = on_perp(perp((QUOTE, "0.3"), position="5"))
        assert (sides(both_long), size(both_long, SELL)) == ({SELL}, D("0.3"))


class TestSystemFills:
    @pytest.mark.parametrize("source", ["account", "own_fills"])
    def test_a_liquidation_ends_the_run_and_nothing_is_hedged(self, source: str) -> None:
        of = replace(perp((QUOTE, "1"), position="0.5"), system_fills=(fill("-0.5"),))
        decision = on_perp(of, position_source=source)
        assert decision.stop_reason is not None
        assert "sell 0.5 at 150" in decision.stop_reason
        assert (decision.quotes, decision.taker, decision.unwind) == ((), None, False)
        assert unwind(perp((QUOTE, "1"), position="0.5"), decision.state, perp_params()) is None

    def test_one_that_is_seen_at_the_final_hedge_holds_it_back(self) -> None:
        of = replace(perp((QUOTE, "1"), position="0.5"), system_fills=(fill("-0.5"),))
        assert unwind(of, BEGUN, perp_params()) is None


class TestUnwind:
    def test_it_trades_the_rest_back_with_the_largest_slippage(self) -> None:
        order = unwind(perp((QUOTE, "1"), position="1"), BEGUN, perp_params())
        assert order == hedge(SELL, "1", "148.48", reduce_only=True, reason="final hedge")
        order = unwind(spot((QUOTE, "-1")), BEGUN, spot_params())
        assert order == hedge(BUY, "1", "151.53", reduce_only=False, reason="final hedge")

    def test_it_is_over_within_the_tolerance(self) -> None:
        assert unwind(perp((QUOTE, "1"), (HEDGE, "-1")), BEGUN, perp_params()) is None
        half = perp((QUOTE, "0.5"), position="0.5")
        assert unwind(half, BEGUN, perp_params(hedge_tolerance="0.5")) is None
        assert unwind(spot((QUOTE, "0.004")), BEGUN, spot_params()) is None

    def test_coins_that_a_cancelled_quote_is_shown_to_hold_are_sold(self) -> None:
        order = unwind(spot((QUOTE, "1"), base="0", base_locked="0.8"), BEGUN, spot_params())
        assert order is not None
        assert order.quantity == D("0.8")
        assert unwind(spot((QUOTE, "1"), base="0"), BEGUN, spot_params()) is None

    def test_it_waits_for_what_is_unsettled(self) -> None:
        assert unwind(perp((QUOTE, "1"), position="1", unsettled=[HEDGE]), BEGUN, perp_params()) is None

    def test_it_works_for_a_run_that_never_decided(self) -> None:
        order = unwind(perp((QUOTE, "1"), position="3"), State(), perp_params())
        assert order is not None
        assert order.quantity == D(1)
        assert unwind(perp(position=None), State(), perp_params()) is None

    def test_the_fill_that_comes_with_the_stop_is_closed_before_the_position_shows_it(self) -> None:
        of = replace(perp((QUOTE, "1")), fills=(fill("1", at_ms=NOW_MS - 2_000),))
        order = unwind(of, BEGUN, perp_params())
        assert order == hedge(SELL, "1", "148.48", reduce_only=True, reason="final hedge")

    def test_a_position_that_does_not_follow_for_long_is_left_alone(self) -> None:
        of = replace(perp((QUOTE, "1")), fills=(fill("1", at_ms=NOW_MS - 15_001),))
        assert unwind(of, BEGUN, perp_params()) is None
        disputed = State(reference=D(0), dispute=Dispute(since_ms=NOW_MS - 15_000, own=D(1), account=D(0)))
        assert unwind(perp((QUOTE, "1")), disputed, perp_params()) is not None
        assert unwind(perp((QUOTE, "1"), taken_at_ms=NOW_MS + 1), disputed, perp_params()) is None
        assert unwind(perp((QUOTE, "1")), BEGUN, perp_params()) is None

    def test_an_order_that_could_enlarge_the_position_needs_both(self) -> None:
        held = State(reference=D(2), position_at_start=D(2))
        of = replace(perp((QUOTE, "-1"), position="2"), fills=(fill("-1"),))
        assert unwind(of, held, perp_params()) is None
        assert unwind(perp((QUOTE, "-1"), position="1"), held, perp_params()) is not None
