"""Send the orders of a cleanup, under its own authorisation."""

from __future__ import annotations

import time
from collections.abc import Sequence

from exchanges.clock import StoreClockReading
from exchanges.registry import Venue
from market.orders import Role
from runner.context import Context
from runner.execution import ExecutionReport, Executor
from runner.loaded import LoadedInstance
from state.cleanup_leases import CleanupLease
from state.permissions import Granted
from strategies.base import TakerOrder


class ClosingOrders:
    """Immediate-or-cancel orders of one cleanup."""

    def __init__(self, context: Context, lease: CleanupLease, instance: LoadedInstance, venue: Venue) -> None:
        self._context = context
        self._lease = lease
        self._instance = instance
        self._venue = venue
        self._unresolved = 0
        self._reports: list[ExecutionReport] = []

    @property
    def settled(self) -> bool:
        """Tell whether every order sent got its answer, so that no fence is needed for it."""
        return self._unresolved == 0

    def read_clock(self) -> StoreClockReading:
        """Return the state server's clock beside our own."""
        asked_at_s = time.monotonic()
        return StoreClockReading(store_ms=self._context.instances.now_ms(), monotonic_s=asked_at_s)

    def send(self, taker: TakerOrder) -> bool:
        """Send one order; tell whether any of it was executed. Raises `AuthorizationRefused`."""
        report, reading = ExecutionReport(), self.read_clock()
        executor = Executor(
            self._venue,
            symbol=self._instance.config.metadata.symbol,
            window_ms=self._instance.window_ms,
            authorize=self._authorize,
            signing_time_ms=lambda at_ms: self._venue.clock.signing_time_ms(at_ms, reading),
            report=report,
        )
        try:
            executor.take(taker, Role.CLEANUP)
        finally:
            self._unresolved += len(report.unresolved)
            self._reports.append(report)
        return any(order.executed_quantity for order in report.accepted)

    def take_reports(self) -> list[ExecutionReport]:
        """Return what became of the orders sent since the last call."""
        reports, self._reports = self._reports, []
        return reports

    def _authorize(self, orders: Sequence[tuple[int, Role]]) -> Granted:
        return self._context.cleanup_leases.authorize(
            self._lease, window_ms=self._instance.window_ms, orders=orders
        )
