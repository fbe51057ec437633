"""The one interface every venue implements, and the results it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from exchanges.errors import ExchangeError
from market.book import OrderBook
from market.instrument import Instrument
from market.orders import CancelAnswer, NewOrder, OpenOrder
from market.position import Balance, Fill, FundingPayment, Position
from market.terms import AccountTerms


@dataclass(frozen=True, kw_only=True)
class Authorization:
    """Permission to send requests that can create orders, given by `state` for one moment."""

    #: The exchange's own clock at the authorised moment, ms; every placement is signed with this.
    signed_at_ms: int
    #: The exchange refuses the request later than `signed_at_ms + window_ms`.
    window_ms: int


@dataclass(frozen=True, kw_only=True)
class PlaceResult:
    """What became of one order of a batch: `order` when accepted, `error` otherwise."""

    order: OpenOrder | None = None
    #: `OutcomeUnknown` when nobody knows; any other class means that it was not accepted.
    error: ExchangeError | None = None


@dataclass(frozen=True, kw_only=True)
class DepthSnapshot:
    """A book, and the place of it in the numbers of the changes that a stream tells."""

    book: OrderBook
    #: Number of the last change that is in it.
    last_update_id: int
    #: Levels asked for: a side that has as many may go on beyond them. None: the book is whole.
    max_levels: int | None = None


@dataclass(frozen=True, kw_only=True)
class FillsPage:
    """Fills from a moment on, oldest first: all of them when `is_complete`, else the oldest part."""

    fills: tuple[Fill, ...]
    #: False: there may be more, at or after the time of the last one.
    is_complete: bool


class Exchange(Protocol):
    """A venue. Every method blocks, has time-outs, and raises from `exchanges.errors`.

    A read either returns what the exchange said (an empty result is *known* to be empty) or raises:
    `Unavailable`, `RateLimited` or `Refused` all mean that the answer is unknown.
    """

    def server_time_ms(self) -> int:
        """Return the exchange's clock in ms since the epoch."""
        ...

    def instrument(self, symbol: str) -> Instrument:
        """Return the rules of `symbol`; `Refused` when there is no such symbol."""
        ...

    def order_book(self, symbol: str) -> OrderBook:
        """Return the book of `symbol`."""
        ...

    def depth_snapshot(self, symbol: str) -> DepthSnapshot:
        """Return the book of `symbol`, as deep as the exchange gives it, with its place among the changes."""
        ...

    def open_orders(self, symbol: str) -> tuple[OpenOrder, ...]:
        """Return every resting order of the account on `symbol`, whoever placed it."""
        ...

    def account_open_orders(self) -> tuple[OpenOrder, ...]:
        """Return every resting order of the account, on whatever symbol, whoever placed it."""
        ...

    def find_order(self, symbol: str, client_order_id: int) -> OpenOrder | None:
        """Return the resting order with this client order id, None when it is known not to rest."""
        ...

    def find_ended(self, symbol: str, order_id: str) -> OpenOrder | None:
        """Return an order that has ended, with all that was executed of it; None when its end is not shown.

        None is never final: histories lag, so an order that is gone from `open_orders` may be found later.
        """
        ...

    def account_terms(self) -> AccountTerms:
        """Return the fees that the account pays and its leverage limit."""
        ...

    def balances(self) -> Mapping[str, Balance]:
        """Return the account's balances by asset."""
        ...

    def position(self, symbol: str) -> Position:
        """Return the net position, zero when the exchange says there is none."""
        ...

    def positions(self) -> tuple[Position, ...]:
        """Return all positions of the account that are not flat."""
        ...

    def fills(self, symbol: str, *, since_ms: int) -> tuple[Fill, ...]:
        """Return the account's fills on `symbol` at or after `since_ms`, oldest first."""
        ...

    def account_fills_page(self, *, since_ms: int) -> FillsPage:
        """Return the account's fills on all symbols at or after `since_ms` (exchange time), oldest first.

        Of many it returns the oldest part, each fill once. While it is not complete, ask again from the
        `filled_at_ms` of its last fill, which is then later than `since_ms`: the fills of that millisecond
        come a second time, since there may be more in it than were returned.
        """
        ...

    def funding_payments(self, *, since_ms: int) -> tuple[FundingPayment, ...]:
        """Return the funding of intervals that ended at or after `since_ms` (exchange time), oldest first."""
        ...

    def place(self, orders: Sequence[NewOrder], authorization: Authorization) -> tuple[PlaceResult, ...]:
        """Send `orders` (one request, or a batch) and return one result for each, in order.

        Never raises for what happened to an order; never sends one twice.
        """
        ...

    def cancel(self, symbol: str, order_id: str) -> CancelAnswer:
        """Cancel one resting order and return what the exchange says of it, its executed quantity included.

        Raises `OutcomeUnknown` when nobody knows; safe to repeat.
        """
        ...

    def cancel_all(self, symbol: str) -> None:
        """Cancel every resting order of the account on `symbol`, other people's included."""
        ...

    def close(self) -> None:
        """Give up pooled connections."""
        ...
