"""Run one strategy on a stack of its own, on a market that moves when it is told to, and keep what it did."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from bench.witness import Witness, read_journal, witness
from cli.stack.stack import Stack, StackOptions
from runner.context import Context, open_context
from runner.lifecycle import start_instance, stop_policy
from settings import environment
from state.record import Phase, Record

#: A run that does not come to its next point within this time is broken.
DEADLINE_S = 30.0
#: Five iterations a second need more than an account has by default.
REQUESTS_PER_MINUTE = 100_000
#: How long the market stands still before the stop is asked for.
_LEAD_S = 0.5
#: Part of the run that is shown behind the stop.
_AFTERWARDS = 0.06


class RunFailed(RuntimeError):
    """Raised when a run does not do what its picture is to show."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One strategy with parameters and a market that show what it does."""

    #: In the name of the picture's file, and for `--only`.
    name: str
    title: str
    #: What the picture shows, in one line.
    caption: str
    strategy: str
    symbol: str
    params: Mapping[str, Any]
    #: Of the random walk.
    seed: int
    seconds: float = 60.0
    #: The market's events are played one by one, so many a second.
    events_per_s: float = 10.0
    #: What its orders that trade at once are called.
    taker_label: str = "trades at once"

    @property
    def is_perp(self) -> bool:
        """Tell whether it trades a perpetual."""
        return self.symbol.endswith("_PERP")

    @property
    def base_asset(self) -> str:
        """Return the coin that it trades."""
        return self.symbol.split("_")[0]

    @property
    def instance_id(self) -> str:
        """Return the name of its instance."""
        return self.name.replace("-", "_")

    def config(self) -> dict[str, Any]:
        """Return the instance's file."""
        return {
            "metadata": {
                "instance_id": self.instance_id,
                "exchange": "backpack",
                "symbol": self.symbol,
                "market_type": "perp" if self.is_perp else "spot",
                "strategy": self.strategy,
            },
            "exchange_config": {},
            "strategy_config": {"interval": "0.2", **self.params},
            "live": False,
        }


@dataclass(frozen=True, kw_only=True)
class Touch:
    """The best prices at one moment, ms since the epoch."""

    at_ms: int
    bid: float
    ask: float

    @property
    def mid(self) -> float:
        """Return their middle."""
        return (self.bid + self.ask) / 2


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What a run did, and the market that it met."""

    touches: list[Touch]
    witness: Witness
    stop_asked_at_ms: int
    stopped_at_ms: int
    iterations: int


@dataclass(kw_only=True)
class _Run:
    scenario: Scenario
    stack: Stack
    context: Context
    http: requests.Session
    touches: list[Touch] = field(default_factory=list)

    def play(self, seconds: float) -> None:
        """Let the market move for so long, and note its touch after every event."""
        began_s, pause_s = time.monotonic(), 1 / self.scenario.events_per_s
        for number in range(round(seconds * self.scenario.events_per_s)):
            answer = self.http.post(f"{self.stack.simulator_url}/sim/step", json={"events": 1}, timeout=5)
            answer.raise_for_status()
            self.look()
            time.sleep(max(0.0, began_s + (number + 1) * pause_s - time.monotonic()))

    def look(self) -> None:
        """Note the touch; unsigned, so that the account's request budget is the strategy's alone."""
        query = {"symbol": self.scenario.symbol}
        answer = self.http.get(f"{self.stack.simulator_url}/api/v1/depth", params=query, timeout=5)
        answer.raise_for_status()
        prices = {side: [float(price) for price, _ in answer.json()[side]] for side in ("bids", "asks")}
        touch = Touch(at_ms=_now_ms(), bid=max(prices["bids"]), ask=min(prices["asks"]))
        self.touches.append(touch)

    def record(self) -> Record:
        """Return how the instance stands."""
        record = self.context.instances.read(self.scenario.instance_id)
        if record is None:
            raise RunFailed("the instance is gone")
        return record

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for `condition`. Raises `RunFailed`."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not condition():
            if time.monotonic() > deadline_s:
                record = self.record()
                raise RunFailed(f"{what}: not within {DEADLINE_S:g} s; {record.phase} {record.last_error}")
            time.sleep(0.02)


def run(scenario: Scenario, *, seconds: float) -> Recording:
    """Run `scenario` for `seconds` and stop it. Raises `RunFailed`."""
    with tempfile.TemporaryDirectory() as folder:
        config_dir = Path(folder) / "config"
        config_dir.mkdir()
        path = config_dir / f"{scenario.instance_id}.json"
        path.write_text(json.dumps(scenario.config()), encoding="utf-8")
        options = StackOptions(
            run_dir=Path(folder),
            config_dir=config_dir,
            fresh=True,
            simulator_arguments=(
                *("--flow", "manual", "--seed", str(scenario.seed)),
                *("--rate-per-min", str(REQUESTS_PER_MINUTE)),
            ),
            environ={**environment(), "CLEANBOOK_REQUESTS_PER_MINUTE": str(REQUESTS_PER_MINUTE)},
        )
        with Stack(options) as stack, requests.Session() as http:
            http.trust_env = False
            return _record(scenario, stack, http, seconds)


def _record(scenario: Scenario, stack: Stack, http: requests.Session, seconds: float) -> Recording:
    context = open_context(stack.settings())
    name = scenario.instance_id
    this = _Run(scenario=scenario, stack=stack, context=context, http=http)
    this.look()
    result = start_instance(context, name, by="bench").result
    if not result.started:
        raise RunFailed(f"not started: {result}")
    this.wait(lambda: this.record().tick >= 2, "two iterations")
    this.play(seconds)
    if this.record().phase is not Phase.RUNNING:
        raise RunFailed(f"ended by itself: {this.record().stop_reason}")
    time.sleep(_LEAD_S)
    this.look()
    stop_asked_at_ms = _now_ms()
    context.instances.request_stop(name, by="bench", reason="bench", policy=stop_policy(context, name))
    this.wait(lambda: this.record().phase in {Phase.STOPPED, Phase.FAILED}, "the stop")
    stopped_at_ms = _now_ms()
    record = this.record()
    this.play(max(1.0, seconds * _AFTERWARDS))
    seen = witness(
        read_journal(stack.data_dir / "journal.jsonl"), slot=record.slot, base_asset=scenario.base_asset
    )
    if record.phase is not Phase.STOPPED or seen.resting:
        raise RunFailed(f"not clean: {record.phase}, {seen.resting} orders rest")
    return Recording(
        touches=this.touches,
        witness=seen,
        stop_asked_at_ms=stop_asked_at_ms,
        stopped_at_ms=stopped_at_ms,
        iterations=record.seq,
    )


def _now_ms() -> int:
    # The simulated exchange's clock is this machine's.
    return time.time_ns() // 1_000_000
