"""Parse order requests as the exchange does: what cannot be decoded is answered in plain text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from simulator.errors import BadRequest, Refusal
from simulator.markets import MARKETS
from simulator.orders import Wanted

LARGEST_CLIENT_ID = 2**32 - 1
#: An unsigned integer of up to 64 bits. `str.isdigit` alone also accepts superscripts, which int() does not.
UNSIGNED = re.compile(r"[0-9]{1,20}")
#: A decimal as the exchange writes it: no exponent, and no digits without end.
DECIMAL = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")
#: Fields of orders that wait for a price: one that carries them must not rest as a plain one.
CONDITIONAL = ("trigger", "stopLoss", "takeProfit")


def parse_order(body: Any, *, strict_client_id: bool = False) -> Wanted:
    """Return the order a JSON body asks for. Raises `BadRequest` or `Refusal`."""
    if not isinstance(body, dict):
        raise BadRequest("parse request payload error: expected an object")
    symbol = body.get("symbol")
    if not isinstance(symbol, str) or symbol not in MARKETS:
        raise BadRequest(
            'parse request payload error: failed to parse "MarketSymbol": Invalid market symbol '
            '(occurred while parsing "OrderExecutePayload")'
        )
    wanted = Wanted(
        market=MARKETS[symbol],
        side=one_of(body, "side", ("Bid", "Ask")),
        order_type=one_of(body, "orderType", ("Limit", "Market")),
        price=decimal_of(body, "price"),
        quantity=decimal_of(body, "quantity"),
        quote_quantity=decimal_of(body, "quoteQuantity"),
        client_id=client_id_of(body, strict=strict_client_id),
        time_in_force=one_of(body, "timeInForce", ("GTC", "IOC", "FOK"), "GTC"),
        post_only=boolean_of(body, "postOnly") or False,
        reduce_only=boolean_of(body, "reduceOnly") or False,
        self_trade_prevention=one_of(
            body, "selfTradePrevention", ("RejectTaker", "RejectMaker", "RejectBoth"), "RejectTaker"
        ),
    )
    _refuse_conditional(body)
    _check_shape(wanted)
    return wanted


def _check_shape(wanted: Wanted) -> None:
    if wanted.order_type == "Limit":
        if wanted.price is None or wanted.quantity is None:
            raise Refusal("INVALID_ORDER", "A limit order needs price and quantity")
        if wanted.quote_quantity is not None:
            raise Refusal("INVALID_ORDER", "A limit order has no quoteQuantity")
        return
    if (wanted.quantity is None) == (wanted.quote_quantity is None):
        raise Refusal("INVALID_ORDER", "A market order needs exactly one of quantity and quoteQuantity")
    if wanted.price is not None:
        raise Refusal("INVALID_ORDER", "A market order has no price")
    if wanted.post_only:
        raise Refusal("INVALID_ORDER", "A market order cannot be post only")


def _refuse_conditional(body: Mapping[str, Any]) -> None:
    if (body.get("triggerPrice") is None) != (body.get("triggerQuantity") is None):
        raise Refusal(
            "INVALID_CLIENT_REQUEST", "Must specify both `triggerPrice` and `triggerQuantity` or neither"
        )
    for name, value in body.items():
        if value is not None and name.startswith(CONDITIONAL):
            raise Refusal("INVALID_ORDER", f"The simulator knows no conditional orders: {name}")


def client_id_of(fields: Mapping[str, Any], *, strict: bool = False) -> int | None:
    """Return the client order id, an unsigned 32-bit integer; its text form is accepted too unless `strict`.

    Whether the real exchange accepts text in a body is unknown. Raises `BadRequest`.
    """
    value = fields.get("clientId")
    if value is None:
        return None
    number = int(value) if isinstance(value, str) and not strict and UNSIGNED.fullmatch(value) else value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= LARGEST_CLIENT_ID:
        raise BadRequest('parse request payload error: failed to parse "u32": number out of range')
    return number


def order_id_of(fields: Mapping[str, Any]) -> int | None:
    """Return the order id, decimal text or a number. Raises `BadRequest`."""
    value = fields.get("orderId")
    if value is None:
        return None
    if not UNSIGNED.fullmatch(str(value)):
        raise BadRequest('parse request payload error: failed to parse "orderId"')
    return int(value)


def boolean_of(body: Mapping[str, Any], name: str) -> bool | None:
    """Return a boolean field, None when it is not there. Raises `BadRequest`."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadRequest(f'parse request payload error: failed to parse "{name}": expected a boolean')
    return value


def one_of(body: Mapping[str, Any], name: str, allowed: tuple[str, ...], default: str | None = None) -> str:
    """Return a field that has one of a few values. Raises `BadRequest`."""
    value = body.get(name)
    value = default if value is None else value
    if value not in allowed:
        raise BadRequest(
            f'parse request payload error: failed to parse "{name}": Expect a valid enumeration value.'
        )
    return str(value)


def decimal_of(body: Mapping[str, Any], name: str) -> Decimal | None:
    """Return a decimal field, text or number. Raises `BadRequest`."""
    value = body.get(name)
    if value is None:
        return None
    if not DECIMAL.fullmatch(str(value)):
        raise BadRequest(f'parse request payload error: failed to parse "{name}": Invalid decimal')
    return Decimal(str(value))
