"""Files of the old program start as they are: real workers, the simulated exchange, nothing edited."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.world import World, eventually

pytestmark = pytest.mark.acceptance

FILES = Path(__file__).parents[1] / "data" / "configs"

#: What each has on the book of a market that stands still, and where that market has to stand.
CASES = [
    pytest.param("bp_sol_01", "128.30", 10, id="perpetual long grid"),
    pytest.param("bp_eth_grid_01", "2700", 10, id="spot grid"),
    pytest.param("bp_sol_mm_01", "150", 6, id="spot market maker"),
    pytest.param("bp_sol_perp_mm_01", "150", 4, id="perpetual market maker"),
    pytest.param("bp_btc_hedge_01", "60000", 2, id="hedge"),
]


@pytest.fixture
def market(world: World) -> Iterator[World]:
    """A world whose markets are put back afterwards."""
    yield world
    for symbol, price in (("SOL_USDC_PERP", "150"), ("ETH_USDC", "2700"), ("BTC_USDC_PERP", "60000")):
        world.exchange.move(symbol, price)


@pytest.mark.parametrize(("instance_id", "price", "orders"), CASES)
def test_a_file_of_the_old_program_starts_unchanged_and_stops_clean(
    market: World, instance_id: str, price: str, orders: int
) -> None:
    # Given
    shutil.copy(FILES / f"{instance_id}.json", market.config_dir)
    symbol = json.loads((FILES / f"{instance_id}.json").read_text())["metadata"]["symbol"]
    market.exchange.move(symbol, price)
    # When
    market.start(instance_id)
    market.wait_for_orders(instance_id, orders)
    # Then
    record = market.record(instance_id)
    eventually(lambda: market.record(instance_id).seq >= 1, what="an iteration")
    assert record.last_error == ""
    outcome = market.stop(instance_id)
    assert outcome.is_clean
    assert market.exchange.open_order_ids(slot=market.slot(instance_id)) == set()
