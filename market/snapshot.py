"""Everything one decision may know, read at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from market.book import OrderBook
from market.instrument import Instrument
from market.net_range import NetRange
from market.orders import OpenOrder, Side
from market.position import Balance, Fill, Position
from market.profit import Profit
from market.terms import AccountTerms

#: Level and role of an order, as its client order id says them.
LevelRole = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class OwnOrder:
    """An open order of this instance, with what its client order id says."""

    order: OpenOrder
    level: int
    role: int
    generation: int


@dataclass(frozen=True, kw_only=True)
class LevelTotals:
    """What the fills of one level and role of this run come to; only grows, each fill counted once."""

    #: Base units, before fees.
    bought: Decimal = Decimal(0)
    sold: Decimal = Decimal(0)
    #: Price times quantity, quote units.
    paid: Decimal = Decimal(0)
    received: Decimal = Decimal(0)
    #: Fees taken in the base asset, base units.
    base_fees: Decimal = Decimal(0)
    #: Fees taken in the quote asset, quote units.
    quote_fees: Decimal = Decimal(0)

    @property
    def net(self) -> Decimal:
        """Return what is left of it in base units, signed."""
        return self.bought - self.sold - self.base_fees

    def after(self, fill: Fill, instrument: Instrument) -> LevelTotals:
        """Return the totals with `fill` counted."""
        value = fill.price * fill.quantity
        booked = (
            replace(self, bought=self.bought + fill.quantity, paid=self.paid + value)
            if fill.side is Side.BUY
            else replace(self, sold=self.sold + fill.quantity, received=self.received + value)
        )
        if fill.fee_asset == instrument.base_asset:
            return replace(booked, base_fees=booked.base_fees + fill.fee)
        if fill.fee_asset == instrument.quote_asset:
            return replace(booked, quote_fees=booked.quote_fees + fill.fee)
        return booked


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The market and the instance's own standing. No decision reads anything else.

    Read in this order: own orders, own fills, position or balances, book. So an order that is filled in
    between is counted twice in the exposure, never not at all.
    """

    #: ms since the epoch, by the state server's clock.
    taken_at_ms: int
    #: When this run was started, same clock.
    started_at_ms: int
    instrument: Instrument
    #: Of the others: without this instance's own orders.
    book: OrderBook
    #: Own orders of this instance that rest, or have to be taken for resting.
    open_orders: tuple[OwnOrder, ...]
    #: Balances by asset (spot); empty for perpetuals unless asked for.
    balances: Mapping[str, Balance] = field(default_factory=dict)
    #: Net position (perpetuals); None for spot.
    position: Position | None = None
    #: Own fills since the last committed iteration, oldest first: each appears once in a run.
    fills: tuple[Fill, ...] = ()
    #: True: nothing and nobody else trades this symbol on this account, so its whole position is this
    #: instance's to manage.
    exclusive_symbol: bool = False
    #: Bounds of the net quantity where position and fills can lag; None: they are as they stand.
    net_bounds: NetRange | None = None
    #: What the account pays; known before a start only.
    terms: AccountTerms | None = None
    #: All own fills of this run, `fills` included, by level and role.
    totals: Mapping[LevelRole, LevelTotals] = field(default_factory=dict)
    #: The same as profit.
    profit: Profit = field(default_factory=Profit)
    #: Levels and roles with an order whose fate is not known yet, or whose fills are still to come: what
    #: `totals` says of them may be too little.
    unsettled: frozenset[LevelRole] = frozenset()
    #: What the exchange itself traded on this account and symbol since the last committed iteration
    #: (liquidation, auto-deleveraging): no order of anybody's made these.
    system_fills: tuple[Fill, ...] = ()

    @property
    def net(self) -> NetRange:
        """Return what is held: on a perpetual the account's position, on spot what this run made."""
        if self.net_bounds is not None:
            return self.net_bounds
        return NetRange.exactly(self.profit.net if self.position is None else self.position.net_quantity)

    @property
    def price(self) -> Decimal | None:
        """Return the fair price: the mark where the exchange names one, else the mid."""
        mark = None if self.position is None else self.position.mark_price
        # A flat position may come with a mark of zero.
        return mark if mark else self.book.mid
