"""What a stop closes: a hedge is brought back whoever stops it, others only where they ask for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal

import pytest

from runner.loaded import parse_books
from tests.acceptance.command import Command
from tests.acceptance.world import World, eventually

pytestmark = pytest.mark.acceptance

SYMBOL = "SOL_USDC_PERP"


@pytest.fixture
def market(world: World) -> Iterator[World]:
    """A world whose market is put back afterwards."""
    yield world
    world.exchange.move(SYMBOL, "150")


def configure(world: World, instance_id: str, strategy: str, **params: object) -> str:
    content = {
        "metadata": {
            "instance_id": instance_id,
            "exchange": "backpack",
            "symbol": SYMBOL,
            "market_type": "perp",
            "strategy": strategy,
        },
        "exchange_config": {"default_window": 1000},
        "strategy_config": params,
    }
    (world.config_dir / f"{instance_id}.json").write_text(json.dumps(content))
    return instance_id


def net(world: World, instance_id: str) -> Decimal:
    """Return what the run has bought more than it sold, by its own books."""
    data = world.context.instances.run_data(instance_id, world.slot(instance_id))
    return parse_books(data.books_json).profit.net


def test_the_command_line_brings_a_hedge_back(market: World, manage: Command) -> None:
    # Given a hedge with a fill that its next iteration, a minute away, has not seen
    instance_id = configure(market, "hedge_stop_01", "maker_hedge", quantity="0.5", interval=60)
    market.start(instance_id)
    market.wait_for_orders(instance_id, 2)
    with market.deaf():
        market.exchange.trade(SYMBOL, "Ask", "149", "5")
        # When
        ended = manage("stop", instance_id)
    # Then
    assert ended.code == 0, ended.err
    assert "of this run, unwound: 0.5 -> 0" in ended.out
    assert net(market, instance_id) == 0
    assert market.exchange.open_order_ids(slot=market.slot(instance_id)) == set()


def test_a_grid_that_leaves_its_range_closes_what_it_opened_and_says_why(market: World) -> None:
    instance_id = configure(
        market,
        "grid_boundary_01",
        "perp_grid",
        grid_lower_price=149,
        grid_upper_price=151,
        grid_num=5,
        grid_type="long",
        order_quantity="0.2",
        max_position=2,
        interval="0.5",
    )
    market.start(instance_id)
    market.wait_for_orders(instance_id, 2)
    # When the market falls through the whole range
    market.exchange.move(SYMBOL, "148")
    outcome = market.wait_stopped(instance_id)
    # Then
    assert outcome.is_clean
    assert "emergency_close" in outcome.reason
    assert Decimal(outcome.position_after or "nothing") == 0
    assert Decimal(outcome.position_before or "nothing") > 0
    eventually(lambda: net(market, instance_id) == 0, what="the last fills in the books")
    # And it is not started again
    assert market.record(instance_id).epoch == 1


def test_a_market_makers_position_stays_at_a_stop(market: World, manage: Command) -> None:
    instance_id = configure(
        market,
        "perp_stays_01",
        "standard",
        spread="0.2",
        quantity="0.3",
        max_orders=1,
        max_position=3,
        interval=60,
    )
    market.start(instance_id)
    market.wait_for_orders(instance_id, 2)
    market.exchange.trade(SYMBOL, "Ask", "149", "5")
    ended = manage("stop", instance_id)
    assert ended.code == 0, ended.err
    assert "left as it is" in ended.out
    eventually(lambda: net(market, instance_id) == Decimal("0.3"), what="the last fill in the books")
