"""What a run may hold: the exchange's position and the run's own fills are two reads, and either can lag."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

#: How long the exchange's position may differ from what own fills make of it before it is believed: until
#: then one of the two is taken to lag, afterwards somebody else has traded on the account.
LAG_LIMIT_MS = 15_000

_ZERO = Decimal(0)


@dataclass(frozen=True, kw_only=True)
class NetRange:
    """Between which net quantities the position is, signed, base units. One value when all is known."""

    low: Decimal
    high: Decimal

    @classmethod
    def exactly(cls, net: Decimal) -> NetRange:
        """Return the range of a net quantity that is known."""
        return cls(low=net, high=net)

    @property
    def certain(self) -> Decimal:
        """Return the part of the position that is there in any case; zero when not even its side is sure."""
        if self.low > 0:
            return self.low
        return min(self.high, _ZERO)

    def with_zero(self) -> NetRange:
        """Return the range that also reaches to zero: an order that reduces may have been filled."""
        return NetRange(low=min(self.low, _ZERO), high=max(self.high, _ZERO))


@dataclass(frozen=True, kw_only=True)
class Carried:
    """Bounds of the part of the exchange's position that a run did not make, signed, base units."""

    low: Decimal
    high: Decimal
    #: Since when the position and the own fills tell different stories, ms since the epoch; None: they agree.
    differs_since_ms: int | None = None

    @classmethod
    def first(cls, held: Decimal, own: Decimal, *, bought: Decimal, sold: Decimal, now_ms: int) -> Carried:
        """Return what is known at the first look at a position of `held`, with `own` of it made by fills.

        With fills before the first look, nobody knows how many of them the position has.
        """
        return cls(
            low=held - own - sold,
            high=held - own + bought,
            differs_since_ms=now_ms if bought or sold else None,
        )

    def after(self, held: Decimal, own: Decimal, *, now_ms: int, is_settled: bool) -> Carried:
        """Return what is known with another look: a difference counts once it has lasted."""
        told = Carried(low=held - own, high=held - own)
        if self.low == self.high == told.low:
            return told
        since_ms = self.differs_since_ms
        if since_ms is None or since_ms > now_ms:
            return replace(self, differs_since_ms=now_ms)
        if now_ms - since_ms < LAG_LIMIT_MS or not is_settled:
            return self
        return told

    def net_range(self, held: Decimal, own: Decimal) -> NetRange:
        """Return between which net quantities the position is: all that lies between the two reads."""
        return NetRange(low=min(held, self.low + own), high=max(held, self.high + own))
