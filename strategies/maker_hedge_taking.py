"""The order that brings a hedged run back to its reference, now or as the last thing of a stop."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from market.orders import Side
from market.snapshot import Snapshot
from strategies import quoting
from strategies.base import TakerOrder
from strategies.maker_hedge_params import HedgeParams, PerpParams
from strategies.maker_hedge_state import Difference, State, difference_of, hedged_so_far, matters
from strategies.quoting import Funds
from strategies.taking import protected_taker

#: Doublings of the slippage that count; any maximum that is allowed is reached before.
_MOST_DOUBLINGS = 16


def due_hedge(
    snapshot: Snapshot, state: State, params: HedgeParams, difference: Difference
) -> tuple[TakerOrder | None, State]:
    """Return the hedge that is due, and the state that counts it."""
    if snapshot.unsettled:
        # The last hedge may be what is not known; another one could trade the same amount twice.
        return None, state
    so_far = hedged_so_far(snapshot)
    attempts, is_repeated = _attempts(state, so_far)
    slippage_bps = min(
        params.hedge_slippage_bps * 2 ** min(attempts, _MOST_DOUBLINGS), params.max_hedge_slippage_bps
    )
    taker = _taker(snapshot, state, params, difference, slippage_bps, "hedge")
    taker = _covered(taker, spot_funds(snapshot, params), snapshot)
    if taker is not None:
        update = {
            "attempts": attempts,
            "hedged_before": so_far,
            "awaited": so_far + taker.quantity,
            "is_repeated": is_repeated,
        }
        return taker, state.model_copy(update=update)
    if any(matters(amount, snapshot.instrument, params) for amount in difference.witnesses):
        return None, state
    return None, state.model_copy(
        update={"attempts": 0, "hedged_before": None, "awaited": None, "is_repeated": False}
    )


def _attempts(state: State, so_far: Decimal) -> tuple[int, bool]:
    """Return the doublings for the next hedge, and whether it repeats one that changed nothing.

    A hedge that traded nothing may never have been sent, so only a second one without any effect counts.
    """
    if state.awaited is None or so_far >= state.awaited:
        return 0, False
    if state.hedged_before is None or so_far > state.hedged_before or state.is_repeated:
        return state.attempts + 1, False
    return state.attempts, True


def unwind(snapshot: Snapshot, state: State, params: HedgeParams) -> TakerOrder | None:
    """Return the next order of the final hedge, None when what is left is too little or not to be traded.

    It trades at most `max_hedge_slippage_bps` beyond the best price. Nothing is hedged once others have
    moved the position. A position that has not followed the latest fills yet is brought back by an order
    that can only reduce it.
    """
    if state.moved_by_others or snapshot.system_fills or snapshot.unsettled:
        return None
    difference = difference_of(snapshot, state, params)
    if difference is None:
        return None
    is_confirmed = matters(difference.confirmed, snapshot.instrument, params)
    if not is_confirmed and not _is_recent(snapshot, state, params):
        return None
    taker = _taker(snapshot, state, params, difference, params.max_hedge_slippage_bps, "final hedge")
    funds = spot_funds(snapshot, params)
    if funds is not None:
        # What the cancelled quotes held may be shown as held still.
        funds = replace(funds, base_spendable=funds.base_total, quote_spendable=funds.quote_total)
    return _covered(taker, funds, snapshot)


def spot_funds(snapshot: Snapshot, params: HedgeParams) -> Funds | None:
    """Return what the account holds of both assets; None on perpetuals, and where it is not known."""
    return None if isinstance(params, PerpParams) else quoting.funds_of(snapshot)


def _taker(
    snapshot: Snapshot,
    state: State,
    params: HedgeParams,
    difference: Difference,
    slippage_bps: Decimal,
    reason: str,
) -> TakerOrder | None:
    amount, reduces = _to_trade_back(snapshot, state, params, difference)
    return protected_taker(snapshot, -amount, slippage_bps=slippage_bps, reason=reason, reduce_only=reduces)


def _covered(taker: TakerOrder | None, funds: Funds | None, snapshot: Snapshot) -> TakerOrder | None:
    """Return the order as far as `funds` cover it, None when they do not cover a smallest one."""
    if taker is None or funds is None:
        return taker
    most = funds.base_spendable if taker.side is Side.SELL else funds.quote_spendable / taker.limit_price
    quantity = min(taker.quantity, snapshot.instrument.round_quantity(most))
    if quantity <= 0 or quantity < snapshot.instrument.min_quantity:
        return None
    return replace(taker, quantity=quantity)


def _to_trade_back(
    snapshot: Snapshot, state: State, params: HedgeParams, difference: Difference
) -> tuple[Decimal, bool]:
    """Return the difference to trade back, and whether the exchange may be told to reduce only."""
    reference = state.reference or Decimal(0)
    confirmed, account = difference.confirmed, difference.account
    if matters(confirmed, snapshot.instrument, params):
        position = Decimal(0) if account is None else account + reference
        return confirmed, confirmed * position > 0 and abs(confirmed) <= abs(position)
    # Towards zero the exchange itself sees to it that no order goes beyond what really stands, so own fills
    # need not wait for a position that is shown late.
    if account is not None and reference == 0 and matters(difference.own, snapshot.instrument, params):
        return difference.own, True
    return Decimal(0), False


def _is_recent(snapshot: Snapshot, state: State, params: HedgeParams) -> bool:
    """Tell whether a position that does not show own fills may still be late, rather than moved by others."""
    if not isinstance(params, PerpParams):
        return True
    seen_ms = [fill.filled_at_ms for fill in snapshot.fills]
    if state.dispute is not None:
        seen_ms.append(state.dispute.since_ms)
    return bool(seen_ms) and snapshot.taken_at_ms - max(seen_ms) <= params.disagreement_limit_ms
