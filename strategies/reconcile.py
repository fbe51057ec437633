"""Compare the quotes wanted with the own orders that rest, and plan the smallest change between them."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from market.instrument import Instrument
from market.orders import OrderStatus, Quote, Role, Side
from market.snapshot import OwnOrder
from strategies.quoting import BPS

#: How much smaller than wanted an order that nobody has hit may be and still stay.
QUANTITY_TOLERANCE = Decimal("0.10")

#: The part of the wanted quantity down to which an order that was hit keeps its place in the queue.
#: Half: a new order would go to the back of the queue, but a small remainder no longer makes a market.
PARTIAL_FILL_FLOOR = Decimal("0.50")


@dataclass(frozen=True, kw_only=True)
class OrderPlan:
    """What to send so that the own orders become the quotes wanted. All cancels go before any place."""

    #: Innermost levels first: they are the likeliest to be hit.
    cancels: tuple[OwnOrder, ...]
    #: Innermost levels first, so that they get the best places in the queue.
    places: tuple[Quote, ...]
    kept: tuple[OwnOrder, ...]

    @property
    def changes_nothing(self) -> bool:
        """Tell whether nothing has to be sent."""
        return not self.cancels and not self.places


def reconcile(
    quotes: Sequence[Quote],
    own_orders: Sequence[OwnOrder],
    *,
    tolerance_bps: Decimal,
    instrument: Instrument,
    fixed_levels: bool = False,
) -> OrderPlan:
    """Return the cancels and places that lead from `own_orders` to `quotes`, keeping what fits.

    An order fits a quote of its side and role when its price is within `tolerance_bps` of the wanted
    price, its remaining quantity is not above the wanted one and not too far below
    (`QUANTITY_TOLERANCE`; `PARTIAL_FILL_FLOOR` once it was hit), and keeping it cannot meet a quote of
    the other side. Each quote first looks among the orders of its own level, then what is left is
    paired closest first. At most one order stays per quote; every other open order is cancelled.

    With `fixed_levels` an order serves its own level or none, and an exit (`Role.CLOSE`) has to be whole:
    what it lacks of the wanted quantity must be less than an order, `instrument.min_quantity`.

    Conditional orders fit nothing. Orders that the list shows as ended are neither kept nor cancelled.
    Reconciling again after the plan was carried out changes nothing.
    """
    open_orders = [own for own in own_orders if own.order.status.is_open]
    fits = _Fit(quotes=quotes, tolerance_bps=tolerance_bps, instrument=instrument, whole_exits=fixed_levels)
    pairing = _Pairing(open_orders, quotes, fits)
    pairing.pair_closest(by_level=True)
    if not fixed_levels:
        pairing.pair_closest(by_level=False)
    return OrderPlan(
        cancels=_sorted_orders(own for index, own in enumerate(open_orders) if index not in pairing.kept),
        places=tuple(
            sorted(
                (quote for index, quote in enumerate(quotes) if index not in pairing.served),
                key=lambda quote: (quote.level, quote.side, quote.role),
            )
        ),
        kept=_sorted_orders(own for index, own in enumerate(open_orders) if index in pairing.kept),
    )


class _Pairing:
    """Which order stays for which quote."""

    def __init__(self, own_orders: Sequence[OwnOrder], quotes: Sequence[Quote], fits: _Fit) -> None:
        self._own_orders = own_orders
        self._quotes = quotes
        self._fits = fits
        #: Indices of the orders that stay, and of the quotes they stay for.
        self.kept: set[int] = set()
        self.served: set[int] = set()

    def pair_closest(self, *, by_level: bool) -> None:
        """Pair what fits and has no partner yet, closest first; `by_level` within the same level only."""
        pairs = sorted(
            (self._fits.distance(own, quote), _by_level(own), own_index, quote_index)
            for own_index, quote_index in self._near(by_level)
            for own, quote in [(self._own_orders[own_index], self._quotes[quote_index])]
            if self._fits(own, quote)
        )
        for _, _, own_index, quote_index in pairs:
            if own_index not in self.kept and quote_index not in self.served:
                self.kept.add(own_index)
                self.served.add(quote_index)

    def _near(self, by_level: bool) -> Iterator[tuple[int, int]]:
        """Find the indices of unpaired orders and quotes with the same side and role and about one price.

        Prices are sorted, and whatever is farther than one that is too far is too far: comparing every
        order with every quote would take a grid of 200 levels a tenth of a second.
        """
        ladders: dict[tuple[Side, int, int], list[tuple[Decimal, int]]] = defaultdict(list)
        for index, quote in enumerate(self._quotes):
            if index not in self.served:
                place = (quote.side, int(quote.role), quote.level if by_level else 0)
                ladders[place].append((quote.price, index))
        for ladder in ladders.values():
            ladder.sort()
        for own_index, own in enumerate(self._own_orders):
            if own_index in self.kept or own.order.price is None:
                continue
            ladder = ladders.get((own.order.side, own.role, own.level if by_level else 0), [])
            start = bisect_left(ladder, (own.order.price, 0))
            for ways in (range(start, len(ladder)), range(start - 1, -1, -1)):
                for at in ways:
                    price, quote_index = ladder[at]
                    if not self._fits.is_near(own.order.price, price):
                        break
                    yield own_index, quote_index


class _Fit:
    """Whether an own order may stay in the place of a quote, given all the quotes of one decision."""

    def __init__(
        self, *, quotes: Sequence[Quote], tolerance_bps: Decimal, instrument: Instrument, whole_exits: bool
    ) -> None:
        self._tolerance = tolerance_bps / BPS
        self._whole_exits = whole_exits
        self._min_quantity = instrument.min_quantity
        self._lowest_ask = min((quote.price for quote in quotes if quote.side is Side.SELL), default=None)
        self._highest_bid = max((quote.price for quote in quotes if quote.side is Side.BUY), default=None)

    def __call__(self, own: OwnOrder, quote: Quote) -> bool:
        order = own.order
        if order.status is OrderStatus.TRIGGER_PENDING or order.price is None:
            return False
        if order.side is not quote.side or own.role != quote.role:
            return False
        if not self.is_near(order.price, quote.price) or self._meets_other_side(order.side, order.price):
            return False
        return self._quantity_fits(own, quote)

    def is_near(self, price: Decimal, wanted: Decimal) -> bool:
        """Tell whether `price` is within the tolerance of the wanted one."""
        return abs(price - wanted) <= self._tolerance * wanted

    @staticmethod
    def distance(own: OwnOrder, quote: Quote) -> Decimal:
        """Return how far the order's price is from the wanted one, in quote units."""
        return abs((own.order.price or Decimal(0)) - quote.price)

    def _meets_other_side(self, side: Side, price: Decimal) -> bool:
        if side is Side.BUY:
            return self._lowest_ask is not None and price >= self._lowest_ask
        return self._highest_bid is not None and price <= self._highest_bid

    def _quantity_fits(self, own: OwnOrder, quote: Quote) -> bool:
        remaining, wanted = own.order.remaining_quantity, quote.quantity
        if self._whole_exits and quote.role is Role.CLOSE:
            return 0 < remaining <= wanted < remaining + self._min_quantity
        if own.order.executed_quantity > 0:
            # Below the exchange's minimum it could not be placed anew, so it is not worth a quote's place.
            least = min(wanted, max(wanted * PARTIAL_FILL_FLOOR, self._min_quantity))
        else:
            least = wanted * (1 - QUANTITY_TOLERANCE)
        return least <= remaining <= wanted


def _by_level(own: OwnOrder) -> tuple[int, int, str]:
    return (own.level, own.role, own.order.order_id)


def _sorted_orders(orders: Iterable[OwnOrder]) -> tuple[OwnOrder, ...]:
    return tuple(sorted(orders, key=_by_level))
