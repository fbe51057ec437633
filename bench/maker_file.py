"""The file of a market maker on the simulated exchange, as several benches trade it."""

from __future__ import annotations

from typing import Any


def maker_file(
    name: str, *, symbol: str, orders: int, interval_s: float, quantity: str = "0.1"
) -> dict[str, Any]:
    """Return the content of an instance's file: `orders` quotes, half on each side, and no rebalancing."""
    return {
        "metadata": {
            "instance_id": name,
            "exchange": "backpack",
            "symbol": symbol,
            "market_type": "spot",
            "strategy": "standard",
        },
        "exchange_config": {},
        "strategy_config": {
            "spread": "1",
            "max_orders": orders // 2,
            "quantity": quantity,
            "enable_rebalance": False,
            "interval": interval_s,
        },
        "live": False,
    }
