"""When the perpetual market maker gives up a part of its position, or all of it."""

from __future__ import annotations

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
from strategies.perp_protection import Cause, Closing
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
        assert decided(perp_snapshot(2), target_position=0).taker == TakerOrder(
            side=Side.SELL,
            quantity=D("1.90"),
            limit_price=D("149.23"),
            reduce_only=True,
            reason="position control",
        )

    def test_the_side_it_would_hit_is_not_quoted(self) -> None:
        for held, side in ((2, Side.SELL), (-2, Side.BUY)):
            decision = decided(perp_snapshot(held), target_position=0)
            assert {quote.side for quote in decision.quotes} == {side}

    def test_what_it_takes_is_not_quoted_as_well(self) -> None:
        decision = decided(perp_snapshot(2), quantity=2, max_orders=9, target_position=0)
        assert decision.taker is not None
        # From 2 down to -5 are 7.
        assert sum(quantities(decision.quotes, Side.SELL)) + decision.taker.quantity == 7

    def test_it_waits_while_an_earlier_one_is_unknown(self) -> None:
        of = perp_snapshot(2, own_net=2, unsettled=[TAKER], bounds=(0, 2))
        assert decided(of, target_position=0).taker is None

    def test_it_is_not_repeated_for_a_position_that_lags(self) -> None:
        # The order took 1.9, the exchange still shows 2.
        late = perp_snapshot(2, own_net="0.1", bounds=("0.1", 2))
        assert decided(late, target_position=0).taker is None

    @pytest.mark.parametrize("held", [5, -5, "4.9"])
    def test_without_a_target_nothing_up_to_the_cap_is_traded_back(self, held: object) -> None:
        decision = decided(perp_snapshot(D(str(held)), own_net=D(str(held))))
        assert decision.taker is None
        assert decision.quotes != ()

    def test_without_a_target_what_is_beyond_the_cap_is_traded_back(self) -> None:
        taker = decided(perp_snapshot("5.3")).taker
        assert taker is not None
        assert (taker.side, taker.quantity) == (Side.SELL, D("0.3"))

    @pytest.mark.parametrize(
        ("own", "held", "bounds", "expected"),
        [
            pytest.param(2, 2, None, (Side.SELL, "1.9"), id="all of it is its own"),
            pytest.param(-2, -2, None, (Side.BUY, "1.9"), id="short"),
            pytest.param(2, 9, None, (Side.SELL, "1.9"), id="others hold more"),
            pytest.param(0, 9, None, None, id="nothing is its own"),
            pytest.param("0.1", 9, None, None, id="its own is within the line"),
            pytest.param(2, "1.5", None, (Side.SELL, "1.4"), id="no more than there is"),
            pytest.param(2, -1, None, None, id="others turned the account round"),
            pytest.param(2, 9, (7, 9), None, id="its own fills lag: they may be sold already"),
            pytest.param(2, 7, (7, 9), None, id="the position lags"),
        ],
    )
    def test_what_others_hold_is_never_traded_back(
        self, own: int, held: object, bounds: tuple[int, int] | None, expected: tuple[Side, str] | None
    ) -> None:
        of = perp_snapshot(D(str(held)), own_net=own, bounds=bounds, is_exclusive=False)
        taker = decided(of, target_position=0, max_position=20).taker
        assert (taker and (taker.side, taker.quantity)) == (expected and (expected[0], D(expected[1])))


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

    @pytest.mark.parametrize(
        ("held", "own", "given", "expected"),
        [
            # Own fills are at 150: at 145 two of them have lost 10.
            pytest.param(position(2, mark=145), 2, {"stop_loss": 10}, "-10", id="settled loss"),
            pytest.param(
                position(2, mark=145, unrealized="-12"),
                2,
                {"stop_loss": 10},
                "-12",
                id="the exchange is lower",
            ),
            pytest.param(position(2, mark=155), 2, {"take_profit": 10}, "10", id="settled profit"),
            pytest.param(
                position(2, mark=150, unrealized=99), 2, {"take_profit": 10}, None, id="its own profit counts"
            ),
            pytest.param(
                position(9, mark=150, unrealized=10), 2, {"take_profit": 10}, "10", id="found at the start"
            ),
        ],
    )
    def test_profits_that_the_exchange_settles_do_not_hide_the_result(
        self, held: Position, own: int, given: dict[str, Any], expected: str | None
    ) -> None:
        closing = decided(perp_snapshot(held, own_net=own), max_position=20, **given).state.closing
        assert (closing and closing.unrealized) == (expected and D(expected))

    @pytest.mark.parametrize(
        ("held", "own", "expected"),
        [
            pytest.param(position(9, mark=150, unrealized="-99"), 2, None, id="others' loss"),
            pytest.param(position(9, mark=145, unrealized=99), 2, "2", id="others' profit hides nothing"),
            pytest.param(position(2, mark=150, unrealized="-10"), 2, "2", id="explained by own fills"),
            pytest.param(position(1, mark=145), 2, "1", id="no more than there is"),
            pytest.param(position(-1, mark=145), 2, None, id="on the other side"),
            pytest.param(position(9, mark=145), 0, None, id="nothing is its own"),
        ],
    )
    def test_where_others_trade_it_goes_by_its_own_part_and_closes_only_that(
        self, held: Position, own: int, expected: str | None
    ) -> None:
        decision = decided(
            perp_snapshot(held, own_net=own, is_exclusive=False), stop_loss=10, max_position=20
        )
        assert (decision.state.closing is not None) == (expected is not None)
        assert (decision.taker and decision.taker.quantity) == (expected and D(expected))

    def test_where_others_trade_it_is_over_once_its_own_part_is_gone(self) -> None:
        decision = decided(perp_snapshot(7, own_net=0, is_exclusive=False), self.CLOSING, stop_loss=10)
        assert (decision.taker, decision.state.closing) == (None, None)
        assert decision.state.cooldown_since_ms == NOW_MS

    def test_it_is_not_over_while_the_position_lags_behind_its_own_fills(self) -> None:
        late = perp_snapshot(0, own_net=2, bounds=(0, 2), is_exclusive=False)
        decision = decided(late, self.CLOSING, stop_loss=10)
        assert (decision.taker, decision.state) == (None, self.CLOSING)

    CLOSING = State(closing=Closing(cause=Cause.STOP_LOSS, unrealized=D(-10)))

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
        assert (flat.quotes, flat.unwind, flat.is_loss) == ((), True, True)

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
