"""What an instance has lost within one UTC day, over all its runs, and when that is too much."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from pydantic import BaseModel, ConfigDict

from market.snapshot import Snapshot
from strategies.limits import Limits
from wording import said

_DAY_MS = 86_400_000

_EPOCH = date(1970, 1, 1)


def run_total(snapshot: Snapshot) -> Decimal | None:
    """Return what the run has made so far, quote units, after fees, open quantity at the fair price.

    None: something is open and has no price now. Formula: `market.profit.Profit.total`.
    """
    if snapshot.profit.net == 0:
        return snapshot.profit.total(Decimal(0))
    return None if snapshot.price is None else snapshot.profit.total(snapshot.price)


class DailyLoss(BaseModel):
    """The day's result so far; kept as JSON beside the instance, since a day may see several runs.

    The day's result is `carried` + (the run's total - `base`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: UTC.
    day: date
    #: What earlier runs of the day made, quote units.
    carried: Decimal = Decimal(0)
    #: The run's total when the day began, quote units; zero for a run that began later.
    base: Decimal = Decimal(0)
    #: The run's total as last seen, quote units.
    total: Decimal = Decimal(0)
    #: The run that `base` and `total` are of.
    epoch: int = 0

    @classmethod
    def first(cls, now_ms: int) -> DailyLoss:
        """Return the start of an instance that has no day on record."""
        return cls(day=_day_of(now_ms))

    def begin_run(self, epoch: int) -> DailyLoss:
        """Return the same day for a fresh run, whose total begins at zero: what was made is carried over."""
        return DailyLoss(day=self.day, carried=self.carried + self.total - self.base, epoch=epoch)

    def advance(self, now_ms: int, total: Decimal) -> DailyLoss:
        """Return what is known once the run's total is `total`, quote units; a new UTC day starts at zero.

        A clock that was set back starts no day: the losses of the day stay.
        """
        today = _day_of(now_ms)
        if today > self.day:
            return DailyLoss(day=today, base=total, total=total, epoch=self.epoch)
        return self.model_copy(update={"total": total})

    def loss(self, total: Decimal) -> Decimal:
        """Return what the day has lost when the run's total is `total`, quote units; a gain is negative."""
        return self.base - total - self.carried

    def reason(self, limits: Limits, total: Decimal) -> str | None:
        """Return why the run has to end, None when it may go on."""
        most, loss = limits.max_daily_loss, self.loss(total)
        if most is None or loss < most:
            return None
        places = max(2, -int(most.as_tuple().exponent))
        until = self.day + timedelta(days=1)
        return said(
            "daily loss {loss} reached max_daily_loss {most}; it ends on {until} 00:00 UTC",
            loss=f"{loss:.{places}f}",
            most=f"{most:f}",
            until=until,
        )


def _day_of(at_ms: int) -> date:
    return _EPOCH + timedelta(days=at_ms // _DAY_MS)
