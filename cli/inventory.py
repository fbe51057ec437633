"""Instances as files on disk and records in Redis say it, side by side. Reads only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cli.errors import explain
from cli.language import tr
from cli.names import configured
from cli.output import iso
from cli.session import Session
from runner.config import ConfigError, InstanceConfig, load_instance, version_of
from runner.kept_receipts import receipt_in
from runner.receipt_json import receipt_json
from state.record import Phase, Record

FILE_DIFFERS = "the file differs from what this run has; manage.py reload applies it, or says why not"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One instance."""

    instance_id: str
    #: None: never started.
    record: Record | None
    #: State server's time when it was read, ms.
    now_ms: int
    #: ``ok``, ``changed`` (since the current run began), ``invalid``, or ``missing``.
    config: str
    #: What is wrong with the file, empty when nothing is.
    problem: str
    #: What is wrong with the record, empty when nothing is.
    damage: str = ""
    strategy: str = ""
    symbol: str = ""
    market_type: str = ""
    exchange: str = ""
    live: bool | None = None

    @property
    def state(self) -> str:
        """Return the phase, ``never started`` without a record, ``damaged`` with one that cannot be read."""
        if self.damage:
            return "damaged"
        return str(self.record.phase) if self.record else "never started"

    @property
    def shown_state(self) -> str:
        """Return the state for people: a running instance that is paused is called so."""
        return "paused" if self.record is not None and self.record.is_paused else self.state

    @property
    def due_in_ms(self) -> int | None:
        """Return the time until the next iteration, negative when it is late, None when there is none."""
        record = self.record
        if record is None or record.phase is not Phase.RUNNING or record.due_at_ms is None:
            return None
        return record.due_at_ms - self.now_ms

    @property
    def is_iterating(self) -> bool:
        """Tell whether an iteration holds the lease."""
        return self.record is not None and self.record.lease_until_ms > self.now_ms

    def as_json(self) -> dict[str, Any]:
        """Return the entry for scripts: ISO 8601 times, no secrets."""
        record = self.record
        value: dict[str, Any] = {
            "instance_id": self.instance_id,
            "state": self.state.replace(" ", "_"),
            "config": self.config,
            "problem": self.problem,
            "strategy": self.strategy,
            "symbol": self.symbol,
            "market_type": self.market_type,
            "exchange": self.exchange,
            "live": self.live,
        }
        if record is None:
            return value
        return value | {
            "epoch": record.epoch,
            "tick": record.tick,
            "seq": record.seq,
            "account": record.account,
            "config_version": record.config_version,
            "started_at": iso(record.started_at_ms),
            "paused": record.is_paused,
            "paused_at": iso(record.paused_at_ms) if record.is_paused else None,
            "paused_by": record.paused_by if record.is_paused else "",
            "pause_reason": record.pause_reason if record.is_paused else "",
            "withdrawn_at": iso(record.withdrawn_at_ms) if record.is_paused else None,
            "last_commit_at": iso(committed_at_ms(record)),
            "next_iteration_at": iso(record.due_at_ms) if record.phase is Phase.RUNNING else None,
            "next_iteration_in_ms": self.due_in_ms,
            "is_iterating": self.is_iterating,
            "errors_in_a_row": record.errors,
            "last_error": record.last_error,
            "stop_requested_at": iso(record.stop_requested_at_ms),
            "stop_by": record.stop_by,
            "stop_reason": record.stop_reason,
            "stopped_at": iso(record.stopped_at_ms),
            "cleanup_attempts": record.attempts,
            "receipt": receipt_json(receipt_in(record.outcome)),
        }


def entries(session: Session, names: Sequence[str] = ()) -> tuple[Entry, ...]:
    """Return the named instances, or all that have a file or a record. Changes nothing."""
    damaged: dict[str, str] = {}
    found = session.instances.read_all(lambda name, error: damaged.update({name: str(error)}))
    records = {record.instance_id: record for record in found}
    now_ms = session.instances.now_ms()
    chosen = names or sorted({*configured(session.settings.config_dir), *records, *damaged})
    listed = (_entry(session, name, records.get(name), now_ms) for name in chosen)
    return tuple(
        replace(entry, damage=damaged[entry.instance_id], problem=damaged[entry.instance_id])
        if entry.instance_id in damaged
        else entry
        for entry in listed
    )


def committed_at_ms(record: Record) -> int | None:
    """Return when the current run last committed; until then the record has the last run's time."""
    committed, started = record.committed_at_ms, record.started_at_ms
    return committed if committed is not None and committed >= (started or 0) else None


def _entry(session: Session, name: str, record: Record | None, now_ms: int) -> Entry:
    settings = session.settings
    if name not in configured(settings.config_dir):
        return Entry(
            instance_id=name,
            record=record,
            now_ms=now_ms,
            config="missing",
            problem=tr("there is no {file}", file=f"{settings.config_dir / name}.json"),
            **_told_by_record(session, name),
        )
    try:
        config = load_instance(name, settings.config_dir, settings.environ).config
    except ConfigError as error:
        return Entry(
            instance_id=name,
            record=record,
            now_ms=now_ms,
            config="invalid",
            problem=explain(error).message,
            **_told_by_record(session, name),
        )
    is_active = record is not None and record.phase is not Phase.STOPPED
    is_changed = is_active and record is not None and version_of(config) != record.config_version
    return Entry(
        instance_id=name,
        record=record,
        now_ms=now_ms,
        config="changed" if is_changed else "ok",
        problem=FILE_DIFFERS if is_changed else "",
        **_told_by(config),
    )


def _told_by(config: InstanceConfig) -> dict[str, Any]:
    metadata = config.metadata
    return {
        "strategy": metadata.strategy,
        "symbol": metadata.symbol,
        "market_type": str(metadata.market_type),
        "exchange": metadata.exchange,
        "live": config.live,
    }


def _told_by_record(session: Session, name: str) -> dict[str, Any]:
    """Return what the configuration of the last run says, for when the file does not."""
    try:
        return _told_by(InstanceConfig.from_json(session.instances.config_json(name)))
    except (ConfigError, json.JSONDecodeError):
        return {}
