"""Parse order requests as the exchange does: what cannot be decoded is answered in plain text."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from simulator.errors import BadRequest, Refusal
from simulator.markets import MARKETS
from simulator.orders import Wanted

LARGEST_CLIENT_ID = 2**32 - 1
#: Fields of conditional orders and brackets: better refused than taken for plain orders.
NOT_SIMULATED = ("trigger", "stopLoss", "takeProfit")


def parse_order(body: Any) -> Wanted:
    """Return the order a JSON body asks for. Raises `BadRequest` or `Refusal`."""
    if not isinstance(body, dict):
        raise BadRequest("parse request payload error: expected an object")
    symbol = body.get("symbol")
    if not isinstance(symbol, str) or symbol not in MARKETS:
        raise BadRequest(
            'parse request payload error: failed to parse "MarketSymbol": Invalid market symbol '
            '(occurred while parsing "OrderExecutePayload")'
        )
    for name, value in body.items():
        if value is not None and name.startswith(NOT_SIMULATED):
            raise Refusal("INVALID_ORDER", f"The simulator knows no conditional orders: {name}")
    order_type = one_of(body, "orderType", ("Limit", "Market"))
    wanted = Wanted(
        market=MARKETS[symbol],
        side=one_of(body, "side", ("Bid", "Ask")),
        order_type=order_type,
        price=decimal_of(body, "price"),
        quantity=decimal_of(body, "quantity"),
        quote_quantity=decimal_of(body, "quoteQuantity"),
        client_id=client_id_of(body),
        time_in_force=one_of(body, "timeInForce", ("GTC", "IOC", "FOK"), "GTC"),
        post_only=_boolean_of(body, "postOnly"),
        reduce_only=_boolean_of(body, "reduceOnly"),
        self_trade_prevention=one_of(
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
    number = int(value) if isinstance(value, str) and _is_digits(value) else value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= LARGEST_CLIENT_ID:
        raise BadRequest('parse request payload error: failed to parse "u32": number out of range')
    return number


def order_id_of(fields: Mapping[str, Any]) -> int | None:
    """Return the order id, decimal text or a number."""
    value = fields.get("orderId")
    if value is None:
        return None
    if not _is_digits(str(value)):
        raise BadRequest('parse request payload error: failed to parse "orderId"')
    return int(value)


def _is_digits(value: str) -> bool:
    # str.isdigit alone also accepts superscripts, which int() does not.
    return value.isascii() and value.isdigit()


def _boolean_of(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadRequest(f'parse request payload error: failed to parse "{name}": expected a boolean')
    return bool(value)


def one_of(body: Mapping[str, Any], name: str, allowed: tuple[str, ...], default: str | None = None) -> str:
    """Return a field that has one of a few values. Raises `BadRequest`."""
    value = body.get(name, default)
    if value not in allowed:
        raise BadRequest(
            f'parse request payload error: failed to parse "{name}": Expect a valid enumeration value.'
        )
    return str(value)


def decimal_of(body: Mapping[str, Any], name: str) -> Decimal | None:
    """Return a decimal field. Raises `BadRequest`."""
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
