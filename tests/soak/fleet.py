"""Instances of every strategy on a market that moves step by step, while requests fail and workers die."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.stack.stack import Stack
from runner.books import Books
from runner.context import Context
from runner.lifecycle import start_instance, stop_policy
from runner.loaded import parse_books
from state.record import Phase, Record
from tests.acceptance.simulated_exchange import EVERYTHING, LIST_OPEN, SimulatedExchange, fault
from tests.acceptance.world import eventually
from tests.soak.audit import Audit, audit, read_journal

#: The part of requests that fail.
SHARE = 0.05
#: Every way in which a request can fail, one after the other.
MODES: Mapping[str, dict[str, Any]] = {
    "none": {},
    "5xx": fault(EVERYTHING, "error", probability=SHARE, status=503),
    "429": fault(EVERYTHING, "error", probability=SHARE, status=429, code="TOO_MANY_REQUESTS"),
    "reset before": fault(EVERYTHING, "reset_before", probability=SHARE),
    "reset after": fault(EVERYTHING, "reset_after", probability=SHARE),
    "late": fault(EVERYTHING, "late", probability=SHARE, delay_ms=400),
    "latency": fault(EVERYTHING, "latency", probability=SHARE, latency_ms=300, spread_ms=200),
    "hang": fault(EVERYTHING, "hang", probability=SHARE),
    "stale list": fault(LIST_OPEN, "stale_list", probability=SHARE, delay_ms=1500),
    "202": fault("DELETE /api/v1/order", "cancel_202", probability=SHARE, delay_ms=150),
    "stale history": fault(EVERYTHING, "stale_history", probability=SHARE, delay_ms=1500),
    "late position": fault(EVERYTHING, "late_position", probability=SHARE, delay_ms=1500),
}


@dataclass(frozen=True, kw_only=True)
class Member:
    """One instance of the fleet."""

    instance_id: str
    symbol: str
    strategy: str
    params: Mapping[str, Any]

    @property
    def base_asset(self) -> str:
        """Return the coin that it trades."""
        return self.symbol.split("_")[0]

    def config(self) -> dict[str, Any]:
        """Return its file."""
        return {
            "metadata": {
                "instance_id": self.instance_id,
                "exchange": "backpack",
                "symbol": self.symbol,
                "market_type": "perp" if self.symbol.endswith("_PERP") else "spot",
                "strategy": self.strategy,
            },
            "exchange_config": {"default_window": 1000},
            "strategy_config": {"interval": "0.2", **self.params},
        }


def spot_maker(symbol: str = "SOL_USDC") -> Member:
    """Return a market maker on a spot market."""
    params = {"spread": "0.08", "quantity": "0.5", "max_orders": 3, "base_asset_target": 23}
    return Member(instance_id="soak_mm_spot", symbol=symbol, strategy="standard", params=params)


def perp_maker(symbol: str = "SOL_USDC_PERP") -> Member:
    """Return a market maker on a perpetual."""
    params = {
        "spread": "0.08",
        "quantity": "0.5",
        "max_orders": 3,
        "max_position": "3",
        "target_position": 0,
        "position_threshold": "1.5",
        "inventory_skew": "0.5",
    }
    return Member(instance_id="soak_mm_perp", symbol=symbol, strategy="standard", params=params)


def spot_grid(symbol: str = "ETH_USDC", *, percent: str = "0.4") -> Member:
    """Return a spot grid around the price."""
    params = {
        "auto_price_range": True,
        "price_range_percent": percent,
        "grid_num": 17,
        "order_quantity": "0.05",
    }
    return Member(instance_id="soak_grid", symbol=symbol, strategy="grid", params=params)


def perp_grid(symbol: str = "ETH_USDC_PERP", *, kind: str = "neutral", percent: str = "0.4") -> Member:
    """Return a perpetual grid around the price."""
    params = {
        "auto_price_range": True,
        "price_range_percent": percent,
        "grid_num": 17,
        "order_quantity": "0.05",
        "max_position": "2",
        "grid_type": kind,
        "enable_boundary_check": False,
    }
    return Member(instance_id=f"soak_grid_{kind}", symbol=symbol, strategy="perp_grid", params=params)


def hedge(symbol: str) -> Member:
    """Return a hedged maker."""
    kind = "perp" if symbol.endswith("_PERP") else "spot"
    params = {"quantity": "0.02", **({"max_position": "1"} if kind == "perp" else {})}
    return Member(instance_id=f"soak_hedge_{kind}", symbol=symbol, strategy="maker_hedge", params=params)


def every_strategy() -> list[Member]:
    """Return one of each, every one on a market of its own."""
    return [
        spot_maker(),
        perp_maker(),
        spot_grid(),
        perp_grid(),
        hedge("BTC_USDC"),
        hedge("BTC_USDC_PERP"),
    ]


@dataclass(kw_only=True)
class Fleet:
    """A running stack with some instances on it."""

    stack: Stack
    context: Context
    exchange: SimulatedExchange
    config_dir: Path
    journal: Path
    members: Sequence[Member]
    seed: int = 1
    played: int = 0
    ended: bool = False
    kills: int = 0
    modes_seen: set[str] = field(default_factory=set)

    def configure(self) -> None:
        """Write every member's file."""
        for member in self.members:
            path = self.config_dir / f"{member.instance_id}.json"
            path.write_text(json.dumps(member.config()), encoding="utf-8")

    def start(self) -> None:
        """Start every member."""
        self.configure()
        for member in self.members:
            result = start_instance(self.context, member.instance_id, by="soak").result
            assert result.started, f"{member.instance_id}: {result}"

    def record(self, member: Member) -> Record:
        """Return how a member stands."""
        record = self.context.instances.read(member.instance_id)
        assert record is not None
        return record

    def books(self, member: Member) -> Books:
        """Return a member's books as last saved."""
        data = self.context.instances.run_data(member.instance_id, self.record(member).slot)
        return parse_books(data.books_json)

    def state(self, member: Member) -> dict[str, Any]:
        """Return the state of a member's strategy as last saved."""
        found = self.context.instances.run_data(member.instance_id, self.record(member).slot).state_json
        state: dict[str, Any] = json.loads(found or "{}")
        return state

    def audits(self) -> dict[str, Audit]:
        """Return what the journal says of each member by now."""
        slots = {self.record(member).slot: member for member in self.members}
        found = audit(read_journal(self.journal), {slot: m.base_asset for slot, m in slots.items()})
        return {slots[slot].instance_id: each for slot, each in found.items()}

    def summary(self) -> list[str]:
        """Return a line for each member: what it did."""
        return [
            f"{name}: {audit.accepted} orders, {audit.fills} fills, {audit.partial_fills} of them partial, "
            f"{audit.refused} refused; net {audit.net}"
            for name, audit in self.audits().items()
        ]

    def step(self, events: int) -> None:
        """Let the market move."""
        answer = self.exchange.step(events)
        self.played += answer["played"]
        self.ended = answer["ended"]

    def run(
        self,
        *,
        events: int,
        events_per_step: int = 5,
        pause_s: float = 0.05,
        kills: int = 0,
        faults: bool = True,
    ) -> None:
        """Play `events`, changing the way in which requests fail now and then, and killing the worker."""
        dice = random.Random(self.seed)
        modes: Iterator[str] = itertools.cycle(MODES)
        steps = max(1, events // events_per_step)
        kill_at = {round(steps * (number + 0.5) / kills) for number in range(kills)} if kills else set()
        for number in range(steps):
            if self.ended:
                break
            if faults and number % max(1, steps // (2 * len(MODES))) == 0:
                self._set_mode(next(modes))
            if number in kill_at:
                # At any point of an iteration.
                time.sleep(dice.random() * 0.2)
                self.stack.processes["iterate"].kill()
                self.kills += 1
            self.step(events_per_step)
            time.sleep(pause_s)
        self.exchange.clear_faults()

    def _set_mode(self, mode: str) -> None:
        self.modes_seen.add(mode)
        self.exchange.set_faults(*([MODES[mode]] if MODES[mode] else []))

    def not_running(self) -> list[str]:
        """Return the members that do not run, with the reason."""
        records = [self.record(member) for member in self.members]
        return [
            f"{r.instance_id}: {r.phase} {r.stop_reason}" for r in records if r.phase is not Phase.RUNNING
        ]

    def settle(self, iterations: int = 4) -> None:
        """Wait, with the market standing still, until every member has iterated in peace."""
        for member in self.members:
            eventually(
                lambda member=member: self._is_quiet(member, iterations),  # type: ignore[misc]
                40,
                what=f"{iterations} iterations of {member.instance_id} that change nothing",
            )

    def _is_quiet(self, member: Member, iterations: int) -> bool:
        """Tell whether nothing has been sent for some iterations, and none failed."""
        first, size = self.record(member), self.journal.stat().st_size
        eventually(lambda: self.record(member).seq >= first.seq + iterations, 40, what="iterations")
        record = self.record(member)
        sent = any(
            entry.get("client_id") is not None and entry["client_id"] >> 20 == record.slot
            for entry in read_journal(self.journal, behind=size)
        )
        return record.errors == 0 and not sent

    def stop(self) -> None:
        """Stop every member and wait until each is clean."""
        for member in self.members:
            policy = stop_policy(self.context, member.instance_id)
            self.context.instances.request_stop(member.instance_id, by="soak", reason="over", policy=policy)
        for member in self.members:
            eventually(
                lambda member=member: self.record(member).phase is Phase.STOPPED,  # type: ignore[misc]
                60,
                what=f"{member.instance_id} stopped",
            )
