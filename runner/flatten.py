"""Bring the account's whole position in a symbol to zero during a cleanup."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import structlog

from exchanges.errors import ExchangeError
from exchanges.registry import Venue
from market.instrument import Instrument
from market.orders import Side
from runner.closing import ClosingOrders
from strategies.base import TakerOrder

log = structlog.get_logger(__name__)

#: The closing order may trade this far through the touch, not further.
PROTECTION_BPS = Decimal(100)
#: Tries before the position is reported as left.
TRIES = 5

Pause = Callable[[float], None]
Renew = Callable[[], object]


class Flattener:
    """Closes one position with reduce-only, price-protected, immediate-or-cancel orders."""

    def __init__(
        self, venue: Venue, instrument: Instrument, closing: ClosingOrders, *, renew: Renew, pause: Pause
    ) -> None:
        self._venue = venue
        self._instrument = instrument
        self._closing = closing
        self._renew = renew
        self._pause = pause
        #: True when the position could not be brought to zero.
        self.position_left = False

    def close_position(self) -> tuple[str, str]:
        """Return the net position before and after, as text."""
        before = after = self._net()
        for _ in range(TRIES):
            if after == 0 or not self._closing.settled:
                break
            self._renew()
            self._send(after)
            after = self._net()
        self.position_left = after != 0
        return str(before), str(after)

    def _net(self) -> Decimal:
        symbol = self._instrument.symbol
        for attempt in range(TRIES):
            try:
                return self._venue.position(symbol).net_quantity
            except ExchangeError as error:
                log.warning("position unknown", symbol=symbol, error=str(error), attempt=attempt)
                self._renew()
                self._pause(0.2)
        return self._venue.position(symbol).net_quantity

    def _send(self, net: Decimal) -> None:
        book = self._venue.order_book(self._instrument.symbol)
        side = Side.SELL if net > 0 else Side.BUY
        touch = book.best_bid if side is Side.SELL else book.best_ask
        if touch is None:
            log.warning("nobody to close against", symbol=self._instrument.symbol, side=side)
            self._pause(0.5)
            return
        sign = -1 if side is Side.SELL else 1
        limit = touch * (1 + sign * PROTECTION_BPS / 10_000)
        self._closing.send(
            TakerOrder(
                side=side,
                quantity=abs(net),
                limit_price=self._instrument.round_price(limit, side.opposite),
                reduce_only=True,
                reason="close the position",
            )
        )
