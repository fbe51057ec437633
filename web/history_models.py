"""What the API gives of the past and of the market; `models` has the rest, and what it takes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from web.models import Amount, Answer, Ms


class Receipts(Answer):
    """Receipts of stops, newest first, as `manage.py receipt --json` prints them."""

    receipts: list[dict[str, Any]]


class ReceiptAnswer(Answer):
    """A receipt, or the stop under way that has none yet."""

    receipt: dict[str, Any] | None
    epoch: int
    phase: str
    message: str


class Order(Answer):
    """An order as the ledger was told of it."""

    order_id: str
    client_order_id: int | None
    epoch: int
    symbol: str
    side: Literal["buy", "sell"]
    #: Null: a market order.
    price: Amount | None
    quantity: Amount
    executed: Amount
    status: str
    level: int | None
    role: str | None
    reason: str
    created_at_ms: Ms | None
    updated_at_ms: Ms


class Orders(Answer):
    """Orders, newest first."""

    orders: list[Order]
    has_more: bool
    #: False: something still waits in the state server.
    up_to_date: bool


class Fill(Answer):
    """An execution."""

    trade_id: str
    order_id: str
    epoch: int
    symbol: str
    side: Literal["buy", "sell"]
    price: Amount
    quantity: Amount
    #: Negative: a rebate.
    fee: Amount
    fee_asset: str
    is_maker: bool
    is_system: bool
    level: int | None
    role: str | None
    filled_at_ms: Ms


class Fills(Answer):
    """Fills, newest first."""

    fills: list[Fill]
    has_more: bool
    up_to_date: bool


class ProfitLine(Answer):
    """Profit of an instance in one quote asset, of one day or in all."""

    #: ISO date, UTC; null: all days.
    day: str | None
    symbols: list[str]
    quote_asset: str
    realized: Amount
    #: Of what is held now, at the mark; null: the mark is not known.
    unrealized: Amount | None
    fees: Amount
    funding: Amount
    total: Amount | None
    volume: Amount
    fills: int
    net_quantity: Amount


class Pnl(Answer):
    """Profit, oldest day first."""

    lines: list[ProfitLine]
    up_to_date: bool


class EventItem(Answer):
    """Something that happened; also the data of the server-sent event `lifecycle`."""

    #: Place in the stream: the id of the server-sent event.
    stream_id: str
    instance_id: str
    epoch: int
    #: `started`, `stop_requested`, `cleanup_claimed`, `cleanup_step`, `finished`, `audit`, ...
    event: str
    at_ms: Ms
    #: In the words of `manage.py stop`, empty where it is no phase of a stop.
    phase: str
    detail: str
    fields: dict[str, str]


class Events(Answer):
    """What happened, oldest first."""

    events: list[EventItem]
    has_more: bool


class Market(Answer):
    """The book as a feed sees it; null and empty where no feed does."""

    symbol: str
    mid: Amount | None = None
    #: Price and quantity, best first, ten at most.
    bids: list[tuple[Amount, Amount]] = Field(default=[])
    asks: list[tuple[Amount, Amount]] = Field(default=[])
    at_ms: Ms | None = None


class Quote(Answer):
    """An own order that rests."""

    side: Literal["buy", "sell"]
    price: Amount | None
    #: Still open.
    quantity: Amount
    level: int
    role: str
    client_id: int
    order_id: str


class Quotes(Answer):
    """Own open orders as of the last iteration, by side and level."""

    quotes: list[Quote]
    at_ms: Ms | None


class Tick(Answer):
    """Server-sent event `tick` of the watched instance."""

    instance_id: str
    market: Market
    quotes: list[Quote]
    position: Amount | None
    server_ms: Ms


class SeriesFill(Answer):
    """A fill in a chart."""

    at_ms: Ms
    side: Literal["buy", "sell"]
    price: Amount
    quantity: Amount
    level: int | None


class Series(Answer):
    """What a chart shows, oldest first; pairs of Unix ms and a value."""

    #: Marks of the account's snapshots, and prices of fills.
    mid: list[tuple[Ms, Amount]]
    #: Net quantity of the instance after each fill.
    position: list[tuple[Ms, Amount]]
    #: Closed profit of the instance after each fill, in the quote asset.
    profit: list[tuple[Ms, Amount]]
    fills: list[SeriesFill]
    quote_asset: str | None
