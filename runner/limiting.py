"""From a decision to what may be sent: the limits, and the smallest change of what rests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from market.orders import Quote
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
    quotes, cuts = limits.trim(decision.quotes, snapshot, own, position_cap=cap, taker=decision.taker)
    taker, taker_cut = None, None
    if decision.taker is not None:
        taker, taker_cut = limits.check_taker(decision.taker, quotes, snapshot, own, position_cap=cap)
    fixed = instance.strategy.fixed_levels
    wanted, resting = _settled(quotes, snapshot) if fixed else (quotes, snapshot.open_orders)
    plan = reconcile(
        wanted,
        resting,
        tolerance_bps=instance.refresh_tolerance_bps,
        instrument=snapshot.instrument,
        fixed_levels=fixed,
    )
    places, rate_cuts = limits.trim_rate(
        plan.places, placed_at_ms, snapshot.taken_at_ms, own, price=snapshot.price
    )
    return Limited(
        plan=replace(plan, places=places),
        taker=taker,
        cuts=(*cuts, *((taker_cut,) if taker_cut else ()), *rate_cuts),
    )


def _settled(quotes: Sequence[Quote], snapshot: Snapshot) -> tuple[tuple[Quote, ...], tuple[OwnOrder, ...]]:
    """Leave out levels whose fills are not all known: what rests there stays, and nothing is added."""
    waiting = {level for level, _ in snapshot.unsettled}
    return (
        tuple(quote for quote in quotes if quote.level not in waiting),
        tuple(own for own in snapshot.open_orders if own.level not in waiting),
    )
