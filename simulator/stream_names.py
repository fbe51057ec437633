"""The names of streams, and what is answered to names that are none."""

from __future__ import annotations

import re
from dataclasses import dataclass

from simulator.markets import MARKETS
from simulator.published import INTERVALS_S

#: Streams of one market without further parts.
OF_A_MARKET = ("bookTicker", "trade", "ticker", "markPrice", "openInterest")
#: Private streams that may, but need not, name a market.
OF_AN_ACCOUNT = ("account.orderUpdate", "account.positionUpdate")
#: Private streams that name none.
OF_AN_ACCOUNT_ALONE = ("account.balanceUpdate", "account.rfqUpdate")
#: Shortest times between two depth messages, ms.
DEPTH_WINDOWS_MS = (200, 600, 1000)
#: A symbol may hold a dot (``AAPL.US_USDC_PERP``), so only what looks like a time is a window.
WINDOW = re.compile(r"([0-9]+)ms\.(.+)")


class StreamError(Exception):
    """Raised when a frame is refused: becomes the error envelope `{"id", "error": {"code", "message"}}`."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, kw_only=True)
class Stream:
    """A stream that exists on the exchange, also when its market does not."""

    name: str
    #: Its name without market and parts: ``depth``, ``account.orderUpdate``.
    kind: str
    #: None: it is about every market, or about none.
    symbol: str | None = None
    #: Of depth: the shortest time between two messages, ms.
    window_ms: int = 0
    #: Of candles: for example ``1m``.
    interval: str = ""

    @property
    def private(self) -> bool:
        """Tell whether it needs a signature."""
        return self.kind.startswith("account.")

    @property
    def silent(self) -> bool:
        """Tell whether its market is unknown, or has no such figures: nothing is ever sent then."""
        if self.symbol is None:
            return False
        market = MARKETS.get(self.symbol)
        perp_only = self.kind in {"markPrice", "openInterest", "account.positionUpdate"}
        return market is None or (perp_only and not market.perp)


def parse(name: str) -> Stream:
    """Return the stream of a name. Raises `StreamError` when the exchange has none like it."""
    if name.startswith("account."):
        return _private(name)
    kind, _, rest = name.partition(".")
    if name == "liquidation":
        return Stream(name=name, kind=name)
    if kind in OF_A_MARKET and rest:
        return Stream(name=name, kind=kind, symbol=rest)
    if kind == "depth" and rest:
        return _depth(name, rest)
    if kind == "kline":
        interval, _, symbol = rest.partition(".")
        if interval in INTERVALS_S and symbol:
            return Stream(name=name, kind=kind, symbol=symbol, interval=interval)
    raise StreamError(4006, "Invalid stream")


def _private(name: str) -> Stream:
    if name in OF_AN_ACCOUNT_ALONE or name in OF_AN_ACCOUNT:
        return Stream(name=name, kind=name)
    for kind in OF_AN_ACCOUNT:
        symbol = name.removeprefix(f"{kind}.")
        if symbol and symbol != name:
            return Stream(name=name, kind=kind, symbol=symbol)
    raise StreamError(4006, "Invalid stream")


def _depth(name: str, rest: str) -> Stream:
    windowed = WINDOW.fullmatch(rest)
    if windowed is None:
        return Stream(name=name, kind="depth", symbol=rest)
    window_ms = int(windowed[1]) if len(windowed[1]) < 9 else 0
    if window_ms not in DEPTH_WINDOWS_MS:
        raise StreamError(4008, "Invalid depth window")
    return Stream(name=name, kind="depth", symbol=windowed[2], window_ms=window_ms)


def every_name() -> list[str]:
    """Return the names of all streams that can send something here."""
    names = [*OF_AN_ACCOUNT, "account.balanceUpdate"]
    for symbol in MARKETS:
        of_symbol = [f"{kind}.{symbol}" for kind in (*OF_A_MARKET, "depth", *OF_AN_ACCOUNT)]
        of_symbol += [f"depth.{window_ms}ms.{symbol}" for window_ms in DEPTH_WINDOWS_MS]
        of_symbol += [f"kline.{interval}.{symbol}" for interval in INTERVALS_S]
        names += [name for name in of_symbol if not parse(name).silent]
    return names
