"""Backpack's messages about an account → our values. Source: docs.backpack.exchange (OpenAPI)."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from exchanges.backpack.rows import Row, UnreadableAnswer, load_json, load_rows, time_of
from market.orders import OpenOrder, OrderStatus, Side
from market.position import Balance, Fill, FundingPayment, Position
from market.terms import AccountTerms

logger = logging.getLogger(__name__)

SIDES = {"Bid": Side.BUY, "Ask": Side.SELL}
STATUSES = {
    "New": OrderStatus.NEW,
    "PartiallyFilled": OrderStatus.PARTIALLY_FILLED,
    "Filled": OrderStatus.FILLED,
    "Cancelled": OrderStatus.CANCELLED,
    "Expired": OrderStatus.EXPIRED,
    "TriggerPending": OrderStatus.TRIGGER_PENDING,
    "TriggerFailed": OrderStatus.TRIGGER_FAILED,
}

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def order(row: Row) -> OpenOrder:
    """Return an order; `createdAt` is ms in live orders and naive UTC text in the history.

    ``{"orderType":"Limit","id":"4228978331","clientId":123456789,"symbol":"ETH_USDC","side":"Bid",
    "price":"3000","quantity":"0.001","executedQuantity":"0","executedQuoteQuantity":"0","status":"New",
    "timeInForce":"GTC","postOnly":true,"createdAt":1753626206762}``

    A market order has no price, and by quote amount no quantity either: then the executed one stands in.
    """
    executed = row.amount_or_none("executedQuantity") or Decimal(0)
    quantity = whole_quantity(row.amount_or_none("quantity"), executed)
    created_at = row.text("createdAt")
    return OpenOrder(
        order_id=row.identifier("id"),
        client_order_id=row.integer_or_none("clientId"),
        symbol=row.text("symbol"),
        side=side(row.text("side")),
        price=row.price_or_none("price"),
        quantity=quantity,
        executed_quantity=executed,
        status=status(row.text("status")),
        created_at_ms=time_of(row.integer("createdAt")) if created_at.isdecimal() else time_ms(created_at),
    )


def whole_quantity(quantity: Decimal | None, executed: Decimal) -> Decimal:
    """Return an order's quantity; what was executed stands in where there is none.

    Raises:
        UnreadableAnswer: more was executed than there was.
    """
    if quantity is None:
        return executed
    if executed > quantity:
        raise UnreadableAnswer(f"{executed} executed of an order of {quantity}")
    return quantity


def orders(body: bytes) -> tuple[OpenOrder, ...]:
    """Return the orders of a list."""
    return tuple(order(row) for row in load_rows(body))


def ended_order(symbol: str, order_id: str, body: bytes) -> OpenOrder | None:
    """Return the order with this id out of rows of the history when they show that it has ended.

    Raises:
        UnreadableAnswer: it is filled by its status and not by its quantity, so nobody knows how much.
    """
    for found in orders(body):
        if (found.symbol, found.order_id) == (symbol, order_id) and not found.status.is_open:
            if found.status is OrderStatus.FILLED and found.executed_quantity == 0:
                raise UnreadableAnswer(f"order {order_id} is filled without an executed quantity")
            return found
    return None


def executed_at_end(order_id: str, body: bytes) -> Decimal | None:
    """Return what was executed of an order that a cancel ended; None when the answer does not tell.

    ``{…order…,"id":"4228978331","executedQuantity":"0.1","status":"Cancelled"}``

    Never raises: the order is cancelled whatever its answer looks like. None too when the answer is about
    another order, or shows one that is still open, whose quantity could yet grow.
    """
    try:
        row = Row(load_json(body))
        if row.text("id") != order_id or status(row.text("status")).is_open:
            return None
        return row.amount_or_none("executedQuantity")
    except UnreadableAnswer:
        return None


def expired_by_post_only(row: Row) -> bool:
    """Tell whether an accepted post-only order ended at once for it would have taken.

    The exchange may refuse such an order, or accept it with the status ``Expired``; the reason
    ``PostOnlyTaker`` is documented, its place in this answer is not.
    """
    return row.text("status") == "Expired" and row.text_or_none("expiryReason") in {None, "PostOnlyTaker"}


def balances(body: bytes) -> dict[str, Balance]:
    """Return balances by asset: ``{"USDC":{"available":"120","locked":"0","staked":"0"}}``."""
    return {
        asset: Balance(asset=asset, available=row.decimal("available"), locked=row.decimal("locked"))
        for asset, row in Row(load_json(body)).items()
    }


def position(symbol: str, body: bytes) -> Position:
    """Return the position on `symbol`, flat when the list of `positions` does not name it."""
    for row in load_rows(body):
        if row.text("symbol") == symbol:
            return _position(row)
    return Position(symbol=symbol, net_quantity=Decimal(0))


def positions(body: bytes) -> tuple[Position, ...]:
    """Return the positions of a list, flat ones included. `netQuantity` is signed.

    ``[{"symbol":"SOL_USDC_PERP","netQuantity":"0.5","entryPrice":"100","markPrice":"101",
    "pnlUnrealized":"0.5","estLiquidationPrice":"0"}]``
    """
    return tuple(_position(row) for row in load_rows(body))


def account_terms(body: bytes) -> AccountTerms:
    """Return fees (basis points on the wire too) and leverage limit.

    ``{"futuresMakerFee":"2","futuresTakerFee":"5","leverageLimit":"10","spotMakerFee":"8","spotTakerFee":"10",
    …switches and limits…}``
    """
    row = Row(load_json(body))
    return AccountTerms(
        spot_maker_bps=row.decimal("spotMakerFee"),
        spot_taker_bps=row.decimal("spotTakerFee"),
        perp_maker_bps=row.decimal("futuresMakerFee"),
        perp_taker_bps=row.decimal("futuresTakerFee"),
        leverage_limit=row.decimal("leverageLimit"),
    )


def fills(body: bytes) -> list[Fill]:
    """Return the fills of one page. `clientId` is a string or null here, `timestamp` naive UTC.

    ``[{"clientId":"7","fee":"0.004974","feeSymbol":"USDC","isMaker":false,"orderId":"4238907375",
    "price":"3826.15","quantity":"0.0026","side":"Bid","symbol":"ETH_USDC_PERP",
    "timestamp":"2025-07-27T17:39:00.092","tradeId":9748827}]``
    """
    return [
        Fill(
            # Fills that the system makes may have no trade id.
            trade_id=(
                row.identifier("tradeId")
                if row.has("tradeId")
                else f"{row.identifier('orderId')}@{row.text('timestamp')}"
            ),
            order_id=row.identifier("orderId"),
            client_order_id=row.integer_or_none("clientId"),
            symbol=row.text("symbol"),
            side=side(row.text("side")),
            price=fill_price(row, "price", is_system=row.has("systemOrderType")),
            quantity=row.amount("quantity"),
            fee=row.decimal("fee"),
            fee_asset=row.text("feeSymbol"),
            is_maker=row.flag("isMaker"),
            filled_at_ms=time_ms(row.text("timestamp")),
            is_system=row.has("systemOrderType"),
        )
        for row in load_rows(body)
    ]


def fill_price(row: Row, name: str, *, is_system: bool) -> Decimal:
    """Return the price of a fill; only what the exchange does of its own accord may have none."""
    return row.amount(name) if is_system else row.above_zero(name)


def funding_payments(body: bytes) -> list[FundingPayment]:
    """Return the payments of one page. `quantity` is positive when received, the end is naive UTC.

    ``[{"userId":1813870,"subaccountId":0,"symbol":"SOL_USDC_PERP","quantity":"-0.001301",
    "intervalEndTimestamp":"2025-08-01T16:00:00","fundingRate":"0.0001"}]``
    """
    return [
        FundingPayment(
            symbol=row.text("symbol"),
            amount=row.decimal("quantity"),
            rate=row.decimal("fundingRate"),
            interval_end_ms=time_ms(row.text("intervalEndTimestamp")),
        )
        for row in load_rows(body)
    ]


def time_ms(text: str) -> int:
    """Return ms since the epoch for a history time such as ``2025-07-27T17:39:00.092``, which is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UnreadableAnswer(f"no time: {text!r}") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return time_of((moment - EPOCH) // timedelta(milliseconds=1))


def _position(row: Row) -> Position:
    return Position(
        symbol=row.text("symbol"),
        net_quantity=row.decimal("netQuantity"),
        entry_price=row.amount("entryPrice") if row.decimal("netQuantity") else None,
        mark_price=row.price_or_none("markPrice"),
        unrealized_pnl=row.decimal_or_none("pnlUnrealized") or Decimal(0),
    )


def side(text: str) -> Side:
    """Return the side that the exchange calls ``Bid`` or ``Ask``."""
    if text not in SIDES:
        raise UnreadableAnswer(f"unknown side {text!r}")
    return SIDES[text]


def status(text: str) -> OrderStatus:
    """Return the state of an order, such as ``PartiallyFilled``."""
    if text not in STATUSES:
        # Open is the safe reading: it keeps the order in sight until something else is proven.
        logger.warning("unknown order status %r taken as new", text)
    return STATUSES.get(text, OrderStatus.NEW)
