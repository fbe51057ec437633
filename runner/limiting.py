"""From a decision to what may be sent: the limits, and the smallest change of what rests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from market.orders import Quote, Side
from market.snapshot import OwnOrder, Snapshot
from runner.loaded import LoadedInstance
from strategies import limits
from strategies.base import Decision, State, TakerOrder
from strategies.limits import Cut
from strategies.reconcile import OrderPlan, reconcile


@dataclass(frozen=True, kw_only=True)
class Limited:
    """What may be sent, and what the limits took away."""

    plan: OrderPlan
    taker: TakerOrder | None
    cuts: tuple[Cut, ...]


def limited_plan(
    instance: LoadedInstance, snapshot: Snapshot, decision: Decision[State], placed_at_ms: Sequence[int]
) -> Limited:
    """Return what leads from the orders that rest to `decision`, within the limits of `instance`."""
    own, cap = instance.limits, instance.params.position_cap
    fixed = instance.strategy.fixed_levels
    asked: Sequence[Quote] = decision.quotes
    spared: tuple[OwnOrder, ...] = ()
    if fixed and not limits.staleness(snapshot, own):
        asked, spared = _settled(decision.quotes, snapshot)
    quotes, cuts = limits.trim(asked, snapshot, own, position_cap=cap, taker=decision.taker, beside=spared)
    taker, taker_cut = None, None
    if decision.taker is not None:
        taker, taker_cut = limits.check_taker(
            decision.taker, quotes, snapshot, own, position_cap=cap, beside=spared
        )
    plan = reconcile(
        quotes,
        [order for order in snapshot.open_orders if order not in spared],
        tolerance_bps=instance.refresh_tolerance_bps,
        instrument=snapshot.instrument,
        fixed_levels=fixed,
    )
    places, rate_cuts = limits.trim_rate(
        plan.places, placed_at_ms, snapshot.taken_at_ms, own, price=snapshot.price
    )
    return Limited(
        plan=_without_gaps(plan, places),
        taker=taker,
        cuts=(*cuts, *((taker_cut,) if taker_cut else ()), *rate_cuts),
    )


def cut_names(cuts: Sequence[Cut]) -> tuple[str, ...]:
    """Return what was cut without how much, so that two sets of cuts can be compared."""
    return tuple(sorted({f"{cut.limit} {cut.side} {cut.level}" for cut in cuts}))


def cut_facts(cut: Cut) -> dict[str, str]:
    """Return what the sentence of a cut is made of; what it is not about is not in it."""
    found = {
        "limit": cut.limit,
        "side": cut.side and str(cut.side),
        "level": None if cut.level is None else str(cut.level),
        "price": None if cut.price is None else f"{cut.price:f}",
        "wanted": f"{cut.wanted:f}",
        "allowed": f"{cut.allowed:f}" if cut.allowed else None,
        "detail": cut.detail,
    }
    return {name: text for name, text in found.items() if text}


def _without_gaps(plan: OrderPlan, places: Sequence[Quote]) -> OrderPlan:
    """Return the plan with `places` only; an order whose successor has to wait rests until then.

    It goes all the same where it is larger than what is wanted, or would meet an order of the other side.
    """
    waiting = [quote for quote in plan.places if quote not in places]
    others = [(own.order.side, own.order.price) for own in plan.kept] + [(q.side, q.price) for q in places]
    spared: list[OwnOrder] = []
    for quote in waiting:
        for own in plan.cancels:
            if own not in spared and _can_stand_in(own, quote) and not _meets(own, others):
                spared.append(own)
                break
    return replace(
        plan,
        places=tuple(places),
        cancels=tuple(own for own in plan.cancels if own not in spared),
        kept=(*plan.kept, *spared),
    )


def _can_stand_in(own: OwnOrder, quote: Quote) -> bool:
    is_its_place = (own.order.side, own.role, own.level) == (quote.side, quote.role, quote.level)
    return is_its_place and own.order.remaining_quantity <= quote.quantity


def _meets(own: OwnOrder, others: Sequence[tuple[Side, Decimal | None]]) -> bool:
    side, price = own.order.side, own.order.price
    if price is None:
        return True
    opposite = [other for at, other in others if at is not side and other is not None]
    return any(price >= other if side is Side.BUY else price <= other for other in opposite)


def _settled(quotes: Sequence[Quote], snapshot: Snapshot) -> tuple[tuple[Quote, ...], tuple[OwnOrder, ...]]:
    """Return the quotes of levels whose fills are all known, and the orders that stay at the others.

    Nothing is added where fills may be missing; what rests there stays while the level is wanted at all.
    """
    waiting = {level for level, _ in snapshot.unsettled}
    wanted = {quote.level for quote in quotes} & waiting
    return (
        tuple(quote for quote in quotes if quote.level not in waiting),
        tuple(own for own in snapshot.open_orders if own.level in wanted),
    )
