"""Where a range that was put around the price ends, and how much a range that follows may come to hold."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.orders import Role, Side
from market.profit import Profit
from strategies.perp_grid import Params, State, decide
from tests.unit.strategies.grid_exchange import Exchange, perp_instrument
from tests.unit.strategies.grid_values import RANGE
from tests.unit.strategies.grid_values import perp_at as at

#: Levels 95, 96, ... 100 of a long grid, 100, 101, ... 105 of a short one.
AUTOMATIC: dict[str, Any] = {
    "auto_price_range": True,
    "price_range_percent": 5,
    "grid_num": 6,
    "order_quantity": "0.5",
}


def ends(price: str, *, held: str = "0", start: str = "100", **given: Any) -> str:
    """Tell what a grid that was made at `start` does at a price: it goes on, moves or ends."""
    params = Params.model_validate({**AUTOMATIC, **given})
    state = decide(at(start), State(), params).state
    when = at(price, net=held, profit=Profit(net=D(held), average_price=D(start)))
    decision = decide(when, state, params)
    if decision.stop_reason is not None:
        return "ends"
    return "moves" if decision.state.adjustments else "goes on"


@pytest.mark.parametrize("action", ["emergency_close", "stop_only"])
@pytest.mark.parametrize(
    ("grid_type", "price", "held", "expected"),
    [
        ("long", "140", "0", "goes on"),
        pytest.param("long", "140", "0.004", "goes on", id="dust"),
        ("long", "100.11", "0.5", "ends"),
        ("long", "94.9", "0", "ends"),
        ("short", "60", "0", "goes on"),
        ("short", "99.8", "-0.5", "ends"),
        ("short", "105.2", "0", "ends"),
        ("neutral", "105.2", "0", "ends"),
        ("neutral", "94.8", "0", "ends"),
    ],
)
def test_a_grid_that_holds_nothing_has_no_end_where_it_waits(
    action: str, grid_type: str, price: str, held: str, expected: str
) -> None:
    assert ends(price, held=held, grid_type=grid_type, boundary_action=action) == expected


@pytest.mark.parametrize("grid_type", ["long", "short"])
def test_bounds_that_are_given_end_on_both_sides(grid_type: str) -> None:
    given: dict[str, Any] = {**RANGE, "grid_type": grid_type, "auto_price_range": False}
    assert ends("132.2", start="126", **given) == "ends"
    assert ends("119.8", start="126", **given) == "ends"


@pytest.mark.parametrize(
    ("grid_type", "price", "held", "expected"),
    [
        ("long", "100.9", "0", "goes on"),
        ("long", "101.01", "0", "moves"),
        ("long", "100.2", "0.5", "moves"),
        ("long", "94.8", "0", "moves"),
        ("short", "99.1", "0", "goes on"),
        ("short", "98.99", "0", "moves"),
        ("neutral", "105.2", "0", "moves"),
    ],
)
def test_a_range_that_follows_waits_for_a_full_interval(
    grid_type: str, price: str, held: str, expected: str
) -> None:
    assert ends(price, held=held, grid_type=grid_type, boundary_action="adjust_range") == expected


def test_a_range_that_was_moved_waits_too_although_its_first_bounds_were_given() -> None:
    given = {**RANGE, "grid_type": "long", "boundary_action": "adjust_range", "order_quantity": "0.5"}
    params = Params.model_validate(given)
    state = decide(at("126"), State(), params).state
    moved = decide(at("140"), state, params).state
    assert moved.adjustments == 1
    assert decide(at("140.5"), moved, params).state.adjustments == 1
    assert decide(at("141.5"), moved, params).state.adjustments == 2


@settings(max_examples=40, deadline=None)
@given(
    grid_type=st.sampled_from(["neutral", "long", "short"]),
    moves=st.lists(st.integers(-400, 400), min_size=5, max_size=40),
    number=st.sampled_from([3, 6, 9]),
)
def test_no_number_of_moves_brings_a_grid_above_the_most_of_its_first_one(
    grid_type: str, moves: Sequence[int], number: int
) -> None:
    given = {**AUTOMATIC, "grid_type": grid_type, "grid_num": number, "max_position": 100}
    params = Params.model_validate({**given, "boundary_action": "adjust_range"})
    exchange = Exchange(of=perp_instrument(), bid=D(100), ask=D("100.01"))
    state, most = State(), None
    for ticks in [0, *moves]:
        bid = max(exchange.bid + D(ticks) / 100, D(20))
        exchange.move(bid, bid + D("0.01"))
        for _ in range(2):
            decision = decide(exchange.snapshot(), state, params)
            state = decision.state
            exchange.carry_out(decision.quotes)
        assert state.grid is not None
        most = state.grid.quantity * state.grid.larger_direction if most is None else most
        for side, sign in ((Side.BUY, 1), (Side.SELL, -1)):
            opening = sum(
                own.order.remaining_quantity
                for own in exchange.orders
                if own.order.side is side and own.role == Role.QUOTE
            )
            assert max(sign * exchange.base, D(0)) + opening <= most
