"""Write tables of the ledger to CSV or Parquet files, row by row: the whole need not fit into memory.

Columns are those of `schema` without `id`. Beside every time in ms stands the same in ISO 8601, UTC, under
the name without `_ms`. Amounts are written as texts with all their digits, in Parquet too: its decimals have
one number of places for a whole column, which some amount always exceeds.
"""

from __future__ import annotations

import csv
import importlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO

from sqlalchemy import BigInteger, Boolean, Column, Select, Table, select

from ledger import schema
from ledger.database import Ledger
from ledger.errors import LedgerError

_ROWS_AT_ONCE = 5_000


class FileFormat(StrEnum):
    """How an export is written."""

    CSV = "csv"
    PARQUET = "parquet"


class Exported(StrEnum):
    """What can be exported."""

    FILLS = "fills"
    ORDERS = "orders"
    RUNS = "runs"
    FUNDING = "funding"
    EVENTS = "events"
    BALANCES = "balances"
    POSITIONS = "positions"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which rows: all that fit every field that is given."""

    account: str | None = None
    instance_id: str | None = None
    #: From this moment on, by the table's own time.
    since_ms: int | None = None
    #: Up to, and without, this moment.
    until_ms: int | None = None


_EVERYTHING = Selection()

#: The time that a selection goes by, which is also the order of the rows.
_TIMES = {
    Exported.FILLS: "filled_at_ms",
    Exported.ORDERS: "updated_at_ms",
    Exported.RUNS: "started_at_ms",
    Exported.FUNDING: "interval_end_ms",
    Exported.EVENTS: "at_ms",
    Exported.BALANCES: "at_ms",
    Exported.POSITIONS: "at_ms",
}


def export(
    ledger: Ledger,
    what: Exported,
    path: Path,
    file_format: FileFormat,
    selection: Selection = _EVERYTHING,
) -> int:
    """Write `what` to `path`, which is there only when it is complete; returns the number of rows.

    Raises `LedgerError` where a selection does not fit, Parquet is not installed, or the file cannot be
    written.
    """
    query = _query(what, selection)
    parquet = _parquet() if file_format is FileFormat.PARQUET else None
    with _written(path) as partial:
        if parquet is not None:
            return _write_parquet(ledger, what, query, partial, parquet)
        with partial.open("w", encoding="utf-8", newline="") as stream:
            return _write_csv(ledger, what, query, stream)


def write_csv(ledger: Ledger, what: Exported, stream: TextIO, selection: Selection = _EVERYTHING) -> int:
    """Write `what` as CSV to an open stream; returns the number of rows. Raises `LedgerError`."""
    return _write_csv(ledger, what, _query(what, selection), stream)


def _query(what: Exported, selection: Selection) -> Select[Any]:
    table, time = _table(what), _table(what).c[_TIMES[what]]
    query = select(*_columns(table)).order_by(time, table.c.id)
    if selection.account is not None:
        query = query.where(table.c.account == selection.account)
    if selection.instance_id is not None:
        if "instance_id" not in table.c:
            raise LedgerError(f"{what} are of a whole account; select them by account, not by instance")
        query = query.where(table.c.instance_id == selection.instance_id)
    if selection.since_ms is not None:
        query = query.where(time >= selection.since_ms)
    if selection.until_ms is not None:
        query = query.where(time < selection.until_ms)
    return query


def _table(what: Exported) -> Table:
    return schema.metadata.tables[what]


def _columns(table: Table) -> list[Column[Any]]:
    return [column for column in table.columns if column.name != "id"]


def _names(table: Table) -> list[str]:
    names = []
    for column in _columns(table):
        names.append(column.name)
        if column.name.endswith("_ms"):
            names.append(column.name.removesuffix("_ms"))
    return names


def _chunks(ledger: Ledger, query: Select[Any]) -> Iterator[Sequence[Mapping[str, Any]]]:
    with ledger.reading() as connection:
        result = connection.execute(query, execution_options={"yield_per": _ROWS_AT_ONCE})
        for rows in result.mappings().partitions():
            yield [_shown(dict(row)) for row in rows]


def _shown(row: Mapping[str, Any]) -> Mapping[str, Any]:
    shown: dict[str, Any] = {}
    for name, value in row.items():
        shown[name] = format(value, "f") if isinstance(value, Decimal) else value
        if name.endswith("_ms"):
            shown[name.removesuffix("_ms")] = _iso(value)
    return shown


def _iso(at_ms: int | None) -> str | None:
    # 0 stands for a time that is not known.
    if not at_ms:
        return None
    moment = datetime.fromtimestamp(at_ms // 1000, UTC).replace(microsecond=at_ms % 1000 * 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _write_csv(ledger: Ledger, what: Exported, query: Select[Any], stream: TextIO) -> int:
    names = _names(_table(what))
    writer = csv.DictWriter(stream, names)
    writer.writeheader()
    count = 0
    for rows in _chunks(ledger, query):
        writer.writerows({name: _csv_value(row[name]) for name in names} for row in rows)
        count += len(rows)
    return count


def _csv_value(value: Any) -> Any:
    return ("false", "true")[value] if isinstance(value, bool) else value


def _parquet() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise LedgerError(
            "Parquet needs the package pyarrow, which is not installed; install it with "
            '`pip install "cleanbook[parquet]"` or `.venv/bin/pip install pyarrow`, or export CSV'
        ) from error


def _write_parquet(
    ledger: Ledger, what: Exported, query: Select[Any], path: Path, modules: tuple[Any, Any]
) -> int:
    arrow, parquet = modules
    columns = {column.name: column for column in _columns(_table(what))}
    types = [(name, _arrow_type(arrow, columns.get(name))) for name in _names(_table(what))]
    table_schema = arrow.schema(types)
    count = 0
    with parquet.ParquetWriter(path, table_schema, compression="zstd") as writer:
        for rows in _chunks(ledger, query):
            writer.write_table(arrow.Table.from_pylist([dict(row) for row in rows], schema=table_schema))
            count += len(rows)
    return count


def _arrow_type(arrow: Any, column: Column[Any] | None) -> Any:
    if column is not None and isinstance(column.type, BigInteger):
        return arrow.int64()
    if column is not None and isinstance(column.type, Boolean):
        return arrow.bool_()
    return arrow.string()


@contextmanager
def _written(path: Path) -> Iterator[Path]:
    """Give a name to write to, which becomes `path` at the end; it is gone after a failure."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise LedgerError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
