"""The venues by name."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from exchanges.backpack.config import BASE_URL, BackpackConfig, Credentials, stream_url
from exchanges.backpack.exchange import open_backpack
from exchanges.backpack.stream import BackpackStream
from exchanges.base import Exchange
from exchanges.budget import RateBudget
from exchanges.clock import ExchangeClock
from exchanges.stream import Stream
from market.orders import OpenOrder
from wording import said


class Venue(Exchange, Protocol):
    """An `Exchange` with what the runner needs to authorise placements and to clear up unknown outcomes."""

    @property
    def clock(self) -> ExchangeClock:
        """Return the estimate of the venue's clock."""
        ...

    def resolve_placement(
        self, symbol: str, client_order_id: int, *, not_before_ms: int | None = None
    ) -> OpenOrder | None:
        """Return the order of a placement of unknown outcome, resting or ended.

        None is final only once the window of the request has passed.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class VenueSettings:
    """How to reach a venue. The defaults fit every one of them."""

    #: Scheme and host; None is the venue's own address.
    base_url: str | None = None
    connect_timeout_s: float = 1.0
    read_timeout_s: float = 3.0
    #: Orders in one request.
    max_batch: int = 20
    #: Connections kept open.
    pool_size: int = 8


class UnknownExchange(ValueError):
    """Raised when a name belongs to no venue; the message lists those there are."""


def _open_backpack(settings: VenueSettings, credentials: Credentials, budget: RateBudget) -> Venue:
    config = BackpackConfig(
        base_url=settings.base_url or BASE_URL,
        connect_timeout_s=settings.connect_timeout_s,
        read_timeout_s=settings.read_timeout_s,
        max_batch=settings.max_batch,
        pool_size=settings.pool_size,
    )
    return open_backpack(config, credentials, budget)


def _open_backpack_stream(settings: VenueSettings, credentials: Credentials, clock: ExchangeClock) -> Stream:
    url = stream_url(settings.base_url or BASE_URL)
    return BackpackStream(url, credentials, clock.now_ms)


VENUES: dict[str, Callable[[VenueSettings, Credentials, RateBudget], Venue]] = {"backpack": _open_backpack}
STREAMS: dict[str, Callable[[VenueSettings, Credentials, ExchangeClock], Stream]] = {
    "backpack": _open_backpack_stream
}


def open_exchange(name: str, settings: VenueSettings, credentials: Credentials, budget: RateBudget) -> Venue:
    """Return the venue called `name`; nothing is sent yet. `close` it when done; open it after a fork.

    Raises:
        UnknownExchange: there is no such venue.
        ValueError: a setting is out of range.
        exchanges.errors.AuthenticationFailed: the credentials are no key pair.
    """
    _check_name(name, VENUES)
    return VENUES[name](settings, credentials, budget)


def open_stream(name: str, settings: VenueSettings, credentials: Credentials, clock: ExchangeClock) -> Stream:
    """Return the stream of the venue called `name`; it connects when it is opened. `clock` is the venue's.

    Raises:
        UnknownExchange: there is no such venue, or it has no stream.
        exchanges.errors.AuthenticationFailed: the credentials are no key pair.
    """
    _check_name(name, STREAMS)
    return STREAMS[name](settings, credentials, clock)


def _check_name(name: str, known: Collection[str]) -> None:
    if name not in known:
        raise UnknownExchange(
            said(
                "no exchange is called {name}; known: {known}",
                name=repr(name),
                known=", ".join(sorted(known)),
            )
        )
