"""The list of instances: one reading for all who ask within half a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic_core import from_json

from runner.config import ConfigError, InstanceConfig, instance_ids, load_instance
from runner.kept_receipts import receipt_in
from settings import Settings
from state.connection import AWAY
from state.fleet import Fleet, RunDetails
from state.record import Phase, Record
from web.amounts import exact
from web.models import Row, Rows
from web.profits import Profits, Today
from web.traits import Traits, shown, traits_of

#: A reading is good for this long.
FRESH_S = 0.5


@dataclass(frozen=True, kw_only=True)
class _Book:
    """What the books of a run say, as of a commit."""

    stamp: tuple[object, ...]
    position: str | None
    open_orders: int


class RowReader:
    """Reads the fleet, and keeps what has not changed. Safe to use from many threads."""

    def __init__(self, settings: Settings, fleet: Fleet, profits: Profits) -> None:
        self._settings = settings
        self.fleet = fleet
        self._profits = profits
        self._lock = threading.Lock()
        self._read_s = 0.0
        self._rows: Rows | None = None
        self._failed_s = 0.0
        self._failure: Exception | None = None
        #: Of files, by name: what the file was like, and what it says.
        self._files: dict[str, tuple[tuple[int, int], Traits]] = {}
        #: Of runs, by name and version.
        self._runs: dict[str, tuple[str, Traits]] = {}
        self._books: dict[str, _Book] = {}
        self._outcomes: dict[str, tuple[str, str | None]] = {}
        self._known: dict[str, Row] = {}

    def read(self, *, fresh: bool = False) -> Rows:
        """Return all rows, at most `FRESH_S` old. Raises `redis.RedisError`."""
        with self._lock:
            if self._rows is None or fresh or time.monotonic() - self._read_s > FRESH_S:
                self._rows = self._try_to_read()
                self._read_s = time.monotonic()
            return self._rows

    def _try_to_read(self) -> Rows:
        """Read. Of a server that hangs, who has waited behind another gets the same answer at once."""
        if self._failure is not None and time.monotonic() - self._failed_s < FRESH_S:
            raise self._failure
        try:
            rows = self._read()
        except AWAY as error:
            self._failure, self._failed_s = error, time.monotonic()
            raise
        self._failure = None
        return rows

    def one(self, instance_id: str) -> Row | None:
        """Return one row, None for an instance that nobody knows."""
        self.read()
        if instance_id not in self._known:
            # Its file may be younger than the reading.
            self.read(fresh=True)
        return self._known.get(instance_id)

    def traits(self, instance_id: str) -> Traits:
        """Return what the configuration of an instance says, as of the last reading."""
        with self._lock:
            row = self._known.get(instance_id)
            return self._traits(instance_id, is_active=row is not None and row.phase != "stopped")

    def file_problem(self, instance_id: str) -> str:
        """Return what is wrong with the file of an instance, empty when nothing is."""
        with self._lock:
            return self._of_file(instance_id).problem

    def _read(self) -> Rows:
        glance = self.fleet.glance()
        names = sorted({*instance_ids(self._settings.config_dir), *glance.records, *glance.damaged})
        self._refresh_runs(glance.records)
        self._refresh_books(glance.records)
        profits = self._profits.today()
        rows = [
            Row(
                instance_id=name,
                phase="unknown",
                last_error=glance.damaged[name],
                **shown(self._traits(name, is_active=True)),
            )
            if name in glance.damaged
            else self._row(name, glance.records.get(name), glance.now_ms, profits)
            for name in names
        ]
        self._forget(set(names))
        self._known = {row.instance_id: row for row in rows}
        return Rows(instances=rows, server_ms=glance.now_ms)

    def _row(self, name: str, record: Record | None, now_ms: int, profits: Mapping[str, Today] | None) -> Row:
        traits = self._traits(name, is_active=record is not None and record.phase is not Phase.STOPPED)
        today = None if profits is None else profits.get(name)
        # Averages are quotients without an end; the list shows no more than anybody reads.
        amount = None if profits is None else exact(round(today.amount if today else Decimal(0), 8))
        common = {
            **shown(traits),
            "instance_id": name,
            "profit_today": amount,
            "profit_asset": today.asset if today else None,
        }
        if record is None:
            return Row(phase="stopped", last_error=traits.problem, **common)
        book = self._books.get(name)
        is_running = record.phase is Phase.RUNNING
        return Row(
            phase=_phase(record),
            paused=record.is_paused,
            epoch=record.epoch,
            seq=record.seq,
            account=record.account,
            position=book.position if book else None,
            open_orders=book.open_orders if book else 0,
            next_due_ms=record.due_at_ms if is_running else None,
            lateness_ms=_lateness_ms(record, now_ms),
            last_iteration_ms=committed_at_ms(record),
            last_error=record.last_error if record.errors or record.phase is Phase.FAILED else "",
            stop_outcome=self._outcome(record),
            **common,
        )

    def _traits(self, name: str, *, is_active: bool) -> Traits:
        """Return what the configuration in force says: of the run while there is one, else of the file."""
        run = self._runs.get(name)
        if is_active and run is not None:
            return run[1]
        found = self._of_file(name)
        return run[1] if found.problem and run is not None else found

    def _of_file(self, name: str) -> Traits:
        path: Path = self._settings.config_dir / f"{name}.json"
        try:
            status = path.stat()
        except OSError:
            return Traits(problem=f"there is no {path}")
        stamp = (status.st_mtime_ns, status.st_size)
        known = self._files.get(name)
        if known is None or known[0] != stamp:
            try:
                traits = traits_of(
                    load_instance(name, self._settings.config_dir, self._settings.environ).config
                )
            except ConfigError as error:
                traits = Traits(problem=str(error))
            self._files[name] = known = (stamp, traits)
        return known[1]

    def _refresh_runs(self, records: Mapping[str, Record]) -> None:
        unknown = [
            name
            for name, record in records.items()
            if name not in self._runs or self._runs[name][0] != record.config_version
        ]
        for name, text in self.fleet.configs(unknown).items():
            try:
                traits = traits_of(InstanceConfig.from_json(text))
            except (ConfigError, ValueError):
                continue  # another version's: the file has to do
            self._runs[name] = (records[name].config_version, traits)

    def _refresh_books(self, records: Mapping[str, Record]) -> None:
        stamps = {name: _stamp(record) for name, record in records.items()}
        changed = [
            name
            for name, stamp in stamps.items()
            if name not in self._books or self._books[name].stamp != stamp
        ]
        for name, details in self.fleet.details(changed).items():
            self._books[name] = _book(stamps[name], records[name], details)

    def _outcome(self, record: Record) -> str | None:
        if not record.outcome:
            return None
        known = self._outcomes.get(record.instance_id)
        if known is None or known[0] != record.outcome:
            receipt = receipt_in(record.outcome)
            result = str(receipt.result) if receipt else None
            self._outcomes[record.instance_id] = known = (record.outcome, result)
        return known[1]

    def _forget(self, names: set[str]) -> None:
        for kept in (self._files, self._runs, self._books, self._outcomes):
            _keep_only(kept, names)


def committed_at_ms(record: Record) -> int | None:
    """Return when the current run last committed; until then the record has the last run's time."""
    committed, started = record.committed_at_ms, record.started_at_ms
    return committed if committed is not None and committed >= (started or 0) else None


def changes(before: Mapping[str, Row], after: Rows) -> Iterator[Row]:
    """Yield the rows that differ from those before; lateness alone makes no difference below a second."""
    for row in after.instances:
        old = before.get(row.instance_id)
        if old is None or _without_time(old) != _without_time(row):
            yield row


def _without_time(row: Row) -> tuple[object, ...]:
    return (row.lateness_ms // 1000, row.model_copy(update={"lateness_ms": 0}))


def _phase(record: Record) -> Literal["stopped", "running", "stopping", "failed"]:
    return record.phase.value


def _stamp(record: Record) -> tuple[object, ...]:
    return (
        record.epoch,
        record.phase,
        record.seq,
        record.committed_at_ms,
        record.attempts,
        record.withdrawn_at_ms,
        record.stopped_at_ms,
    )


def _lateness_ms(record: Record, now_ms: int) -> int:
    if record.phase is not Phase.RUNNING or record.due_at_ms is None or record.lease_until_ms > now_ms:
        return 0
    return max(0, now_ms - record.due_at_ms)


def _book(stamp: tuple[object, ...], record: Record, details: RunDetails) -> _Book:
    # Not as `Books`, whose models are slow to build: two numbers of many instances are wanted.
    try:
        said = from_json(details.books_json) if details.books_json else {}
        net = Decimal(str(said.get("profit", {}).get("net", "0")))
        position = exact(net) if net.is_finite() else None
    except (ValueError, ArithmeticError, AttributeError):
        position = None
    count = 0 if record.phase is Phase.STOPPED else len(details.order_ids)
    return _Book(stamp=stamp, position=position, open_orders=count)


def _keep_only(kept: dict[str, Any], names: set[str]) -> None:
    for name in kept.keys() - names:
        del kept[name]
