"""When a hedge may not begin, and when it has to end, in sentences for its owner."""

from __future__ import annotations

from decimal import Decimal

from market.instrument import Instrument
from market.snapshot import Snapshot
from strategies import quoting
from strategies.base import Preflight
from strategies.maker_hedge_params import HedgeParams, PerpParams
from strategies.maker_hedge_state import Difference, State
from strategies.margin import of_margin


def quantity_problem(snapshot: Snapshot, params: HedgeParams) -> str | None:
    """Return why no order of the size given can be placed here, None when it can."""
    instrument = snapshot.instrument
    if params.quantity is None or params.quantity >= instrument.min_quantity:
        return None
    return (
        f"quantity {params.quantity} is below the smallest order of {instrument.symbol}, "
        f"{instrument.min_quantity}: raise strategy_config.quantity"
    )


def system_reason(snapshot: Snapshot) -> str:
    """Return why a run ends on whose account the exchange itself has traded."""
    traded = ", ".join(f"{fill.side} {fill.quantity} at {fill.price}" for fill in snapshot.system_fills)
    return (
        f"the exchange itself has traded on this account (liquidation or auto-deleveraging): {traded}; "
        "nothing is hedged after that: look at the position, then start again"
    )


def dispute_reason(
    snapshot: Snapshot, state: State, params: HedgeParams, difference: Difference
) -> str | None:
    """Return why a run ends whose fills and position have disagreed for too long, None when they have not."""
    if not isinstance(params, PerpParams) or state.dispute is None or difference.account is None:
        return None
    lasted_ms = snapshot.taken_at_ms - state.dispute.since_ms
    if lasted_ms <= params.disagreement_limit_ms:
        return None
    reference = state.reference or Decimal(0)
    expected, shown = reference + difference.own, reference + difference.account
    return (
        f"by this run's fills the position should be {expected}, the exchange has said {shown} for "
        f"{lasted_ms // 1000} s: somebody or the exchange has moved it, and nothing is hedged after that; "
        'set position_source to "own_fills" where others trade the symbol on this account, too'
    )


def has_lost(snapshot: Snapshot, params: HedgeParams) -> bool:
    """Tell whether the run's total loss has reached `stop_loss`, as far as that is known."""
    if params.stop_loss is None or snapshot.price is None:
        return False
    return snapshot.profit.total(snapshot.price) <= -abs(params.stop_loss)


def profit_reason(snapshot: Snapshot, params: HedgeParams) -> str | None:
    """Return which bound the run's total profit has reached, None when it is between them or not known."""
    price = snapshot.price
    if price is None:
        return None
    total = snapshot.profit.total(price)
    if params.stop_loss is not None and has_lost(snapshot, params):
        return f"stop_loss: the run has lost {-total:.4f}, the limit is {abs(params.stop_loss)}"
    if params.take_profit is not None and total >= params.take_profit:
        return f"take_profit: the run has made {total:.4f}, the goal is {params.take_profit}"
    return None


def preflight(snapshot: Snapshot, params: HedgeParams) -> Preflight:
    """Return what keeps these parameters from being run on this market, and what their owner should know."""
    problem = quantity_problem(snapshot, params)
    cap_problems, cap_warnings = _cap(snapshot.instrument, params)
    margin = Preflight()
    if isinstance(params, PerpParams):
        problems, warnings = _position(snapshot, params)
        margin = _margin(snapshot, params)
    else:
        problems, warnings = _funds(snapshot)
    return Preflight(
        problems=(*([problem] if problem else []), *cap_problems, *problems, *margin.problems),
        warnings=(*cap_warnings, *warnings, *margin.warnings),
    )


_Findings = tuple[list[str], list[str]]


def _cap(instrument: Instrument, params: HedgeParams) -> _Findings:
    cap = params.exposure_cap
    name = "max_position" if isinstance(params, PerpParams) else "max_unhedged"
    if cap is None:
        return [], []
    if cap < instrument.min_quantity:
        smallest = f"the smallest order of {instrument.symbol}, {instrument.min_quantity}"
        return [f"{name} {cap} is below {smallest}: raise it"], []
    if params.quantity is not None and params.quantity > cap:
        return [], [f"quantity {params.quantity} is above {name} {cap}: quotes are cut to that"]
    return [], []


def _position(snapshot: Snapshot, params: PerpParams) -> _Findings:
    if snapshot.position is None or not params.trusts_account:
        return [], []
    net, wanted = snapshot.position.net_quantity, params.reference_position
    if abs(net) > params.max_position:
        return [
            f"the position is {net} already, above max_position {params.max_position}: reduce it, or raise it"
        ], []
    if wanted is None or abs(wanted - net) < snapshot.instrument.min_quantity:
        return [], []
    verb = "buys" if wanted > net else "sells"
    first = f"the first hedge {verb} {abs(wanted - net)}, from {net} to reference_position {wanted}"
    if snapshot.exclusive_symbol:
        return [], [first]
    return [
        f"{first}, and that position may be others': leave reference_position out, or set "
        '"exclusive_symbol": true when nothing else trades the symbol on this account'
    ], []


def _margin(snapshot: Snapshot, params: PerpParams) -> Preflight:
    instrument = snapshot.instrument
    computed = params.automatic_size if params.quantity is None else params.quantity
    size = quoting.capped(max(computed, instrument.min_quantity), instrument)
    return of_margin(snapshot, size=size, layers=1, max_position=params.max_position)


def _funds(snapshot: Snapshot) -> _Findings:
    instrument, ask = snapshot.instrument, snapshot.book.best_ask
    funds = quoting.funds_of(snapshot)
    if funds is None:
        return ["the balances are not known, so there is nothing to quote with"], []
    base_name, quote_name = instrument.base_asset, instrument.quote_asset
    least = max(instrument.min_quantity, instrument.step_size)
    can_sell = funds.base_spendable >= least
    can_buy = ask is not None and funds.quote_spendable >= least * ask
    if can_sell and can_buy:
        return [], []
    if not can_sell and not can_buy:
        return [f"neither {base_name} nor {quote_name} covers the smallest order: nothing can be quoted"], []
    missing, side = (quote_name, "ask") if can_sell else (base_name, "bid")
    return [], [f"{missing} does not cover the smallest order: only the {side} is quoted"]
