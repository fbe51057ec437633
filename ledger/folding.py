"""What the fills and fundings of one market of one account sum up to, one after the other.

There is one chain of fills per instance, over all its runs: average cost in both directions
(`market.profit.Profit`). What each fill realises, costs and turns over counts for its run and its UTC day.
Nobody's orders made what the exchange does of its own accord (liquidations), and funding comes per account:
either counts for the holder of a position where there is exactly one, otherwise for nobody, instance ''.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Context, Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from market.instrument import Instrument, MarketType
from market.orders import Side
from market.position import Fill
from market.profit import Profit

#: Averages are quotients; far more digits than money has keep their rounding out of sight.
PRECISION = Context(prec=60)
ZERO = Decimal(0)
DAY_MS = 86_400_000


class CellKey(NamedTuple):
    """What one sum is about: a run of an instance on one UTC day."""

    instance_id: str
    epoch: int
    #: 0: the run's start was never told.
    started_at_ms: int
    #: ISO date.
    day: str


@dataclass(kw_only=True)
class Cell:
    """Sums over the fills and fundings of a run on a day; money in quote units."""

    realized: Decimal = ZERO
    #: Taken in quote, or in base and valued at the price of the fill; not those in a third asset.
    fees: Decimal = ZERO
    #: All of them, in units of the asset.
    fees_by_asset: dict[str, Decimal] = field(default_factory=dict)
    funding: Decimal = ZERO
    maker_volume: Decimal = ZERO
    taker_volume: Decimal = ZERO
    fills: int = 0
    #: Exchange times of the first and last that were summed up.
    first_ms: int = 0
    last_ms: int = 0


@dataclass(kw_only=True)
class Chain:
    """Where the fills of an instance have led."""

    base_asset: str
    quote_asset: str
    #: Net quantity and average price; the sums are in the cells.
    profit: Profit = field(default_factory=Profit)
    #: Run of the newest fill.
    epoch: int = 0


class Starts:
    """When the runs of each instance began."""

    def __init__(self, runs: Iterable[tuple[str, int, int]]) -> None:
        self._starts: dict[tuple[str, int], list[int]] = defaultdict(list)
        for instance_id, epoch, started_at_ms in sorted(runs):
            self._starts[instance_id, epoch].append(started_at_ms)

    def of(self, instance_id: str, epoch: int, at_ms: int) -> int:
        """Return the start of the run that `at_ms` belongs to, 0 if it was never told."""
        starts = self.known(instance_id, epoch)
        return starts[max(bisect_right(starts, at_ms) - 1, 0)] if starts else 0

    def known(self, instance_id: str, epoch: int) -> list[int]:
        """Return every start of a run that was told, in their order."""
        return self._starts.get((instance_id, epoch), [])


class Folding:
    """Sums that grow fill by fill; give it rows in the order of their time, under the context `PRECISION`."""

    def __init__(self, starts: Starts) -> None:
        self._starts = starts
        self.chains: dict[str, Chain] = {}
        self.cells: dict[CellKey, Cell] = {}

    def add_fill(self, row: Mapping[str, Any]) -> None:
        """Add a row of `fills`."""
        owner = row["instance_id"] or (self._only_holder() if row["is_system"] else "")
        chain = self.chains.setdefault(
            owner, Chain(base_asset=row["base_asset"], quote_asset=row["quote_asset"])
        )
        # A fill of the exchange's own doing knows no run.
        chain.epoch = row["epoch"] or chain.epoch
        instrument = _instrument(row["symbol"], chain.base_asset, chain.quote_asset)
        booked = chain.profit.after(_fill(row), instrument)
        # Sums begin at zero with each fill: then one that is carried forward grows exactly as before.
        chain.profit = Profit(net=booked.net, average_price=booked.average_price)
        cell = self._cell(owner, chain.epoch, row["filled_at_ms"])
        cell.realized += booked.realized
        cell.fees += booked.fees
        if row["fee"]:
            cell.fees_by_asset[row["fee_asset"]] = cell.fees_by_asset.get(row["fee_asset"], ZERO) + row["fee"]
        volume = row["price"] * row["quantity"]
        if row["is_maker"]:
            cell.maker_volume += volume
        else:
            cell.taker_volume += volume
        cell.fills += 1

    def add_funding(self, row: Mapping[str, Any]) -> None:
        """Add a row of `funding`."""
        owner = row["instance_id"] or self._only_holder()
        chain = self.chains.get(owner)
        epoch = row["epoch"] or (chain.epoch if chain else 0)
        self._cell(owner, epoch, row["interval_end_ms"]).funding += row["amount"]

    def _only_holder(self) -> str:
        # Somebody else's position ('') counts: it shares the funding, and may be what was liquidated.
        holders = [owner for owner, chain in self.chains.items() if chain.profit.net != 0]
        return holders[0] if len(holders) == 1 else ""

    def _cell(self, instance_id: str, epoch: int, at_ms: int) -> Cell:
        start = self._starts.of(instance_id, epoch, at_ms)
        key = CellKey(instance_id, epoch, start, day_of(at_ms))
        cell = self.cells.get(key)
        if cell is None:
            cell = self.cells[key] = Cell(first_ms=at_ms)
        cell.last_ms = at_ms
        return cell


def day_of(at_ms: int) -> str:
    """Return the UTC day of a moment, as an ISO date."""
    return _day(at_ms // DAY_MS)


@lru_cache(maxsize=4096)
def _day(number: int) -> str:
    return datetime.fromtimestamp(number * DAY_MS / 1000, UTC).date().isoformat()


@lru_cache(maxsize=1024)
def _instrument(symbol: str, base_asset: str, quote_asset: str) -> Instrument:
    # Profit asks for the assets only.
    one = Decimal(1)
    return Instrument(
        symbol=symbol,
        market_type=MarketType.SPOT,
        base_asset=base_asset,
        quote_asset=quote_asset,
        tick_size=one,
        step_size=one,
        min_quantity=one,
    )


def _fill(row: Mapping[str, Any]) -> Fill:
    fill = Fill(
        trade_id=row["trade_id"],
        order_id=row["order_id"],
        client_order_id=None,
        symbol=row["symbol"],
        side=Side(row["side"]),
        price=row["price"],
        quantity=row["quantity"],
        fee=row["fee"],
        fee_asset=row["fee_asset"],
        is_maker=row["is_maker"],
        filled_at_ms=row["filled_at_ms"],
    )
    if row["market_type"] == MarketType.PERP and fill.fee_asset == row["base_asset"]:
        # Coins paid do not make a position smaller: value them, and leave it as it is.
        return replace(fill, fee=fill.fee * fill.price, fee_asset=row["quote_asset"])
    return fill
