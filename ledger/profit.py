"""What was gained or lost, from fills and fundings alone; `folding` has the rules.

The sum over all instances, with what belongs to none of them (instance ''), is what the account has gained.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from enum import StrEnum
from types import MappingProxyType

from ledger.database import Ledger
from ledger.folded_days import resumed
from ledger.folding import PRECISION, ZERO, Cell, CellKey, Chain, Folding
from ledger.markets import Market, fold, markets, starts
from market.profit import Profit

_NOTHING: Mapping[str, Decimal] = MappingProxyType({})


class Grouping(StrEnum):
    """What one row of profit is about, besides account, instance and symbol."""

    INSTANCE = "instance"
    RUN = "run"
    #: UTC.
    DAY = "day"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Sums of profit in quote units."""

    #: Of what was bought and sold again, before fees.
    realized: Decimal = ZERO
    #: Of the net quantity at the caller's mark, before fees; None: the mark is not known.
    unrealized: Decimal | None = ZERO
    #: Paid; negative where rebates were larger. Base fees are valued at the price of their fill.
    fees: Decimal = ZERO
    #: All of them, in units of the asset.
    fees_by_asset: Mapping[str, Decimal] = field(default_factory=dict)
    #: Those of `fees_by_asset` for which no price is known, and which `fees` and `total` lack.
    unconverted_fees: Mapping[str, Decimal] = field(default_factory=dict)
    #: Received; negative when more was paid.
    funding: Decimal = ZERO
    maker_volume: Decimal = ZERO
    taker_volume: Decimal = ZERO
    fills: int = 0

    @property
    def closed_total(self) -> Decimal:
        """Return what is gained for good: realised and funding, after fees."""
        with localcontext(PRECISION):
            return self.realized + self.funding - self.fees

    @property
    def total(self) -> Decimal | None:
        """Return all that was gained, after fees; None while a mark is not known."""
        with localcontext(PRECISION):
            return None if self.unrealized is None else self.closed_total + self.unrealized

    @property
    def volume(self) -> Decimal:
        """Return what was turned over, quote units."""
        with localcontext(PRECISION):
            return self.maker_volume + self.taker_volume

    @property
    def wear(self) -> Decimal | None:
        """Return loss per volume, a fraction: max(0, -total) / volume; None where either is not known.

        The old program's console shows it in percent, as the absolute value of a negative net profit over the
        quote volume. A gain wears nothing.
        """
        total = self.total
        if total is None or self.volume == 0:
            return None
        with localcontext(PRECISION):
            return max(ZERO, -total) / self.volume

    @property
    def wear_bps(self) -> Decimal | None:
        """Return `wear` in basis points."""
        return None if self.wear is None else self.wear * 10_000


@dataclass(frozen=True, kw_only=True)
class ProfitRow(Figures):
    """Profit of an instance on one symbol, in all or of one run or day."""

    account: str
    #: Empty: belongs to no instance, or to none for sure.
    instance_id: str
    symbol: str
    base_asset: str
    quote_asset: str
    #: None unless grouped by run; 0: not known.
    epoch: int | None = None
    #: None unless grouped by run; 0: not known.
    started_at_ms: int | None = None
    #: ISO date; None unless grouped by day.
    day: str | None = None
    #: Signed. Of runs and days the newest has it, with its unrealised profit: so that rows add up.
    net_quantity: Decimal = ZERO
    #: Of the net quantity; zero when flat.
    average_price: Decimal = ZERO
    #: Exchange times of the first and last fill or funding.
    first_ms: int = 0
    last_ms: int = 0


def profit(
    ledger: Ledger,
    *,
    by: Grouping = Grouping.INSTANCE,
    account: str | None = None,
    instance_id: str | None = None,
    symbol: str | None = None,
    marks: Mapping[str, Decimal | None] | None = None,
    prices: Mapping[str, Decimal] | None = None,
    since_day: str = "",
) -> tuple[ProfitRow, ...]:
    """Return the profit of everything, or of what the arguments name, oldest first.

    With `since_day` (ISO date, UTC) only what was made from that day on, which takes less time.
    `marks` gives the price of each symbol that open quantities are valued at. `prices` gives the price, in
    quote units, of assets that fees were taken in beside base and quote. Raises `LedgerError`.
    """
    found: list[ProfitRow] = []
    with ledger.reading() as connection, localcontext(PRECISION):
        all_starts = starts(connection)
        for market in markets(connection, account=account, symbol=symbol, instance_id=instance_id):
            folding, from_ms = resumed(connection, market, all_starts, since_day)
            fold(connection, market, folding, from_ms=from_ms)
            folding.cells = {key: cell for key, cell in folding.cells.items() if key.day >= since_day}
            mark = (marks or {}).get(market.symbol)
            found += _rows(market, folding, by, mark, prices or _NOTHING)
    return tuple(row for row in found if instance_id is None or row.instance_id == instance_id)


def totals(rows: Iterable[ProfitRow]) -> dict[str, Figures]:
    """Return the sums of `rows` by quote asset. One mark that is not known leaves their sum not known."""
    sums: dict[str, Figures] = {}
    with localcontext(PRECISION):
        for row in rows:
            sums[row.quote_asset] = _added(sums.get(row.quote_asset, Figures()), row)
    return sums


def _added(one: Figures, other: Figures) -> Figures:
    known = one.unrealized is not None and other.unrealized is not None
    return Figures(
        realized=one.realized + other.realized,
        unrealized=(one.unrealized or ZERO) + (other.unrealized or ZERO) if known else None,
        fees=one.fees + other.fees,
        fees_by_asset=_sum_by_asset((one.fees_by_asset, other.fees_by_asset)),
        unconverted_fees=_sum_by_asset((one.unconverted_fees, other.unconverted_fees)),
        funding=one.funding + other.funding,
        maker_volume=one.maker_volume + other.maker_volume,
        taker_volume=one.taker_volume + other.taker_volume,
        fills=one.fills + other.fills,
    )


def _sum_by_asset(amounts: Iterable[Mapping[str, Decimal]]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for one in amounts:
        for asset, amount in one.items():
            sums[asset] = sums.get(asset, ZERO) + amount
    return sums


def _rows(
    market: Market, folding: Folding, by: Grouping, mark: Decimal | None, prices: Mapping[str, Decimal]
) -> Iterator[ProfitRow]:
    newest: dict[str, tuple[int, CellKey]] = {}
    groups: dict[CellKey, list[Cell]] = {}
    for key, cell in sorted(folding.cells.items(), key=lambda item: (item[1].first_ms, item[0])):
        group = _group(key, by)
        groups.setdefault(group, []).append(cell)
        last = newest.get(key.instance_id)
        if last is None or last[0] <= cell.last_ms:
            newest[key.instance_id] = (cell.last_ms, group)
    # Funding for nobody makes a cell without a chain.
    assets = next(iter(folding.chains.values()), Chain(base_asset="", quote_asset=""))
    for group, cells in groups.items():
        chain = folding.chains.get(group.instance_id)
        held = chain.profit if chain and newest[group.instance_id][1] == group else Profit()
        yield _row(market, assets, group, by, cells, held, mark, prices)


def _group(key: CellKey, by: Grouping) -> CellKey:
    if by is Grouping.RUN:
        return key._replace(day="")
    if by is Grouping.DAY:
        return key._replace(epoch=0, started_at_ms=0)
    return CellKey(key.instance_id, 0, 0, "")


def _row(
    market: Market,
    assets: Chain,
    group: CellKey,
    by: Grouping,
    cells: list[Cell],
    held: Profit,
    mark: Decimal | None,
    prices: Mapping[str, Decimal],
) -> ProfitRow:
    fees_by_asset = _sum_by_asset(cell.fees_by_asset for cell in cells)
    third = {
        asset: amount
        for asset, amount in fees_by_asset.items()
        if amount and asset not in (assets.base_asset, assets.quote_asset)
    }
    converted = [amount * prices[asset] for asset, amount in third.items() if asset in prices]
    unrealized = ZERO if held.net == 0 else None if mark is None else held.unrealized(mark)
    return ProfitRow(
        account=market.account,
        instance_id=group.instance_id,
        symbol=market.symbol,
        base_asset=assets.base_asset,
        quote_asset=assets.quote_asset,
        epoch=group.epoch if by is Grouping.RUN else None,
        started_at_ms=group.started_at_ms if by is Grouping.RUN else None,
        day=group.day if by is Grouping.DAY else None,
        realized=sum((cell.realized for cell in cells), ZERO),
        unrealized=unrealized,
        fees=sum((cell.fees for cell in cells), ZERO) + sum(converted, ZERO),
        fees_by_asset=fees_by_asset,
        unconverted_fees={asset: amount for asset, amount in third.items() if asset not in prices},
        funding=sum((cell.funding for cell in cells), ZERO),
        maker_volume=sum((cell.maker_volume for cell in cells), ZERO),
        taker_volume=sum((cell.taker_volume for cell in cells), ZERO),
        fills=sum(cell.fills for cell in cells),
        net_quantity=held.net,
        average_price=held.average_price,
        first_ms=min(cell.first_ms for cell in cells),
        last_ms=max(cell.last_ms for cell in cells),
    )
