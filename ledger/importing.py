"""Take over what the old program has recorded.

Its files name neither account nor instance nor trade, and rows stand there twice after some restarts. So the
caller says whose they are, a fill's trade id is made of all that its row says, and rows that say the same are
one fill. Importing a file again, or a later copy of it, adds only what is new.

The old program lets SQLite write the times: UTC, whole seconds, of the moment of recording. Fills of one
second are put one ms apart, in the order of the file. One without a time gets that of the row before it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, and_, delete, insert

from ledger import booking, rows, schema
from ledger.booking import BookResult
from ledger.bookings import FillBooking
from ledger.database import Ledger
from ledger.errors import ImportFailed
from ledger.old_files import FILLS, OldFile, OldFill
from market.orders import Role
from wording import said

_ROWS_AT_ONCE = 1000
_NO_OFFSET = timedelta(0)


class Assets(NamedTuple):
    """What a symbol trades."""

    base: str
    quote: str
    is_perpetual: bool


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What became of a file."""

    #: New in the ledger.
    fills: int
    #: Imported before.
    known: int
    #: Rows that say exactly what another one says, the time included: not booked twice.
    duplicates: int
    #: Fills that differ from another one in their time only: booked unless they were to be dropped. Either
    #: the same fill, read again after a restart, or equal parts of one order.
    repeated: int
    #: Older than what retention has folded.
    ignored: int
    #: Rows without a time of their own.
    untimed: int
    #: Days of statistics.
    stats: int


@dataclass(frozen=True, kw_only=True)
class _Owner:
    account: str
    instance_id: str
    assets: Mapping[str, Assets]


def import_old(
    ledger: Ledger,
    path: Path,
    *,
    account: str,
    instance_id: str,
    utc_offset: timedelta = _NO_OFFSET,
    drop_repeated: bool = False,
    assets: Mapping[str, Assets] | None = None,
    dry_run: bool = False,
) -> ImportReport:
    """Import the old program's file at `path`, all of it or nothing; the file is only read.

    `utc_offset` is that of the file's clock, where something else than the old program has written it.
    `drop_repeated` books fills once that differ in their time only. `assets` is for symbols that are not
    written ``BASE_QUOTE`` or ``BASE_QUOTE_PERP``. `dry_run` tells what would come of it, and changes nothing.
    Raises `ImportFailed`, `LedgerUnavailable`, `LedgerError`.
    """
    owner = _Owner(account=account, instance_id=instance_id, assets=assets or {})
    with OldFile(path, utc_offset) as old, ledger.writing() as connection:
        beginning = connection.begin_nested()
        read = _Distinct(old.fills(), drop_repeated)
        result = BookResult()
        found = (_booking(fill, owner, path) for fill in _spread(_timed(read, path)))
        total = 0
        while batch := list(islice(found, _ROWS_AT_ONCE)):
            total += len(batch)
            result += booking.book(connection, batch)
        stats = _put_stats(connection, old, owner)
        if dry_run:
            beginning.rollback()
    return ImportReport(
        fills=result.fills,
        known=total - result.fills - result.ignored,
        duplicates=read.duplicates,
        repeated=read.repeated,
        ignored=result.ignored,
        untimed=read.untimed,
        stats=stats,
    )


class _Distinct:
    """The fills of a file without those that were there before, which it counts."""

    def __init__(self, fills: Iterable[OldFill], drop_repeated: bool) -> None:
        self._fills = fills
        self._drop_repeated = drop_repeated
        self.duplicates = 0
        self.repeated = 0
        self.untimed = 0

    def __iter__(self) -> Iterator[OldFill]:
        timed: set[str] = set()
        untimed: set[str] = set()
        for fill in self._fills:
            if _identity(fill) in timed:
                self.duplicates += 1
                continue
            timed.add(_identity(fill))
            self.untimed += fill.at_ms is None
            content = _identity(replace(fill, at_ms=0))
            if content in untimed:
                self.repeated += 1
                if self._drop_repeated:
                    continue
            untimed.add(content)
            yield fill


def _identity(fill: OldFill) -> str:
    owner = (fill.symbol, fill.order_id, fill.side, fill.at_ms)
    said = (*owner, fill.quantity, fill.price, fill.fee, fill.fee_asset)
    return hashlib.sha256("|".join(str(part) for part in said).encode()).hexdigest()[:24]


def _timed(fills: Iterable[OldFill], path: Path) -> Iterator[tuple[str, OldFill]]:
    """Give every fill its trade id, then a time."""
    waiting: list[tuple[str, OldFill]] = []
    last_ms: int | None = None
    for fill in fills:
        last_ms = fill.at_ms if fill.at_ms is not None else last_ms
        waiting.append((_identity(fill), fill))
        if last_ms is not None:
            yield from ((key, replace(one, at_ms=one.at_ms or last_ms)) for key, one in waiting)
            waiting = []
    if waiting:
        raise ImportFailed(
            said(
                "{path}, table {table}: no row has a timestamp; nothing was imported", path=path, table=FILLS
            )
        )


def _spread(fills: Iterable[tuple[str, OldFill]]) -> Iterator[tuple[str, OldFill]]:
    second, count = -1, 0
    for key, fill in fills:
        at_ms = fill.at_ms or 0
        count = count + 1 if at_ms == second else 0
        second = at_ms
        yield key, fill if fill.has_ms else replace(fill, at_ms=at_ms + min(count, 999))


def _booking(keyed: tuple[str, OldFill], owner: _Owner, path: Path) -> FillBooking:
    key, fill = keyed
    place = f"{path}, table {FILLS}, row {fill.row_id}"
    assets = owner.assets.get(fill.symbol) or _assets(fill.symbol, place)
    booked = FillBooking(
        account=owner.account,
        instance_id=owner.instance_id,
        symbol=fill.symbol,
        market_type="perp" if assets.is_perpetual else "spot",
        base_asset=assets.base,
        quote_asset=assets.quote,
        trade_id=f"old-{key}",
        order_id=fill.order_id,
        client_order_id=None,
        level=None,
        # It kept no level, and of its roles only this one.
        role=Role.HEDGE if fill.is_rebalance else None,
        side=fill.side,
        price=fill.price,
        quantity=fill.quantity,
        fee=fill.fee,
        fee_asset=fill.fee_asset or assets.quote,
        is_maker=fill.is_maker,
        filled_at_ms=fill.at_ms or 0,
        source="import",
    )
    problem = rows.problem_of(booked)
    if problem:
        raise ImportFailed(
            said(
                "{place}: {problem}; correct or delete that row; nothing was imported",
                place=place,
                problem=problem,
            )
        )
    return booked


def _assets(symbol: str, place: str) -> Assets:
    parts = re.fullmatch(r"([^_]+)_([^_]+?)(_PERP)?", symbol)
    if parts is None:
        raise ImportFailed(
            said(
                "{place}: symbol is {symbol}, which is no BASE_QUOTE or BASE_QUOTE_PERP; say what it "
                "trades; nothing was imported",
                place=place,
                symbol=repr(symbol),
            )
        )
    return Assets(parts[1], parts[2], parts[3] is not None)


def _put_stats(connection: Connection, old: OldFile, owner: _Owner) -> int:
    table = schema.imported_stats
    # A later row of a day holds; the old program has no unique key there either.
    days = {(day, symbol): figures for day, symbol, figures in old.stats()}
    for (day, symbol), figures in days.items():
        row = {"account": owner.account, "instance_id": owner.instance_id, "day": day, "symbol": symbol}
        connection.execute(
            delete(table).where(and_(*(table.c[name] == value for name, value in row.items())))
        )
        text = json.dumps(dict(figures), ensure_ascii=False, sort_keys=True)
        exchange = owner.account.partition(":")[0]
        connection.execute(insert(table), {**row, "exchange": exchange, "figures": text})
    return len(days)
