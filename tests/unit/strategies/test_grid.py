"""The spot grid's decisions: stock, funds, the end of a run, and what is said before a start."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest

from market.book import OrderBook
from market.orders import Role, Side
from market.profit import Profit
from market.snapshot import LevelTotals, Snapshot
from strategies.base import Decision, TakerOrder
from strategies.grid import STRATEGY, Params, State, decide, unwind
from strategies.grid_levels import BoundaryAction
from tests.unit.strategies.grid_values import RANGE, liquidation, seen
from tests.unit.strategies.grid_values import spot_at as at
from tests.unit.strategies.market_values import book, own_order, snapshot

BUY, SELL = Side.BUY, Side.SELL


AUTOMATIC: dict[str, Any] = {"auto_price_range": True, "grid_lower_price": None, "grid_upper_price": None}


def params(**given: Any) -> Params:
    return Params.model_validate({**RANGE, "order_quantity": "0.5", **given})


def started(when: Snapshot | None = None, **given: Any) -> State:
    return decide(when or at(), State(), params(**given)).state


class TestFirstDecision:
    def test_levels_make_one_order_less_and_an_empty_gap_level(self) -> None:
        # 126 is the lower level of the interval that holds the price, 128 the empty gap.
        assert seen(decide(at(), State(), params()).quotes) == [
            "sell 0.5 @ 130",
            "sell 0.5 @ 132",
            "buy 0.5 @ 126",
            "buy 0.5 @ 124",
            "buy 0.5 @ 122",
            "buy 0.5 @ 120",
        ]

    def test_a_price_on_a_level_leaves_that_level_empty(self) -> None:
        quotes = seen(decide(at("126"), State(), params()).quotes)
        assert quotes[:3] == ["sell 0.5 @ 128", "sell 0.5 @ 130", "sell 0.5 @ 132"]
        assert quotes[3] == "buy 0.5 @ 124"

    def test_stock_is_taken_from_the_lowest_interval_up_as_far_as_there_is_any(self) -> None:
        decision = decide(at("122", base="1.2"), State(), params())
        assert seen(decision.quotes)[:3] == ["sell 0.5 @ 124", "sell 0.5 @ 126", "sell 0.2 @ 128"]
        assert decision.state.stock == D("1.2")
        assert "buy 0.5 @ 120" in seen(decision.quotes)

    def test_empty_intervals_above_wait_until_the_price_has_passed_them(self) -> None:
        state = started(at("126.3", base="0"))
        assert not [quote for quote in decide(at(base="0"), state, params()).quotes if quote.side is SELL]
        higher = decide(at("129", base="0"), state, params())
        assert seen(higher.quotes)[0] == "buy 0.5 @ 128"

    def test_what_the_first_decision_computed_is_kept(self) -> None:
        state = started(**AUTOMATIC, order_quantity=None)
        later = decide(at("120", base="1", quote="1"), state, params(**AUTOMATIC)).state
        assert later == state
        assert state.first_price == D("126.3")
        assert state.grid is not None
        assert (state.grid.levels[0], state.grid.levels[-1]) == (D("119.98"), D("132.62"))

    def test_given_bounds_are_kept_also_when_an_automatic_range_is_asked_for(self) -> None:
        grid = started(auto_price_range=True).grid
        assert grid is not None
        assert (grid.levels[0], grid.levels[-1]) == (D(120), D(132))

    @pytest.mark.parametrize("base", ["0", "0.02", "0.7"])
    def test_a_small_holding_does_not_shrink_the_grid_and_stocks_what_it_can(self, base: str) -> None:
        decision = decide(at(base=base, quote="800"), State(), params(order_quantity=None))
        assert decision.state.grid is not None
        assert decision.state.grid.quantity == D("1.54")
        assert decision.state.stock == D(base)
        assert seen(decision.quotes)[-4] == "buy 1.54 @ 126"

    @pytest.mark.parametrize("unclear", [book(None, "126"), book("126", None), book("126", "126")])
    def test_without_a_two_sided_book_quotes_are_withdrawn_and_nothing_is_computed(
        self, unclear: OrderBook
    ) -> None:
        assert decide(at(book=unclear), State(), params()) == Decision(quotes=(), state=State())
        state = started()
        assert decide(at(book=unclear), state, params()) == Decision(quotes=(), state=state)

    def test_without_balances_quotes_are_withdrawn(self) -> None:
        state = started()
        assert decide(at(base=None, quote=None), state, params()) == Decision(quotes=(), state=state)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"order_quantity": "0.001"}, "raise strategy_config.order_quantity"),
            ({"grid_lower_price": "120", "grid_upper_price": "120.001"}, "at least a tick apart"),
        ],
    )
    def test_a_grid_that_cannot_be_made_stops_the_run_with_advice(
        self, given: dict[str, Any], message: str
    ) -> None:
        decision = decide(at(), State(), params(**given))
        assert decision.quotes == ()
        assert message in (decision.stop_reason or "")
        assert not decision.unwind

    def test_own_orders_of_a_lost_grid_go_before_a_new_one_is_made(self) -> None:
        resting = own_order(BUY, "124", "0.5", level=2)
        assert decide(at(own=(resting,)), State(), params()) == Decision(quotes=(), state=State())
        unsure = at(unsettled=frozenset({(2, int(Role.QUOTE))}))
        assert decide(unsure, State(), params()) == Decision(quotes=(), state=State())

    def test_what_a_lost_grid_bought_is_taken_over(self) -> None:
        totals: dict[Any, LevelTotals] = {(2, Role.QUOTE): LevelTotals(bought=D("0.5"), paid=D(62))}
        when = at(
            "126.3",
            base="0.5",
            totals=totals,
            profit=Profit(net=D("0.5"), average_price=D(124)),
        )
        decision = decide(when, State(), params())
        assert seen(decision.quotes)[:2] == ["sell 0.5 @ 130", "buy 0.5 @ 126"]
        assert decision.state.stock == 0

    def test_what_a_lost_grid_sold_counts_as_stock(self) -> None:
        totals: dict[Any, LevelTotals] = {(4, Role.CLOSE): LevelTotals(sold=D("0.5"), received=D(65))}
        when = at("130.5", base="0", totals=totals, profit=Profit(net=D("-0.5"), average_price=D(130)))
        decision = decide(when, State(), params())
        assert decision.state.stock == D("0.5")
        assert [quote for quote in decision.quotes if quote.side is SELL] == []


class TestCounterOrders:
    def test_what_a_buy_left_after_its_real_fee_is_sold_one_level_higher(self) -> None:
        # The old program assumed 0.1 % whatever was paid.
        for fee, expected in (("0.0005", "0.49"), ("0", "0.5")):
            totals: dict[Any, LevelTotals] = {(2, Role.QUOTE): LevelTotals(bought=D("0.5"), base_fees=D(fee))}
            quotes = decide(at("123", base="10", totals=totals), started(), params()).quotes
            assert seen(quotes)[0] == f"sell {expected} @ 126"

    def test_what_was_sold_is_bought_back_one_level_lower_in_the_same_quantity(self) -> None:
        # The old program bought 0.5075 where the step allowed it: gains stay in the quote asset here.
        totals: dict[Any, LevelTotals] = {(4, Role.CLOSE): LevelTotals(sold=D("0.5"), received=D(65))}
        quotes = seen(decide(at("130.5", totals=totals), started(), params()).quotes)
        assert quotes[:2] == ["sell 0.5 @ 132", "buy 0.5 @ 128"]


class TestFunds:
    def test_buys_the_account_cannot_pay_are_left_out_from_the_lowest_up(self) -> None:
        quotes = seen(decide(at(quote="150"), State(), params()).quotes)
        assert quotes[2:] == ["buy 0.5 @ 126", "buy 0.5 @ 124", "buy 0.2 @ 122"]

    def test_what_own_orders_hold_can_be_spent_on_them_again(self) -> None:
        state = started(at(quote="63", base="0"))
        rests = own_order(BUY, "126", "0.5", level=3)
        when = at(base="0", balances=snapshot(base="0", quote="0", quote_locked="63").balances, own=(rests,))
        assert seen(decide(when, state, params()).quotes) == ["buy 0.5 @ 126"]

    def test_coins_that_are_gone_are_not_sold(self) -> None:
        state = started()
        assert seen(decide(at(base="0.7"), state, params()).quotes)[:2] == [
            "sell 0.5 @ 130",
            "sell 0.2 @ 132",
        ]


class TestEnd:
    @pytest.mark.parametrize("price", ["100", "150"])
    def test_stock_that_is_not_sold_is_no_loss_and_no_profit(self, price: str) -> None:
        state = started()
        assert state.stock == 1
        assert decide(at(price), state, params(stop_loss=1, take_profit=1)).stop_reason is None

    def test_a_loss_is_what_selling_what_the_run_bought_would_leave(self) -> None:
        bought = Profit(net=D(2), average_price=D(124), realized=D("0.2"), fees=D("0.3"))
        held = decide(at("122", profit=bought), started(), params(stop_loss="4.11"))
        ended = decide(at("122", profit=bought), started(), params(stop_loss="-4.1"))
        assert held.stop_reason is None
        assert ended.stop_reason == (
            "stop_loss 4.1 reached: result of the run -4.1 USDC at price 122, net 2 SOL beside 1 taken over"
        )
        assert (ended.quotes, ended.unwind, ended.is_loss) == ((), True, True)
        closing = unwind(at("122", profit=bought), ended.state, params(stop_loss="-4.1"))
        assert closing is not None
        assert (closing.side, closing.quantity) == (SELL, D(2))

    @pytest.mark.parametrize("price", ["100", "150"])
    def test_sold_stock_counts_with_what_it_brought_above_the_first_price(self, price: str) -> None:
        sold = Profit(net=D(-1), average_price=D(131))
        assert decide(at(price, profit=sold), started(), params(take_profit="4.71")).stop_reason is None
        ended = decide(at(price, profit=sold), started(), params(take_profit="4.7", stop_loss=1))
        assert "take_profit 4.7 reached: result of the run 4.7 USDC" in (ended.stop_reason or "")
        assert not ended.is_loss

    def test_a_barrier_of_zero_is_none(self) -> None:
        assert decide(at("100"), started(), params(stop_loss=0, take_profit=0)).stop_reason is None

    def test_a_trade_of_the_exchange_itself_ends_the_run_and_unwinds_nothing(self) -> None:
        traded = (liquidation(SELL, "0.4", "119"),)
        decision = decide(at(system_fills=traded), started(), params())
        assert (decision.quotes, decision.unwind) == ((), False)
        assert "the exchange itself traded -0.4 SOL" in (decision.stop_reason or "")

    def test_the_boundary_is_not_watched_unless_asked(self) -> None:
        assert decide(at("100"), started(), params()).stop_reason is None

    @pytest.mark.parametrize(
        ("action", "unwinds"), [(BoundaryAction.STOP_ONLY, False), (BoundaryAction.EMERGENCY_CLOSE, True)]
    )
    def test_a_price_outside_the_range_ends_the_run(self, action: BoundaryAction, unwinds: bool) -> None:
        watched = params(enable_boundary_check=True, boundary_action=action)
        state = started()
        assert decide(at("132.132"), state, watched).stop_reason is None
        decision = decide(at("132.14"), state, watched)
        assert decision.stop_reason == (
            "price 132.14 left the range 120 to 132 by more than boundary_tolerance 0.001: " + action
        )
        assert (decision.quotes, decision.unwind) == ((), unwinds)

    def test_the_range_can_follow_the_price(self) -> None:
        watched = params(
            enable_boundary_check=True, boundary_action="adjust_range", price_range_percent=5, grid_num=5
        )
        state = started(grid_num=5)
        totals: dict[Any, LevelTotals] = {
            (level, Role.QUOTE): LevelTotals(bought=D("0.5")) for level in (0, 1, 2)
        }
        fallen = at("110", totals=totals, profit=Profit(net=D("1.5"), average_price=D(123)))
        decision = decide(fallen, state, watched)
        # Stock 0.5 (129 to 132) and 1.5 bought; levels 104.5, 107.25, 110, 112.75, 115.5.
        # All of the first grid's four intervals: nothing is bought on top of it.
        assert seen(decision.quotes) == ["sell 0.5 @ 112.75", "sell 1.5 @ 115.5"]
        assert decision.state.stock == state.stock
        sold = {**totals, (3, Role.CLOSE): LevelTotals(sold=D("0.7"))}
        later = decide(at("110", totals=sold), decision.state, watched)
        assert seen(later.quotes) == [
            "sell 0.5 @ 112.75",
            "sell 0.8 @ 115.5",
            "buy 0.5 @ 107.25",
            "buy 0.2 @ 104.5",
        ]


class TestUnwind:
    def test_what_the_run_bought_is_sold_with_a_worst_price(self) -> None:
        taker = unwind(at(profit=Profit(net=D("1.237"), average_price=D(120))), started(), params())
        assert taker == TakerOrder(
            side=SELL, quantity=D("1.23"), limit_price=D("125.03"), reason="close grid"
        )

    def test_sold_stock_is_not_bought_back(self) -> None:
        assert unwind(at(profit=Profit(net=D(-1), average_price=D(130))), started(), params()) is None

    @pytest.mark.parametrize("net", ["0", "0.009"])
    def test_nothing_and_dust_end_it(self, net: str) -> None:
        assert unwind(at(profit=Profit(net=D(net))), started(), params()) is None

    def test_no_more_is_sold_than_is_there(self) -> None:
        taker = unwind(at(base="0.3", profit=Profit(net=D(1))), started(), params())
        assert taker is not None
        assert taker.quantity == D("0.3")

    def test_the_slippage_is_a_parameter(self) -> None:
        taker = unwind(at(profit=Profit(net=D(1))), started(), params(close_slippage_bps=0))
        assert taker is not None
        assert taker.limit_price == D("126.29")


def test_levels_are_places_of_their_own() -> None:
    assert STRATEGY.fixed_levels
    assert (STRATEGY.title, STRATEGY.config_name) == ("GridStrategy", "grid")


def test_parameters_and_state_survive_json() -> None:
    some = params(stop_loss=-3, boundary_action="adjust_range")
    assert Params.model_validate_json(some.model_dump_json()) == some
    state = started()
    again = State.model_validate_json(state.model_dump_json())
    assert again == state
    assert again.model_dump_json() == state.model_dump_json()
