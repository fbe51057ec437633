"""Where the levels of a grid stand, how large its orders are, and when the price has left it. Pure functions.

n levels L_0 < … < L_(n-1) make n-1 intervals; interval i lies between L_i and L_(i+1). Levels serve both
sides, so they are rounded to the nearest tick, ties to the even one, as the old program did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from enum import StrEnum

from market.instrument import Instrument
from market.orders import Side
from strategies import quoting
from strategies.quoting import Rounding
from wording import said

#: Automatic size on spot: the part of what is available that a grid puts to work.
_SHARE_OF_FUNDS = Decimal("0.95")

#: Automatic size on perpetuals: the part of the largest position that a grid may build.
_SHARE_OF_MAX_POSITION = Decimal("0.8")

# Its own context: the levels must not depend on the precision some caller has set.
_EXACT = Context(prec=28)


class GridMode(StrEnum):
    """How the levels of a grid are spaced."""

    #: Equal differences.
    ARITHMETIC = "arithmetic"
    #: Equal ratios.
    GEOMETRIC = "geometric"


class GridType(StrEnum):
    """Which side a perpetual grid opens."""

    #: Buys below the first price, sells above it.
    NEUTRAL = "neutral"
    LONG = "long"
    SHORT = "short"


class BoundaryAction(StrEnum):
    """What a grid does when the price leaves its range."""

    #: Cancel, close what the run holds, stop.
    EMERGENCY_CLOSE = "emergency_close"
    #: Move the range to the price.
    ADJUST_RANGE = "adjust_range"
    #: Cancel, keep what the run holds, stop.
    STOP_ONLY = "stop_only"


class GridImpossible(ValueError):
    """Raised when the parameters give no grid; the text names the one to change and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class PriceRange:
    """The prices between which a grid works, quote units."""

    lower: Decimal
    upper: Decimal


def shown(number: Decimal) -> str:
    """Return `number` for a sentence: no exponent, no trailing zeros."""
    return f"{number.normalize():f}"


def automatic_range(price: Decimal, percent: Decimal, grid_type: GridType) -> PriceRange:
    """Return the range around `price`: `percent` on both sides, or on the side where the grid opens."""
    width = price * percent / 100
    return PriceRange(
        lower=price if grid_type is GridType.SHORT else price - width,
        upper=price if grid_type is GridType.LONG else price + width,
    )


def level_prices(of: PriceRange, number: int, mode: GridMode, instrument: Instrument) -> tuple[Decimal, ...]:
    """Return the prices of `number` levels on ticks, lowest first, equal ones once.

    Arithmetic: lower + i·(upper - lower)/(n - 1); geometric: lower·(upper/lower)^(i/(n - 1)), i from 0.
    Raises `GridImpossible` when fewer than two remain, or one is no price the exchange takes.
    """
    if of.lower >= of.upper:
        raise GridImpossible(
            said(
                "the grid has no width: grid_lower_price {lower} must be below grid_upper_price {upper}",
                lower=shown(of.lower),
                upper=shown(of.upper),
            )
        )
    prices = sorted(
        {
            quoting.on_tick(_unrounded(of, index, number - 1, mode), Side.BUY, instrument, Rounding.NEAREST)
            for index in range(number)
        }
    )
    if len(prices) < 2:
        raise GridImpossible(
            said(
                "grid_lower_price {lower} and grid_upper_price {upper} are one price at a tick of "
                "{tick_size}: they must be at least a tick apart",
                lower=shown(of.lower),
                upper=shown(of.upper),
                tick_size=shown(instrument.tick_size),
            )
        )
    for key, price in (("grid_lower_price", prices[0]), ("grid_upper_price", prices[-1])):
        if not quoting.is_valid_price(price, instrument):
            most = (
                ""
                if instrument.max_price is None
                else said(" and at most {max_price}", max_price=shown(instrument.max_price))
            )
            raise GridImpossible(
                said(
                    "{symbol} takes no order at {price}: {key} must be at least {least}{most}",
                    symbol=instrument.symbol,
                    price=shown(price),
                    key=key,
                    least=shown(instrument.min_price or instrument.tick_size),
                    most=most,
                )
            )
    return tuple(prices)


def _unrounded(of: PriceRange, index: int, last: int, mode: GridMode) -> Decimal:
    if index == last:
        return of.upper
    if mode is GridMode.ARITHMETIC:
        return of.lower + (of.upper - of.lower) * index / last
    ratio = _EXACT.divide(of.upper, of.lower)
    return _EXACT.multiply(of.lower, _EXACT.power(ratio, _EXACT.divide(Decimal(index), Decimal(last))))


def nearest_level(levels: Sequence[Decimal], price: Decimal) -> int:
    """Return the index of the level closest to `price`, of two equally close ones the lower."""
    return min(range(len(levels)), key=lambda index: (abs(levels[index] - price), index))


def smallest_order(instrument: Instrument) -> Decimal:
    """Return the smallest quantity on a step that the exchange takes."""
    least = max(instrument.min_quantity, instrument.step_size)
    return (least / instrument.step_size).to_integral_value(ROUND_CEILING) * instrument.step_size


def configured_quantity(quantity: Decimal, instrument: Instrument) -> Decimal:
    """Return `order_quantity` cut to a step. Raises `GridImpossible` outside the exchange's limits."""
    rounded, least = instrument.round_quantity(quantity), smallest_order(instrument)
    if rounded < least:
        raise GridImpossible(
            said(
                "order_quantity {quantity} is below the smallest order of {symbol}, {least}: raise "
                "strategy_config.order_quantity",
                quantity=shown(quantity),
                symbol=instrument.symbol,
                least=shown(least),
            )
        )
    if instrument.max_quantity is not None and rounded > instrument.max_quantity:
        raise GridImpossible(
            said(
                "order_quantity {quantity} is above the largest order of {symbol}, {max_quantity}: lower "
                "strategy_config.order_quantity",
                quantity=shown(quantity),
                symbol=instrument.symbol,
                max_quantity=shown(instrument.max_quantity),
            )
        )
    return rounded


def automatic_spot_quantity(
    levels: Sequence[Decimal],
    price: Decimal,
    *,
    quote_available: Decimal,
    base_available: Decimal,
    instrument: Instrument,
) -> Decimal:
    """Return the order size that the quote asset covers, base units, at least the smallest order.

    0.95 of it divided by the sum of the opening prices, so that every buy is paid at its own price (the old
    program divided by the current price, and left quote unused). What there is of the base asset does not
    shrink that: it decides how many intervals above the price start with stock. Where the quote asset makes
    no order, 0.95 of the base asset divided by the number of those intervals. Below the whole range every
    interval can be stocked and none opens yet: the larger of the two, for the day they all open. Raises
    `GridImpossible` when neither makes an order.
    """
    least = smallest_order(instrument)
    openings = [level for level in levels[:-1] if level < price]
    stocked = len(levels) - 1 - len(openings)
    by_quote = _SHARE_OF_FUNDS * quote_available / sum(openings or levels[:-1])
    by_base = _SHARE_OF_FUNDS * base_available / stocked if stocked else Decimal(0)
    size = by_quote if openings and by_quote >= least else max(by_quote, by_base)
    if size >= least:
        return quoting.capped(size, instrument)
    dearest = max(openings, default=None)
    if base_available < least and (dearest is None or quote_available < least * dearest):
        raise GridImpossible(
            said(
                "{quote_available} {quote_asset} and {base_available} {base_asset} are available, which "
                "makes no order of {least} {base_asset}, the smallest of {symbol}: fund the account",
                quote_available=shown(quote_available),
                quote_asset=instrument.quote_asset,
                base_available=shown(base_available),
                base_asset=instrument.base_asset,
                least=shown(least),
                symbol=instrument.symbol,
            )
        )
    return least


def automatic_perp_quantity(max_position: Decimal, intervals: int, instrument: Instrument) -> Decimal:
    """Return 0.8 of `max_position` divided by the intervals of one direction, at least the smallest order.

    Raises `GridImpossible` when `max_position` is below the smallest order.
    """
    least = smallest_order(instrument)
    if max_position < least:
        raise GridImpossible(
            said(
                "max_position {max_position} is below the smallest order of {symbol}, {least}: raise "
                "strategy_config.max_position",
                max_position=shown(max_position),
                symbol=instrument.symbol,
                least=shown(least),
            )
        )
    return max(least, quoting.capped(_SHARE_OF_MAX_POSITION * max_position / intervals, instrument))


def only_waits(price: Decimal, levels: Sequence[Decimal], opens: GridType, *, follows: bool) -> bool:
    """Tell whether `price` is beyond the end where a grid that holds nothing waits for it to come back.

    That is above a long grid and below a short one. One that `follows` waits for one interval only.
    """
    if opens is GridType.LONG:
        beyond, interval = price - levels[-1], levels[-1] - levels[-2]
    elif opens is GridType.SHORT:
        beyond, interval = levels[0] - price, levels[1] - levels[0]
    else:
        return False
    return beyond > 0 and (not follows or beyond <= interval)


def is_outside(price: Decimal, levels: Sequence[Decimal], tolerance: Decimal) -> bool:
    """Tell whether `price` has left the range by more than `tolerance`, a fraction of its ends."""
    return price > levels[-1] * (1 + tolerance) or price < levels[0] * (1 - tolerance)
