"""A small exchange for grids: orders rest, are hit in part or run over; every figure is kept to the unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal as D

from market.book import BookLevel, OrderBook
from market.instrument import Instrument, MarketType
from market.orders import OpenOrder, OrderStatus, Quote, Side
from market.position import Balance, Fill, Position
from market.profit import Profit
from market.snapshot import LevelRole, LevelTotals, OwnOrder, Snapshot
from strategies.reconcile import reconcile
from tests.unit.strategies.market_values import NOW_MS, instrument

BUY, SELL = Side.BUY, Side.SELL


def perp_instrument(*, step_size: str = "0.01", min_quantity: str = "0.01") -> Instrument:
    return replace(
        instrument(step_size=step_size, min_quantity=min_quantity),
        symbol="SOL_USDC_PERP",
        market_type=MarketType.PERP,
    )


def order_book(bid: D | str | None, ask: D | str | None) -> OrderBook:
    def side(price: D | str | None) -> tuple[BookLevel, ...]:
        return () if price is None else (BookLevel(price=D(price), quantity=D(10)),)

    return OrderBook(symbol="SOL_USDC", bids=side(bid), asks=side(ask), updated_at_ms=NOW_MS)


@dataclass
class Exchange:
    """One market with one trader."""

    of: Instrument
    bid: D
    ask: D
    base: D = D(0)
    cash: D = D(0)
    maker_fee: D = D(0)
    #: Whether nothing else trades the symbol.
    exclusive: bool = False
    orders: list[OwnOrder] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    totals: dict[LevelRole, LevelTotals] = field(default_factory=dict)
    profit: Profit = field(default_factory=Profit)
    refused: int = 0
    _ids: int = 0

    @property
    def is_perp(self) -> bool:
        return self.of.market_type is MarketType.PERP

    def snapshot(self) -> Snapshot:
        """Return what an iteration would read now. The book shows own orders too, as real ones do."""
        return Snapshot(
            taken_at_ms=NOW_MS,
            started_at_ms=NOW_MS,
            instrument=self.of,
            book=order_book(
                max([self.bid, *self.prices(BUY)]),
                min([self.ask, *self.prices(SELL)]),
            ),
            open_orders=tuple(self.orders),
            balances={} if self.is_perp else self._balances(),
            position=Position(symbol=self.of.symbol, net_quantity=self.base) if self.is_perp else None,
            totals=dict(self.totals),
            profit=self.profit,
            exclusive_symbol=self.exclusive,
        )

    def prices(self, side: Side) -> list[D]:
        return [order.price for order in self._resting(side) if order.price]

    def _resting(self, side: Side) -> list[OpenOrder]:
        return [own.order for own in self.orders if own.order.side is side]

    def _balances(self) -> dict[str, Balance]:
        base = sum((order.remaining_quantity for order in self._resting(SELL)), D(0))
        cash = sum((order.remaining_quantity * (order.price or 0) for order in self._resting(BUY)), D(0))
        return {
            "SOL": Balance(asset="SOL", available=self.base - base, locked=base),
            "USDC": Balance(asset="USDC", available=self.cash - cash, locked=cash),
        }

    def carry_out(self, quotes: Sequence[Quote], *, places: int | None = None) -> None:
        """Cancel and place as the runner does for fixed levels; stop after so many placements."""
        plan = reconcile(quotes, self.orders, tolerance_bps=D(0), instrument=self.of, fixed_levels=True)
        self.orders = list(plan.kept)
        for quote in plan.places[:places]:
            self._place(quote)

    def _place(self, quote: Quote) -> None:
        assert quote.quantity >= self.of.min_quantity, "the exchange takes no such order"
        crosses = quote.price >= self.ask if quote.side is BUY else quote.price <= self.bid
        others = self.prices(quote.side.opposite)
        assert not any(
            quote.price >= price if quote.side is BUY else quote.price <= price for price in others
        ), "own orders meet"
        if crosses or not self._can_pay(quote):
            self.refused += 1
            return
        self._ids += 1
        order = OpenOrder(
            order_id=str(self._ids),
            client_order_id=self._ids,
            symbol=self.of.symbol,
            side=quote.side,
            price=quote.price,
            quantity=quote.quantity,
            executed_quantity=D(0),
            status=OrderStatus.NEW,
            created_at_ms=NOW_MS,
        )
        self.orders.append(OwnOrder(order=order, level=quote.level, role=quote.role, generation=0))

    def _can_pay(self, quote: Quote) -> bool:
        if self.is_perp:
            reducible = -self.base if quote.side is BUY else self.base
            return not quote.reduce_only or reducible > 0
        balances = self._balances()
        if quote.side is SELL:
            return balances["SOL"].available >= quote.quantity
        return balances["USDC"].available >= quote.quantity * quote.price

    def move(self, bid: D, ask: D) -> None:
        """Move the market; what it runs over is filled."""
        self.bid, self.ask = bid, ask
        for own in list(self.orders):
            price = own.order.price or D(0)
            if price >= ask if own.order.side is BUY else price <= bid:
                self.fill(own, own.order.remaining_quantity)

    def hit(self, side: Side, part: D) -> None:
        """Let somebody trade with `part` of the best own order of a side."""
        best = max(self.prices(side), default=None) if side is BUY else min(self.prices(side), default=None)
        own = next((own for own in self.orders if own.order.side is side and own.order.price == best), None)
        if own is not None:
            wanted = self.of.round_quantity(own.order.remaining_quantity * part)
            self.fill(own, max(self.of.step_size, wanted))

    def fill(self, own: OwnOrder, quantity: D) -> None:
        order, price = own.order, own.order.price or D(0)
        in_base = order.side is BUY and not self.is_perp
        fee = self.maker_fee * quantity * (1 if in_base else price)
        made = Fill(
            trade_id=str(len(self.fills)),
            order_id=order.order_id,
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            price=price,
            quantity=quantity,
            fee=fee,
            fee_asset="SOL" if in_base else "USDC",
            is_maker=True,
            filled_at_ms=NOW_MS,
        )
        self.fills.append(made)
        key = (own.level, own.role)
        self.totals[key] = self.totals.get(key, LevelTotals()).after(made, self.of)
        self.profit = self.profit.after(made, self.of)
        signed = quantity if order.side is BUY else -quantity
        self.base += signed - (fee if in_base else 0)
        self.cash -= signed * price + (0 if in_base else fee)
        self.orders.remove(own)
        hit = replace(
            order,
            executed_quantity=order.executed_quantity + quantity,
            status=OrderStatus.PARTIALLY_FILLED,
        )
        if hit.remaining_quantity > 0:
            self.orders.append(replace(own, order=hit))
