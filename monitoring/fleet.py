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
from state.fleet import Fleet, RunDetails
from state.guards import GuardProcess, Guards
from state.queues import needed_queues
from state.record import Phase, Record
from state.refusals import read_refusals
from state.scripts import Scripts

#: Instances that have no phase of this version's.
DAMAGED = "damaged"
PHASES = (*(str(phase) for phase in Phase), DAMAGED)
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
    is_paused: bool = False
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


class FleetReader:
    """Reads; every method raises `redis.RedisError`."""

    def __init__(
        self, client: redis.Redis, broker: redis.Redis, *, burst: int, requests_per_minute: int
    ) -> None:
        """`broker` holds Celery's queues. The rest is the request budget of an account."""
        self._client = client
        self._broker = broker
        self._records = Fleet(client)
        self._events = Events(client)
        self._feeds = Feeds(client, Scripts(client))
        self._guards = Guards(client)
        self._burst = burst
        self._per_minute = requests_per_minute

    def read(self) -> FleetReading:
        """Return how everything stands."""
        glance = self._records.glance()
        now_ms = glance.now_ms
        names = list(glance.records)
        details, configs = self._records.details(names), self._records.configs(names)
        instances = [
            _instance(record, details[name], _metadata(configs.get(name)), now_ms)
            for name, record in glance.records.items()
            if name in details
        ]
        instances += [InstanceReading(instance_id=name, phase=DAMAGED) for name in glance.damaged]
        workers = self._events.workers(now_ms=now_ms)
        queues = needed_queues({queue for worker in workers for queue in worker.queues})
        memory = self._memory()
        return FleetReading(
            instances=tuple(instances),
            workers={queue: sum(queue in w.queues for w in workers) for queue in queues},
            queues={queue: int(self._broker.llen(queue)) for queue in queues},
            feeds=self._feeds.processes(now_ms=now_ms),
            guards=self._guards.processes(now_ms=now_ms),
            budgets=self._budgets(sorted({i.account for i in instances if i.account}), now_ms),
            book_ages_s=self._book_ages_s(instances, now_ms),
            bookings_waiting=self._client.xlen(keys.BOOKINGS),
            refused_messages=read_refusals(self._client),
            used_memory_bytes=memory.get("used_memory"),
            max_memory_bytes=memory.get("maxmemory"),
        )

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


def _instance(record: Record, details: RunDetails, told: Mapping[str, Any], now_ms: int) -> InstanceReading:
    def since_s(at_ms: int | None) -> float:
        return max(0, now_ms - (at_ms or now_ms)) / 1000

    is_running = record.phase is Phase.RUNNING
    is_ending = record.phase in (Phase.STOPPING, Phase.FAILED)
    is_owed = is_running and record.lease_until_ms <= now_ms
    alive_ms = max(record.committed_at_ms or 0, record.started_at_ms or 0)
    return InstanceReading(
        instance_id=record.instance_id,
        phase=record.phase,
        account=record.account,
        strategy=str(told.get("strategy", "")),
        symbol=str(told.get("symbol", "")),
        exchange=str(told.get("exchange", "")),
        market_venue=str(told.get("venue", "")),
        is_live=told.get("live") is True,
        is_paused=record.is_paused,
        epoch=record.epoch,
        seq=record.seq,
        errors=record.errors,
        open_orders=0 if record.phase is Phase.STOPPED else len(details.order_ids),
        lateness_s=since_s(record.due_at_ms) if is_owed else 0.0,
        heartbeat_age_s=since_s(alive_ms) if is_running else None,
        stopping_for_s=since_s(record.stop_requested_at_ms) if is_ending else None,
        **_profit(details, now_ms),
    )


def _profit(details: RunDetails, now_ms: int) -> dict[str, float]:
    """Return what the books and the day say, as far as they can be read."""
    found: dict[str, float] = {}
    try:
        made = json.loads(details.books_json)["profit"]
        found["position"] = _finite(made["net"])
        found["realized"] = _finite(Decimal(made["realized"]) - Decimal(made["fees"]))
    except _UNREADABLE:
        pass
    try:
        day = json.loads(details.daily_json)
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
