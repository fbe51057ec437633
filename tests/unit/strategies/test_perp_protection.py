"""When the perpetual market maker gives up a part of its position, or all of it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from market.book import OrderBook
from market.orders import Side
from market.position import Position
from strategies.base import TakerOrder
from strategies.perp_market_maker import (
    State,
    unwind,
)
from strategies.perp_protection import Carried, Cause, Closing
from tests.unit.strategies.maker_values import (
    LOOSE,
    TAKER,
    decided,
    fill,
    perp_params,
    perp_snapshot,
    position,
    quantities,
)
from tests.unit.strategies.market_values import NOW_MS, book


class TestCarried:
    def test_what_was_held_before_the_run_is_found_at_its_first_decision(self) -> None:
        assert decided(perp_snapshot(3)).state.carried == Carried(low=D(3), high=D(3))

    def test_fills_before_the_first_saved_state_may_be_missing_in_the_position(self) -> None:
        # 3 bought and 1 sold: the position may really be anything from 0 to 4.
        first = perp_snapshot(1, own_net=2, bought=3, sold=1)
        decision = decided(first, quantity=1, max_orders=9, **LOOSE)
        assert decision.state.carried == Carried(low=D(-2), high=D(2), differs_since_ms=NOW_MS)
        assert quantities(decision.quotes, Side.BUY) == [D(1)]
        assert quantities(decision.quotes, Side.SELL) == [D(1)] * 5
        later = replace(first, taken_at_ms=NOW_MS + 15_000)
        assert decided(later, decision.state).state.carried == Carried(low=D(-1), high=D(-1))

    def test_a_difference_that_lasts_is_somebody_elses_trade(self) -> None:
        first = decided(perp_snapshot(0)).state
        second = decided(perp_snapshot(2, taken_at_ms=NOW_MS + 1000), first).state
        assert second.carried == Carried(low=D(0), high=D(0), differs_since_ms=NOW_MS + 1000)
        third = decided(perp_snapshot(2, taken_at_ms=NOW_MS + 15_999), second).state
        assert third.carried == second.carried
        fourth = decided(perp_snapshot(2, taken_at_ms=NOW_MS + 16_000), third).state
        assert fourth.carried == Carried(low=D(2), high=D(2))

    def test_it_is_not_settled_while_fills_are_to_come(self) -> None:
        state = State(carried=Carried(low=D(0), high=D(0), differs_since_ms=NOW_MS - 60_000))
        assert decided(perp_snapshot(2, unsettled=[TAKER]), state).state == state

    def test_a_difference_that_ends_is_forgotten(self) -> None:
        state = State(carried=Carried(low=D(0), high=D(0), differs_since_ms=NOW_MS - 1000))
        assert decided(perp_snapshot(2, own_net=2), state).state.carried == Carried(low=D(0), high=D(0))

    def test_a_clock_set_back_does_not_settle_it_at_once_nor_never(self) -> None:
        state = State(carried=Carried(low=D(0), high=D(0), differs_since_ms=NOW_MS + 10**9))
        now = decided(perp_snapshot(2), state).state.carried
        assert now == Carried(low=D(0), high=D(0), differs_since_ms=NOW_MS)


class TestPositionControl:
    @pytest.mark.parametrize(
        ("net", "target", "threshold", "cap", "expected"),
        [
            pytest.param("0.1", 0, "0.2", "0.4", None, id="within the line"),
            pytest.param("0.25", 0, "0.2", "0.4", (Side.SELL, "0.05"), id="long"),
            pytest.param("-0.5", 0, "0.2", "0.4", (Side.BUY, "0.1"), id="short, beyond the cap"),
            pytest.param("5.5", 1, "0.1", 5, (Side.SELL, "0.5"), id="long, beyond the cap"),
            pytest.param("1.2", 1, "0.1", 5, (Side.SELL, "0.1"), id="above a target"),
            pytest.param("-1.2", 1, "0.1", 5, (Side.BUY, "0.1"), id="a target has no direction"),
            pytest.param("1.105", 1, "0.1", 5, None, id="too little for an order"),
        ],
    )
    def test_it_closes_what_is_beyond_the_line(
        self, net: str, target: int, threshold: str, cap: object, expected: tuple[Side, str] | None
    ) -> None:
        taker = decided(
            perp_snapshot(net),
            quantity="0.1",
            target_position=target,
            position_threshold=threshold,
            max_position=cap,
        ).taker
        assert (taker and (taker.side, taker.quantity)) == (expected and (expected[0], D(expected[1])))

    def test_it_can_only_reduce_and_has_a_worst_price(self) -> None:
        # Half a percent below the best bid is 149.22015: rounded towards it.
        assert decided(perp_snapshot(2)).taker == TakerOrder(
            side=Side.SELL,
            quantity=D("1.90"),
            limit_price=D("149.23"),
            reduce_only=True,
            reason="position control",
        )

    def test_the_side_it_would_hit_is_not_quoted(self) -> None:
        assert {quote.side for quote in decided(perp_snapshot(2)).quotes} == {Side.SELL}
        assert {quote.side for quote in decided(perp_snapshot(-2)).quotes} == {Side.BUY}

    def test_what_it_takes_is_not_quoted_as_well(self) -> None:
        decision = decided(perp_snapshot(2), quantity=2, max_orders=9)
        assert decision.taker is not None
        # From 2 down to -5 are 7.
        assert sum(quantities(decision.quotes, Side.SELL)) + decision.taker.quantity == 7

    def test_it_waits_while_an_earlier_one_is_unknown(self) -> None:
        assert decided(perp_snapshot(2, unsettled=[TAKER])).taker is None

    def test_it_is_not_repeated_for_a_position_that_lags(self) -> None:
        state = State(carried=Carried(low=D(0), high=D(0)))
        # The order took 1.9, the exchange still shows 2.
        assert decided(perp_snapshot(2, own_net="0.1"), state).taker is None


class TestProtection:
    @pytest.mark.parametrize(
        ("held", "given", "cause"),
        [
            pytest.param(position(2, unrealized="-10"), {"stop_loss": 10}, Cause.STOP_LOSS, id="loss"),
            pytest.param(position(2, unrealized="-10"), {"stop_loss": -10}, Cause.STOP_LOSS, id="negative"),
            pytest.param(position(2, unrealized="-9.99"), {"stop_loss": 10}, None, id="not yet"),
            pytest.param(position(-2, unrealized="5"), {"take_profit": 5}, Cause.TAKE_PROFIT, id="profit"),
            pytest.param(position(-2, unrealized="4.99"), {"take_profit": 5}, None, id="not yet a profit"),
            pytest.param(
                position(2, entry=155, mark=150), {"stop_loss": 10}, Cause.STOP_LOSS, id="computed, long"
            ),
            pytest.param(
                position(-2, entry=145, mark=150), {"stop_loss": 10}, Cause.STOP_LOSS, id="computed, short"
            ),
            pytest.param(position(2, entry=155), {"stop_loss": 10}, Cause.STOP_LOSS, id="by the mid"),
            pytest.param(
                position(2, entry=155, mark=150, unrealized="-1"),
                {"stop_loss": 10},
                None,
                id="the exchange's figure counts",
            ),
            pytest.param(position("0.009", unrealized="-99"), {"stop_loss": 10}, None, id="too little"),
            pytest.param(position(2, unrealized="-99"), {}, None, id="off"),
        ],
    )
    def test_it_is_set_off_by_the_open_profit(
        self, held: Position, given: dict[str, Any], cause: Cause | None
    ) -> None:
        closing = decided(perp_snapshot(held), **LOOSE, **given).state.closing
        assert (closing and closing.cause) == cause

    def test_it_withdraws_every_quote_and_closes_the_whole_position(self) -> None:
        decision = decided(perp_snapshot(position(2, unrealized="-10")), stop_loss=10)
        assert decision.quotes == ()
        assert decision.taker == TakerOrder(
            side=Side.SELL, quantity=D(2), limit_price=D("149.23"), reduce_only=True, reason="stop_loss"
        )
        assert decision.stop_reason is None

    CLOSING = State(
        carried=Carried(low=D(0), high=D(0)), closing=Closing(cause=Cause.STOP_LOSS, unrealized=D(-10))
    )

    def test_it_goes_on_until_the_position_is_flat_even_if_the_loss_is_gone(self) -> None:
        of = perp_snapshot(position("-0.4", unrealized="3"), own_net="-0.4")
        decision = decided(of, self.CLOSING, stop_loss=10)
        assert decision.quotes == ()
        assert decision.taker is not None
        assert (decision.taker.side, decision.taker.quantity) == (Side.BUY, D("0.4"))
        assert decision.state == self.CLOSING

    @pytest.mark.parametrize("unclear", [book(None, "150.03"), book("150.03", "150.03")])
    def test_it_waits_for_a_price_somebody_confirms(self, unclear: OrderBook) -> None:
        of = perp_snapshot(position(2, unrealized="-10"), own_net=2, order_book=unclear)
        decision = decided(of, self.CLOSING, stop_loss=10)
        assert (decision.quotes, decision.taker, decision.state) == ((), None, self.CLOSING)

    def test_nothing_is_quoted_for_the_cool_down_after_a_stop_loss(self) -> None:
        flat = decided(perp_snapshot(0), self.CLOSING, stop_loss=10)
        assert (flat.quotes, flat.taker, flat.state.closing) == ((), None, None)
        late = perp_snapshot(0, taken_at_ms=NOW_MS + 299_999)
        assert decided(late, flat.state, stop_loss=10).quotes == ()
        over = perp_snapshot(0, taken_at_ms=NOW_MS + 300_000)
        assert decided(over, flat.state, stop_loss=10).quotes != ()

    def test_the_position_is_controlled_during_the_cool_down(self) -> None:
        cooling = State(cooldown_since_ms=NOW_MS - 1000)
        decision = decided(perp_snapshot(7), cooling, **LOOSE)
        assert decision.quotes == ()
        assert decision.taker is not None
        assert decision.taker.quantity == 2

    def test_a_take_profit_quotes_again_at_once(self) -> None:
        state = State(closing=Closing(cause=Cause.TAKE_PROFIT, unrealized=D(10)))
        flat = decided(perp_snapshot(0), state, take_profit=10)
        assert flat.state.closing is None
        assert decided(perp_snapshot(0), flat.state, take_profit=10).quotes != ()

    def test_it_can_end_the_run_once_the_position_is_flat(self) -> None:
        given: dict[str, Any] = {"stop_loss": 10, "after_stop_loss": "stop"}
        assert decided(perp_snapshot(1, own_net=1), self.CLOSING, **given).stop_reason is None
        flat = decided(perp_snapshot(0), self.CLOSING, **given)
        assert flat.stop_reason == "stop_loss: the position was closed at an unrealised profit of -10 USDC"
        assert (flat.quotes, flat.unwind) == ((), True)

    def test_a_stop_that_was_not_carried_out_is_asked_for_again(self) -> None:
        given: dict[str, Any] = {"stop_loss": 10, "after_stop_loss": "stop"}
        flat = decided(perp_snapshot(0), self.CLOSING, **given)
        again = decided(perp_snapshot(0), flat.state, **given)
        assert (again.stop_reason, again.unwind) == (flat.stop_reason, True)


class TestSystemFills:
    def test_a_liquidation_ends_the_run_without_another_order(self) -> None:
        of = perp_snapshot(1, system_fills=[fill("x", Side.SELL, "0.7", is_system=True)])
        decision = decided(of)
        assert decision.stop_reason is not None
        assert "the exchange itself traded 0.7 SOL" in decision.stop_reason
        assert (decision.quotes, decision.taker, decision.unwind) == ((), None, False)

    def test_it_is_remembered_until_the_run_has_ended(self) -> None:
        first = decided(perp_snapshot(1, system_fills=[fill("x", Side.SELL, is_system=True)]))
        again = decided(perp_snapshot(1), first.state)
        assert (again.stop_reason, again.quotes) == (first.stop_reason, ())


class TestUnwind:
    @pytest.mark.parametrize(
        ("own", "held", "expected"),
        [
            pytest.param("1.5", "1.5", (Side.SELL, "1.5"), id="long"),
            pytest.param("-1.5", "-1.5", (Side.BUY, "1.5"), id="short"),
            pytest.param("1.5", "4", (Side.SELL, "1.5"), id="others hold more"),
            pytest.param("4", "1.5", (Side.SELL, "1.5"), id="no more than there is"),
            pytest.param("-4", "-1.5", (Side.BUY, "1.5"), id="no more than there is, short"),
            pytest.param("1.5", "-1", None, id="the account is on the other side"),
            pytest.param("1.5", "0", None, id="the account is flat"),
            pytest.param("0", "3", None, id="nothing is its own"),
            pytest.param("0.005", "3", None, id="too little for an order"),
        ],
    )
    def test_it_closes_its_own_part_and_nothing_else(
        self, own: str, held: str, expected: tuple[Side, str] | None
    ) -> None:
        order = unwind(perp_snapshot(held, own_net=own), State(), perp_params())
        assert (order and (order.side, order.quantity)) == (expected and (expected[0], D(expected[1])))
        assert order is None or order.reduce_only

    def test_an_unknown_position_is_left_alone(self) -> None:
        assert unwind(perp_snapshot(None, own_net=1), State(), perp_params()) is None
