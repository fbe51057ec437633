"""Quote the best bid and the best ask, and trade back at once whatever fills: volume, not profit.

Every decision brings the run back to its reference in one step that may be repeated at any time: what own
fills say, and on a perpetual the exchange's position as well, is traded back by a price-protected
immediate-or-cancel order. What that leaves is in the difference that the next decision sees.

While an order has no answer or fills are still to come, nothing is hedged and nothing is quoted. While own
fills and position disagree, only what brings the run closer to its reference by both is quoted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

from market.instrument import MarketType
from market.orders import Quote, Role, Side
from market.snapshot import Snapshot
from strategies import quoting
from strategies.base import Decision, Strategy, TakerOrder
from strategies.maker_hedge_checks import (
    dispute_reason,
    has_lost,
    preflight,
    profit_reason,
    quantity_problem,
    system_reason,
)
from strategies.maker_hedge_params import HedgeParams, PerpParams, SpotParams
from strategies.maker_hedge_state import (
    Difference,
    State,
    begun,
    difference_of,
    dispute_of,
    matters,
)
from strategies.maker_hedge_taking import due_hedge, spot_funds, unwind
from strategies.quoting import BPS, Funds

#: Automatic size on spot: the part of the quote balance in one quote.
_SPOT_SHARE = Decimal("0.05")

#: An automatic size keeps that of a resting quote this close to it (relative), so that a fill, which changes
#: the balance a little, does not cost both quotes their place.
_SIZE_STICKINESS = Decimal("0.10")


def decide(snapshot: Snapshot, state: State, params: HedgeParams) -> Decision[State]:
    """Return the two quotes wanted now, and a hedge when the run is away from its reference.

    The run ends with a final hedge when its profit or its loss is reached, and without one when own fills
    and position disagree for long, or when the exchange itself has traded on the account.
    """
    if snapshot.system_fills:
        return _ended_by_others(state, system_reason(snapshot))
    problem = quantity_problem(snapshot, params)
    if problem is not None:
        return Decision(quotes=(), state=state, stop_reason=problem)
    state = begun(snapshot, state, params)
    difference = difference_of(snapshot, state, params)
    if state.reference is None or difference is None:
        return Decision(quotes=(), state=state)

    # While fills are to come it is no wonder that they disagree.
    dispute = None if snapshot.unsettled else dispute_of(difference, state.dispute, snapshot, params)
    state = state.model_copy(update={"dispute": dispute})
    disputed = dispute_reason(snapshot, state, params, difference)
    if disputed is not None:
        return _ended_by_others(state, disputed)
    reached = profit_reason(snapshot, params)
    if reached is not None:
        is_loss = has_lost(snapshot, params)
        return Decision(quotes=(), state=state, stop_reason=reached, is_loss=is_loss, unwind=True)

    taker, state = due_hedge(snapshot, state, params, difference)
    return Decision(quotes=_quotes(snapshot, state, params, difference, taker), state=state, taker=taker)


def _ended_by_others(state: State, reason: str) -> Decision[State]:
    # Remembered, because every stop unwinds and this one must not: nobody knows whose the difference is.
    ended = state.model_copy(update={"moved_by_others": True})
    return Decision(quotes=(), state=ended, stop_reason=reason, unwind=False)


def _quotes(
    snapshot: Snapshot, state: State, params: HedgeParams, difference: Difference, taker: TakerOrder | None
) -> tuple[Quote, ...]:
    funds = spot_funds(snapshot, params)
    if not quoting.is_two_sided(snapshot.book) or (funds is None and not isinstance(params, PerpParams)):
        return ()
    if snapshot.unsettled:
        # What is not known may have used up all the room there is, on either side.
        return ()
    wanted = tuple(_wanted(snapshot, state, params, difference, funds))
    if funds is None:
        return wanted
    if taker is not None:
        spent = taker.quantity if taker.side is Side.SELL else taker.quantity * taker.limit_price
        name = "base_spendable" if taker.side is Side.SELL else "quote_spendable"
        funds = replace(funds, **{name: getattr(funds, name) - spent})
    # A bid that is kept may stand above its wanted price by the tolerance, and holds more then.
    dearer = 1 + params.refresh_tolerance_bps / BPS
    bids = (quote for quote in wanted if quote.side is Side.BUY)
    asks = (quote for quote in wanted if quote.side is Side.SELL)
    return (
        *quoting.fit_budget(
            bids, funds.quote_spendable, lambda quote: quote.price * dearer, snapshot.instrument
        ),
        *quoting.fit_budget(asks, funds.base_spendable, lambda _: Decimal(1), snapshot.instrument),
    )


def _wanted(
    snapshot: Snapshot, state: State, params: HedgeParams, difference: Difference, funds: Funds | None
) -> Iterator[Quote]:
    """Yield a quote for each side that has room, at the best price of that side."""
    instrument, book = snapshot.instrument, snapshot.book
    size = _size(snapshot, params, funds)
    for side, price in ((Side.BUY, book.best_bid), (Side.SELL, book.best_ask)):
        room = _room(snapshot, state, params, difference, side)
        quantity = size if room is None else quoting.capped(min(size, room), instrument)
        if price is None or not quoting.is_valid_price(price, instrument):
            continue
        if quantity > 0 and quantity >= instrument.min_quantity:
            yield Quote(side=side, price=price, quantity=quantity, level=0, role=Role.QUOTE)


def _room(
    snapshot: Snapshot, state: State, params: HedgeParams, difference: Difference, side: Side
) -> Decimal | None:
    """Return what a quote of `side` may have at most, base units; None: there is no limit."""
    sign = 1 if side is Side.BUY else -1
    further = [sign * amount for amount in difference.witnesses]
    if any(amount > 0 and matters(amount, snapshot.instrument, params) for amount in further):
        # What has to be traded back is not added to; it is also the side that the hedge would hit.
        return Decimal(0)
    if state.dispute is not None:
        return min(-amount for amount in further)
    cap = params.exposure_cap
    if cap is None:
        return None
    # A hedge sent beside the quote may bring the difference to zero, and then counts for nothing here.
    room = cap - max(Decimal(0), *further)
    if difference.account is not None:
        reference = state.reference or Decimal(0)
        room = min(room, cap - sign * reference - max(Decimal(0), sign * difference.account))
    return room


def _size(snapshot: Snapshot, params: HedgeParams, funds: Funds | None) -> Decimal:
    instrument = snapshot.instrument
    if params.quantity is not None:
        return quoting.capped(params.quantity, instrument)
    if isinstance(params, PerpParams):
        computed = params.automatic_size
    else:
        ask = snapshot.book.best_ask
        computed = funds.quote_total * _SPOT_SHARE / ask if funds and ask else Decimal(0)
    computed = max(instrument.round_quantity(computed), instrument.min_quantity)
    resting = (own.order.quantity for own in snapshot.open_orders if own.role == Role.QUOTE)
    near = (size for size in resting if abs(size - computed) <= computed * _SIZE_STICKINESS)
    return quoting.capped(
        min(near, key=lambda size: (abs(size - computed), size), default=computed), instrument
    )


SPOT_STRATEGY: Strategy[SpotParams, State] = Strategy(
    title="MakerTakerHedgeStrategy",
    config_name="maker_hedge",
    market_types=frozenset({MarketType.SPOT}),
    params=SpotParams,
    state=State,
    decide=decide,
    summary="Quotes at the best prices and trades every fill back at once: volume, not profit.",
    unwind=unwind,
    unwinds_at_stop=True,
    preflight=preflight,
)

PERP_STRATEGY: Strategy[PerpParams, State] = Strategy(
    title=SPOT_STRATEGY.title,
    config_name=SPOT_STRATEGY.config_name,
    market_types=frozenset({MarketType.PERP}),
    params=PerpParams,
    state=State,
    decide=decide,
    summary=SPOT_STRATEGY.summary,
    unwind=unwind,
    unwinds_at_stop=True,
    preflight=preflight,
)
