"""How far the orders of one decision may move a position and a balance, in the worst case."""

from __future__ import annotations

from decimal import Decimal

from market.instrument import MarketType
from market.orders import Quote, Role, Side
from market.snapshot import Snapshot
from strategies import quoting
from strategies.base import TakerOrder

_ZERO = Decimal(0)


class Exposure:
    """What each side may still add to the position, and bids may still spend; shrinks as orders take it.

    Each side is counted as if all of its orders were filled and none of the other's, from the end of what
    the position may be (`Snapshot.net`) that is worst for it.
    """

    def __init__(self, snapshot: Snapshot, *, cap: Decimal | None, reserve: Decimal | None) -> None:
        """Start from `snapshot`. None is no limit.

        `cap` is the largest position, base units; `reserve` the part of the quote asset not to be spent.
        """
        self._is_spot = snapshot.instrument.market_type is MarketType.SPOT
        self._is_known = self._is_spot or snapshot.position is not None or snapshot.net_bounds is not None
        net = snapshot.net
        self._certain = {Side.BUY: max(-net.high, _ZERO), Side.SELL: max(net.low, _ZERO)}
        self._possible = {Side.BUY: max(-net.low, _ZERO), Side.SELL: max(net.high, _ZERO)}
        self._cap = cap
        #: Taken by orders that could go beyond zero.
        self._others = dict.fromkeys(Side, _ZERO)
        self._room: dict[Side, Decimal] | None = None
        if cap is not None:
            # A position that nobody knows must not grow, whichever way that is.
            worst = {Side.BUY: cap - net.high, Side.SELL: cap + net.low}
            self._room = worst if self._is_known else dict.fromkeys(Side, _ZERO)
        self._spare = None if reserve is None else _balance(snapshot) - reserve

    def reducing(self, order: Quote | TakerOrder) -> Decimal:
        """Return how much on the side of `order` brings the position to zero and not beyond.

        That much in any case; for an order that only reduces as much as it may be, since the exchange sees
        to it, unless it could take the position away that others of its side, more than the cap, count on.
        Of an unknown position every exit counts as bringing it to zero, whole.
        """
        is_exit = order.reduce_only or (isinstance(order, Quote) and order.role is Role.CLOSE)
        if is_exit and not self._is_known:
            return order.quantity
        if order.reduce_only and (self._cap is None or self._others[order.side] <= self._cap):
            return self._possible[order.side]
        return self._certain[order.side]

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

    def take(self, side: Side, quantity: Decimal, price: Decimal, *, reduce_only: bool = False) -> None:
        """Count an order of `quantity` at `price`."""
        if not reduce_only:
            self._others[side] += quantity
        for reducing in (self._certain, self._possible):
            reducing[side] = max(reducing[side] - quantity, _ZERO)
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
