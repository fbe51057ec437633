"""What a market maker can say of its parameters before a start, in sentences for the user."""

from __future__ import annotations

from decimal import Decimal

from market.instrument import Instrument
from market.orders import Side
from market.snapshot import Snapshot
from strategies import quoting
from strategies.base import Preflight
from strategies.maker_rules import MakerParams
from strategies.margin import of_margin
from strategies.perp_maker_params import Params
from wording import said

#: A spread below this many ticks has its bid and ask on neighbouring prices most of the time.
_TICKS_IN_A_SPREAD = 2


def joined(*parts: Preflight) -> Preflight:
    """Return all that the parts say, in their order."""
    return Preflight(
        problems=tuple(sentence for part in parts for sentence in part.problems),
        warnings=tuple(sentence for part in parts for sentence in part.warnings),
    )


def too_small(key: str, quantity: Decimal | None, instrument: Instrument) -> str | None:
    """Return why `quantity`, the value of `key`, can never be an order; None when it can, or is not set."""
    if quantity is None or quantity >= instrument.min_quantity:
        return None
    return said(
        "{key} {quantity} is below the smallest order of {symbol}, {min_quantity}: raise "
        "strategy_config.{key}",
        key=key,
        quantity=quantity,
        symbol=instrument.symbol,
        min_quantity=instrument.min_quantity,
    )


def of_ladder(snapshot: Snapshot, params: MakerParams) -> Preflight:
    """Look at the size, the spread and the price band."""
    problem = too_small("quantity", params.quantity, snapshot.instrument)
    return Preflight(
        problems=(problem,) if problem else (),
        warnings=(
            *_narrow_spread(snapshot, params),
            *_unpaid_fees(snapshot, params),
            *_outside_band(snapshot, params),
        ),
    )


def _spread_bps(params: MakerParams) -> Decimal:
    return max(params.spread * 100, params.min_spread_bps)


def _narrow_spread(snapshot: Snapshot, params: MakerParams) -> tuple[str, ...]:
    mid, tick = snapshot.book.mid, snapshot.instrument.tick_size
    if mid is None:
        return ()
    spread = mid * _spread_bps(params) / quoting.BPS
    if spread >= _TICKS_IN_A_SPREAD * tick:
        return ()
    return (
        said(
            "spread {spread} % is {width} at the mid {mid}, narrower than two ticks of {tick}: the ticks "
            "will decide the prices, not the spread",
            spread=params.spread,
            width=f"{spread:.6g}",
            mid=f"{mid:f}",
            tick=tick,
        ),
    )


def _unpaid_fees(snapshot: Snapshot, params: MakerParams) -> tuple[str, ...]:
    if snapshot.terms is None:
        return ()
    fee_bps = snapshot.terms.fee_bps(snapshot.instrument.market_type, is_maker=True)
    if _spread_bps(params) > 2 * fee_bps:
        return ()
    return (
        said(
            "spread {spread} % does not pay for the fees of a purchase and a sale, {fee_bps} basis points "
            "each: without a rebate every round loses",
            spread=params.spread,
            fee_bps=f"{fee_bps:f}",
        ),
    )


def _outside_band(snapshot: Snapshot, params: MakerParams) -> tuple[str, ...]:
    mid = snapshot.book.mid
    warnings = []
    if mid is not None and params.price_ceiling is not None and mid > params.price_ceiling:
        warnings.append(
            said(
                "the mid {mid} is above price_ceiling {price_ceiling}: no bids until it falls",
                mid=f"{mid:f}",
                price_ceiling=params.price_ceiling,
            )
        )
    if mid is not None and params.price_floor is not None and mid < params.price_floor:
        warnings.append(
            said(
                "the mid {mid} is below price_floor {price_floor}: no asks until it rises",
                mid=f"{mid:f}",
                price_floor=params.price_floor,
            )
        )
    return tuple(warnings)


def of_funds(snapshot: Snapshot) -> Preflight:
    """Look at what a spot account can pay for: not one order on either side is a problem."""
    funds, mid, instrument = quoting.funds_of(snapshot), snapshot.book.mid, snapshot.instrument
    if funds is None:
        return Preflight(warnings=(said("balances are not known: nothing is quoted until they are"),))
    if mid is None:
        return Preflight()
    poor = []
    if funds.quote_spendable < instrument.min_quantity * mid:
        poor.append((Side.BUY, f"{funds.quote_spendable:f} {instrument.quote_asset}"))
    if funds.base_spendable < instrument.min_quantity:
        poor.append((Side.SELL, f"{funds.base_spendable:f} {instrument.base_asset}"))
    smallest = said(
        "the smallest order, {min_quantity} {base_asset} at about {mid}",
        min_quantity=instrument.min_quantity,
        base_asset=instrument.base_asset,
        mid=f"{mid:f}",
    )
    if len(poor) == len(Side):
        held = " and ".join(amount for _, amount in poor)
        return Preflight(
            problems=(
                said(
                    "{held} cover neither side of {smallest}: deposit one of them",
                    held=held,
                    smallest=smallest,
                ),
            )
        )
    return Preflight(
        warnings=tuple(
            said(
                "{amount} does not cover {smallest}: no {side} for now",
                amount=amount,
                smallest=smallest,
                side=said("bids") if side is Side.BUY else said("asks"),
            )
            for side, amount in poor
        )
    )


def of_position(snapshot: Snapshot, params: Params, size: Decimal) -> Preflight:
    """Look at a perpetual's bounds against the orders of `size`, the position and the margin there are."""
    problem = too_small("max_position", params.max_position, snapshot.instrument)
    warnings = []
    whole = size * params.max_orders
    if whole > params.max_position:
        warnings.append(
            said(
                "{max_orders} orders of {size} are {whole} a side, above max_position {max_position}: the "
                "outer layers will wait",
                max_orders=params.max_orders,
                size=f"{size:f}",
                whole=f"{whole:f}",
                max_position=params.max_position,
            )
        )
    return joined(
        Preflight(
            problems=(problem,) if problem else (),
            warnings=(
                *warnings,
                *_traded_back(params, size),
                *_found(snapshot, params),
                *_unseen(snapshot, params),
            ),
        ),
        of_margin(snapshot, size=size, layers=params.max_orders, max_position=params.max_position),
    )


def _traded_back(params: Params, size: Decimal) -> tuple[str, ...]:
    line = _line(params)
    if line is None or min(size, params.max_position) <= line:
        return ()
    return (
        said(
            "an order of {size} is above target_position + position_threshold, {line}: what it fills beyond "
            "that is traded back at market at once; leave target_position out to keep up to max_position",
            size=f"{size:f}",
            line=f"{line:f}",
        ),
    )


def _found(snapshot: Snapshot, params: Params) -> tuple[str, ...]:
    net = snapshot.position.net_quantity if snapshot.position is not None else Decimal(0)
    line, name = _line(params), "target_position + position_threshold"
    if line is None or abs(net) > params.max_position:
        line, name = params.max_position, "max_position"
    if abs(net) <= line:
        return ()
    follows = said(
        'it counts, but is left to others; with "exclusive_symbol": true the excess would be closed'
    )
    if snapshot.exclusive_symbol:
        follows = said("the excess will be closed at once")
    return (
        said(
            "the position is {net}, beyond {name}, {line}: {follows}",
            net=f"{net:f}",
            name=name,
            line=f"{line:f}",
            follows=follows,
        ),
    )


def _unseen(snapshot: Snapshot, params: Params) -> tuple[str, ...]:
    net = snapshot.position.net_quantity if snapshot.position is not None else Decimal(0)
    has_barrier = params.stop_loss is not None or params.take_profit is not None
    if snapshot.exclusive_symbol or not has_barrier or abs(net) < snapshot.instrument.min_quantity:
        return ()
    return (
        said(
            "the position is {net} already: stop_loss and take_profit look at what this run adds to it "
            'only; with "exclusive_symbol": true they would look at all of it and close it',
            net=f"{net:f}",
        ),
    )


def _line(params: Params) -> Decimal | None:
    """Return the size from which a position is traded back below `max_position`, None when there is none."""
    if params.target_position is None:
        return None
    return min(params.target_position + params.position_threshold, params.max_position)
