"""What a venue tells of its own accord: values, and the connection that brings them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from market.book import BookLevel
from market.orders import OpenOrder
from market.position import Fill


@dataclass(frozen=True, kw_only=True)
class BookChange:
    """What changed in a book; `exchanges.local_book` makes a book of these."""

    symbol: str
    #: Number of the first and of the last change in it; the next one begins with the number after.
    first_update_id: int
    last_update_id: int
    #: Prices with the quantity that stands there now, in no particular order; quantity 0 deletes the price.
    bids: tuple[BookLevel, ...]
    asks: tuple[BookLevel, ...]
    #: Exchange time, ms since the epoch.
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class Pulse:
    """A periodic message: the public streams of this symbol live, even when its book stands still."""

    symbol: str
    #: Exchange time, ms since the epoch.
    at_ms: int
    #: None: the message does not carry it.
    mark_price: Decimal | None = None


class OrderEvent(StrEnum):
    """What happened to an order."""

    ACCEPTED = "accepted"
    CANCELLED = "cancelled"
    #: Ended by the exchange itself; `OrderUpdate.reason` says why.
    EXPIRED = "expired"
    #: Wholly or in part; `OrderUpdate.fill` is the execution.
    FILLED = "filled"
    #: The exchange changed it, for example shrank a reduce-only order.
    MODIFIED = "modified"
    TRIGGER_PLACED = "trigger_placed"
    TRIGGER_FAILED = "trigger_failed"
    #: Of a kind that is not known here; it may be an execution, which `Exchange.fills` tells then.
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class OrderUpdate:
    """Something happened to an order of the account, whoever placed it."""

    symbol: str
    #: As it stands after the event. `created_at_ms` is the time of the event: streams do not tell its birth.
    order: OpenOrder
    event: OrderEvent
    #: The exchange's own word for why an order expired, else empty.
    reason: str
    #: Exchange time, ms since the epoch.
    at_ms: int
    #: For `OrderEvent.FILLED`; its trade id is the one that `Exchange.fills` shows. None for the others, and
    #: for an execution that has no trade id yet: then only `Exchange.fills` tells it.
    fill: Fill | None


@dataclass(frozen=True, kw_only=True)
class StreamRefused:
    """The exchange did not take a message of ours; it does not say which."""

    code: int
    message: str


StreamEvent = BookChange | Pulse | OrderUpdate | StreamRefused


class Stream(Protocol):
    """One connection at a time. For one thread, but for `close`, which any thread may call.

    Nothing tells what was missed while no connection stood: after `open`, ask `Exchange` for everything.
    """

    def open(self) -> None:
        """Connect and subscribe to what happens to the account's orders.

        Exchanges acknowledge nothing: only events show that the subscription stands. It may be called again
        when the connection has ended, and watches nothing then; after `close` it raises `StreamClosed`.

        Raises:
            exchanges.errors.StreamClosed: no connection.
            exchanges.errors.AuthenticationFailed: the key cannot sign, or the exchange does not take it.
            exchanges.errors.Unavailable, exchanges.errors.RateLimited: the exchange's clock is not known.
        """
        ...

    def watch(self, symbols: Collection[str]) -> None:
        """Make the public subscriptions those of exactly `symbols`: their book changes and their pulses.

        Raises:
            exchanges.errors.StreamClosed: the connection has ended.
        """
        ...

    def receive(self, timeout_s: float) -> tuple[StreamEvent, ...]:
        """Wait up to `timeout_s` for a message; return its event and those that are there without waiting.

        Empty when nothing came, or nothing that means something.

        Raises:
            exchanges.errors.StreamClosed: the connection has ended.
        """
        ...

    def ping(self) -> None:
        """Ask for a sign of life; the answer moves `last_heard_s`.

        Raises:
            exchanges.errors.StreamClosed: the connection has ended.
        """
        ...

    @property
    def last_heard_s(self) -> float:
        """Return when the last frame of any kind came, by `time.monotonic`; 0.0 before the first."""
        ...

    @property
    def unreadable_messages(self) -> int:
        """Return how many messages could not be read since the beginning: what they said is lost."""
        ...

    def close(self) -> None:
        """End the connection within a few hundred ms and wake a `receive` that waits. Never raises."""
        ...
