"""Market values with defaults, so that a test states only what matters to it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal as D

from market.book import BookLevel, OrderBook
from market.instrument import Instrument, MarketType
from market.orders import OpenOrder, OrderStatus, Quote, Role, Side
from market.position import Balance
from market.snapshot import OwnOrder, Snapshot

NOW_MS = 1_760_000_000_000


def instrument(
    *,
    tick_size: str = "0.01",
    step_size: str = "0.01",
    min_quantity: str = "0.01",
    max_quantity: str | None = None,
    min_price: str | None = None,
    max_price: str | None = None,
) -> Instrument:
    return Instrument(
        symbol="SOL_USDC",
        market_type=MarketType.SPOT,
        base_asset="SOL",
        quote_asset="USDC",
        tick_size=D(tick_size),
        step_size=D(step_size),
        min_quantity=D(min_quantity),
        max_quantity=None if max_quantity is None else D(max_quantity),
        min_price=None if min_price is None else D(min_price),
        max_price=None if max_price is None else D(max_price),
    )


def book(bid: str | D | None = "149.97", ask: str | D | None = "150.03") -> OrderBook:
    def side(price: str | D | None) -> tuple[BookLevel, ...]:
        return () if price is None else (BookLevel(price=D(price), quantity=D(10)),)

    return OrderBook(symbol="SOL_USDC", bids=side(bid), asks=side(ask), updated_at_ms=NOW_MS)


def own_order(
    side: Side,
    price: str | D | None,
    quantity: str | D = "0.20",
    *,
    level: int = 0,
    executed: str | D = "0",
    role: Role = Role.QUOTE,
    status: OrderStatus | None = None,
    order_id: str = "",
) -> OwnOrder:
    hit = D(executed) > 0
    return OwnOrder(
        order=OpenOrder(
            order_id=order_id or f"{side}-{level}-{price}",
            client_order_id=1,
            symbol="SOL_USDC",
            side=side,
            price=None if price is None else D(price),
            quantity=D(quantity),
            executed_quantity=D(executed),
            status=status or (OrderStatus.PARTIALLY_FILLED if hit else OrderStatus.NEW),
            created_at_ms=NOW_MS - 1000,
        ),
        level=level,
        role=role,
        generation=0,
    )


def placed(quotes: Sequence[Quote]) -> tuple[OwnOrder, ...]:
    """Return the own orders that rest once every quote was placed."""
    return tuple(
        own_order(quote.side, quote.price, quote.quantity, level=quote.level, role=quote.role)
        for quote in quotes
    )


def snapshot(
    *,
    of: Instrument | None = None,
    order_book: OrderBook | None = None,
    base: str | D | None = "4",
    quote: str | D | None = "700",
    base_locked: str | D = "0",
    quote_locked: str | D = "0",
    open_orders: Sequence[OwnOrder] = (),
    taken_at_ms: int = NOW_MS,
) -> Snapshot:
    """Return a snapshot; `base` and `quote` are what is available, None leaves the asset out."""
    balances = {}
    if base is not None:
        balances["SOL"] = Balance(asset="SOL", available=D(base), locked=D(base_locked))
    if quote is not None:
        balances["USDC"] = Balance(asset="USDC", available=D(quote), locked=D(quote_locked))
    return Snapshot(
        taken_at_ms=taken_at_ms,
        started_at_ms=NOW_MS - 60_000,
        instrument=of or instrument(),
        book=order_book or book(),
        open_orders=tuple(open_orders),
        balances=balances,
    )
