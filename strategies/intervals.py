"""The intervals of a grid: what each of them holds, and the orders it wants. Pure functions.

Interval i lies between the levels L_i and L_(i+1). A long one opens by a buy at L_i and closes by a sell at
L_(i+1), a short one opens by a sell at L_(i+1) and closes by a buy at L_i. What it holds, x_i, is derived
each time from the cumulative fills of its level, so partial fills, lost events, restarts and repeated
iterations heal themselves. Opening orders carry the role QUOTE, closing ones CLOSE, both the level i.

A neutral grid is long below its pivot level and short above it. So the position wanted is a falling step
function of the price, zero at the pivot, and all of it nets in one position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from pydantic import BaseModel, ConfigDict

from market.orders import Quote, Role, Side
from market.snapshot import LevelRole, LevelTotals, Snapshot
from strategies import quoting
from strategies.grid_levels import GridType, nearest_level

#: An opening order is not placed for less than this part of the quantity: small partial fills of a closing
#: order, and what a buy pays as its fee in the base asset, are not worth an order of their own.
_SMALLEST_OPENING = Decimal("0.01")

_ZERO = Decimal(0)


class Grid(BaseModel):
    """The levels of a grid and what it started with; fixed once computed, part of a strategy's state."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: Lowest first, quote units.
    levels: tuple[Decimal, ...]
    #: Most that one interval opens, base units.
    quantity: Decimal
    #: Intervals below this one are long, the others short.
    long_intervals: int
    #: By interval: what it held when this grid was made, less what its level's fills came to by then;
    #: signed, base units. An interval that is missing started with nothing.
    carried: dict[int, Decimal] = {}
    #: Most that its openings may bring one direction to, all intervals together, base units. None: what the
    #: intervals come to one by one.
    most_held: Decimal | None = None

    @property
    def limit(self) -> Decimal:
        """Return the most that openings may bring one direction to, base units."""
        return self.quantity * self.larger_direction if self.most_held is None else self.most_held

    @property
    def intervals(self) -> int:
        """Return the number of intervals."""
        return len(self.levels) - 1

    @property
    def larger_direction(self) -> int:
        """Return how many intervals can be open at once in the direction that has more of them."""
        return max(self.long_intervals, self.intervals - self.long_intervals)


def net_by_interval(grid: Grid, totals: Mapping[LevelRole, LevelTotals]) -> list[Decimal]:
    """Return what each interval adds to the position: signed, base units, fees in base taken off."""
    return [
        grid.carried.get(interval, _ZERO) + _net_of_level(totals, interval)
        for interval in range(grid.intervals)
    ]


def _net_of_level(totals: Mapping[LevelRole, LevelTotals], level: int) -> Decimal:
    net = _ZERO
    for role in (Role.QUOTE, Role.CLOSE):
        of_role = totals.get((level, role))
        if of_role is not None:
            net += of_role.net
    return net


def make_grid(
    levels: Sequence[Decimal],
    quantity: Decimal,
    long_intervals: int,
    holdings: Mapping[int, Decimal],
    totals: Mapping[LevelRole, LevelTotals],
    *,
    most_held: Decimal | None = None,
) -> Grid:
    """Return a grid whose intervals hold `holdings` (signed, base units) now, given the fills so far."""
    carried = {
        interval: holdings.get(interval, _ZERO) - _net_of_level(totals, interval)
        for interval in range(len(levels) - 1)
    }
    return Grid(
        levels=tuple(levels),
        quantity=quantity,
        long_intervals=long_intervals,
        carried={interval: amount for interval, amount in carried.items() if amount != 0},
        most_held=most_held,
    )


def assign(
    net: Decimal,
    levels: Sequence[Decimal],
    price: Decimal,
    *,
    quantity: Decimal,
    grid_type: GridType,
    min_quantity: Decimal,
) -> tuple[int, dict[int, Decimal]]:
    """Return the number of long intervals of a new grid, and which interval holds what of `net`.

    A long position goes to the intervals above the price, from the lowest up, at most `quantity` each, and
    what is left over on top of the last one; a short position to those below, mirrored. In a neutral grid
    that moves the pivot: the level where the position is closed. Dust, and a position that the grid type
    does not open, goes to the interval next to the price as what it holds too much or too little.
    """
    intervals = len(levels) - 1
    pivot = nearest_level(levels, price)
    by_type = {GridType.LONG: intervals, GridType.SHORT: 0, GridType.NEUTRAL: pivot}
    opened_by = GridType.LONG if net > 0 else GridType.SHORT
    if net == 0 or abs(net) < min_quantity or grid_type not in (opened_by, GridType.NEUTRAL):
        return by_type[grid_type], {max(pivot - 1, 0): net} if net != 0 else {}
    is_neutral = grid_type is GridType.NEUTRAL
    if net > 0:
        first = min(pivot if is_neutral else _first_above(levels, price), intervals - 1)
        holdings = _spread(net, range(first, intervals), quantity)
        return max(holdings) + 1 if is_neutral else intervals, holdings
    first = max(pivot - 1 if is_neutral else _first_below(levels, price), 0)
    holdings = _spread(net, range(first, -1, -1), quantity)
    return min(holdings) if is_neutral else 0, holdings


def _first_above(levels: Sequence[Decimal], price: Decimal) -> int:
    """Return the lowest interval that lies entirely at or above `price`."""
    return next((index for index, level in enumerate(levels) if level >= price), len(levels))


def _first_below(levels: Sequence[Decimal], price: Decimal) -> int:
    """Return the highest interval that lies entirely at or below `price`; -1 when there is none."""
    return max((index for index, level in enumerate(levels) if level <= price), default=0) - 1


def _spread(net: Decimal, intervals: Sequence[int], quantity: Decimal) -> dict[int, Decimal]:
    sign = 1 if net > 0 else -1
    left = abs(net)
    holdings: dict[int, Decimal] = {}
    for interval in intervals:
        if left <= 0:
            break
        part = left if interval == intervals[-1] else min(left, quantity)
        holdings[interval] = sign * part
        left -= part
    return holdings


def wanted_quotes(grid: Grid, snapshot: Snapshot, *, reduce_only: bool) -> tuple[Quote, ...]:
    """Return the orders that should rest: closing ones first, each kind nearest to the price first.

    A closing order stands at its level, or at the nearest passive price once the price has run over the
    level, so no exit is ever missing. An opening order stands at its level or nowhere: the market is not
    chased. No two of them meet: closing buys give way to closing sells, opening orders to both. What is
    too small to be placed is wanted only as far as an order for it rests already, so that a remainder
    keeps its place. Without a two-sided book nothing is wanted. `reduce_only` is put on closing orders.
    """
    mid = snapshot.book.mid
    if mid is None or not quoting.is_two_sided(snapshot.book):
        return ()
    held = [
        net if interval < grid.long_intervals else -net
        for interval, net in enumerate(net_by_interval(grid, snapshot.totals))
    ]
    desk = _Desk(grid=grid, snapshot=snapshot, reduce_only=reduce_only)
    # Long ones first: a closing buy is put below the closing sells that are there already.
    for interval, quantity in enumerate(held):
        desk.close(interval, quantity)
    desk.keep_remainders()
    sides = (range(grid.long_intervals)[::-1], range(grid.long_intervals, grid.intervals))
    for side in sides:
        # From the price outwards: where there is not room for all, the nearest have it.
        room = None if grid.most_held is None else grid.most_held - sum(held[each] for each in side)
        for interval in side:
            lacking = grid.quantity - held[interval]
            opened = desk.open(interval, lacking if room is None else min(lacking, room))
            room = None if room is None else room - opened
    desk.keep_remainders()

    def nearest_first(quote: Quote) -> tuple[bool, Decimal, int]:
        return (quote.role is not Role.CLOSE, abs(quote.price - mid), quote.level)

    return tuple(sorted(desk.quotes, key=nearest_first))


class _Desk:
    """Takes in the quotes of one decision, none of which meets one that was taken in before it."""

    def __init__(self, *, grid: Grid, snapshot: Snapshot, reduce_only: bool) -> None:
        self.quotes: list[Quote] = []
        self._grid = grid
        self._book = snapshot.book
        self._instrument = snapshot.instrument
        self._reduce_only = reduce_only
        self._resting = {
            (own.level, own.role): own.order for own in snapshot.open_orders if own.order.status.is_open
        }
        self._remainders: list[Quote] = []
        self._highest_bid: Decimal | None = None
        self._lowest_ask: Decimal | None = None

    def close(self, interval: int, held: Decimal) -> None:
        """Take in the order that closes what `interval` holds, where that is enough for an order."""
        quantity = quoting.capped(held, self._instrument)
        if quantity <= 0:
            return
        is_long = interval < self._grid.long_intervals
        side = Side.SELL if is_long else Side.BUY
        level = self._grid.levels[interval + 1 if is_long else interval]
        if quantity < self._instrument.min_quantity:
            # An exit that was run over rests beyond its level.
            resting = self._remainder(interval, Role.CLOSE, side, quantity)
            if resting is not None and (resting.price >= level if is_long else resting.price <= level):
                self._remainders.append(resting)
            return
        price = quoting.keep_passive(level, side, self._book, self._instrument)
        if side is Side.BUY and self._lowest_ask is not None and price >= self._lowest_ask:
            # Both stand inside the spread: a tick below the own sell is not below the best bid.
            price = self._lowest_ask - self._instrument.tick_size
        self._take(self._quote(interval, Role.CLOSE, side, price, quantity))

    def open(self, interval: int, lacking: Decimal) -> Decimal:
        """Take in the order that opens what `interval` lacks, if the price has not reached its level.

        Returns its quantity, zero when there is none.
        """
        quantity = quoting.capped(lacking, self._instrument)
        if quantity <= 0:
            return _ZERO
        is_long = interval < self._grid.long_intervals
        side = Side.BUY if is_long else Side.SELL
        level = self._grid.levels[interval if is_long else interval + 1]
        if quantity < max(self._instrument.min_quantity, self._grid.quantity * _SMALLEST_OPENING):
            resting = self._remainder(interval, Role.QUOTE, side, quantity)
            if resting is None or resting.price != level:
                return _ZERO
            self._remainders.append(resting)
            return resting.quantity
        if not self._is_passive(level, side):
            return _ZERO
        is_taken = self._take(self._quote(interval, Role.QUOTE, side, level, quantity))
        return quantity if is_taken else _ZERO

    def keep_remainders(self) -> None:
        """Take in the orders that rest already and are too small to be placed anew."""
        for quote in self._remainders:
            self._take(quote)
        self._remainders.clear()

    def _remainder(self, interval: int, role: Role, side: Side, wanted: Decimal) -> Quote | None:
        """Return the order that rests for it, as it rests: nothing else could be placed in its stead."""
        order = self._resting.get((interval, role))
        if order is None or order.price is None or order.side is not side:
            return None
        if not 0 < order.remaining_quantity <= wanted or not self._is_passive(order.price, side):
            return None
        return self._quote(interval, role, side, order.price, order.remaining_quantity)

    def _is_passive(self, price: Decimal, side: Side) -> bool:
        return quoting.keep_passive(price, side, self._book, self._instrument) == price

    def _quote(self, interval: int, role: Role, side: Side, price: Decimal, quantity: Decimal) -> Quote:
        return Quote(
            side=side,
            price=price,
            quantity=quantity,
            level=interval,
            role=role,
            reduce_only=self._reduce_only and role is Role.CLOSE,
        )

    def _take(self, quote: Quote) -> bool:
        if not quoting.is_valid_price(quote.price, self._instrument):
            return False
        if quote.side is Side.BUY:
            if self._lowest_ask is not None and quote.price >= self._lowest_ask:
                return False
            self._highest_bid = max(quote.price, self._highest_bid or quote.price)
        else:
            if self._highest_bid is not None and quote.price <= self._highest_bid:
                return False
            self._lowest_ask = min(quote.price, self._lowest_ask or quote.price)
        self.quotes.append(quote)
        return True
