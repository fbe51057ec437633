"""Everything one decision may know, read at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from market.book import OrderBook
from market.instrument import Instrument
from market.orders import OpenOrder
from market.position import Balance, Fill, Position


@dataclass(frozen=True, kw_only=True)
class OwnOrder:
    """An open order of this instance, with what its client order id says."""

    order: OpenOrder
    level: int
    role: int
    generation: int


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The market and the instance's own standing. No decision reads anything else."""

    #: ms since the epoch, by the state server's clock.
    taken_at_ms: int
    #: When this run was started, same clock.
    started_at_ms: int
    instrument: Instrument
    book: OrderBook
    #: Own open orders of this instance only.
    open_orders: tuple[OwnOrder, ...]
    #: Balances by asset (spot); empty for perpetuals unless asked for.
    balances: Mapping[str, Balance] = field(default_factory=dict)
    #: Net position (perpetuals); None for spot.
    position: Position | None = None
    #: Own fills since the last committed iteration.
    fills: tuple[Fill, ...] = ()
