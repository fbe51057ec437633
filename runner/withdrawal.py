"""Withdraw what rests when nobody can tell the price any longer."""

from __future__ import annotations

import structlog

from exchanges.errors import ExchangeError
from runner.loaded import LoadedInstance
from runner.lookups import Standing
from runner.schedule import error_delay_ms
from state.leases import Lease
from strategies.reconcile import OrderPlan

log = structlog.get_logger(__name__)


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


def withdrawal(instance: LoadedInstance, standing: Standing) -> OrderPlan:
    """Return what cancels every order that rests."""
    own = standing.books.open_orders(instance.config.metadata.symbol)
    return OrderPlan(cancels=own, places=(), kept=())
