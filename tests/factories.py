"""Values with defaults, so that a test names only what it is about."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from market.instrument import Instrument, MarketType
from market.orders import NewOrder, OpenOrder, OrderStatus, OrderType, Quote, Role, Side
from market.position import Fill
from market.snapshot import OwnOrder, Snapshot
from runner.config import InstanceConfig
from runner.config_credentials import DEMO_API_KEY
from runner.loaded import LoadedInstance, from_config
from state.client_ids import ClientOrderId
from state.stop_policy import StopPolicy
from strategies.base import Decision, State

INSTANCE_ID = "mm_01"
SYMBOL = "SOL_USDC"
PERP_SYMBOL = "SOL_USDC_PERP"
#: What the demo keys open on the simulated exchange.
ACCOUNT = f"backpack-simulated:{hashlib.sha256(DEMO_API_KEY.encode()).hexdigest()[:10]}"
SLOT = 7
VERSION = "version-1"


def instrument(*, perp: bool = False) -> Instrument:
    """Return a market with a tick of 0.01 and a step of 0.01."""
    return Instrument(
        symbol=PERP_SYMBOL if perp else SYMBOL,
        market_type=MarketType.PERP if perp else MarketType.SPOT,
        base_asset="SOL",
        quote_asset="USDC",
        tick_size=Decimal("0.01"),
        step_size=Decimal("0.01"),
        min_quantity=Decimal("0.01"),
    )


def quote(side: Side = Side.BUY, price: str = "99", *, quantity: str = "1", level: int = 0) -> Quote:
    """Return a quote a strategy wants."""
    return Quote(side=side, price=Decimal(price), quantity=Decimal(quantity), level=level)


def new_order(side: Side = Side.BUY, price: str = "99", *, client_order_id: int = 0) -> NewOrder:
    """Return a limit order to be sent."""
    return NewOrder(
        client_order_id=client_order_id,
        symbol=SYMBOL,
        side=side,
        order_type=OrderType.LIMIT,
        quantity=Decimal(1),
        price=Decimal(price),
    )


def client_order_id(*, slot: int = SLOT, level: int = 0, role: Role = Role.QUOTE, generation: int = 1) -> int:
    """Return a client order id of the instance in `slot`."""
    return ClientOrderId(slot=slot, level=level, role=role, generation=generation).encode()


def fill(
    trade_id: str = "1",
    *,
    order_id: str = "1",
    slot: int | None = SLOT,
    side: Side = Side.BUY,
    quantity: str = "1",
    symbol: str = SYMBOL,
    filled_at_ms: int = 1_000_000,
) -> Fill:
    """Return a fill of an order of the instance in `slot`, or (None) of somebody else's."""
    return Fill(
        trade_id=trade_id,
        order_id=order_id,
        client_order_id=None if slot is None else client_order_id(slot=slot),
        symbol=symbol,
        side=side,
        price=Decimal(99),
        quantity=Decimal(quantity),
        fee=Decimal("0.01"),
        fee_asset="USDC",
        is_maker=True,
        filled_at_ms=filled_at_ms,
    )


def open_order(
    order_id: str = "1",
    *,
    side: Side = Side.BUY,
    price: str = "99",
    slot: int | None = SLOT,
    level: int = 0,
    symbol: str = SYMBOL,
) -> OpenOrder:
    """Return a resting order, of the instance in `slot` or (None) of somebody who gave no client order id."""
    return OpenOrder(
        order_id=order_id,
        client_order_id=None if slot is None else client_order_id(slot=slot, level=level),
        symbol=symbol,
        side=side,
        price=Decimal(price),
        quantity=Decimal(1),
        executed_quantity=Decimal(0),
        status=OrderStatus.NEW,
        created_at_ms=0,
    )


def own_order(order_id: str = "1", *, side: Side = Side.BUY, level: int = 0) -> OwnOrder:
    """Return a resting order as a snapshot shows it."""
    order = open_order(order_id, side=side, level=level)
    return OwnOrder(order=order, level=level, role=Role.QUOTE, generation=1)


def instance_config(instance_id: str = INSTANCE_ID, **changes: object) -> InstanceConfig:
    """Return a market maker's configuration on a spot market; `changes` replace top-level keys."""
    return InstanceConfig.from_json(
        json.dumps(
            {
                "metadata": {
                    "instance_id": instance_id,
                    "exchange": "backpack",
                    "symbol": SYMBOL,
                    "market_type": "spot",
                    "strategy": "standard",
                },
                "exchange_config": {"api_key": "${BACKPACK_KEY}", "secret_key": "${BACKPACK_SECRET}"},
                "strategy_config": {"spread": 0.2, "quantity": 1, "max_orders": 1, "interval": 60},
                **changes,
            }
        )
    )


Decide = Callable[[Snapshot, State], Decision[State]]


def loaded_instance(
    *,
    decide: Decide | None = None,
    perp: bool = False,
    exclusive_symbol: bool = False,
    window_ms: int = 5_000,
    interval_ms: int = 60_000,
    duration_ms: int | None = None,
    stop_policy: StopPolicy | None = None,
) -> LoadedInstance:
    """Return an instance ready to run, with a strategy of the test's own where one is given."""
    config = instance_config(exclusive_symbol=exclusive_symbol)
    loaded = from_config(config)
    if perp:
        metadata = config.metadata.model_copy(update={"symbol": PERP_SYMBOL, "market_type": MarketType.PERP})
        config = config.model_copy(update={"metadata": metadata})
    strategy = loaded.strategy
    if decide is not None:
        chosen = decide
        strategy = replace(strategy, state=State, decide=lambda snapshot, state, _: chosen(snapshot, state))
    return replace(
        loaded,
        config=config,
        strategy=strategy,
        window_ms=window_ms,
        interval_ms=interval_ms,
        duration_ms=duration_ms,
        stop_policy=stop_policy or StopPolicy(),
    )
