"""What must be true of everything that was read from an exchange."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum
from typing import Any

#: Beyond these no price, quantity or time of a market is real.
MOST, FINEST = Decimal("1e21"), Decimal("1e-20")
YEAR_2286_MS = 10**13

ABOVE_ZERO = {"tick_size", "step_size", "mark_price"}
NOT_BELOW_ZERO = {
    *("price", "quantity", "executed_quantity", "remaining_quantity", "min_quantity", "max_quantity"),
    *("min_price", "max_price", "last_update_id", "first_update_id", "client_order_id", "entry_price"),
}


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every number and text in a value of ours, with the name of its field."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from leaves(getattr(value, field.name), field.name)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item, name)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield "key", key
            yield from leaves(item, name)
    elif not isinstance(value, Enum | bool) and value is not None:
        yield name, value


def assert_makes_sense(value: Any) -> None:
    """Require that it can be reckoned with, printed, stored and sent."""
    for name, leaf in leaves(value):
        if isinstance(leaf, Decimal):
            assert leaf.is_finite(), (name, leaf)
            assert leaf == 0 or FINEST <= abs(leaf) <= MOST, (name, leaf)
        if name in ABOVE_ZERO:
            assert leaf > 0, (name, leaf)
        elif name in NOT_BELOW_ZERO:
            assert leaf >= 0, (name, leaf)
        elif name.endswith("_ms"):
            assert 0 <= leaf < YEAR_2286_MS, (name, leaf)
        elif name.endswith(("order_id", "trade_id")):
            # Kept as a list with commas between, and sent as a cancel: it must be one id.
            assert leaf
            assert "," not in leaf
        if isinstance(leaf, str):
            assert leaf.isprintable(), (name, leaf)
            assert len(leaf) < 400
