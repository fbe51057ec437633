"""What `manage.py top` shows of each instance, read again and again; what has not changed is kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from cli.amounts import exact
from cli.names import configured
from cli.output import iso
from cli.session import Session, unserved
from state.events import UNREADABLE
from state.fleet import Fleet, RunDetails
from state.record import Phase, Record

#: What reading a number that somebody else wrote raises.
_UNREADABLE = (*UNREADABLE, ArithmeticError)


@dataclass(frozen=True, kw_only=True)
class TopRow:
    """One instance; None: not known."""

    instance_id: str
    #: A phase, ``never started`` or ``damaged``.
    state: str
    strategy: str = ""
    symbol: str = ""
    #: Quote units, after fees, of the UTC day; what is open at the price of the last iteration.
    profit_today: Decimal | None = None
    #: Net of the run, base units.
    position: Decimal | None = None
    open_orders: int = 0
    #: Until the next iteration, ms; negative: it is late.
    due_in_ms: int | None = None
    is_iterating: bool = False
    errors: int = 0
    last_error: str = ""

    @property
    def quote_asset(self) -> str:
        """Return what the profit is counted in."""
        parts = self.symbol.split("_")
        return parts[1] if len(parts) > 1 else ""

    @property
    def late_ms(self) -> int:
        """Return how far behind its time it is, 0 when it is not."""
        return 0 if self.is_iterating or self.due_in_ms is None else max(0, -self.due_in_ms)

    def as_json(self) -> dict[str, Any]:
        """Return the row for scripts."""
        return {
            "instance_id": self.instance_id,
            "state": self.state.replace(" ", "_"),
            "strategy": self.strategy,
            "symbol": self.symbol,
            "profit_today": exact(self.profit_today),
            "profit_asset": self.quote_asset,
            "position": exact(self.position),
            "open_orders": self.open_orders,
            "next_iteration_in_ms": self.due_in_ms,
            "late_ms": self.late_ms,
            "is_iterating": self.is_iterating,
            "errors_in_a_row": self.errors,
            "last_error": self.last_error,
        }


@dataclass(frozen=True, kw_only=True)
class TopReading:
    """All of them at one moment."""

    #: State server's time, ms.
    now_ms: int
    rows: tuple[TopRow, ...]
    #: Queues that no worker serves.
    unserved: tuple[str, ...] = ()

    @property
    def states(self) -> Mapping[str, int]:
        """Return how many instances are in each state."""
        return Counter(row.state for row in self.rows)

    @property
    def profits(self) -> Mapping[str, Decimal]:
        """Return the day's profit by quote asset."""
        sums: dict[str, Decimal] = {}
        for row in self.rows:
            if row.profit_today is not None:
                sums[row.quote_asset] = sums.get(row.quote_asset, Decimal(0)) + row.profit_today
        return sums

    def as_json(self) -> dict[str, Any]:
        """Return everything for scripts."""
        return {
            "at": iso(self.now_ms),
            "instances": [row.as_json() for row in self.rows],
            "states": {state.replace(" ", "_"): count for state, count in self.states.items()},
            "profit_today": {asset: exact(amount) for asset, amount in sorted(self.profits.items())},
            "unserved_queues": list(self.unserved),
        }


@dataclass(frozen=True, kw_only=True)
class _Figures:
    """What the long parts of a record say, as of a commit."""

    stamp: tuple[object, ...]
    position: Decimal | None
    open_orders: int
    day: str = ""
    made: Decimal | None = None


@dataclass(frozen=True, kw_only=True)
class _Traits:
    version: str
    strategy: str = ""
    symbol: str = ""


@dataclass(kw_only=True)
class TopReader:
    """Reads in a few round trips, however many instances there are."""

    session: Session
    _figures: dict[str, _Figures] = field(default_factory=dict)
    _traits: dict[str, _Traits] = field(default_factory=dict)

    def read(self) -> TopReading:
        """Return how everything stands. Raises `redis.RedisError`."""
        fleet = Fleet(self.session.client)
        glance = fleet.glance()
        self._refresh(fleet, glance.records)
        names = sorted({*configured(self.session.settings.config_dir), *glance.records, *glance.damaged})
        today = datetime.fromtimestamp(glance.now_ms / 1000, UTC).date().isoformat()
        rows = []
        for name in names:
            record = glance.records.get(name)
            if name in glance.damaged:
                rows.append(TopRow(instance_id=name, state="damaged", last_error=glance.damaged[name]))
            elif record is None:
                rows.append(TopRow(instance_id=name, state="never started"))
            else:
                rows.append(self._row(record, glance.now_ms, today))
        return TopReading(now_ms=glance.now_ms, rows=tuple(rows), unserved=unserved(self.session))

    def _refresh(self, fleet: Fleet, records: Mapping[str, Record]) -> None:
        new = [
            name
            for name, record in records.items()
            if name not in self._traits or self._traits[name].version != record.config_version
        ]
        texts = fleet.configs(new)
        for name in new:
            self._traits[name] = _traits(records[name].config_version, texts.get(name, ""))
        stamps = {name: _stamp(record) for name, record in records.items()}
        changed = [
            name
            for name, stamp in stamps.items()
            if name not in self._figures or self._figures[name].stamp != stamp
        ]
        for name, details in fleet.details(changed).items():
            self._figures[name] = _read_figures(stamps[name], details)

    def _row(self, record: Record, now_ms: int, today: str) -> TopRow:
        name = record.instance_id
        traits = self._traits[name]
        figures = self._figures.get(name)
        is_running = record.phase is Phase.RUNNING
        made = None
        if figures is not None and figures.made is not None:
            made = figures.made if figures.day == today else Decimal(0)
        return TopRow(
            instance_id=name,
            state="paused" if record.is_paused else str(record.phase),
            strategy=traits.strategy,
            symbol=traits.symbol,
            profit_today=made,
            position=figures.position if figures else None,
            open_orders=figures.open_orders if figures and record.phase is not Phase.STOPPED else 0,
            due_in_ms=record.due_at_ms - now_ms if is_running and record.due_at_ms is not None else None,
            is_iterating=is_running and record.lease_until_ms > now_ms,
            errors=record.errors,
            last_error=record.last_error if record.errors or record.phase is Phase.FAILED else "",
        )


def sorted_rows(rows: Sequence[TopRow], by: str) -> list[TopRow]:
    """Return rows by what is looked for, the most interesting first."""
    states = {"damaged": 0, "failed": 0, "stopping": 1, "paused": 2, "running": 2, "stopped": 3}

    def amount(value: Decimal | None) -> tuple[bool, Decimal]:
        return (value is None, -(value or Decimal(0)))

    keys: dict[str, Any] = {
        "trouble": lambda row: (states.get(row.state, 4), -row.errors, -row.late_ms),
        "profit": lambda row: amount(row.profit_today),
        "loss": lambda row: (row.profit_today is None, row.profit_today or Decimal(0)),
        "position": lambda row: amount(None if row.position is None else abs(row.position)),
        "orders": lambda row: -row.open_orders,
        "late": lambda row: -row.late_ms,
    }
    ordered = sorted(rows, key=lambda row: row.instance_id)
    return sorted(ordered, key=keys[by]) if by in keys else ordered


#: What rows can be sorted by.
ORDERS = ("trouble", "name", "profit", "loss", "position", "orders", "late")


def _stamp(record: Record) -> tuple[object, ...]:
    return (record.epoch, record.phase, record.seq, record.committed_at_ms, record.stopped_at_ms)


def _traits(version: str, config_json: str) -> _Traits:
    try:
        metadata = json.loads(config_json)["metadata"]
        return _Traits(version=version, strategy=str(metadata["strategy"]), symbol=str(metadata["symbol"]))
    except UNREADABLE:
        return _Traits(version=version)


def _read_figures(stamp: tuple[object, ...], details: RunDetails) -> _Figures:
    # Not as `Books`, whose models are slow to build: one number of many instances is wanted.
    position, day, made = None, "", None
    # There may be none yet, or another version's.
    with suppress(*_UNREADABLE):
        position = _finite(json.loads(details.books_json)["profit"]["net"])
    with suppress(*_UNREADABLE):
        told = json.loads(details.daily_json)
        day = str(told["day"])
        made = _finite(told["carried"]) + _finite(told["total"]) - _finite(told["base"])
    return _Figures(stamp=stamp, position=position, open_orders=len(details.order_ids), day=day, made=made)


def _finite(text: object) -> Decimal:
    found = Decimal(str(text))
    if not found.is_finite():
        raise ValueError(found)
    return found
