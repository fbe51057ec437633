"""A stop followed by its events to its receipt; it has to be clean, at the first attempt."""

from __future__ import annotations

import time
from collections.abc import Mapping

from runner.config import load_instance
from runner.context import Context
from runner.receipt import Receipt
from runner.receipt_reading import read_receipt
from state.client_ids import owns
from state.record import Record

DEADLINE_S = 20.0


class NotSettled(RuntimeError):
    """Raised when the chain does not come to where the bench wants it; the figures would mean nothing."""


def follow(context: Context, instance_id: str, position: str) -> tuple[Mapping[str, float], Receipt]:
    """Follow a stop from a place in the event stream to its end.

    Returns ms from the request by event or step, by the state server's clock, and the receipt. Raises
    `NotSettled`.
    """
    at_ms: dict[str, int] = {}
    receipt: Receipt | None = None
    deadline = time.monotonic() + DEADLINE_S
    while receipt is None:
        if time.monotonic() > deadline:
            raise NotSettled(f"the stop did not finish; seen: {', '.join(at_ms)}")
        for event in context.events.read(position, block_ms=1000):
            position = event.stream_id
            at_ms.setdefault(event.fields.get("step") or event.event, event.at_ms)
            if event.event == "finished":
                receipt = read_receipt(event.fields["outcome"])
    left = own_orders(context, instance_id)
    if not receipt.is_clean or receipt.attempt != 1 or left:
        raise NotSettled(f"not clean at the first attempt: {receipt}; {left} orders left")
    return {name: float(at - at_ms["stop_requested"]) for name, at in at_ms.items()}, receipt


def record_of(context: Context, instance_id: str) -> Record:
    """Return the record of an instance that was started."""
    record = context.instances.read(instance_id)
    assert record is not None
    return record


def own_orders(context: Context, instance_id: str) -> int:
    """Count the instance's open orders by the exchange's own word."""
    config = load_instance(instance_id, context.settings.config_dir, context.settings.environ).config
    orders = context.venues.of(config).open_orders(config.metadata.symbol)
    slot = record_of(context, instance_id).slot
    return sum(owns(slot, order.client_order_id) for order in orders)
