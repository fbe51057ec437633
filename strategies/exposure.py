"""How far the orders of one decision may move a position and a balance, in the worst case."""

from __future__ import annotations

from decimal import Decimal

from market.instrument import MarketType
from market.orders import Side
from market.snapshot import Snapshot
from strategies import quoting

_ZERO = Decimal(0)


def net_quantity(snapshot: Snapshot) -> Decimal | None:
    """Return the position, base units, signed; None when a perpetual's is not known.

    On spot it is what the run bought more than it sold: below zero once it sells coins held before.
    """
    if snapshot.instrument.market_type is MarketType.SPOT:
        return snapshot.profit.net
    return None if snapshot.position is None else snapshot.position.net_quantity


class Exposure:
    """What each side may still add to the position, and bids may still spend; shrinks as orders take it.

    Each side is counted as if all of its orders were filled and none of the other's.
    """

    def __init__(self, snapshot: Snapshot, *, cap: Decimal | None, reserve: Decimal | None) -> None:
        """Start from `snapshot`. None is no limit.

        `cap` is the largest position, base units; `reserve` the part of the quote asset not to be spent.
        """
        self._is_spot = snapshot.instrument.market_type is MarketType.SPOT
        net = net_quantity(snapshot)
        signed = {Side.BUY: -(net or _ZERO), Side.SELL: net or _ZERO}
        self._reducing = {side: max(quantity, _ZERO) for side, quantity in signed.items()}
        self._room: dict[Side, Decimal] | None = None
        if cap is not None:
            # A position that nobody knows must not grow, whichever way that is.
            self._room = {side: _ZERO if net is None else cap + signed[side] for side in Side}
        self._spare = None if reserve is None else _balance(snapshot) - reserve

    def reducing(self, side: Side) -> Decimal:
        """Return how much on `side` brings the position to zero and not beyond."""
        return self._reducing[side]

    def room(self, side: Side) -> Decimal | None:
        """Return how much on `side` keeps the position within the cap; None: there is no cap."""
        return None if self._room is None else max(self._room[side], _ZERO)

    def affordable(self, side: Side, price: Decimal) -> Decimal | None:
        """Return how much on `side` leaves the reserve alone at `price`; None: as much as you like.

        Perpetuals spend nothing when they are opened: there it is all or nothing, by the balance as it is.
        """
        if self._spare is None or (self._is_spot and side is Side.SELL):
            return None
        if self._spare <= 0:
            return _ZERO
        return self._spare / price if self._is_spot else None

    def take(self, side: Side, quantity: Decimal, price: Decimal) -> None:
        """Count an order of `quantity` at `price`."""
        self._reducing[side] = max(self._reducing[side] - quantity, _ZERO)
        if self._room is not None:
            self._room[side] -= quantity
        if self._spare is not None and self._is_spot and side is Side.BUY:
            self._spare -= quantity * price


def _balance(snapshot: Snapshot) -> Decimal:
    """Return what this instance has of the quote asset; zero when it is not known."""
    if snapshot.instrument.market_type is MarketType.SPOT:
        funds = quoting.funds_of(snapshot)
        return _ZERO if funds is None else funds.quote_spendable
    balance = snapshot.balances.get(snapshot.instrument.quote_asset)
    return _ZERO if balance is None else balance.total
