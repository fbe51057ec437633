"""The instance's result of the day, kept from run to run."""

from __future__ import annotations

from decimal import Decimal

from market.profit import Profit
from market.snapshot import Snapshot
from state.leases import Lease
from strategies.daily_loss import DailyLoss, run_total
from strategies.limits import Limits


def advance_daily(lease: Lease, limits: Limits, snapshot: Snapshot) -> tuple[str, str]:
    """Return the day's result to save (JSON), and why it ends the run; each empty where there is none."""
    total = run_total(snapshot)
    if total is None:
        return "", ""
    daily = _of_run(lease.daily_json, lease.epoch, lease.claimed_at_ms).advance(lease.claimed_at_ms, total)
    return daily.model_dump_json(), daily.reason(limits, total) or ""


def close_daily(daily_json: str, epoch: int, profit: Profit, now_ms: int) -> str:
    """Return the day's result (JSON) with the last fills of a run that ended flat; empty: it stays as it was.

    What is still open keeps the value that the last iteration gave it.
    """
    if not daily_json or profit.net != 0:
        return ""
    total = profit.total(Decimal(0))
    return _of_run(daily_json, epoch, now_ms).advance(now_ms, total).model_dump_json()


def _of_run(daily_json: str, epoch: int, now_ms: int) -> DailyLoss:
    """Return the day as run `epoch` goes on with it: what earlier runs made is carried over once."""
    daily = DailyLoss.model_validate_json(daily_json) if daily_json else DailyLoss.first(now_ms)
    return daily if daily.epoch == epoch else daily.begin_run(epoch)
