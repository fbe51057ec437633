"""Parse order requests as the exchange does: what cannot be decoded is answered in plain text."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from simulator.errors import BadRequest, Refusal
from simulator.markets import MARKETS
from simulator.orders import Wanted

LARGEST_CLIENT_ID = 2**32 - 1


def parse_order(body: Any) -> Wanted:
    """Return the order a JSON body asks for. Raises `BadRequest` or `Refusal`."""
    if not isinstance(body, dict):
        raise BadRequest("parse request payload error: expected an object")
    if body.get("symbol") not in MARKETS:
        raise BadRequest(
            'parse request payload error: failed to parse "MarketSymbol": Invalid market symbol '
            '(occurred while parsing "OrderExecutePayload")'
        )
    order_type = _one_of(body, "orderType", ("Limit", "Market"))
    wanted = Wanted(
        market=MARKETS[body["symbol"]],
        side=_one_of(body, "side", ("Bid", "Ask")),
        order_type=order_type,
        price=_decimal(body, "price"),
        quantity=_decimal(body, "quantity"),
        quote_quantity=_decimal(body, "quoteQuantity"),
        client_id=client_id_of(body),
        time_in_force=_one_of(body, "timeInForce", ("GTC", "IOC", "FOK"), "GTC"),
        post_only=bool(body.get("postOnly", False)),
        reduce_only=bool(body.get("reduceOnly", False)),
        self_trade_prevention=_one_of(
            body, "selfTradePrevention", ("RejectTaker", "RejectMaker", "RejectBoth"), "RejectTaker"
        ),
    )
    if order_type == "Limit" and (wanted.price is None or wanted.quantity is None):
        raise Refusal("INVALID_ORDER", "A limit order needs price and quantity")
    if order_type == "Market" and (wanted.quantity is None) == (wanted.quote_quantity is None):
        raise Refusal("INVALID_ORDER", "A market order needs exactly one of quantity and quoteQuantity")
    if order_type == "Market" and wanted.price is not None:
        raise Refusal("INVALID_ORDER", "A market order has no price")
    return wanted


def client_id_of(fields: Mapping[str, Any]) -> int | None:
    """Return the client order id, an unsigned 32-bit integer; its text form is accepted too."""
    value = fields.get("clientId")
    if value is None:
        return None
    number = int(value) if isinstance(value, str) and value.isdigit() else value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= LARGEST_CLIENT_ID:
        raise BadRequest('parse request payload error: failed to parse "u32": number out of range')
    return number


def order_id_of(fields: Mapping[str, Any]) -> int | None:
    """Return the order id, decimal text or a number."""
    value = fields.get("orderId")
    if value is None:
        return None
    if not str(value).isdigit():
        raise BadRequest('parse request payload error: failed to parse "orderId"')
    return int(value)


def _one_of(body: Mapping[str, Any], name: str, allowed: tuple[str, ...], default: str | None = None) -> str:
    value = body.get(name, default)
    if value not in allowed:
        raise BadRequest(
            f'parse request payload error: failed to parse "{name}": Expect a valid enumeration value.'
        )
    return str(value)


def _decimal(body: Mapping[str, Any], name: str) -> Decimal | None:
    value = body.get(name)
    if value is None:
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite():
        raise BadRequest(f'parse request payload error: failed to parse "{name}": Invalid decimal')
    return number
