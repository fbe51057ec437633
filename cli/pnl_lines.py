"""Rows of profit, put together into the lines that people and programs get."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

from cli.amounts import exact
from cli.output import iso
from ledger.folding import PRECISION
from ledger.profit import Figures, Grouping, ProfitRow, totals
from runner.marks import Mark, Market

#: Places of shares and rates in JSON and CSV, which are quotients without an end.
_RATIO_PLACES = Decimal("0.000001")
FIELDS = (
    *("venue", "account", "instance_id", "epoch", "started_at", "day", "symbols", "quote_asset", "realized"),
    *("unrealized", "fees", "unconverted_fees", "fees_by_asset", "funding", "total", "maker_volume"),
    *("taker_volume", "volume", "maker_share", "wear_bps", "fills", "first_at", "last_at"),
)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line: profit in one quote asset on one venue, never added to another's."""

    #: First part of the account; play money of a simulated exchange stays apart.
    venue: str
    quote_asset: str
    #: None where the line is about several.
    account: str | None
    instance_id: str | None
    epoch: int | None
    started_at_ms: int | None
    day: str | None
    rows: tuple[ProfitRow, ...]
    figures: Figures

    @property
    def symbols(self) -> tuple[str, ...]:
        """Return the symbols that were added up, sorted."""
        return tuple(sorted({row.symbol for row in self.rows}))

    @property
    def maker_share(self) -> Decimal | None:
        """Return the maker's part of the volume, a fraction; None without volume."""
        with localcontext(PRECISION):
            volume = self.figures.volume
            return self.figures.maker_volume / volume if volume else None


def lines(rows: Iterable[ProfitRow], by: Grouping) -> list[Line]:
    """Return `rows` added up by instance, run or day, each for itself per venue and quote asset."""
    groups: dict[tuple[Any, ...], list[ProfitRow]] = {}
    for row in rows:
        groups.setdefault(_key(row, by), []).append(row)
    found = [_line(group, by) for group in groups.values()]
    return sorted(found, key=_order)


def total_lines(rows: Iterable[ProfitRow]) -> list[Line]:
    """Return the sums of all, one per venue and quote asset."""
    groups: dict[tuple[str, str], list[ProfitRow]] = {}
    for row in rows:
        groups.setdefault((_venue(row), row.quote_asset), []).append(row)
    return [_line(groups[key], None) for key in sorted(groups)]


def _key(row: ProfitRow, by: Grouping) -> tuple[Any, ...]:
    if by is Grouping.DAY:
        return _venue(row), row.quote_asset, row.day
    return row.account, row.quote_asset, row.instance_id, row.epoch, row.started_at_ms


def _line(rows: Sequence[ProfitRow], by: Grouping | None) -> Line:
    first = rows[0]
    (figures,) = totals(rows).values()
    is_one = by in (Grouping.INSTANCE, Grouping.RUN)
    return Line(
        venue=_venue(first),
        quote_asset=first.quote_asset,
        account=first.account if is_one else None,
        instance_id=first.instance_id if is_one else None,
        epoch=first.epoch if by is Grouping.RUN else None,
        started_at_ms=first.started_at_ms if by is Grouping.RUN else None,
        day=first.day if by is Grouping.DAY else None,
        rows=tuple(rows),
        figures=figures,
    )


def _order(line: Line) -> tuple[Any, ...]:
    # What belongs to no instance comes last.
    return (
        line.venue,
        line.day or "",
        line.instance_id == "",
        line.instance_id or "",
        line.account or "",
        line.started_at_ms or 0,
        line.epoch or 0,
        line.quote_asset,
    )


def _venue(row: ProfitRow) -> str:
    return row.account.partition(":")[0]


def line_fields(line: Line) -> dict[str, Any]:
    """Return a line for programs: amounts exact, as texts."""
    figures = line.figures
    return {
        "venue": line.venue,
        "account": line.account,
        "instance_id": line.instance_id,
        "epoch": line.epoch,
        "started_at": iso(line.started_at_ms or None),
        "day": line.day,
        "symbols": list(line.symbols),
        "quote_asset": line.quote_asset,
        "realized": _amount(figures.realized),
        "unrealized": _amount(figures.unrealized),
        "fees": _amount(figures.fees),
        "unconverted_fees": _by_asset(figures.unconverted_fees),
        "fees_by_asset": _by_asset(figures.fees_by_asset),
        "funding": _amount(figures.funding),
        "total": _amount(figures.total),
        "maker_volume": _amount(figures.maker_volume),
        "taker_volume": _amount(figures.taker_volume),
        "volume": _amount(figures.volume),
        "maker_share": _ratio(line.maker_share),
        "wear_bps": _ratio(figures.wear_bps),
        "fills": figures.fills,
        "first_at": iso(min(row.first_ms for row in line.rows) or None),
        "last_at": iso(max(row.last_ms for row in line.rows) or None),
    }


def csv_fields(line: Line) -> dict[str, Any]:
    """Return a line for CSV: symbols parted by spaces."""
    return line_fields(line) | {"symbols": " ".join(line.symbols)}


def position_fields(rows: Iterable[ProfitRow], marks: Mapping[Market, Mark]) -> list[dict[str, Any]]:
    """Return what is held, per instance and symbol, with the mark it is valued at."""
    return [
        {
            "account": row.account,
            "instance_id": row.instance_id,
            "symbol": row.symbol,
            "net_quantity": _amount(row.net_quantity),
            "average_price": _amount(row.average_price),
            "unrealized": _amount(row.unrealized),
            "mark": _mark_fields(mark) if mark else None,
        }
        for row in rows
        if row.net_quantity
        for mark in (marks.get((row.account, row.symbol)),)
    ]


def _mark_fields(mark: Mark) -> dict[str, Any]:
    return {
        "price": exact(mark.price),
        "source": str(mark.source),
        "at": iso(mark.at_ms),
        "age_ms": mark.age_ms,
    }


def _amount(amount: Decimal | None) -> str | None:
    text = exact(amount)
    if text is None or "." not in text:
        return text
    return text.rstrip("0").rstrip(".")


def _by_asset(amounts: Mapping[str, Decimal]) -> dict[str, str]:
    return {asset: str(_amount(amount)) for asset, amount in sorted(amounts.items())}


def _ratio(ratio: Decimal | None) -> str | None:
    with localcontext(PRECISION):
        return None if ratio is None else exact(ratio.quantize(_RATIO_PLACES))
