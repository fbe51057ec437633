"""An exchange in memory that writes down every call and fails where a test tells it to."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from exchanges.base import Authorization, DepthSnapshot, FillsPage, PlaceResult
from exchanges.clock import ExchangeClock, StoreClockReading
from market.book import BookLevel, OrderBook
from market.instrument import Instrument
from market.orders import CancelAnswer, CancelOutcome, NewOrder, OpenOrder, OrderStatus, TimeInForce
from market.position import Balance, Fill, FundingPayment, Position
from market.terms import AccountTerms
from runner.config import InstanceConfig
from runner.venues import Venues
from tests import factories

#: What happens instead of the usual: an exception is raised; a function is called with the arguments of the
#: call, and its result is the answer unless it is `GO_ON`.
Fault = Exception | Callable[..., Any]
GO_ON = object()


@dataclass(frozen=True)
class Call:
    """One request: its name, and the order id, client order ids or symbol that it was for."""

    name: str
    about: Any = None


class FixedClock(ExchangeClock):
    """An exchange clock that differs from the state server's by a known number of ms."""

    def __init__(self, offset_ms: int = 0) -> None:
        super().__init__(lambda: 0)
        self.offset_ms = offset_ms
        self.fault: Exception | None = None

    def signing_time_ms(self, authorised_at_ms: int, store_clock: StoreClockReading) -> int:
        """Return the authorised moment by the exchange's clock."""
        if self.fault:
            raise self.fault
        return authorised_at_ms + self.offset_ms


class FakeVenue:
    """A venue for one symbol. `faults` queues what goes wrong next, `always` what goes wrong every time."""

    def __init__(self, instrument: Instrument | None = None) -> None:
        self.the_instrument = instrument or factories.instrument()
        self.calls: list[Call] = []
        self.authorizations: list[Authorization] = []
        self.resting: dict[str, OpenOrder] = {}
        #: Orders that ended, as the history shows them.
        self.ended: dict[str, OpenOrder] = {}
        #: Every fill, oldest first.
        self.filled: list[Fill] = []
        self.faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self.always: dict[str, Fault] = {}
        self.net_quantity = Decimal(0)
        self.funding: list[FundingPayment] = []
        #: Number of the last change of the book.
        self.last_update_id = 0
        #: What an immediate-or-cancel order fills of what it asks for.
        self.ioc_share = Decimal(1)
        self.the_clock = FixedClock()
        self.bid, self.ask = Decimal("99.9"), Decimal("100.1")
        self.the_balances = {
            "SOL": Balance(asset="SOL", available=Decimal(100), locked=Decimal(0)),
            "USDC": Balance(asset="USDC", available=Decimal(10_000), locked=Decimal(0)),
        }
        self._lock = threading.Lock()
        self._placed = 0

    @property
    def clock(self) -> ExchangeClock:
        """Return the clock."""
        return self.the_clock

    def names(self, *only: str) -> list[str]:
        """Return the names of the calls so far, or of those named."""
        return [call.name for call in self.calls if not only or call.name in only]

    def about(self, name: str) -> list[Any]:
        """Return what the calls of this name were for."""
        return [call.about for call in self.calls if call.name == name]

    def rest(self, *orders: OpenOrder) -> None:
        """Put orders on the book, as if placed before."""
        self.resting |= {order.order_id: order for order in orders}

    def _asked(self, name: str, about: Any, *args: Any) -> Any:
        with self._lock:
            self.calls.append(Call(name, about))
            fault = self.faults[name].popleft() if self.faults[name] else self.always.get(name)
        if isinstance(fault, Exception):
            raise fault
        return fault(*args) if fault else GO_ON

    def server_time_ms(self) -> int:
        """Return no particular time."""
        return 0

    def instrument(self, symbol: str) -> Instrument:
        """Return the instrument."""
        answer = self._asked("instrument", symbol, symbol)
        return self.the_instrument if answer is GO_ON else answer

    def order_book(self, symbol: str) -> OrderBook:
        """Return one level on each side."""
        answer = self._asked("order_book", symbol, symbol)
        if answer is not GO_ON:
            return answer  # type: ignore[no-any-return]
        return OrderBook(
            symbol=symbol,
            bids=(BookLevel(price=self.bid, quantity=Decimal(50)),),
            asks=(BookLevel(price=self.ask, quantity=Decimal(50)),),
            updated_at_ms=0,
        )

    def depth_snapshot(self, symbol: str) -> DepthSnapshot:
        """Return the book with its number."""
        return DepthSnapshot(book=self.order_book(symbol), last_update_id=self.last_update_id)

    def account_open_orders(self) -> tuple[OpenOrder, ...]:
        """Return what rests."""
        answer = self._asked("account_open_orders", None)
        return tuple(self.resting.values()) if answer is GO_ON else answer

    def open_orders(self, symbol: str) -> tuple[OpenOrder, ...]:
        """Return what rests."""
        answer = self._asked("open_orders", symbol, symbol)
        return tuple(self.resting.values()) if answer is GO_ON else answer

    def find_order(self, symbol: str, client_order_id: int) -> OpenOrder | None:
        """Return a resting order by its client order id."""
        self._asked("find_order", client_order_id)
        found = (order for order in self.resting.values() if order.client_order_id == client_order_id)
        return next(found, None)

    def resolve_placement(
        self, symbol: str, client_order_id: int, *, not_before_ms: int | None = None
    ) -> OpenOrder | None:
        """Return a resting order by its client order id, as if asked for at length."""
        answer = self._asked("resolve_placement", client_order_id, client_order_id, not_before_ms)
        if answer is not GO_ON:
            return answer  # type: ignore[no-any-return]
        known = (*self.resting.values(), *self.ended.values())
        return next((order for order in known if order.client_order_id == client_order_id), None)

    def balances(self) -> Mapping[str, Balance]:
        """Return the balances."""
        self._asked("balances", None)
        return self.the_balances

    def position(self, symbol: str) -> Position:
        """Return the position."""
        answer = self._asked("position", symbol, symbol)
        return Position(symbol=symbol, net_quantity=self.net_quantity) if answer is GO_ON else answer

    def positions(self) -> tuple[Position, ...]:
        """Return the position, unless it is flat."""
        answer = self._asked("positions", None)
        if answer is not GO_ON:
            return answer  # type: ignore[no-any-return]
        position = Position(symbol=self.the_instrument.symbol, net_quantity=self.net_quantity)
        return (position,) if position.net_quantity else ()

    def account_fills_page(self, *, since_ms: int) -> FillsPage:
        """Return what was filled; the call is noted as `account_fills`."""
        answer = self._asked("account_fills", since_ms, since_ms)
        return FillsPage(fills=tuple(self.filled), is_complete=True) if answer is GO_ON else answer

    def funding_payments(self, *, since_ms: int) -> tuple[FundingPayment, ...]:
        """Return what was paid and received."""
        answer = self._asked("funding_payments", since_ms, since_ms)
        return tuple(self.funding) if answer is GO_ON else answer

    def fills(self, symbol: str, *, since_ms: int) -> tuple[Fill, ...]:
        """Return what was filled."""
        answer = self._asked("fills", since_ms, since_ms)
        return tuple(self.filled) if answer is GO_ON else answer

    def find_ended(self, symbol: str, order_id: str) -> OpenOrder | None:
        """Return an order that ended."""
        answer = self._asked("find_ended", order_id, order_id)
        return self.ended.get(order_id) if answer is GO_ON else answer

    def account_terms(self) -> AccountTerms:
        """Return what the account pays."""
        return AccountTerms(
            spot_maker_bps=Decimal(8),
            spot_taker_bps=Decimal(10),
            perp_maker_bps=Decimal(2),
            perp_taker_bps=Decimal(5),
            leverage_limit=Decimal(10),
        )

    def hit(self, order_id: str, quantity: str | None = None) -> Fill:
        """Fill a resting order, wholly or in part, at its price."""
        order = self.resting[order_id]
        part = order.remaining_quantity if quantity is None else Decimal(quantity)
        filled = replace(order, executed_quantity=order.executed_quantity + part)
        if filled.remaining_quantity == 0:
            del self.resting[order_id]
            self.ended[order_id] = replace(filled, status=OrderStatus.FILLED)
        else:
            self.resting[order_id] = replace(filled, status=OrderStatus.PARTIALLY_FILLED)
        return self._fill(order, part)

    def _fill(self, order: OpenOrder, quantity: Decimal) -> Fill:
        self.filled.append(
            Fill(
                trade_id=f"trade-{len(self.filled) + 1}",
                order_id=order.order_id,
                client_order_id=order.client_order_id,
                symbol=order.symbol,
                side=order.side,
                price=order.price or Decimal(0),
                quantity=quantity,
                fee=Decimal(0),
                fee_asset="USDC",
                is_maker=True,
                filled_at_ms=self._now_ms(),
            )
        )
        return self.filled[-1]

    def _now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.the_clock.offset_ms

    def accept(self, order: NewOrder) -> OpenOrder:
        """Do what the exchange does with an accepted order."""
        with self._lock:
            self._placed += 1
            accepted = OpenOrder(
                order_id=f"placed-{self._placed}",
                client_order_id=order.client_order_id,
                symbol=order.symbol,
                side=order.side,
                price=order.price,
                quantity=order.quantity,
                executed_quantity=Decimal(0),
                status=OrderStatus.NEW,
                created_at_ms=self._now_ms(),
            )
            if order.time_in_force is TimeInForce.GTC:
                self.resting[accepted.order_id] = accepted
                return accepted
            filled = order.quantity * self.ioc_share
            self.net_quantity += filled if order.side == "buy" else -filled
            ended = replace(accepted, executed_quantity=filled, status=OrderStatus.EXPIRED)
            self.ended[accepted.order_id] = ended
            if filled:
                self._fill(accepted, filled)
            return ended

    def place(self, orders: Sequence[NewOrder], authorization: Authorization) -> tuple[PlaceResult, ...]:
        """Accept everything."""
        self.authorizations.append(authorization)
        answer = self._asked("place", tuple(orders), tuple(orders))
        if answer is not GO_ON:
            return answer  # type: ignore[no-any-return]
        return tuple(PlaceResult(order=self.accept(order)) for order in orders)

    def cancel(self, symbol: str, order_id: str) -> CancelAnswer:
        """Cancel what rests."""
        answer = self._asked("cancel", order_id, order_id)
        if isinstance(answer, CancelOutcome):
            return CancelAnswer(outcome=answer)
        if answer is not GO_ON:
            return answer  # type: ignore[no-any-return]
        with self._lock:
            gone = self.resting.pop(order_id, None)
            if gone is None:
                return CancelAnswer(outcome=CancelOutcome.ALREADY_GONE)
            self.ended[order_id] = replace(gone, status=OrderStatus.CANCELLED)
        return CancelAnswer(outcome=CancelOutcome.CANCELLED, executed_quantity=gone.executed_quantity)

    def cancel_all(self, symbol: str) -> None:
        """Cancel everything, whoever placed it."""
        if self._asked("cancel_all", symbol, symbol) is GO_ON:
            self.resting.clear()

    def close(self) -> None:
        """Do nothing."""


class OneVenue(Venues):
    """The venues of a context that all are the same one."""

    def __init__(self, venue: FakeVenue) -> None:
        self._venue = venue

    def of(self, config: InstanceConfig, *, for_cleanup: bool = False) -> FakeVenue:
        """Return the venue."""
        return self._venue

    def instrument(self, config: InstanceConfig) -> Instrument:
        """Return the venue's instrument, asking nobody."""
        return self._venue.the_instrument
