"""Our orders → the bodies Backpack wants."""

from __future__ import annotations

from decimal import Decimal

from exchanges.backpack.signing import WireValue
from market.orders import NewOrder, OrderType, Side

MAX_CLIENT_ORDER_ID = 2**32 - 1
WIRE_SIDES = {Side.BUY: "Bid", Side.SELL: "Ask"}
WIRE_TYPES = {OrderType.LIMIT: "Limit", OrderType.MARKET: "Market"}


def order_body(order: NewOrder) -> dict[str, WireValue]:
    """Return the body of a placement.

    ``{"symbol":"SOL_USDC","side":"Bid","orderType":"Limit","quantity":"0.5","clientId":7,
    "price":"141.25","timeInForce":"GTC","postOnly":true}``

    Flags that are off are left out: `reduceOnly` is an error on spot markets, whatever its value.

    Raises:
        ValueError: it is no order that the exchange could understand, so our own mistake.
    """
    if not 0 <= order.client_order_id <= MAX_CLIENT_ORDER_ID:
        raise ValueError(f"client order id {order.client_order_id} does not fit into 32 bits")
    body: dict[str, WireValue] = {
        "symbol": order.symbol,
        "side": WIRE_SIDES[order.side],
        "orderType": WIRE_TYPES[order.order_type],
        "quantity": decimal_text(order.quantity),
        "clientId": order.client_order_id,
    }
    if order.order_type is OrderType.LIMIT:
        if order.price is None:
            raise ValueError(f"limit order {order.client_order_id} has no price")
        body["price"] = decimal_text(order.price)
        body["timeInForce"] = order.time_in_force.value.upper()
    if order.post_only:
        body["postOnly"] = True
    if order.reduce_only:
        body["reduceOnly"] = True
    return body


def decimal_text(number: Decimal) -> str:
    """Return `number` without exponent and without trailing zeros.

    The exchange counts decimals ("Price decimal too long"), so zeros at the end may cost an order.
    """
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
