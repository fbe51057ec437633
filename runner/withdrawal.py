"""Withdraw what rests: while a run is paused, and when nobody can tell the price any longer."""

from __future__ import annotations

import structlog

from exchanges.errors import ExchangeError
from runner.execution import ExecutionReport
from runner.gathering import Gathered
from runner.known_orders import own_order
from runner.loaded import LoadedInstance
from runner.lookups import Standing
from runner.schedule import error_delay_ms
from state.leases import Lease
from strategies.reconcile import OrderPlan

log = structlog.get_logger(__name__)

#: Between two tries to withdraw what an exchange neither cancels nor explains, ms.
UNSURE_PAUSE_MS = 500


def must_withdraw(lease: Lease, instance: LoadedInstance, standing: Standing, error: ExchangeError) -> bool:
    """Tell whether what rests may not wait for the exchange any longer, by the instance's own limit.

    It rests on a decision that was made with the last book that was read.
    """
    limit_s = instance.limits.max_data_age_s
    if limit_s is None:
        return False
    age_ms = standing.now_ms + standing.elapsed_ms - standing.books.book_at_ms
    # Not later than the limit: the next look comes after a back-off.
    if age_ms + error_delay_ms(lease.errors + 1) <= limit_s * 1000:
        return False
    log.warning(
        "market unknown, orders withdrawn",
        instance=lease.instance_id,
        epoch=lease.epoch,
        seq=lease.seq,
        why=str(error),
    )
    return True


def withdrawal(instance: LoadedInstance, standing: Standing, gathered: Gathered | None = None) -> OrderPlan:
    """Return what cancels every order that rests, also those of an earlier run that `gathered` shows."""
    own = standing.books.open_orders(instance.config.metadata.symbol)
    strangers = tuple(own_order(order) for order in gathered.strangers) if gathered else ()
    return OrderPlan(cancels=(*strangers, *own), places=(), kept=())


def is_quiet(lease: Lease, standing: Standing, plan: OrderPlan) -> bool:
    """Tell whether nothing rested when `plan` was made to withdraw it, and nothing could still arrive."""
    may_arrive = lease.fence_ms > lease.claimed_at_ms or standing.unasked
    return not plan.cancels and not may_arrive


def look_again_ms(report: ExecutionReport, standing: Standing, plan: OrderPlan) -> int:
    """Return how long to wait before the next look for what may rest."""
    is_unsure = bool(report.uncertain_cancels) or (standing.unasked and not plan.cancels)
    return UNSURE_PAUSE_MS if is_unsure else 0
