"""Replay of a recorded stream: lines of `<receive time ns> <JSON of the combined stream>`, plain or gzip."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

from simulator.engine import Engine
from simulator.markets import Market


class TapeError(Exception):
    """Raised when a tape cannot be read; names file and line."""


@dataclass(frozen=True, kw_only=True)
class TapeEvent:
    """A touch or a trade, at its offset from the beginning of the tape."""

    at_s: float
    kind: str
    data: dict[str, Any]


def read(path: Path) -> Iterator[TapeEvent]:
    """Yield the touches and trades of a tape in order; other lines are passed over. Raises `TapeError`."""
    first_ns: int | None = None
    with _open(path) as lines:
        for number, line in enumerate(lines, start=1):
            try:
                stamp, body = line.split(" ", 1)
                at_ns, message = int(stamp), json.loads(body)
            except ValueError as error:
                raise TapeError(f"{path}, line {number}: not '<ns> <json>': {error}") from error
            kind = str(message.get("stream", "")).partition("@")[2]
            if kind not in {"bookTicker", "trade"}:
                continue
            first_ns = at_ns if first_ns is None else first_ns
            yield TapeEvent(at_s=(at_ns - first_ns) / 1e9, kind=kind, data=message["data"])


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def default_symbol(path: Path) -> str:
    """Return the symbol a tape is mapped to when nobody says, from its file name."""
    base = next((name for name in ("SOL", "ETH", "BTC") if path.name.lower().startswith(name.lower())), "ETH")
    return f"{base}_USDC_PERP" if "perp" in path.name.lower() else f"{base}_USDC"


class TapePlayer:
    """Feeds tape events to the engine, mapped onto one market."""

    def __init__(self, engine: Engine, market: Market) -> None:
        self._engine = engine
        self._market = market

    def play(self, event: TapeEvent) -> None:
        """Apply one event."""
        if event.kind == "bookTicker":
            bid, ask = self._down(event.data["b"]), self._up(event.data["a"])
            if bid < ask:
                self._engine.outside_quote(
                    self._market.symbol, bid, Decimal(event.data["B"]), ask, Decimal(event.data["A"])
                )
            return
        self._engine.outside_trade(
            self._market.symbol,
            Decimal(event.data["p"]),
            Decimal(event.data["q"]),
            aggressor_sells=bool(event.data["m"]),
        )

    def _down(self, price: str) -> Decimal:
        return Decimal(price) // self._market.tick * self._market.tick

    def _up(self, price: str) -> Decimal:
        return -(-Decimal(price) // self._market.tick) * self._market.tick
