"""Hard limits on what a strategy may have resting and may take, whatever it decides. All optional.

A limit looks at the worst case: all resting orders of a side are filled, and none of the other's, and the
position is as large as position and fills allow where they differ. What brings it back to zero is not cut by
the limits on position and notional: a limit must not keep anybody from getting out. Of a position that is
not known, exits count as doing so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from market.instrument import MarketType
from market.orders import Quote, Role, Side
from market.snapshot import OwnOrder, Snapshot
from strategies.base import TakerOrder
from strategies.effects import tell_effects
from strategies.exposure import Exposure
from strategies.precedence import innermost_first
from strategies.quoting import BPS

_MINUTE_MS = 60_000

_ZERO = Decimal(0)


class Limits(BaseModel):
    """The limits of one instance; None is no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=tell_effects)

    is_live: ClassVar[bool] = True

    max_position: Decimal | None = Field(
        default=None,
        gt=0,
        description="Largest position, long or short, even if every resting order of a side is filled, "
        "base units; on spot: what the run bought more than it sold, or the reverse.",
    )
    max_order_notional: Decimal | None = Field(
        default=None,
        gt=0,
        description="Most that one order may be worth, quote units; orders that reduce are exempt.",
    )
    max_open_orders: int | None = Field(
        default=None, ge=1, le=1000, description="Most orders of the instance that rest at once."
    )
    max_orders_per_minute: int | None = Field(
        default=None, ge=1, le=10_000, description="Most orders placed within 60 seconds."
    )
    price_band_bps: Decimal | None = Field(
        default=None,
        gt=0,
        le=10_000,
        description="Farthest an order may stand from the mark price or, on spot, the mid, basis points.",
    )
    max_data_age_s: Decimal | None = Field(
        default=None,
        gt=0,
        le=3600,
        description="Oldest order book that is acted upon, seconds; an older one withdraws every order.",
    )
    min_balance: Decimal | None = Field(
        default=None,
        gt=0,
        description="Part of the quote asset that bids do not spend, quote units; on perpetuals: with less "
        "than this only orders that reduce the position are placed.",
    )
    max_daily_loss: Decimal | None = Field(
        default=None, gt=0, description="Loss within one UTC day that ends the run, quote units."
    )
    max_consecutive_errors: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Failed iterations in a row that end the run. Null: CLEANBOOK_MAX_CONSECUTIVE_ERRORS.",
    )


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What a limit took away."""

    #: The limit's name in `Limits`; ``position_cap`` is the strategy's own.
    limit: str
    #: None: everything was removed at once, and level and price are None too.
    side: Side | None = None
    #: None beside a side: an order that takes.
    level: int | None = None
    price: Decimal | None = None
    #: Base units.
    wanted: Decimal
    #: Base units; zero: removed.
    allowed: Decimal = _ZERO
    #: What the other fields do not tell.
    detail: str = ""

    def sentence(self) -> str:
        """Return which limit cut what, and to what, for people; without a full stop."""
        why = f": {self.detail}" if self.detail else ""
        if self.side is None or self.price is None:
            return f"{self.limit} removed every quote{why}"
        place = "taker" if self.level is None else f"level {self.level}"
        order = f"{self.side} {self.wanted:f} @ {self.price:f} ({place})"
        if not self.allowed:
            return f"{self.limit} removed {order}{why}"
        return f"{self.limit} cut {order} to {self.allowed:f}{why}"


def trim(
    quotes: Sequence[Quote],
    snapshot: Snapshot,
    limits: Limits,
    *,
    position_cap: Decimal | None = None,
    taker: TakerOrder | None = None,
    beside: Sequence[OwnOrder] = (),
) -> tuple[tuple[Quote, ...], tuple[Cut, ...]]:
    """Return the quotes that `limits` allow and what was cut, both in the order of `quotes`.

    `position_cap` is the strategy's own cap, base units: the smaller of it and `max_position` counts. `taker`
    is the order of the same decision, which goes first: what it reduces is not there any more for quotes.
    `beside` are own orders that rest whatever is decided; they take their part of the room first.

    Exits (`Role.CLOSE`) are served first, then what is nearest to the price. A quote that does not fit whole
    is cut down to a step, or removed when less than the minimum quantity would be left.

    An old book allows nothing, and so does a price band without a price. The band and `max_open_orders` hold
    for every quote, and `min_balance` for every bid on spot. `max_order_notional` leaves exits whole: the
    rest of an exit could be too small to be an order. Trimming the result once more changes nothing.
    """
    stale = staleness(snapshot, limits)
    if stale and quotes:
        wanted = sum((quote.quantity for quote in quotes), _ZERO)
        return (), (Cut(limit="max_data_age_s", wanted=wanted, detail=stale),)
    rules = _Rules(snapshot, limits, position_cap)
    if taker is not None:
        reduced = min(taker.quantity, rules.exposure.reducing(taker))
        rules.exposure.take(taker.side, reduced, taker.limit_price, reduce_only=taker.reduce_only)
    rules.take_resting(beside)
    verdicts: dict[int, tuple[Decimal, str | None]] = {}
    resting = len(beside)
    for index in innermost_first(quotes, snapshot.price):
        quote = quotes[index]
        quantity, limit = rules.for_quote(quote)
        if quantity and limits.max_open_orders is not None and resting >= limits.max_open_orders:
            quantity, limit = _ZERO, "max_open_orders"
        if quantity:
            resting += 1
            rules.exposure.take(quote.side, quantity, quote.price, reduce_only=quote.reduce_only)
        verdicts[index] = quantity, limit
    kept, cuts = [], []
    for index, quote in enumerate(quotes):
        quantity, limit = verdicts[index]
        if limit is not None:
            cuts.append(_quote_cut(limit, quote, quantity))
        if quantity:
            kept.append(quote if limit is None else replace(quote, quantity=quantity))
    return tuple(kept), tuple(cuts)


def check_taker(
    taker: TakerOrder,
    kept_quotes: Sequence[Quote],
    snapshot: Snapshot,
    limits: Limits,
    *,
    position_cap: Decimal | None = None,
    beside: Sequence[OwnOrder] = (),
) -> tuple[TakerOrder | None, Cut | None]:
    """Return what `limits` allow of an order that takes, beside the quotes that `trim` kept knowing of it.

    `beside` are own orders that rest whatever is decided.

    Nothing but an old book stops the part that brings the position to zero. What goes beyond adds, and is
    cut by the position caps (the kept quotes of its side count), `max_order_notional`, the price band, which
    its worst price must not leave, and `min_balance`.
    """
    stale = staleness(snapshot, limits)
    if stale:
        return None, _taker_cut("max_data_age_s", taker, _ZERO, stale)
    rules = _Rules(snapshot, limits, position_cap)
    # Before the quotes take their part: the taker goes first.
    reducing = rules.exposure.reducing(taker)
    for quote in kept_quotes:
        rules.exposure.take(quote.side, quote.quantity, quote.price)
    rules.take_resting(beside)
    quantity, limit = rules.for_taker(taker, reducing)
    if limit is None:
        return taker, None
    return (replace(taker, quantity=quantity) if quantity else None), _taker_cut(limit, taker, quantity)


def trim_rate(
    places: Sequence[Quote],
    placed_at_ms: Sequence[int],
    now_ms: int,
    limits: Limits,
    *,
    price: Decimal | None = None,
) -> tuple[tuple[Quote, ...], tuple[Cut, ...]]:
    """Return the placements that `max_orders_per_minute` has room for and those it cut, as ordered before.

    `placed_at_ms` are the times of the placements so far. Those within 60 s of `now_ms` count, also after
    it: clocks are set. Exits come first, then what is nearest to `price`.
    """
    if limits.max_orders_per_minute is None:
        return tuple(places), ()
    recent = sum(abs(now_ms - at_ms) < _MINUTE_MS for at_ms in placed_at_ms)
    room = max(limits.max_orders_per_minute - recent, 0)
    fitting = set(innermost_first(places, price)[:room])
    return (
        tuple(quote for index, quote in enumerate(places) if index in fitting),
        tuple(
            _quote_cut("max_orders_per_minute", quote, _ZERO)
            for index, quote in enumerate(places)
            if index not in fitting
        ),
    )


class _Rules:
    """What the limits say of one order, given those that were allowed before it."""

    def __init__(self, snapshot: Snapshot, limits: Limits, position_cap: Decimal | None) -> None:
        cap, self._cap_name = limits.max_position, "max_position"
        if position_cap is not None and (cap is None or position_cap < cap):
            cap, self._cap_name = position_cap, "position_cap"
        self._snapshot = snapshot
        self._limits = limits
        self.exposure = Exposure(snapshot, cap=cap, reserve=limits.min_balance)

    def take_resting(self, orders: Sequence[OwnOrder]) -> None:
        """Give orders that rest whatever is decided their part of the room."""
        for order in (own.order for own in orders):
            self.exposure.take(order.side, order.remaining_quantity, order.price or _ZERO)

    def for_quote(self, quote: Quote) -> tuple[Decimal, str | None]:
        """Return how much of a quote is allowed, and the limit that cut it."""
        bounds = dict(self._bounds(quote.side, quote.price, quote.price))
        if quote.role is Role.CLOSE:
            bounds.pop("max_order_notional", None)
        firm = {"price_band_bps"}
        if self._snapshot.instrument.market_type is MarketType.SPOT:
            firm.add("min_balance")
        reducing = self.exposure.reducing(quote)
        return self._fit(
            quote.quantity,
            {name: most if name in firm else max(most, reducing) for name, most in bounds.items()},
        )

    def for_taker(self, taker: TakerOrder, reducing: Decimal) -> tuple[Decimal, str | None]:
        """Return how much of an order that takes is allowed, and the limit that cut it."""
        # A sale brings its limit price or more.
        worth = max(taker.limit_price, self._snapshot.book.best_bid or _ZERO)
        bounds = self._bounds(taker.side, taker.limit_price, worth)
        return self._fit(taker.quantity, {name: max(most, reducing) for name, most in bounds})

    def _bounds(self, side: Side, price: Decimal, worth: Decimal) -> Iterator[tuple[str, Decimal]]:
        """Find how large an order may be by each limit, base units; `worth` is of one unit, quote units."""
        room = self.exposure.room(side)
        if room is not None:
            yield self._cap_name, room
        if self._limits.max_order_notional is not None:
            yield "max_order_notional", self._limits.max_order_notional / worth
        affordable = self.exposure.affordable(side, price)
        if affordable is not None:
            yield "min_balance", affordable
        if not self._is_in_band(price):
            yield "price_band_bps", _ZERO

    def _is_in_band(self, price: Decimal) -> bool:
        band_bps, fair = self._limits.price_band_bps, self._snapshot.price
        return band_bps is None or (fair is not None and abs(price - fair) * BPS <= band_bps * fair)

    def _fit(self, wanted: Decimal, bounds: dict[str, Decimal]) -> tuple[Decimal, str | None]:
        limit = min(bounds, key=lambda name: bounds[name], default=None)
        if limit is None or bounds[limit] >= wanted:
            return wanted, None
        instrument = self._snapshot.instrument
        quantity = instrument.round_quantity(bounds[limit])
        return (quantity if quantity >= instrument.min_quantity else _ZERO), limit


def staleness(snapshot: Snapshot, limits: Limits) -> str:
    """Return how old the book is, in words, when that is too old; else nothing."""
    age_ms = snapshot.taken_at_ms - snapshot.book.updated_at_ms
    if limits.max_data_age_s is None or age_ms <= limits.max_data_age_s * 1000:
        return ""
    return f"the book is {Decimal(age_ms) / 1000:.1f} s old, {limits.max_data_age_s:f} s are allowed"


def _quote_cut(limit: str, quote: Quote, allowed: Decimal) -> Cut:
    return Cut(
        limit=limit,
        side=quote.side,
        level=quote.level,
        price=quote.price,
        wanted=quote.quantity,
        allowed=allowed,
    )


def _taker_cut(limit: str, taker: TakerOrder, allowed: Decimal, detail: str = "") -> Cut:
    return Cut(
        limit=limit,
        side=taker.side,
        price=taker.limit_price,
        wanted=taker.quantity,
        allowed=allowed,
        detail=detail,
    )
