"""A position that is there at the first grid: adopted where nothing else trades the symbol."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from market.net_range import NetRange
from market.orders import Role, Side
from market.profit import Profit
from market.snapshot import LevelTotals, Snapshot
from strategies.base import Decision
from strategies.intervals import net_by_interval
from strategies.perp_grid import Params, State, decide, unwind
from tests.unit.strategies.grid_values import RANGE, liquidation, perp_at, position, seen
from tests.unit.strategies.market_values import NOW_MS

BUY, SELL = Side.BUY, Side.SELL


def params(**given: Any) -> Params:
    return Params.model_validate({**RANGE, "order_quantity": "0.5", "max_position": 10, **given})


def at(price: str = "126.3", *, net: str = "1", entry: str | None = None, **changes: Any) -> Snapshot:
    """Return a snapshot of an account on which nothing else trades the symbol."""
    return perp_at(price, **{"exclusive_symbol": True, "position": position(net, entry=entry), **changes})


def started(when: Snapshot, **given: Any) -> State:
    return decide(when, State(), params(**given)).state


@pytest.mark.parametrize(
    ("grid_type", "net", "exits"),
    [
        ("neutral", "1", ["sell 0.5 @ 128", "sell 0.5 @ 130"]),
        ("long", "1", ["sell 0.5 @ 130", "sell 0.5 @ 132"]),
        ("neutral", "-0.7", ["buy 0.5 @ 124", "buy 0.2 @ 122"]),
        ("short", "-0.7", ["buy 0.5 @ 124", "buy 0.2 @ 122"]),
    ],
)
def test_an_adopted_position_gets_exits(grid_type: str, net: str, exits: list[str]) -> None:
    decision = decide(at(net=net), State(), params(grid_type=grid_type))
    assert seen(tuple(quote for quote in decision.quotes if quote.role is Role.CLOSE)) == exits
    assert decision.state.stock == D(net)
    assert decision.state.grid is not None
    assert sum(net_by_interval(decision.state.grid, {})) == D(net)


def test_a_position_that_may_be_somebody_elses_is_left_alone() -> None:
    decision = decide(at(exclusive_symbol=False), State(), params())
    assert not [quote for quote in decision.quotes if quote.role is Role.CLOSE]
    assert decision.state.stock == 0
    assert unwind(at(exclusive_symbol=False), decision.state, params()) is None


def test_what_a_lost_grid_traded_is_not_adopted_twice() -> None:
    totals: dict[Any, LevelTotals] = {(2, Role.QUOTE): LevelTotals(bought=D("0.5"), paid=D(62))}
    traded: dict[str, Any] = {"totals": totals, "profit": Profit(net=D("0.5"), average_price=D(124))}
    state = started(at(net="1.5", entry="110", **traded))
    assert (state.stock, state.stock_price) == (D(1), D("126.3"))
    assert state.grid is not None
    assert sum(net_by_interval(state.grid, totals)) == D("1.5")


def test_nothing_is_adopted_while_fills_and_position_differ() -> None:
    unsure = at(net="0", profit=Profit(net=D(1)), net_bounds=NetRange(low=D(0), high=D(1)))
    assert decide(unsure, State(), params()) == Decision(quotes=(), state=State())
    assert decide(at(position=None), State(), params()) == Decision(quotes=(), state=State())


@pytest.mark.parametrize(
    ("net", "entry", "own", "price", "result"),
    [
        pytest.param("2", "124", None, "121", "-6", id="from its entry"),
        pytest.param("2", None, None, "121", "-10.6", id="without an entry from the first price"),
        pytest.param("-2", "124", None, "126", "-4", id="short"),
        pytest.param("2", "124", ("1", "122"), "121", "-7", id="with what was bought"),
        pytest.param("2", "124", ("-1", "126"), "121", "-3", id="less what was sold"),
        pytest.param("2", "124", ("-3", "126"), "129", "-3", id="turned"),
        pytest.param("-2", "124", ("-1", "126"), "128", "-10", id="with what was sold"),
    ],
)
def test_barriers_include_what_was_adopted(
    net: str, entry: str | None, own: tuple[str, str] | None, price: str, result: str
) -> None:
    state = started(at(net=net, entry=entry))
    profit = Profit() if own is None else Profit(net=D(own[0]), average_price=D(own[1]))
    when = at(price, net=str(D(net) + profit.net), profit=profit)
    loss = -D(result)
    assert decide(when, state, params(stop_loss=loss + D("0.01"))).stop_reason is None
    ended = decide(when, state, params(stop_loss=loss))
    assert f"unrealised profit {result} USDC at price {price}" in (ended.stop_reason or "")
    assert f"beside {net} taken over" in (ended.stop_reason or "")
    assert ended.unwind


@pytest.mark.parametrize(
    ("net", "own", "expected"),
    [
        pytest.param("2", "0", (SELL, "2"), id="all adopted"),
        pytest.param("1.5", "-0.5", (SELL, "1.5"), id="less what was sold"),
        pytest.param("-2", "0", (BUY, "2"), id="short"),
        pytest.param("3", "0", (SELL, "3"), id="more than was adopted: nobody else's"),
        pytest.param("0", "-2", None, id="flat"),
    ],
)
def test_a_close_includes_what_was_adopted(net: str, own: str, expected: tuple[Side, str] | None) -> None:
    state = started(at(net="-2" if net == "-2" else "2"))
    taker = unwind(at(net=net, profit=Profit(net=D(own))), state, params())
    assert (None if taker is None else (taker.side, str(taker.quantity.normalize()))) == expected
    assert taker is None or taker.reduce_only


def test_a_flat_position_that_lags_behind_a_fill_is_closed_as_the_fills_say() -> None:
    state = started(at(net="0"))
    fresh = replace(liquidation(BUY, "1", "126"), is_system=False)
    when = at(net="0", profit=Profit(net=D(1), average_price=D(126)), fills=(fresh,))
    taker = unwind(when, state, params())
    assert taker is not None
    assert (taker.side, taker.quantity) == (SELL, D(1))
    assert unwind(replace(when, taken_at_ms=NOW_MS + 60_000), state, params()) is None


def test_a_moved_range_takes_the_adopted_position_along() -> None:
    following = {"boundary_action": "adjust_range", "grid_type": "long"}
    state = started(at(net="1"), **following)
    moved = decide(at("110"), state, params(**following)).state
    assert moved.grid is not None
    assert sum(net_by_interval(moved.grid, {})) == 1
    assert (moved.stock, moved.stock_price) == (D(1), D("126.3"))
    assert State.model_validate_json(moved.model_dump_json()) == moved
