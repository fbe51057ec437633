"""How the fleet stands, read from the state server in a few round trips. Changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import redis

from exchanges.backpack.config import BASE_URL
from state import keys
from state.events import UNREADABLE, Events
from state.feeds import FeedProcess, Feeds
from state.guards import GuardProcess, Guards
from state.instances import Phase
from state.refusals import read_refusals
from state.scripts import Scripts

#: Instances that have no phase of this version's.
DAMAGED = "damaged"
PHASES = (*(str(phase) for phase in Phase), DAMAGED)
_FIELDS = (
    *("phase", "epoch", "seq", "due", "started_at", "committed_at", "lease_until", "errors"),
    *("stop_requested_at", "account", "order_ids", "books", "daily"),
)
_UNREADABLE = (*UNREADABLE, ArithmeticError)


@dataclass(frozen=True, kw_only=True)
class InstanceReading:
    """One instance; what is damaged or not known is None."""

    instance_id: str
    phase: str
    account: str = ""
    strategy: str = ""
    symbol: str = ""
    exchange: str = ""
    #: The name under which feeds keep its market's book.
    market_venue: str = ""
    is_live: bool = False
    epoch: int = 0
    #: Iterations of this run so far.
    seq: int = 0
    errors: int = 0
    open_orders: int = 0
    #: Behind its time, seconds; 0 where nothing is owed.
    lateness_s: float = 0.0
    #: Since the last sign of life while it runs, seconds.
    heartbeat_age_s: float | None = None
    #: Since the stop was asked for, while it is not clean, seconds.
    stopping_for_s: float | None = None
    #: Base units, of this run.
    position: float | None = None
    #: Quote units, after fees: of the UTC day, and realised by this run.
    profit_today: float | None = None
    realized: float | None = None


@dataclass(frozen=True, kw_only=True)
class FleetReading:
    """Everything at one moment."""

    instances: tuple[InstanceReading, ...]
    #: By queue: living workers that serve it, and messages that wait in it.
    workers: Mapping[str, int]
    queues: Mapping[str, int]
    feeds: tuple[FeedProcess, ...]
    guards: tuple[GuardProcess, ...]
    #: By account: requests that may be made at once.
    budgets: Mapping[str, float]
    #: By (venue, symbol): age of the newest book that a feed has kept, seconds.
    book_ages_s: Mapping[tuple[str, str], float]
    bookings_waiting: int
    refused_messages: Mapping[str, int]
    used_memory_bytes: int | None
    max_memory_bytes: int | None


class Fleet:
    """Reads; every method raises `redis.RedisError`."""

    def __init__(
        self, client: redis.Redis, broker: redis.Redis | None, *, burst: int, requests_per_minute: int
    ) -> None:
        """`broker` holds Celery's queues; None: it cannot be asked. The rest is an account's budget."""
        self._client = client
        self._broker = broker
        self._events = Events(client)
        self._feeds = Feeds(client, Scripts(client))
        self._guards = Guards(client)
        self._burst = burst
        self._per_minute = requests_per_minute

    def read(self) -> FleetReading:
        """Return how everything stands."""
        now_ms = self._now_ms()
        instances = self._instances(now_ms)
        workers = self._events.workers(now_ms=now_ms)
        memory = self._memory()
        return FleetReading(
            instances=instances,
            workers={queue: sum(queue in w.queues for w in workers) for queue in ("iterate", "cleanup")},
            queues=self._queues(),
            feeds=self._feeds.processes(now_ms=now_ms),
            guards=self._guards.processes(now_ms=now_ms),
            budgets=self._budgets(sorted({i.account for i in instances if i.account}), now_ms),
            book_ages_s=self._book_ages_s(instances, now_ms),
            bookings_waiting=self._client.xlen(keys.BOOKINGS),
            refused_messages=read_refusals(self._client),
            used_memory_bytes=memory.get("used_memory"),
            max_memory_bytes=memory.get("maxmemory"),
        )

    def _now_ms(self) -> int:
        seconds, microseconds = self._client.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    def _instances(self, now_ms: int) -> tuple[InstanceReading, ...]:
        names = sorted(cast("set[str]", self._client.smembers(keys.INSTANCES)))
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            pipeline.hmget(keys.record(name), _FIELDS)
            pipeline.get(keys.config(name))
        # A key of the wrong type is one damaged record, not a server out of reach.
        rows = pipeline.execute(raise_on_error=False)
        return tuple(
            _instance(name, values, config, now_ms)
            for name, values, config in zip(names, rows[::2], rows[1::2], strict=True)
        )

    def _queues(self) -> dict[str, int]:
        if self._broker is None:
            return {}
        return {queue: int(self._broker.llen(queue)) for queue in ("iterate", "cleanup")}

    def _budgets(self, accounts: Sequence[str], now_ms: int) -> dict[str, float]:
        found = {}
        for account in accounts:
            tokens, at = cast("list[str | None]", self._client.hmget(keys.budget(account), "tokens", "at"))
            grown = 0.0 if at is None else max(0.0, now_ms - float(at)) * self._per_minute / 60_000
            # Where nothing is kept, nobody has asked for long enough.
            found[account] = min(self._burst, self._burst if tokens is None else float(tokens) + grown)
        return found

    def _book_ages_s(self, instances: Iterable[InstanceReading], now_ms: int) -> dict[tuple[str, str], float]:
        markets = sorted({(i.market_venue, i.symbol) for i in instances if i.phase == Phase.RUNNING})
        pipeline = self._client.pipeline(transaction=False)
        for venue, symbol in markets:
            pipeline.hget(keys.market(venue, symbol), "received_at")
        found = {}
        for market, at in zip(markets, pipeline.execute(raise_on_error=False), strict=True):
            if isinstance(at, str) and at.isdigit():
                found[market] = max(0.0, (now_ms - int(at)) / 1000)
        return found

    def _memory(self) -> dict[str, int]:
        try:
            told = self._client.info("memory")
        except redis.ResponseError:  # no right to ask
            return {}
        return {name: int(told[name]) for name in ("used_memory", "maxmemory") if name in told}


def _instance(name: str, values: Any, config: Any, now_ms: int) -> InstanceReading:
    try:
        row = {k: v for k, v in zip(_FIELDS, values, strict=True) if v is not None}
        return _of_row(name, row, _metadata(config), now_ms)
    except _UNREADABLE:
        return InstanceReading(instance_id=name, phase=DAMAGED)


def _metadata(config: Any) -> dict[str, Any]:
    try:
        told = json.loads(config)
        metadata, is_live = told["metadata"], told.get("live") is True
        # As runner.access.market_venue has it, of a configuration that need not be whole.
        address = told.get("exchange_config", {}).get("base_url")
        venue = metadata["exchange"] if is_live else f"{metadata['exchange']}-simulated"
        is_usual = not is_live or address in (None, BASE_URL)
        return {**metadata, "live": is_live, "venue": venue if is_usual else f"{venue}@{address}"}
    except _UNREADABLE:
        return {}


def _of_row(name: str, row: Mapping[str, str], told: Mapping[str, Any], now_ms: int) -> InstanceReading:
    phase = Phase(row["phase"])
    due_ms, lease_ms = int(row.get("due", 0)), int(row.get("lease_until", 0))
    alive_ms = max(int(row.get("committed_at", 0)), int(row.get("started_at", 0)))
    is_running, is_ending = phase is Phase.RUNNING, phase in (Phase.STOPPING, Phase.FAILED)
    is_owed = is_running and due_ms and lease_ms <= now_ms
    asked_ms = int(row.get("stop_requested_at", 0))
    return InstanceReading(
        instance_id=name,
        phase=phase,
        account=row.get("account", ""),
        strategy=str(told.get("strategy", "")),
        symbol=str(told.get("symbol", "")),
        exchange=str(told.get("exchange", "")),
        market_venue=str(told.get("venue", "")),
        is_live=told.get("live") is True,
        epoch=int(row.get("epoch", 0)),
        seq=int(row.get("seq", 0)),
        errors=int(row.get("errors", 0)),
        open_orders=len([order for order in row.get("order_ids", "").split(",") if order]),
        lateness_s=max(0, now_ms - due_ms) / 1000 if is_owed else 0.0,
        heartbeat_age_s=max(0, now_ms - alive_ms) / 1000 if is_running else None,
        stopping_for_s=max(0, now_ms - asked_ms) / 1000 if is_ending and asked_ms else None,
        **_profit(row, now_ms),
    )


def _profit(row: Mapping[str, str], now_ms: int) -> dict[str, float]:
    """Return what the books and the day say, as far as they can be read."""
    found: dict[str, float] = {}
    try:
        made = json.loads(row["books"])["profit"]
        found["position"] = _finite(made["net"])
        found["realized"] = _finite(Decimal(made["realized"]) - Decimal(made["fees"]))
    except _UNREADABLE:
        pass
    try:
        day = json.loads(row["daily"])
        today = datetime.fromtimestamp(now_ms / 1000, UTC).date().isoformat()
        total = Decimal(day["carried"]) + Decimal(day["total"]) - Decimal(day["base"])
        found["profit_today"] = _finite(total) if day["day"] == today else 0.0
    except _UNREADABLE:
        pass
    return found


def _finite(number: Decimal | str) -> float:
    found = Decimal(number)
    if not found.is_finite():
        raise ValueError(f"{found} is no amount")
    return float(found)


def shown_first(instances: Iterable[InstanceReading]) -> list[InstanceReading]:
    """Return instances by how much somebody wants to see them: trouble first, then what runs."""
    order = {DAMAGED: 0, Phase.FAILED: 0, Phase.STOPPING: 1, Phase.RUNNING: 2}
    return sorted(instances, key=lambda each: (order.get(each.phase, 3), each.instance_id))
