"""Venues are opened by name; budgets for cleanups reach the reserve."""

from __future__ import annotations

import pytest

from exchanges.backpack.config import BackpackConfig, Credentials, stream_url
from exchanges.backpack.exchange import BackpackExchange
from exchanges.backpack.stream import BackpackStream
from exchanges.base import Exchange
from exchanges.budget import CleanupBudget, RateBudget, RequestKind, UnlimitedBudget
from exchanges.clock import ExchangeClock
from exchanges.errors import StreamClosed
from exchanges.registry import UnknownExchange, VenueSettings, open_exchange, open_stream
from exchanges.stream import Stream


def test_backpack_opens_by_name_without_sending_anything(credentials: Credentials) -> None:
    settings = VenueSettings(base_url="http://backpack.test")
    venue: Exchange = open_exchange("backpack", settings, credentials, UnlimitedBudget())
    assert isinstance(venue, BackpackExchange)
    venue.close()


def test_an_unknown_name_lists_the_known_ones(credentials: Credentials) -> None:
    with pytest.raises(UnknownExchange, match="no exchange is called 'backpak'; known: backpack"):
        open_exchange("backpak", VenueSettings(), credentials, UnlimitedBudget())


def test_a_stream_opens_by_name_and_connects_when_it_is_opened(
    credentials: Credentials, closed_port_url: str
) -> None:
    settings = VenueSettings(base_url=closed_port_url)
    stream: Stream = open_stream("backpack", settings, credentials, ExchangeClock(lambda: 0))
    assert isinstance(stream, BackpackStream)
    with pytest.raises(StreamClosed, match=closed_port_url.removeprefix("http://")):
        stream.open()
    with pytest.raises(UnknownExchange):
        open_stream("backpak", settings, credentials, ExchangeClock(lambda: 0))


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        ("https://api.backpack.exchange", "wss://ws.backpack.exchange"),
        ("https://api.backpack.exchange/", "wss://ws.backpack.exchange"),
        ("http://127.0.0.1:8801", "ws://127.0.0.1:8801/ws"),
        ("http://127.0.0.1:8801/", "ws://127.0.0.1:8801/ws"),
        ("https://exchange.test/paper", "wss://exchange.test/paper/ws"),
    ],
)
def test_the_streams_are_where_the_requests_go(base_url: str, expected: str) -> None:
    assert stream_url(base_url) == expected


@pytest.mark.parametrize("url", ["api.backpack.exchange", "ftp://x", "http://user:pw@host", "http://"])
def test_a_base_url_that_cannot_work_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url") as caught:
        BackpackConfig(base_url=url)
    assert "pw" not in str(caught.value).replace("password", "")


class CountingBudget:
    def __init__(self) -> None:
        self.taken: list[tuple[RequestKind, int]] = []
        self.turns: list[tuple[RequestKind, int]] = []

    def take(self, kind: RequestKind, count: int = 1) -> None:
        self.taken.append((kind, count))

    def take_turn(self, kind: RequestKind, count: int = 1) -> None:
        self.turns.append((kind, count))


def test_all_of_a_cleanup_may_use_the_part_reserved_for_cancels_and_waits_but_for_what_places() -> None:
    inner = CountingBudget()
    budget: RateBudget = CleanupBudget(inner)
    for kind in RequestKind:
        budget.take(kind, 2)
    assert inner.taken == [(RequestKind.CANCEL, 2)]
    assert inner.turns == [(RequestKind.READ, 2), (RequestKind.CANCEL, 2)]
