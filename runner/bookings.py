"""What an iteration or a cleanup tells the ledger: the orders and fills that its books have learned of."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.bookings import FillBooking, OrderBooking
from market.instrument import Instrument
from market.orders import OrderStatus
from market.position import Fill
from runner.books import Books
from runner.known_orders import KnownOrder
from state.client_ids import level_role, owns


@dataclass(frozen=True, kw_only=True)
class Teller:
    """Who tells, and of what run."""

    account: str
    instance_id: str
    epoch: int
    slot: int
    #: ``iteration`` or ``cleanup``.
    source: str
    #: State server's time, ms.
    at_ms: int

    def tell(self, books: Books, instrument: Instrument | None) -> list[str]:
        """Return the bookings (JSON) of what `books` have learned since they were read."""
        told: list[FillBooking | OrderBooking] = []
        if instrument is not None:
            told += [self._order(order, instrument.symbol) for order in books.changed_orders()]
            told += [self._fill(fill, instrument) for fill in books.counted_fills()]
        return [booking.model_dump_json() for booking in told]

    def _order(self, order: KnownOrder, symbol: str) -> OrderBooking:
        level, role = order.level_role
        executed = max(order.executed, order.filled)
        return OrderBooking(
            account=self.account,
            instance_id=self.instance_id,
            epoch=self.epoch,
            symbol=symbol,
            order_id=order.order_id,
            client_order_id=order.client_order_id,
            level=level,
            role=role,
            side=order.side,
            price=order.price,
            quantity=order.quantity,
            executed=executed,
            status=_status(order),
            at_ms=self.at_ms,
            created_at_ms=order.accepted_at_ms,
        )

    def _fill(self, fill: Fill, instrument: Instrument) -> FillBooking:
        is_own = owns(self.slot, fill.client_order_id)
        return FillBooking.of(
            fill,
            instrument,
            account=self.account,
            instance_id=self.instance_id if is_own else "",
            epoch=self.epoch if is_own else 0,
            level_role=level_role(fill.client_order_id) if is_own and fill.client_order_id else None,
            source=self.source,
        )


def _status(order: KnownOrder) -> OrderStatus:
    if max(order.executed, order.filled) >= order.quantity:
        return OrderStatus.FILLED
    if order.ended:
        # Or expired: the books do not tell the two apart, a stream does.
        return OrderStatus.CANCELLED
    return OrderStatus.PARTIALLY_FILLED if order.executed or order.filled else OrderStatus.NEW
