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
from wording import said


def quantity_problem(snapshot: Snapshot, params: HedgeParams) -> str | None:
    """Return why no order of the size given can be placed here, None when it can."""
    instrument = snapshot.instrument
    if params.quantity is None or params.quantity >= instrument.min_quantity:
        return None
    return said(
        "quantity {quantity} is below the smallest order of {symbol}, {min_quantity}: raise "
        "strategy_config.quantity",
        quantity=params.quantity,
        symbol=instrument.symbol,
        min_quantity=instrument.min_quantity,
    )


def system_reason(snapshot: Snapshot) -> str:
    """Return why a run ends on whose account the exchange itself has traded."""
    traded = ", ".join(
        said("{side} {quantity} at {price}", side=fill.side, quantity=fill.quantity, price=fill.price)
        for fill in snapshot.system_fills
    )
    return said(
        "the exchange itself has traded on this account (liquidation or auto-deleveraging): {traded}; "
        "nothing is hedged after that: look at the position, then start again",
        traded=traded,
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
    return said(
        "by this run's fills the position should be {expected}, the exchange has said {shown} for "
        "{time} s: somebody or the exchange has moved it, and nothing is hedged after that; set "
        'position_source to "own_fills" where others trade the symbol on this account, too',
        expected=expected,
        shown=shown,
        time=lasted_ms // 1000,
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
        return said(
            "stop_loss: the run has lost {total}, the limit is {stop_loss}",
            total=f"{-total:.4f}",
            stop_loss=abs(params.stop_loss),
        )
    if params.take_profit is not None and total >= params.take_profit:
        return said(
            "take_profit: the run has made {total}, the goal is {take_profit}",
            total=f"{total:.4f}",
            take_profit=params.take_profit,
        )
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
        smallest = said(
            "the smallest order of {symbol}, {min_quantity}",
            symbol=instrument.symbol,
            min_quantity=instrument.min_quantity,
        )
        return [said("{name} {cap} is below {smallest}: raise it", name=name, cap=cap, smallest=smallest)], []
    if params.quantity is not None and params.quantity > cap:
        return [], [
            said(
                "quantity {quantity} is above {name} {cap}: quotes are cut to that",
                quantity=params.quantity,
                name=name,
                cap=cap,
            )
        ]
    return [], []


def _position(snapshot: Snapshot, params: PerpParams) -> _Findings:
    if snapshot.position is None or not params.trusts_account:
        return [], []
    net, wanted = snapshot.position.net_quantity, params.reference_position
    if abs(net) > params.max_position:
        return [
            said(
                "the position is {net} already, above max_position {max_position}: reduce it, or raise it",
                net=net,
                max_position=params.max_position,
            )
        ], []
    if wanted is None or abs(wanted - net) < snapshot.instrument.min_quantity:
        return [], []
    verb = said("buys") if wanted > net else said("sells")
    first = said(
        "the first hedge {verb} {amount}, from {net} to reference_position {wanted}",
        verb=verb,
        amount=abs(wanted - net),
        net=net,
        wanted=wanted,
    )
    if snapshot.exclusive_symbol:
        return [], [first]
    return [
        said(
            "{first}, and that position may be others': leave reference_position out, or set "
            '"exclusive_symbol": true when nothing else trades the symbol on this account',
            first=first,
        )
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
        return [said("the balances are not known, so there is nothing to quote with")], []
    base_name, quote_name = instrument.base_asset, instrument.quote_asset
    least = max(instrument.min_quantity, instrument.step_size)
    can_sell = funds.base_spendable >= least
    can_buy = ask is not None and funds.quote_spendable >= least * ask
    if can_sell and can_buy:
        return [], []
    if not can_sell and not can_buy:
        return [
            said(
                "neither {base_name} nor {quote_name} covers the smallest order: nothing can be quoted",
                base_name=base_name,
                quote_name=quote_name,
            )
        ], []
    missing, side = (quote_name, said("ask")) if can_sell else (base_name, said("bid"))
    return [], [
        said(
            "{missing} does not cover the smallest order: only the {side} is quoted",
            missing=missing,
            side=side,
        )
    ]
