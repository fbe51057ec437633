"""What a run has gained or lost, derived from its own fills and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from market.instrument import Instrument
from market.orders import Side
from market.position import Fill


@dataclass(frozen=True, kw_only=True)
class Profit:
    """Net quantity of a run with its average price, and what its closed part has brought, quote units.

    Average cost, in both directions: a fill that enlarges the net quantity moves the average price, one that
    reduces it realises the difference. Fees are kept apart; those taken in the base asset are valued at the
    price of their fill. Base fees also reduce the net quantity, since the coins are gone.
    """

    #: Signed; base units bought more than sold by this run.
    net: Decimal = Decimal(0)
    #: Of the net quantity; zero when flat.
    average_price: Decimal = Decimal(0)
    #: Before fees.
    realized: Decimal = Decimal(0)
    #: Paid, quote units; negative where rebates were larger.
    fees: Decimal = Decimal(0)

    def after(self, fill: Fill, instrument: Instrument) -> Profit:
        """Return the figures with `fill` booked. A fee in a third asset is left out: it has no price here."""
        change = fill.quantity if fill.side is Side.BUY else -fill.quantity
        booked = self._moved(change, fill.price)
        if fill.fee_asset == instrument.quote_asset:
            return replace(booked, fees=booked.fees + fill.fee)
        if fill.fee_asset != instrument.base_asset or fill.fee == 0:
            return booked
        # The coins leave at the price they are valued at, so that their value is counted once, as a fee.
        without = booked._moved(-fill.fee, fill.price)
        return replace(without, fees=without.fees + fill.fee * fill.price)

    def _moved(self, change: Decimal, price: Decimal) -> Profit:
        if change == 0:
            return self
        net = self.net + change
        if self.net == 0 or (self.net > 0) == (change > 0):
            cost = self.average_price * abs(self.net) + price * abs(change)
            return replace(self, net=net, average_price=cost / abs(net))
        closed = min(abs(self.net), abs(change))
        gain = (price - self.average_price) * closed * (1 if self.net > 0 else -1)
        turned = net != 0 and (net > 0) != (self.net > 0)
        average = price if turned else self.average_price if net != 0 else Decimal(0)
        return replace(self, net=net, average_price=average, realized=self.realized + gain)

    def unrealized(self, price: Decimal) -> Decimal:
        """Return what closing the net quantity at `price` would bring, before fees."""
        return (price - self.average_price) * self.net

    def total(self, price: Decimal) -> Decimal:
        """Return realised and unrealised profit at `price`, after fees."""
        return self.realized + self.unrealized(price) - self.fees
