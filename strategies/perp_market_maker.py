"""Quote a ladder of bids and asks around the mid of a perpetual, and keep the position inside its bounds.

Per decision: (1) a stop-loss or take-profit withdraws every quote and closes the position; (2) a position
beyond its line is brought back by one price-protected, reduce-only order; (3) the ladder, shifted against
the position, is quoted as far as `max_position` allows even if every quote of a side is filled.

What (1) and (2) trade away is the account's position with `exclusive_symbol`, else only what this run made;
(3) always goes by the account's position, in its worst case.

Without the exchange's position, or without a two-sided, uncrossed book, nothing is traded and resting
quotes are withdrawn. A liquidation or auto-deleveraging ends the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from market.instrument import Instrument, MarketType
from market.orders import Quote, Side
from market.position import Position
from market.snapshot import Snapshot
from strategies import ladder, maker_preflight, maker_rules, perp_protection, quoting
from strategies.base import Decision, Preflight, Strategy, TakerOrder
from strategies.closing import close_own
from strategies.maker_rules import MakerState
from strategies.perp_maker_params import AfterClose, Params, SkewUnit
from strategies.perp_protection import Cause, Closing
from strategies.taking import protected_taker
from wording import said

#: Automatic size: all layers of one side together are one in this of `max_position`.
_SIDE_DIVISOR = 4


class State(MakerState):
    """What the market maker remembers."""

    closing: Closing | None = None
    #: Why the run has to end; kept, so that a stop that was not carried out is asked for again.
    ended: str = ""


def decide(snapshot: Snapshot, state: State, params: Params) -> Decision[State]:
    """Return the ladder wanted now, and the order that reduces the position when one is due."""
    state = _with_news(snapshot, maker_rules.remember(snapshot, state, params), params)
    reason = state.ended or _unusable(params, snapshot.instrument)
    if reason:
        return Decision(quotes=(), state=state, stop_reason=reason)
    position, mid = snapshot.position, snapshot.book.mid
    if position is None:
        return Decision(quotes=(), state=state)
    if state.closing is not None:
        return _close(snapshot, position, state.closing, state, params)
    if mid is None or not quoting.is_two_sided(snapshot.book):
        return Decision(quotes=(), state=state)

    taker = _back_to_line(snapshot, params)
    if maker_rules.is_cooling_down(snapshot.taken_at_ms, state, params):
        return Decision(quotes=(), state=state, taker=taker)
    sides = maker_rules.sides_in_band(mid, state, params)
    if taker is not None:
        # Own quotes that it would hit have to go first: self-trade prevention would expire it.
        sides = tuple(side for side in sides if side is taker.side)
    quotes = _quotes(snapshot, state, params, mid, sides, _rooms(snapshot, taker, params))
    return Decision(quotes=quotes, state=state, taker=taker)


def _with_news(snapshot: Snapshot, state: State, params: Params) -> State:
    """Return the state with what this snapshot says of the position."""
    position = snapshot.position
    changes: dict[str, object] = {}
    if snapshot.system_fills and not state.ended:
        changes["ended"] = _system_trade(snapshot)
    if position is not None and state.closing is None and _is_open(snapshot, position):
        changes["closing"] = perp_protection.cause_to_close(
            snapshot, position, stop_loss=params.stop_loss, take_profit=params.take_profit
        )
    return state.model_copy(update=changes)


def _is_open(snapshot: Snapshot, position: Position) -> bool:
    """Tell whether there is enough to close for an order."""
    return abs(perp_protection.left_to_close(snapshot, position)) >= snapshot.instrument.min_quantity


def _system_trade(snapshot: Snapshot) -> str:
    quantity = sum((fill.quantity for fill in snapshot.system_fills), Decimal(0))
    return said(
        "the exchange itself traded {quantity} {base_asset} of this position (liquidation or "
        "auto-deleveraging): look at the account before the next start",
        quantity=f"{quantity:f}",
        base_asset=snapshot.instrument.base_asset,
    )


def _unusable(params: Params, instrument: Instrument) -> str | None:
    return maker_preflight.too_small("quantity", params.quantity, instrument) or maker_preflight.too_small(
        "max_position", params.max_position, instrument
    )


def _close(
    snapshot: Snapshot, position: Position, closing: Closing, state: State, params: Params
) -> Decision[State]:
    if _is_open(snapshot, position):
        taker = None
        if quoting.is_two_sided(snapshot.book):
            # The account's position needs no certainty: reducing only, it can not be overdone.
            amount = (
                position.net_quantity
                if snapshot.exclusive_symbol
                else perp_protection.certainly_tradable(snapshot)
            )
            taker = protected_taker(
                snapshot,
                -amount,
                slippage_bps=params.close_slippage_bps,
                reason=closing.cause.value,
                reduce_only=True,
            )
        return Decision(quotes=(), state=state, taker=taker)
    after = params.after_stop_loss if closing.cause is Cause.STOP_LOSS else params.after_take_profit
    if after is AfterClose.STOP:
        # `closing` stays in the state, so that a stop that was not carried out is asked for again.
        reason = said(
            "{cause}: the position was closed at an unrealised profit of {unrealized} {quote_asset}",
            cause=closing.cause.value,
            unrealized=f"{closing.unrealized:f}",
            quote_asset=snapshot.instrument.quote_asset,
        )
        is_loss = closing.cause is Cause.STOP_LOSS
        return Decision(quotes=(), state=state, stop_reason=reason, is_loss=is_loss, unwind=True)
    changes: dict[str, object] = {"closing": None}
    if after is AfterClose.COOLDOWN:
        changes["cooldown_since_ms"] = snapshot.taken_at_ms
    return Decision(quotes=(), state=state.model_copy(update=changes))


def _back_to_line(snapshot: Snapshot, params: Params) -> TakerOrder | None:
    change = perp_protection.excess(
        perp_protection.certainly_tradable(snapshot),
        target=params.target_position,
        threshold=params.position_threshold,
        cap=params.max_position,
    )
    return protected_taker(
        snapshot,
        change,
        slippage_bps=params.close_slippage_bps,
        reason="position control",
        reduce_only=True,
    )


def _rooms(snapshot: Snapshot, taker: TakerOrder | None, params: Params) -> dict[Side, Decimal]:
    """Return how much of each side may rest so that no fill leads beyond `max_position`, base units."""
    net = snapshot.net
    rooms = {Side.BUY: params.max_position - net.high, Side.SELL: params.max_position + net.low}
    if taker is not None:
        rooms[taker.side] -= taker.quantity
    return rooms


def _quotes(
    snapshot: Snapshot,
    state: State,
    params: Params,
    mid: Decimal,
    sides: Sequence[Side],
    rooms: Mapping[Side, Decimal],
) -> tuple[Quote, ...]:
    ratio = inventory_ratio(snapshot, params)
    prices = ladder.ladders(snapshot, params, mid, shift=skew_shift(mid, ratio, params))
    quotes: list[Quote] = []
    for side in sides:
        size = _size(snapshot.instrument, params)
        size = ladder.lean(size, snapshot, side, size_skew=params.size_skew, ratio=ratio)
        wanted = maker_rules.quotes(snapshot, state, params, prices[side], side, size)
        quotes += quoting.fit_budget(wanted, rooms[side], lambda _: Decimal(1), snapshot.instrument)
    return tuple(quotes)


def inventory_ratio(snapshot: Snapshot, params: Params) -> Decimal:
    """Return the position as a part of `max_position`, within -1 to 1; less than an order counts as flat."""
    net = snapshot.position.net_quantity if snapshot.position is not None else Decimal(0)
    if abs(net) < snapshot.instrument.min_quantity:
        return Decimal(0)
    return max(Decimal(-1), min(Decimal(1), net / params.max_position))


def skew_shift(mid: Decimal, ratio: Decimal, params: Params) -> Decimal:
    """Return how far all quotes move down (up when negative) against a position, quote units."""
    unit = mid if params.skew_unit is SkewUnit.PRICE else ladder.half_spread(mid, params)
    return params.inventory_skew * unit * ratio


def _size(instrument: Instrument, params: Params) -> Decimal:
    if params.quantity is not None:
        return quoting.capped(params.quantity, instrument)
    share = instrument.round_quantity(params.max_position / (_SIDE_DIVISOR * params.max_orders))
    return quoting.capped(max(share, instrument.min_quantity), instrument)


def unwind(snapshot: Snapshot, state: State, params: Params) -> TakerOrder | None:
    """Return the next order that closes what this run opened, None when nothing of it is left.

    Never more than the exchange's position on the same side: what others hold is theirs.
    """
    return close_own(snapshot, slippage_bps=params.close_slippage_bps, reason="unwind")


def preflight(snapshot: Snapshot, params: Params) -> Preflight:
    """Return what keeps these parameters from working on this market, and what will surprise."""
    size = _size(snapshot.instrument, params)
    return maker_preflight.joined(
        maker_preflight.of_ladder(snapshot, params),
        maker_preflight.of_position(snapshot, params, size),
    )


STRATEGY: Strategy[Params, State] = Strategy(
    title="PerpetualMarketMaker",
    config_name="standard",
    market_types=frozenset({MarketType.PERP}),
    params=Params,
    state=State,
    decide=decide,
    summary="Quotes a ladder of bids and asks around the mid of a perpetual, and bounds the position.",
    unwind=unwind,
    preflight=preflight,
)
