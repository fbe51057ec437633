"""Ladders of quotes around a mid: prices per side, shifted against inventory, and the sizes with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import ClassVar, Self

from pydantic import Field, model_validator

from market.instrument import Instrument
from market.orders import Role, Side
from market.snapshot import OwnOrder, Snapshot
from strategies import base, quoting
from strategies.quoting import BPS, Rounding

#: A computed size: an own order this close to it keeps its own, so that each fill, which changes what is
#: held a little, does not requote the whole side. Relative.
_SIZE_STICKINESS = Decimal("0.10")

#: Default of `refresh_tolerance_bps`.
_REFRESH_TOLERANCE_BPS = Decimal(1)

#: Half of one percent, in basis points.
_HALF_PERCENT_IN_BPS = 50

#: (level, price) of one side, innermost first.
Ladder = tuple[tuple[int, Decimal], ...]


class LayerSpacing(StrEnum):
    """How the distance between layers grows."""

    #: Layer i stands 1.5 · i^1.5 ticks outside of layer 0: close together, whatever the price.
    TICKS = "ticks"
    #: Layer i stands i · `layer_step_bps` of the mid outside of layer 0.
    BPS = "bps"


class LadderParams(base.Params):
    """What a user may set of a ladder."""

    is_live: ClassVar[bool] = True

    spread: Decimal = Field(
        gt=0,
        le=100,
        description="Distance between the innermost bid and ask, percent of the mid: 0.2 is 0.2 %.",
    )
    quantity: Decimal | None = Field(
        default=None, gt=0, description="Size of each order, base units. Null: automatic."
    )
    max_orders: int = Field(default=3, ge=1, le=50, description="Layers on each side.")
    layer_spacing: LayerSpacing = Field(
        default=LayerSpacing.TICKS,
        description='Distance of layer i from the first: "ticks": 1.5·i^1.5 ticks; "bps": i·layer_step_bps.',
    )
    layer_step_bps: Decimal | None = Field(
        default=None,
        gt=0,
        le=1000,
        description='Distance of layers, basis points; only with layer_spacing "bps".',
    )
    rounding: Rounding = Field(
        default=Rounding.SAFE,
        description='"safe": bids down and asks up to a tick; "nearest": as the old program did, either way.',
    )
    refresh_tolerance_bps: Decimal = Field(
        default=_REFRESH_TOLERANCE_BPS,
        ge=0,
        le=1000,
        description="A resting order this close to its wanted price keeps its queue place, basis points. "
        "Must be below half of the spread; default 1, for spreads under 0.2 % a tenth of half of the spread.",
    )
    min_spread_bps: Decimal = Field(
        default=Decimal(0),
        ge=0,
        le=10_000,
        description="No quote is placed closer to the mid than half of this, whatever moves the quotes, "
        "basis points of the mid.",
    )

    @model_validator(mode="after")
    def _step_belongs_to_bps(self) -> Self:
        if (self.layer_spacing is LayerSpacing.BPS) != (self.layer_step_bps is not None):
            raise ValueError('layer_step_bps and layer_spacing "bps" need each other: set both, or neither')
        return self

    @model_validator(mode="before")
    @classmethod
    def _default_tolerance_follows_the_spread(cls, given: object) -> object:
        if not isinstance(given, dict) or "refresh_tolerance_bps" in given:
            return given
        spread = given.get("spread")
        if isinstance(spread, int | float | str | Decimal) and not isinstance(spread, bool):
            with suppress(InvalidOperation):
                narrow = Decimal(str(spread)) * _HALF_PERCENT_IN_BPS / 10
                if 0 < narrow < _REFRESH_TOLERANCE_BPS:
                    return {**given, "refresh_tolerance_bps": narrow}
        return given

    @model_validator(mode="after")
    def _tolerance_is_inside_the_spread(self) -> Self:
        half_spread_bps = self.spread * _HALF_PERCENT_IN_BPS
        if self.refresh_tolerance_bps >= half_spread_bps:
            raise ValueError(
                f"refresh_tolerance_bps must be below half of spread, here below {half_spread_bps:f} bps"
            )
        return self


def half_spread(mid: Decimal, params: LadderParams) -> Decimal:
    """Return the distance of an innermost quote from the mid before any skew, quote units."""
    return mid * params.spread / 200


def ladders(
    snapshot: Snapshot, params: LadderParams, mid: Decimal, *, shift: Decimal = Decimal(0)
) -> Mapping[Side, Ladder]:
    """Return each side's prices, moved down by `shift` (quote units; up when it is negative).

    A shifted side keeps its shape: when its innermost price would trade, or come closer to the mid than
    half of `min_spread_bps`, the whole side is moved back, not its layers pressed onto one price. Bids
    and asks never meet, whatever the shift.
    """
    instrument = snapshot.instrument
    half = half_spread(mid, params)
    nearest = {side: quoting.outwards(mid, mid * params.min_spread_bps / BPS / 2, side) for side in Side}
    innermost = {}
    for side in Side:
        price = quoting.outwards(mid - shift, half, side)
        if params.min_spread_bps > 0:
            price = _farther(price, nearest[side], side)
        innermost[side] = quoting.keep_passive(price, side, snapshot.book, instrument)
    rounding = params.rounding
    if rounding is Rounding.NEAREST:
        on_tick = {side: quoting.on_tick(innermost[side], side, instrument, rounding) for side in Side}
        too_close = params.min_spread_bps > 0 and any(
            _farther(on_tick[side], nearest[side], side) != on_tick[side] for side in Side
        )
        if too_close or on_tick[Side.BUY] >= on_tick[Side.SELL]:
            # A spread below a tick can round both sides to the same price; only the safe way parts them.
            rounding = Rounding.SAFE
    return {
        side: quoting.levels_of(
            _prices(innermost[side], side, params, mid, instrument, rounding),
            side,
            snapshot.book,
            instrument,
        )
        for side in Side
    }


def _farther(price: Decimal, other: Decimal, side: Side) -> Decimal:
    return min(price, other) if side is Side.BUY else max(price, other)


def _prices(
    innermost: Decimal,
    side: Side,
    params: LadderParams,
    mid: Decimal,
    instrument: Instrument,
    rounding: Rounding,
) -> tuple[Decimal, ...]:
    if params.layer_step_bps is None:
        return quoting.tick_ladder(innermost, side, params.max_orders, instrument, rounding)
    step = mid * params.layer_step_bps / BPS
    return quoting.step_ladder(innermost, step, side, params.max_orders, instrument, rounding)


def sticky(computed: Decimal, own_orders: Sequence[OwnOrder], side: Side) -> Decimal:
    """Return the size of own quotes that is closest to `computed`, if one is close enough."""
    resting = (own.order.quantity for own in own_orders if own.order.side is side and own.role == Role.QUOTE)
    near = (size for size in resting if abs(size - computed) <= computed * _SIZE_STICKINESS)
    return min(near, key=lambda size: (abs(size - computed), size), default=computed)


def lean(quantity: Decimal, snapshot: Snapshot, side: Side, *, size_skew: Decimal, ratio: Decimal) -> Decimal:
    """Return the size of one order of `side`, smaller on the side that would add to the inventory.

    `ratio` is the inventory against what is wanted, -1 (far too little) to 1 (far too much): that side's
    orders shrink by `size_skew` times its magnitude, down to a step.
    """
    heavy = Side.BUY if ratio > 0 else Side.SELL
    if size_skew == 0 or ratio == 0 or side is not heavy:
        return quantity
    smaller = snapshot.instrument.round_quantity(quantity * (1 - size_skew * abs(ratio)))
    return sticky(smaller, snapshot.open_orders, side)
