"""What a configuration comes to before it is started: figures that can be worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import redis

from cli.stack.valkey import ValkeyServer
from runner.config import InstanceConfig
from runner.context import open_context
from runner.sizing import Sizing, sizing
from settings import load
from tests import factories
from tests.fake_venue import FakeVenue, OneVenue

Size = Callable[..., Sizing]
LADDER = {"spread": "1", "quantity": "2", "max_orders": 1, "enable_rebalance": False}


def config(*, perp: bool = False, **sections: Any) -> InstanceConfig:
    """Return a configuration on the fake market, whose mid is 100."""
    metadata = {
        "instance_id": "new_01",
        "exchange": "backpack",
        "symbol": factories.PERP_SYMBOL if perp else factories.SYMBOL,
        "market_type": "perp" if perp else "spot",
        "strategy": "standard",
    }
    layout = {"metadata": metadata, "exchange_config": {}, "strategy_config": LADDER} | sections
    layout["metadata"] = metadata | sections.get("metadata", {})
    return InstanceConfig.from_json(json.dumps(layout))


@pytest.fixture
def size(valkey_server: ValkeyServer, redis_client: redis.Redis) -> Iterator[Size]:
    """Size a configuration on a market whose rules and balances a test may set."""
    context = open_context(replace(load({}), state_url=valkey_server.url))

    def sized(found: InstanceConfig, venue: FakeVenue | None = None) -> Sizing:
        perp = found.metadata.market_type == "perp"
        venue = venue or FakeVenue(factories.instrument(perp=perp))
        return sizing(replace(context, venues=OneVenue(venue)), found)

    yield sized
    context.client.close()


def test_a_spot_ladder_needs_coins_on_both_sides(size: Size) -> None:
    found = size(config())
    assert (found.bids, found.asks) == (1, 1)
    assert (found.longest, found.shortest) == (Decimal(2), Decimal(-2))
    needs = {each.asset: each.needed for each in found.needs}
    # Half of 1 % below 100, two of them; and two to sell
    assert needs == {"USDC": Decimal("199.0"), "SOL": Decimal(2)}
    assert found.min_notional == Decimal("1.0000")
    assert found.problems == ()


def test_the_round_is_set_against_its_fees(size: Size) -> None:
    found = size(config())
    assert found.maker_fee_bps is not None
    assert found.break_even_bps == 2 * found.maker_fee_bps
    assert found.round_bps == 100


def test_a_round_that_does_not_pay_for_its_fees_is_said(size: Size) -> None:
    found = size(config(strategy_config=LADDER | {"spread": "0.02"}))
    assert any(warning.endswith("it loses") for warning in found.warnings)
    assert not any(warning.endswith("it loses") for warning in size(config()).warnings)


def test_the_second_half_of_a_hedge_is_a_takers(size: Size) -> None:
    found = size(config(metadata={"strategy": "maker_hedge"}, strategy_config={"quantity": "1"}))
    terms = FakeVenue().account_terms()
    assert found.break_even_bps == terms.spot_maker_bps + terms.spot_taker_bps
    assert found.round_bps is None


def test_a_perpetual_needs_margin_for_the_worst_case(size: Size) -> None:
    venue = FakeVenue(factories.instrument(perp=True))
    venue.net_quantity = Decimal(1)
    ladder = {"spread": "1", "quantity": "2", "max_orders": 1, "max_position": "10"}
    found = size(config(perp=True, strategy_config=ladder), venue)
    leverage = venue.account_terms().leverage_limit
    assert (found.longest, found.shortest) == (Decimal(3), Decimal(-1))
    (margin,) = found.needs
    assert found.exposure is not None
    assert margin.asset == "USDC"
    assert margin.needed == found.exposure / leverage


def test_a_grid_earns_its_interval(size: Size) -> None:
    grid = {"grid_lower_price": "80", "grid_upper_price": "120", "grid_num": 5, "order_quantity": "1"}
    found = size(config(metadata={"strategy": "grid"}, strategy_config=grid))
    assert found.round_bps is not None
    # Levels 80, 90, 100, 110, 120: on the way down the last gap of bids is 80 to 90
    assert found.round_bps == pytest.approx(Decimal(10_000) / 11, rel=Decimal("0.3"))
    assert found.longest >= 1


def test_what_the_limits_cut_and_what_is_too_small_is_said(size: Size) -> None:
    cut = size(config(limits={"max_order_notional": "50"}))
    assert any("max_order_notional" in warning for warning in cut.warnings)
    small = size(config(strategy_config=LADDER | {"quantity": "0.001"}))
    assert any("smallest order" in problem for problem in small.problems)


def test_margin_that_is_not_there_is_said(size: Size) -> None:
    venue = FakeVenue(factories.instrument(perp=True))
    venue.the_balances = {"USDC": replace(venue.the_balances["USDC"], available=Decimal(1))}
    ladder = {"spread": "1", "quantity": "2", "max_orders": 1, "max_position": "10"}
    found = size(config(perp=True, strategy_config=ladder), venue)
    assert any("the first orders need" in warning for warning in found.warnings)
    assert found.problems
    assert venue.names("place") == []
