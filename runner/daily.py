"""The instance's result of the day, kept from run to run."""

from __future__ import annotations

from market.snapshot import Snapshot
from state.leases import Lease
from strategies.daily_loss import DailyLoss, run_total
from strategies.limits import Limits


def advance_daily(lease: Lease, limits: Limits, snapshot: Snapshot) -> tuple[str, str]:
    """Return the day's result to save (JSON), and why it ends the run; each empty where there is none."""
    total = run_total(snapshot)
    if total is None:
        return "", ""
    if lease.daily_json:
        daily = DailyLoss.model_validate_json(lease.daily_json)
    else:
        daily = DailyLoss.first(lease.claimed_at_ms)
    if not lease.books_json:
        daily = daily.begin_run()
    daily = daily.advance(lease.claimed_at_ms, total)
    return daily.model_dump_json(), daily.reason(limits, total) or ""
