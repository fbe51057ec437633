"""The perpetual grid's decisions: exposure, barriers, the boundary of the range, the end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal as D
from typing import Any

import pytest

from market.book import OrderBook
from market.orders import Role, Side
from market.profit import Profit
from market.snapshot import LevelTotals, Snapshot
from strategies.base import Decision, TakerOrder
from strategies.grid_levels import BoundaryAction, GridType, shown
from strategies.intervals import net_by_interval
from strategies.perp_grid import STRATEGY, Params, State, decide, unwind
from tests.unit.strategies.grid_values import RANGE, liquidation, seen
from tests.unit.strategies.grid_values import perp_at as at
from tests.unit.strategies.market_values import book, own_order

BUY, SELL = Side.BUY, Side.SELL
OPEN, CLOSE = Role.QUOTE, Role.CLOSE
FOLLOWING: dict[str, Any] = {"boundary_action": "adjust_range", "price_range_percent": 5, "grid_num": 5}


AUTOMATIC: dict[str, Any] = {"auto_price_range": True, "grid_lower_price": None, "grid_upper_price": None}


def params(**given: Any) -> Params:
    return Params.model_validate({**RANGE, "order_quantity": "0.5", "max_position": 10, **given})


def started(when: Snapshot | None = None, **given: Any) -> State:
    return decide(when or at(), State(), params(**given)).state


class TestFirstDecision:
    @pytest.mark.parametrize(
        ("grid_type", "expected"),
        [
            (
                GridType.NEUTRAL,
                [
                    "sell 0.5 @ 128",
                    "buy 0.5 @ 124",
                    "sell 0.5 @ 130",
                    "buy 0.5 @ 122",
                    "sell 0.5 @ 132",
                    "buy 0.5 @ 120",
                ],
            ),
            (GridType.LONG, ["buy 0.5 @ 126", "buy 0.5 @ 124", "buy 0.5 @ 122", "buy 0.5 @ 120"]),
            (GridType.SHORT, ["sell 0.5 @ 128", "sell 0.5 @ 130", "sell 0.5 @ 132"]),
        ],
    )
    def test_each_type_opens_on_its_side_of_the_price(self, grid_type: GridType, expected: list[str]) -> None:
        assert seen(decide(at(), State(), params(grid_type=grid_type)).quotes) == expected

    @pytest.mark.parametrize(
        ("grid_type", "ends"),
        [("neutral", ("95", "105")), ("long", ("95", "100")), ("short", ("100", "105"))],
    )
    def test_an_automatic_range_lies_where_the_type_opens(
        self, grid_type: str, ends: tuple[str, str]
    ) -> None:
        state = started(at("100"), **AUTOMATIC, grid_type=grid_type)
        assert state.grid is not None
        assert (shown(state.grid.levels[0]), shown(state.grid.levels[-1])) == ends

    @pytest.mark.parametrize(
        ("grid_type", "expected"),
        [
            # 0.8 x 1.5 / 6; in a neutral grid three intervals a side can be open at once.
            ("long", "0.2"),
            ("short", "0.2"),
            ("neutral", "0.4"),
        ],
    )
    def test_the_automatic_quantity_keeps_the_worst_case_inside_the_largest_position(
        self, grid_type: str, expected: str
    ) -> None:
        state = started(order_quantity=None, max_position="1.5", grid_type=grid_type)
        assert state.grid is not None
        assert state.grid.quantity == D(expected)
        assert state.grid.quantity * state.grid.larger_direction <= D("1.5")

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"order_quantity": "0.001"}, "raise strategy_config.order_quantity"),
            ({"order_quantity": None, "max_position": "0.005"}, "raise strategy_config.max_position"),
            ({"grid_lower_price": "126", "grid_upper_price": "126.001"}, "at least a tick apart"),
        ],
    )
    def test_a_grid_that_cannot_be_made_stops_the_run_with_advice(
        self, given: dict[str, Any], message: str
    ) -> None:
        decision = decide(at(), State(), params(**given))
        assert (decision.quotes, decision.unwind) == ((), False)
        assert message in (decision.stop_reason or "")

    @pytest.mark.parametrize("unclear", [book(None, "126"), book("126", None), book("126", "126")])
    def test_without_a_two_sided_book_quotes_are_withdrawn(self, unclear: OrderBook) -> None:
        # Also with a mark price, and whatever the boundary says of it.
        state = started()
        assert decide(at(book=unclear, mark="200"), state, params()) == Decision(quotes=(), state=state)
        assert decide(at(book=unclear, mark="126"), State(), params()) == Decision(quotes=(), state=State())

    def test_what_a_lost_grid_traded_is_taken_over(self) -> None:
        totals: dict[Any, LevelTotals] = {(2, OPEN): LevelTotals(bought=D("0.5"), paid=D(62))}
        lost = at(net="0.5", totals=totals, profit=Profit(net=D("0.5"), average_price=D(124)))
        decision = decide(lost, State(), params())
        assert decision.state.grid is not None
        assert sum(net_by_interval(decision.state.grid, totals)) == D("0.5")
        assert next(quote for quote in decision.quotes if quote.role is CLOSE).quantity == D("0.5")


class TestClosing:
    TOTALS: Mapping[Any, LevelTotals] = {(2, OPEN): LevelTotals(bought=D("0.5"))}

    @pytest.mark.parametrize(("grid_type", "reduces"), [("neutral", False), ("long", True)])
    def test_exits_of_one_sided_grids_only_reduce(self, grid_type: str, reduces: bool) -> None:
        state = started(grid_type=grid_type)
        decision = decide(at("123.5", totals=self.TOTALS), state, params(grid_type=grid_type))
        closing = [quote for quote in decision.quotes if quote.role is CLOSE]
        assert [(quote.side, quote.price, quote.reduce_only) for quote in closing] == [
            (SELL, D(126), reduces)
        ]
        assert not any(quote.reduce_only for quote in decision.quotes if quote.role is OPEN)

    def test_exits_of_a_short_grid_only_reduce(self) -> None:
        state = started(grid_type="short")
        totals: dict[Any, LevelTotals] = {(4, OPEN): LevelTotals(sold=D("0.5"))}
        closing = decide(at("130.5", totals=totals), state, params(grid_type="short")).quotes[0]
        assert (closing.side, closing.price, closing.reduce_only) == (BUY, D(128), True)


class TestBarriers:
    LONG = Profit(net=D(2), average_price=D(127))

    def test_the_unrealised_loss_of_the_own_net_ends_the_run(self) -> None:
        state = started()
        assert decide(at("125", profit=self.LONG), state, params(stop_loss="4.01")).stop_reason is None
        decision = decide(at("125", profit=self.LONG), state, params(stop_loss=-4))
        assert decision.stop_reason == (
            "stop_loss 4 reached: unrealised profit -4 USDC at price 125, net 2 SOL"
        )
        assert (decision.quotes, decision.unwind) == ((), True)

    def test_the_unrealised_profit_of_a_short_net_ends_the_run(self) -> None:
        short = Profit(net=D(-2), average_price=D(129), realized=D(-100))
        decision = decide(at("126", profit=short), started(), params(take_profit=6))
        assert "take_profit 6 reached" in (decision.stop_reason or "")
        assert decision.unwind

    def test_the_mark_price_counts_and_not_the_exchanges_own_figure(self) -> None:
        decision = decide(at("126", mark="125", profit=self.LONG), started(), params(stop_loss=4))
        assert "at price 125" in (decision.stop_reason or "")

    def test_a_liquidation_ends_the_run_and_unwinds_nothing(self) -> None:
        traded = (liquidation(BUY, "0.4", "131"),)
        decision = decide(at(system_fills=traded), started(), params(stop_loss=1))
        assert (decision.quotes, decision.unwind) == ((), False)
        assert "the exchange itself traded 0.4 SOL on this account, last at 131" in (
            decision.stop_reason or ""
        )


class TestBoundary:
    @pytest.mark.parametrize(
        ("price", "is_left"), [("132.13", False), ("132.14", True), ("119.88", False), ("119.87", True)]
    )
    def test_the_range_is_left_beyond_the_tolerance(self, price: str, is_left: bool) -> None:
        assert (decide(at(price), started(), params()).stop_reason is not None) is is_left

    @pytest.mark.parametrize(
        ("action", "unwinds"), [(BoundaryAction.STOP_ONLY, False), (BoundaryAction.EMERGENCY_CLOSE, True)]
    )
    def test_leaving_it_ends_the_run(self, action: BoundaryAction, unwinds: bool) -> None:
        decision = decide(at("119"), started(), params(boundary_action=action))
        assert decision.stop_reason == (
            "price 119 left the range 120 to 132 by more than boundary_tolerance 0.001: " + action
        )
        assert (decision.quotes, decision.unwind) == ((), unwinds)

    def test_the_check_can_be_switched_off(self) -> None:
        assert decide(at("100"), started(), params(enable_boundary_check=False)).stop_reason is None

    def test_a_start_outside_ends_at_once(self) -> None:
        assert "left the range" in (decide(at("140"), State(), params()).stop_reason or "")


class TestAdjusting:
    TOTALS: Mapping[Any, LevelTotals] = {(level, OPEN): LevelTotals(bought=D("0.5")) for level in range(3)}
    HELD = Profit(net=D("1.5"), average_price=D(123))

    def test_old_orders_are_withdrawn_before_the_range_moves(self) -> None:
        state = started(**FOLLOWING)
        resting = own_order(BUY, "120", "0.5", level=0)
        first = decide(at("110", own=(resting,)), state, params(**FOLLOWING))
        assert (first.quotes, first.stop_reason, first.state.grid) == ((), None, state.grid)
        assert first.state.adjusting == (
            "price 110 left the range 120 to 132 by more than boundary_tolerance 0.001"
        )
        unsure = at("110", unsettled=frozenset({(0, int(OPEN))}))
        assert decide(unsure, first.state, params(**FOLLOWING)) == Decision(quotes=(), state=first.state)
        # The price is back inside: what was begun is finished all the same.
        moved = decide(at("121"), first.state, params(**FOLLOWING))
        assert moved.state.grid is not None
        assert moved.state.grid.levels[2] == D(121)
        assert (moved.state.adjusting, moved.state.adjustments) == ("", 1)
        assert moved.state.last_adjustment == first.state.adjusting

    @pytest.mark.parametrize(
        ("grid_type", "ends"),
        [("neutral", ("133", "147")), ("long", ("133", "140")), ("short", ("140", "147"))],
    )
    def test_without_a_position_the_new_range_lies_where_the_type_opens(
        self, grid_type: str, ends: tuple[str, str]
    ) -> None:
        state = started(grid_type=grid_type, **FOLLOWING)
        moved = decide(at("140"), state, params(grid_type=grid_type, **FOLLOWING)).state
        assert moved.grid is not None
        assert (shown(moved.grid.levels[0]), shown(moved.grid.levels[-1])) == ends
        assert moved.grid.quantity == D("0.5")

    @pytest.mark.parametrize(("grid_type", "opened"), [("neutral", []), ("long", ["buy 0.5 @ 107.25"])])
    def test_a_long_position_gets_exits_above_the_price(self, grid_type: str, opened: list[str]) -> None:
        # The first grids came to 1 and to 2 at most: what is held counts towards that.
        state = started(grid_type=grid_type, **FOLLOWING)
        fallen = at("110", net="1.5", totals=self.TOTALS, profit=self.HELD)
        decision = decide(fallen, state, params(grid_type=grid_type, **FOLLOWING))
        assert decision.stop_reason is None
        assert seen(decision.quotes) == ["sell 0.5 @ 112.75", "sell 1 @ 115.5", *opened]
        assert decision.state.grid is not None
        assert sum(net_by_interval(decision.state.grid, self.TOTALS)) == D("1.5")

    @pytest.mark.parametrize(
        ("grid_type", "opened"), [("neutral", []), ("short", ["sell 0.5 @ 143.5", "sell 0.5 @ 147"])]
    )
    def test_a_short_position_gets_exits_below_the_price(self, grid_type: str, opened: list[str]) -> None:
        state = started(grid_type=grid_type, **FOLLOWING)
        totals: dict[Any, LevelTotals] = {(level, OPEN): LevelTotals(sold=D("0.5")) for level in (2, 3)}
        risen = at("140", net="-1", totals=totals, profit=Profit(net=D(-1), average_price=D(130)))
        decision = decide(risen, state, params(grid_type=grid_type, **FOLLOWING))
        assert seen(decision.quotes) == ["buy 0.5 @ 136.5", "buy 0.5 @ 133", *opened]

    def test_later_fills_count_from_what_was_taken_over(self) -> None:
        state = started(grid_type="long", **FOLLOWING)
        fallen = at("110", net="1.5", totals=self.TOTALS, profit=self.HELD)
        moved = decide(fallen, state, params(grid_type="long", **FOLLOWING)).state
        totals = {**self.TOTALS, (2, CLOSE): LevelTotals(sold=D("0.2"))}
        later = decide(at("110", totals=totals), moved, params(grid_type="long", **FOLLOWING))
        assert seen(later.quotes)[0] == "sell 0.3 @ 112.75"

    def test_a_range_that_cannot_be_made_closes_instead(self) -> None:
        narrow = {**FOLLOWING, "price_range_percent": "0.001"}
        decision = decide(at("110"), started(**narrow), params(**narrow))
        assert decision.quotes == ()
        assert decision.unwind
        assert "adjust_range impossible, so closed" in (decision.stop_reason or "")

    def test_a_stop_loss_does_not_wait_for_the_move(self) -> None:
        state = started(**FOLLOWING).model_copy(update={"adjusting": "price 110 left the range"})
        decision = decide(at("110", profit=self.HELD), state, params(stop_loss=10, **FOLLOWING))
        assert "stop_loss 10 reached" in (decision.stop_reason or "")


class TestUnwind:
    def test_the_own_net_is_closed_with_a_worst_price(self) -> None:
        taker = unwind(at(net="4", profit=Profit(net=D("1.5"))), started(), params())
        assert taker == TakerOrder(
            side=SELL, quantity=D("1.5"), limit_price=D("125.03"), reduce_only=True, reason="close grid"
        )

    def test_what_others_have_closed_is_gone(self) -> None:
        assert unwind(at(profit=Profit(net=D("1.5"))), started(), params()) is None


def test_levels_are_places_of_their_own() -> None:
    assert STRATEGY.fixed_levels
    assert (STRATEGY.title, STRATEGY.config_name) == ("PerpGridStrategy", "perp_grid")


def test_parameters_and_state_survive_json() -> None:
    some = params(grid_type="short", take_profit=5)
    assert Params.model_validate_json(some.model_dump_json()) == some
    fallen = at("110", totals=TestAdjusting.TOTALS, profit=TestAdjusting.HELD)
    moved = decide(fallen, started(**FOLLOWING), params(**FOLLOWING)).state
    again = State.model_validate_json(moved.model_dump_json())
    assert again == moved
    assert decide(fallen, again, params(**FOLLOWING)) == decide(fallen, moved, params(**FOLLOWING))
