"""The venues by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from exchanges.backpack.config import BackpackConfig, Credentials
from exchanges.backpack.exchange import open_backpack
from exchanges.base import Exchange
from exchanges.budget import RateBudget
from exchanges.clock import ExchangeClock
from market.orders import OpenOrder


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
        base_url=settings.base_url or "https://api.backpack.exchange",
        connect_timeout_s=settings.connect_timeout_s,
        read_timeout_s=settings.read_timeout_s,
        max_batch=settings.max_batch,
        pool_size=settings.pool_size,
    )
    return open_backpack(config, credentials, budget)


VENUES: dict[str, Callable[[VenueSettings, Credentials, RateBudget], Venue]] = {"backpack": _open_backpack}


def open_exchange(name: str, settings: VenueSettings, credentials: Credentials, budget: RateBudget) -> Venue:
    """Return the venue called `name`; nothing is sent yet. `close` it when done; open it after a fork.

    Raises:
        UnknownExchange: there is no such venue.
        ValueError: a setting is out of range.
        exchanges.errors.AuthenticationFailed: the credentials are no key pair.
    """
    if name not in VENUES:
        raise UnknownExchange(f"no exchange is called {name!r}; known: {', '.join(sorted(VENUES))}")
    return VENUES[name](settings, credentials, budget)
