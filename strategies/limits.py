"""Hard limits on what a strategy may have resting, whatever it decides. All optional."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field

from market.orders import Quote
from market.snapshot import Snapshot
from strategies.quoting import BPS


class Limits(BaseModel):
    """The limits of one instance; None is no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    """One quote that a limit reduced or removed."""

    #: The limit's name in `Limits`.
    limit: str
    wanted: Quote
    #: None: the quote was removed.
    allowed: Quote | None


def trim(
    quotes: Sequence[Quote], snapshot: Snapshot, limits: Limits
) -> tuple[tuple[Quote, ...], tuple[Cut, ...]]:
    """Return the quotes that `limits` allow, in their order, and what was cut.

    Too large an order is reduced to a step, or removed below the minimum quantity. Too many orders lose
    the outermost levels first. With a price band but without a two-sided book nothing is allowed, since
    nobody knows then what is inside the band.
    """
    allowed: list[Quote] = []
    cuts: list[Cut] = []
    for quote in quotes:
        kept, by = _checked(quote, snapshot, limits)
        if by is not None:
            cuts.append(Cut(limit=by, wanted=quote, allowed=kept))
        if kept is not None:
            allowed.append(kept)
    if limits.max_open_orders is not None and len(allowed) > limits.max_open_orders:
        by_level = sorted(range(len(allowed)), key=lambda index: (allowed[index].level, index))
        inside = set(by_level[: limits.max_open_orders])
        cuts += [
            Cut(limit="max_open_orders", wanted=quote, allowed=None)
            for index, quote in enumerate(allowed)
            if index not in inside
        ]
        allowed = [quote for index, quote in enumerate(allowed) if index in inside]
    return tuple(allowed), tuple(cuts)


def _checked(quote: Quote, snapshot: Snapshot, limits: Limits) -> tuple[Quote | None, str | None]:
    """Return what is allowed of one quote, and the name of the limit that cut it."""
    if limits.price_band_bps is not None:
        mid = snapshot.book.mid
        if mid is None or abs(quote.price - mid) * BPS > limits.price_band_bps * mid:
            return None, "price_band_bps"
    if limits.max_order_notional is not None and quote.price * quote.quantity > limits.max_order_notional:
        instrument = snapshot.instrument
        quantity = instrument.round_quantity(limits.max_order_notional / quote.price)
        if quantity <= 0 or quantity < instrument.min_quantity:
            return None, "max_order_notional"
        return replace(quote, quantity=quantity), "max_order_notional"
    return quote, None
