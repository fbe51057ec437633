"""Bring a perpetual position to zero during a cleanup, under the cleanup's own authorisation."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from decimal import Decimal

import structlog

from exchanges.clock import StoreClockReading
from exchanges.errors import ExchangeError
from exchanges.registry import Venue
from market.orders import NewOrder, OrderType, Role, Side, TimeInForce
from runner.context import Context
from runner.execution import Executor
from runner.loaded import LoadedInstance
from state.leases import CleanupLease, Granted

log = structlog.get_logger(__name__)

#: The closing order may trade this far through the touch, not further.
PROTECTION_BPS = Decimal(100)
#: Tries before the position is reported as left.
TRIES = 5

Pause = Callable[[float], None]


class Flattener:
    """Closes one position with reduce-only, price-protected, immediate-or-cancel orders."""

    def __init__(
        self, context: Context, lease: CleanupLease, instance: LoadedInstance, venue: Venue, *, pause: Pause
    ) -> None:
        self._context = context
        self._lease = lease
        self._instance = instance
        self._venue = venue
        self._pause = pause
        self._symbol = instance.config.metadata.symbol
        self._unresolved = 0
        #: True when the position could not be brought to zero.
        self.position_left = False

    @property
    def settled(self) -> bool:
        """Tell whether every closing order got its answer, so that no fence is needed for it."""
        return self._unresolved == 0

    def close_position(self) -> tuple[str, str]:
        """Return the net position before and after, as text."""
        before = after = self._net()
        for _ in range(TRIES):
            if after == 0 or not self.settled:
                break
            self._context.leases.renew_cleanup(self._lease)
            self._send(after)
            after = self._net()
        self.position_left = after != 0
        return str(before), str(after)

    def _net(self) -> Decimal:
        for attempt in range(TRIES):
            try:
                return self._venue.position(self._symbol).net_quantity
            except ExchangeError as error:
                log.warning("position unknown", symbol=self._symbol, error=str(error), attempt=attempt)
                self._context.leases.renew_cleanup(self._lease)
                self._pause(0.2)
        return self._venue.position(self._symbol).net_quantity

    def _send(self, net: Decimal) -> None:
        instrument = self._context.venues.instrument(self._instance.config)
        book = self._venue.order_book(self._symbol)
        side = Side.SELL if net > 0 else Side.BUY
        touch = book.best_bid if side is Side.SELL else book.best_ask
        if touch is None:
            log.warning("nobody to close against", symbol=self._symbol, side=side)
            self._pause(0.5)
            return
        sign = -1 if side is Side.SELL else 1
        limit = touch * (1 + sign * PROTECTION_BPS / 10_000)
        asked_at_s = time.monotonic()
        reading = StoreClockReading(store_ms=self._context.instances.now_ms(), monotonic_s=asked_at_s)
        executor = Executor(
            self._venue,
            symbol=self._symbol,
            window_ms=self._instance.window_ms,
            authorize=self._authorize,
            signing_time_ms=lambda at_ms: self._venue.clock.signing_time_ms(at_ms, reading),
        )
        try:
            executor.place_one(
                NewOrder(
                    client_order_id=0,
                    symbol=self._symbol,
                    side=side,
                    order_type=OrderType.LIMIT,
                    quantity=abs(net),
                    price=instrument.round_price(limit, side.opposite),
                    time_in_force=TimeInForce.IOC,
                    reduce_only=True,
                ),
                level=0,
                role=Role.CLEANUP,
            )
        finally:
            self._unresolved += executor.report.unresolved

    def _authorize(self, orders: Sequence[tuple[int, Role]]) -> Granted:
        return self._context.leases.authorize_cleanup(
            self._lease, window_ms=self._instance.window_ms, orders=orders
        )
