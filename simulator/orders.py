"""Orders and fills as the engine keeps them, and as the wire shows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from simulator.accounts import Account
from simulator.markets import Market


def text(value: Decimal) -> str:
    """Return a decimal as the exchange writes it: no exponent, no trailing zeros."""
    if value == 0:
        return "0"
    written = f"{value:f}"
    return written.rstrip("0").rstrip(".") if "." in written else written


def rounded(value: Decimal) -> Decimal:
    """Return a derived figure (an average, a profit) with as many decimals as are worth showing."""
    return round(value, 8)


def iso(at_ms: int) -> str:
    """Return a time as histories write it: naive UTC."""
    return (
        datetime.fromtimestamp(at_ms / 1000, tz=UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
    )


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A parsed order request."""

    market: Market
    #: ``Bid`` or ``Ask``.
    side: str
    #: ``Limit`` or ``Market``.
    order_type: str
    price: Decimal | None
    quantity: Decimal | None
    quote_quantity: Decimal | None
    client_id: int | None
    time_in_force: str
    post_only: bool
    reduce_only: bool
    self_trade_prevention: str
    #: None: its owner asked for it; else why the exchange made it of its own accord.
    system_order_type: str | None = None

    @property
    def buys(self) -> bool:
        """Tell the side."""
        return self.side == "Bid"

    def witness(self) -> dict[str, Any]:
        """Return what the journal says of a request that became no order."""
        return {
            "symbol": self.market.symbol,
            "client_id": self.client_id,
            "side": self.side,
            "price": None if self.price is None else text(self.price),
            "quantity": None if self.quantity is None else text(self.quantity),
            "post_only": self.post_only,
        }


@dataclass(kw_only=True, eq=False)
class Order:
    """An order of an account."""

    order_id: int
    account: Account
    wanted: Wanted
    quantity: Decimal
    created_at_ms: int
    signed_at_ms: int
    executed: Decimal = Decimal(0)
    executed_quote: Decimal = Decimal(0)
    status: str = "New"
    expiry_reason: str | None = None
    #: Quantity of others displayed before it at its price when it was placed.
    ahead: Decimal = Decimal(0)
    ended_at_ms: int | None = None
    #: What it holds of which asset.
    locked: Decimal = Decimal(0)
    locked_asset: str = ""

    @property
    def remaining(self) -> Decimal:
        """Return what is not executed."""
        return self.quantity - self.executed

    @property
    def symbol(self) -> str:
        """Return the market's symbol."""
        return self.wanted.market.symbol

    @property
    def resting_status(self) -> str:
        """Return the status it has, or had, while on the book."""
        return "PartiallyFilled" if self.executed else "New"

    @property
    def rests(self) -> bool:
        """Tell whether it has not ended."""
        return self.ended_at_ms is None

    @property
    def price(self) -> Decimal:
        """Return the limit price; zero for market orders, which never rest."""
        return self.wanted.price or Decimal(0)

    def wire(self) -> dict[str, Any]:
        """Return the order as POST, GET and DELETE answer it."""
        wanted = self.wanted
        shown: dict[str, Any] = {
            "orderType": wanted.order_type,
            "id": str(self.order_id),
            "clientId": wanted.client_id,
            "symbol": wanted.market.symbol,
            "side": wanted.side,
            "quantity": text(self.quantity),
            "executedQuantity": text(self.executed),
            "executedQuoteQuantity": text(self.executed_quote),
            "status": self.status,
            "timeInForce": wanted.time_in_force,
            "reduceOnly": wanted.reduce_only or None,
            "selfTradePrevention": wanted.self_trade_prevention,
            "createdAt": self.created_at_ms,
            "systemOrderType": wanted.system_order_type,
        }
        if wanted.order_type == "Limit":
            shown |= {"price": text(self.price), "postOnly": wanted.post_only}
        else:
            shown["quoteQuantity"] = text(wanted.quote_quantity) if wanted.quote_quantity else None
        nothing = (
            "relatedOrderId strategyId stopLossLimitPrice stopLossTriggerBy stopLossTriggerPrice "
            "takeProfitLimitPrice takeProfitTriggerBy takeProfitTriggerPrice triggerBy triggerPrice "
            "triggerQuantity triggeredAt"
        )
        return shown | dict.fromkeys(nothing.split())

    def history(self) -> dict[str, Any]:
        """Return the order as a row of the order history."""
        return self.wire() | {
            "createdAt": iso(self.created_at_ms),
            "expiryReason": self.expiry_reason,
            "quoteQuantity": text(self.wanted.quote_quantity) if self.wanted.quote_quantity else None,
        }

    def witness(self) -> dict[str, Any]:
        """Return what the journal says of the order."""
        wanted = self.wanted
        return {
            "account": self.account.name,
            "symbol": wanted.market.symbol,
            "order_id": str(self.order_id),
            "client_id": wanted.client_id,
            "side": wanted.side,
            "price": text(self.price),
            "quantity": text(self.quantity),
            "executed": text(self.executed),
            "post_only": wanted.post_only,
            "reduce_only": wanted.reduce_only,
            "signed_at_ms": self.signed_at_ms,
            "status": self.status,
            "system": wanted.system_order_type is not None,
        }


@dataclass(frozen=True, kw_only=True)
class Fill:
    """One execution of one account's order."""

    trade_id: int
    order: Order = field(repr=False)
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: str
    maker: bool
    at_ms: int

    def wire(self) -> dict[str, Any]:
        """Return the fill as a row of the fill history."""
        wanted = self.order.wanted
        return {
            "clientId": None if wanted.client_id is None else str(wanted.client_id),
            "fee": text(self.fee),
            "feeSymbol": self.fee_asset,
            "isMaker": self.maker,
            "orderId": str(self.order.order_id),
            "price": text(self.price),
            "quantity": text(self.quantity),
            "side": wanted.side,
            "symbol": wanted.market.symbol,
            "systemOrderType": wanted.system_order_type,
            "timestamp": iso(self.at_ms),
            "tradeId": self.trade_id,
        }

    def witness(self) -> dict[str, Any]:
        """Return what the journal says of the fill."""
        return self.order.witness() | {
            "price": text(self.price),
            "quantity": text(self.quantity),
            "order_quantity": text(self.order.quantity),
            "trade_id": self.trade_id,
            "fee": text(self.fee),
            "fee_asset": self.fee_asset,
            "maker": self.maker,
        }
